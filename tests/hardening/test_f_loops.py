"""Mail that goes round between two servers stops, with one report at most."""

from pathlib import Path
from typing import Any

import pytest
import trio

from harakapy import hookimpl
from harakapy.queue import Selection
from tests.outbound.scene import MESSAGE, Mailbox, Relaying, receiving, sending

MAX_HOPS = 10


class PassedOn(Relaying):
    """Takes all mail, and passes it on to another server, as an alias does; reports go to a postbox."""

    def __init__(self, postbox: str) -> None:
        super().__init__()
        self.other = ""
        self.senders: list[str] = []
        self._postbox = postbox

    @hookimpl
    def hook_mail(self, sender: object) -> None:
        self.senders.append(str(sender))

    @hookimpl(tryfirst=True)
    def hook_get_mx(self, domain: str) -> Any:
        return self.other if domain == "loop.test" else self._postbox


@pytest.mark.parametrize("sender", ["me@example.org", ""], ids=["a message", "a report"])
async def test_mail_that_two_servers_send_each_other_ends_with_one_report_at_most(
    sender: str, tmp_path: Path
) -> None:
    postbox = Mailbox()
    values: dict[str, Any] = {
        "listen": [{"address": "127.0.0.1:0"}],
        "smtp": {"max_hops": MAX_HOPS},
        "outbound": {"reports": {"collect": 0}},
    }
    async with receiving(tmp_path, postbox) as hop:
        one, two = PassedOn(hop), PassedOn(hop)
        async with (
            sending(tmp_path / "one", one, **values) as first,
            sending(tmp_path / "two", two, **values) as second,
        ):
            one.other = f"smtp://127.0.0.1:{second.addresses[0].port}"
            two.other = f"smtp://127.0.0.1:{first.addresses[0].port}"
            await first.outbound.send(sender, "you@loop.test", MESSAGE)
            stores = [await server.outbound.open() for server in (first, second)]
            with trio.fail_after(30):
                while not (one.bounces or two.bounces):  # noqa: ASYNC110  # nobody tells
                    await trio.sleep(0.01)
                for store in [*stores, *stores]:
                    while (await store.count(Selection())).recipients:  # noqa: ASYNC110
                        await trio.sleep(0.01)
    assert one.senders + two.senders == [sender] * (MAX_HOPS + 1)
    assert [mail.recipients for mail in postbox.mails] == [["me@example.org"]] * bool(sender)
    assert all(mail.sender == "" and b"5.4.6" in mail.content for mail in postbox.mails)
