"""A server with the plugins under test, a client of it in memory, and its log."""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from harakapy import OK, Connection, Plugin, Reply, Server, Settings, Verdict, hookimpl
from harakapy.config import ConfigError
from harakapy.log import Level, StreamTarget, open_logger
from harakapy.net import SocketAddress
from harakapy.testing import Client, connect

CONTENT = b"Subject: test\r\n\r\n.body\r\n"
HOSTNAME = "mx.test"
LOCAL = SocketAddress("192.0.2.25", 25)
REMOTE = SocketAddress("192.0.2.1", 40000)


class Keep(Plugin):
    """Stores what no plugin before it has taken, and remembers what it was."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[tuple[str, list[str], bytes]] = []

    @hookimpl(trylast=True)
    def hook_queue(self, connection: Connection) -> Verdict:
        return self._take("queue", connection)

    @hookimpl(trylast=True)
    def hook_queue_outbound(self, connection: Connection) -> Verdict:
        return self._take("queue_outbound", connection)

    def _take(self, hook: str, connection: Connection) -> Verdict:
        assert connection.transaction is not None
        content = b"".join(connection.transaction.content.blocks())
        self.taken.append((hook, [each.address for each in connection.transaction.rcpt_to], content))
        return OK


class Everybody(Plugin):
    """Accepts every recipient, if no plugin before it had anything to say."""

    @hookimpl(trylast=True)
    def hook_rcpt(self) -> Verdict:
        return OK


class Scene:
    """A server that is not running yet, and what it logs."""

    def __init__(self, state_dir: Path, *plugins: object, **values: Any) -> None:
        self._log = io.BytesIO()
        settings = Settings.default(
            **{
                "hostname": HOSTNAME,
                "state_dir": str(state_dir),
                "listen": [],
                "dns": {"rdns": False},
                "smtp": {"spool_dir": str(state_dir.parent / "spool")},
                **values,
            }
        )
        log = open_logger(Level.DATA, target=StreamTarget(self._log))
        self.server = Server(settings, plugins=plugins, log=log, strict=True)

    @property
    def log(self) -> str:
        """Everything that was logged so far."""
        self.server.log.output.sink.flush()
        return self._log.getvalue().decode()

    @asynccontextmanager
    async def client(
        self, remote: SocketAddress = REMOTE, local: SocketAddress = LOCAL
    ) -> AsyncIterator[Client]:
        """A client of the running server that has read the greeting and said EHLO."""
        async with self.server.running(), connect(self.server, remote, local) as client:
            greeting = await client.reply()
            assert greeting is not None
            assert greeting.code == 220
            assert (await client.command("EHLO client.example")).code == 250
            yield client


async def mail_and_rcpt(client: Client, *recipients: str, sender: str = "a@stranger.example") -> list[Reply]:
    """The replies to RCPT for these recipients."""
    assert (await client.command(f"MAIL FROM:<{sender}> SMTPUTF8")).code == 250
    return [await client.command(f"RCPT TO:<{recipient}>") for recipient in recipients]


def problems(error: ConfigError) -> dict[str, str]:
    """{key: message} of a configuration error."""
    return {problem.key: str(problem) for problem in error.problems}
