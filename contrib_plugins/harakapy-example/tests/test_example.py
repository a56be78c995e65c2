"""The plugin in a real server, without a network."""

from harakapy_example import Example

from harakapy import OK, Server, Settings, hookimpl
from harakapy.testing import connect, play


class TakeAll:
    """Says OK to every recipient that nobody has refused."""

    @hookimpl(trylast=True)
    def hook_rcpt(self):
        return OK


async def test_it_refuses_whom_it_is_told_to(tmp_path):
    settings = Settings.default(state_dir=str(tmp_path), listen=[], dns={"rdns": False})
    plugin = Example(refused=["nobody@example.com"], reason="nobody reads this")
    async with (
        Server(settings, plugins=[plugin, TakeAll()], strict=True).running() as server,
        connect(server) as client,
    ):
        await play(
            """
            S: 220 *
            C: HELO client.example
            S: 250 *
            C: MAIL FROM:<a@example.org>
            C: RCPT TO:<nobody@example.com>
            C: RCPT TO:<somebody@example.com>
            S: 250 *
            S: 550 5.7.1 nobody reads this
            S: 250 2.1.5 *
            """,
            client,
        )
