"""A server with a few plugins, and a client of it, in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from harakapy import OK, Address, Connection, Plugin, Server, Settings, Verdict, hookimpl
from harakapy.log import silent_logger
from harakapy.testing import Client, connect


class Accept(Plugin):
    """Takes mail for example.com, and remembers it."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[bytes] = []

    @hookimpl
    def hook_rcpt(self, recipient: Address) -> Verdict | None:
        return OK if recipient.host == "example.com" else None

    @hookimpl(trylast=True)
    def hook_queue(self, connection: Connection) -> Verdict:
        assert connection.transaction is not None
        self.messages.append(b"".join(connection.transaction.content.blocks()))
        return OK


def settings(folder: Path, **values: Any) -> Settings:
    """Settings without a socket and without DNS, and what is given."""
    return Settings.default(
        **{
            "hostname": "mx.test",
            "state_dir": str(folder),
            "listen": [],
            "dns": {"rdns": False},
            **values,
        }
    )


@asynccontextmanager
async def serving(folder: Path, *plugins: object, **values: Any) -> AsyncIterator[Server]:
    """A running server with these plugins."""
    async with Server(settings(folder, **values), plugins=plugins, log=silent_logger()).running() as server:
        yield server


@asynccontextmanager
async def talking(folder: Path, *plugins: object, **values: Any) -> AsyncIterator[Client]:
    """A client that has been greeted and has said HELO."""
    async with serving(folder, *plugins, **values) as server, connect(server) as client:
        await greeted(client)
        yield client


async def greeted(client: Client) -> None:
    """Read the greeting and say HELO."""
    greeting = await client.reply()
    assert greeting is not None
    assert greeting.code == 220
    assert (await client.command("HELO client.test")).code == 250


MESSAGE = b"Subject: hello\r\n\r\nbody\r\n"
