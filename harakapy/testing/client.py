"""A client for tests: lines out, replies in, over memory or any other stream.

It knows nothing of SMTP but how a reply ends, so a test can say whatever it likes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import trio
import trio.testing

from harakapy.config import ListenSettings
from harakapy.net import SocketAddress
from harakapy.smtp import Reply, ReplyParser

if TYPE_CHECKING:
    from harakapy.process import Server

REMOTE = SocketAddress("192.0.2.1", 40000)  # RFC 5737: documentation
LOCAL = SocketAddress("192.0.2.25", 25)


class Client:
    """One end of a dialogue."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._parser = ReplyParser()

    async def reply(self) -> Reply | None:
        """The next reply, or None if the server has closed the connection."""
        while (reply := self._parser.next_reply()) is None:
            try:
                received = await self.stream.receive_some(65536)
            except trio.BrokenResourceError:
                return None
            if not received:
                return None
            self._parser.receive_data(bytes(received))
        return reply

    async def send(self, data: bytes) -> None:
        """Send octets as they are."""
        await self.stream.send_all(data)

    async def command(self, line: str) -> Reply:
        """Send one line and give its reply. Raises EOFError if the server closes instead."""
        with suppress(trio.BrokenResourceError):  # that the server is gone is seen by its missing reply
            await self.send(line.encode() + b"\r\n")
        return await self._expected_reply(line)

    async def hand_over(self, sender: str, recipients: list[str], content: bytes) -> list[Reply]:
        """Send one message, each command after the reply to the last; all replies, those to RCPT among them.

        Stops at the first refusal but for those of recipients. ``content`` ends with CRLF and is dot-stuffed
        here.
        """
        replies = [await self.command(f"MAIL FROM:<{sender}>")]
        if replies[-1].is_positive:
            replies += [await self.command(f"RCPT TO:<{recipient}>") for recipient in recipients]
            replies.append(await self.command("DATA"))
        if replies[-1].is_intermediate:
            stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
            await self.send(stuffed + b".\r\n")
            replies.append(await self._expected_reply("the content"))
        return replies

    async def _expected_reply(self, after: str) -> Reply:
        reply = await self.reply()
        if reply is None:
            raise EOFError(f"the server closed the connection after {after!r}")
        return reply


@asynccontextmanager
async def connect(
    server: Server,
    remote: SocketAddress = REMOTE,
    local: SocketAddress = LOCAL,
    *,
    listen: ListenSettings | None = None,
) -> AsyncIterator[Client]:
    """A client of a running server, in memory; the connection is cut at the end of the block.

    ``listen`` holds what a ``[[listen]]`` table would say of where it comes in, TLS aside.
    What the block raises comes out as it is.
    """
    ours, theirs = trio.testing.memory_stream_pair()
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(server.converse, theirs, remote, local, listen=listen))
        try:
            yield Client(ours)
        except Exception as error:  # noqa: BLE001  # raised again below, outside the nursery
            failure = error
        await ours.aclose()
    if failure is not None:
        raise failure
