"""A floor for relaying: accept, sync in groups, answer, deliver; and nothing else.

``python -m tests.benchmarks.bare_relay PORT NEXT_HOP_PORT CONNECTIONS JOURNAL``. Mail is appended to one
file, synced for all that wait together, and goes out from memory over kept connections. No checks, no limits,
no retries, no hooks, no log. A delivery is noted in the same file without a sync of its own, so after a crash
some mail would go out twice, and at a start all that is not noted as delivered goes out.
"""

from __future__ import annotations

import math
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

import trio

REPLIES = {
    b"EHLO": b"250-bare\r\n250-PIPELINING\r\n250 SIZE 0\r\n",
    b"DATA": b"354 go ahead\r\n",
    b"QUIT": b"221 bye\r\n",
}
RECORD = b"%c %d %d\n"
GAP = b"\0"


@dataclass(slots=True, eq=False)
class Message:
    """Envelope commands as they came, and the content with its final dot."""

    number: int
    envelope: bytes
    content: bytes
    is_safe: trio.Event = field(default_factory=trio.Event)


class Journal:
    """The file: records of accepted mail (A) and of delivered (D)."""

    def __init__(self, path: Path) -> None:
        self.left = self._read(path) if path.exists() else {}
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self._waiting: list[Message] = []
        self._delivered: list[bytes] = []
        self._wake = trio.Event()
        self._number = max(self.left, default=0)

    @staticmethod
    def _read(path: Path) -> dict[int, Message]:
        """What was accepted and not delivered; a torn record at the end was acknowledged to nobody."""
        text, at = path.read_bytes(), 0
        left: dict[int, Message] = {}
        while (end := text.find(b"\n", at)) >= 0:
            kind, number, size = text[at:end].split()
            at = end + 1 + int(size)
            if at > len(text):
                break
            if kind == b"D":
                left.pop(int(number), None)
            else:
                envelope, _, content = text[end + 1 : at].partition(GAP)
                left[int(number)] = Message(int(number), envelope, content)
        return left

    async def keep(self, envelope: bytes, content: bytes) -> Message:
        """The message, safe on disk."""
        self._number += 1
        message = Message(self._number, envelope, content)
        self._waiting.append(message)
        self._wake.set()
        await message.is_safe.wait()
        return message

    def delivered(self, message: Message) -> None:
        """Noted at the next sync."""
        self._delivered.append(RECORD % (b"D", message.number, 0))
        if len(self._delivered) == 1:
            self._wake.set()

    async def run(self) -> None:
        """Write and sync what waits, again and again."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            group, self._waiting = self._waiting, []
            parts, self._delivered = self._delivered, []
            for message in group:
                size = len(message.envelope) + len(GAP) + len(message.content)
                parts += (RECORD % (b"A", message.number, size), message.envelope, GAP, message.content)
            await trio.to_thread.run_sync(self._write, parts, bool(group))
            for message in group:
                message.is_safe.set()

    def _write(self, parts: list[bytes], is_synced: bool) -> None:
        rest = memoryview(b"".join(parts))
        while rest:
            rest = rest[os.write(self._file, rest) :]
        if is_synced:
            os.fdatasync(self._file)


async def receive(stream: trio.SocketStream, journal: Journal, out: trio.MemorySendChannel[Message]) -> None:
    """One connection of a client."""
    await stream.send_all(b"220 bare\r\n")
    buffer = bytearray()
    envelope = b""
    in_data, searched = False, 0
    while received := await stream.receive_some(65536):
        buffer += received
        replies = b""
        while True:
            if in_data:
                end = buffer.find(b"\r\n.\r\n", max(0, searched - 4))
                if end < 0:
                    searched = len(buffer)
                    break
                message = await journal.keep(envelope, bytes(buffer[: end + 5]))
                del buffer[: end + 5]
                in_data, searched, envelope = False, 0, b""
                await out.send(message)
                replies += b"250 ok\r\n"
                continue
            end = buffer.find(b"\r\n")
            if end < 0:
                break
            line = bytes(buffer[: end + 2])
            del buffer[: end + 2]
            verb = line[:4].upper()
            in_data = verb == b"DATA"
            if verb in (b"MAIL", b"RCPT"):
                envelope += line
            replies += REPLIES.get(verb, b"250 ok\r\n")
            if verb == b"QUIT":
                await stream.send_all(replies)
                return
        if replies:
            await stream.send_all(replies)


async def deliver(port: int, journal: Journal, mail: trio.MemoryReceiveChannel[Message]) -> None:
    """One connection to the next hop, opened with the first message; one that fails ends the program."""
    first = await mail.receive()
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    await _replies(stream, 1)
    await stream.send_all(b"EHLO bare\r\n")
    await _replies(stream, 1)
    message = first
    while True:
        await stream.send_all(message.envelope + b"DATA\r\n")
        await _replies(stream, message.envelope.count(b"\n") + 1)
        await stream.send_all(message.content)
        await _replies(stream, 1)
        journal.delivered(message)
        message = await mail.receive()


async def _replies(stream: trio.SocketStream, count: int) -> None:
    received = b""
    while True:
        data = await stream.receive_some(65536)
        received += data
        lines = received.split(b"\r\n")[:-1]
        last = [line for line in lines if line[3:4] != b"-"]
        if not data or any(line[:1] not in b"23" for line in last):
            raise OSError(f"the next hop says {received!r}")
        if len(last) >= count:
            return


async def main(port: int, next_hop: int, connections: int, path: Path) -> None:
    """Serve for ever."""
    journal = Journal(path)
    give, take = trio.open_memory_channel[Message](math.inf)

    async def handle(stream: trio.SocketStream) -> None:
        try:
            async with stream:
                await receive(stream, journal, give)
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.run)
        for _ in range(connections):
            nursery.start_soon(deliver, next_hop, journal, take)
        for message in journal.left.values():
            give.send_nowait(message)
        await trio.serve_tcp(handle, port, host="127.0.0.1")


if __name__ == "__main__":
    own_port, next_port, limit, file = sys.argv[1:]
    trio.run(main, int(own_port), int(next_port), int(limit), Path(file))
