"""A server that strangers talk to, and what each test asks at the end: is the session closed or in step?"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from harakapy import Server
from harakapy.log import Level, StreamTarget, open_logger
from harakapy.testing import Client, connect
from tests.inbound.scene import settings

__all__ = ["codes", "esmtp", "in_step", "logged", "open_transaction", "settings", "to_data"]


@asynccontextmanager
async def esmtp(folder: Path, *plugins: object, listen: Any = None, **values: Any) -> AsyncIterator[Client]:
    """A client that has said EHLO to a server whose log is in the file `log` of the folder."""
    with logged(folder, *plugins, **values) as server:
        async with server.running(), connect(server, listen=listen) as client:
            await client.reply()
            assert (await client.command("EHLO client.test")).code == 250
            yield client


@contextmanager
def logged(folder: Path, *plugins: object, **values: Any) -> Iterator[Server]:
    """A server that writes everything it can to the file `log` of the folder."""
    with (folder / "log").open("wb") as file:
        log = open_logger(Level.DATA, target=StreamTarget(file))
        server = Server(settings(folder, **values), plugins=plugins, log=log)
        yield server
        server.log.output.sink.flush()


async def codes(client: Client) -> list[int]:
    """The codes of all replies until the server closes."""
    found = []
    while (reply := await client.reply()) is not None:
        found.append(reply.code)
    return found


async def in_step(client: Client) -> bool:
    """Whether the next NOOP is answered exactly once, and QUIT behind it; the session is over then."""
    await client.send(b"NOOP\r\n")
    await client.send(b"QUIT\r\n")
    return await codes(client) == [250, 221]


async def open_transaction(client: Client) -> None:
    """MAIL and RCPT, both accepted."""
    assert (await client.command("MAIL FROM:<a@client.test>")).code == 250
    assert (await client.command("RCPT TO:<b@example.com>")).code == 250


async def to_data(client: Client) -> None:
    """As far as the 354."""
    await open_transaction(client)
    assert (await client.command("DATA")).code == 354
