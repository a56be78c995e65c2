"""Smuggling through us: what another server is sent is one message to it, however it reads line ends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from harakapy import OK, Plugin, Server, hookimpl
from harakapy.log import silent_logger
from harakapy.net import SocketStream
from harakapy.plugins.queue_smtp_forward import QueueSmtpForward
from harakapy.testing import Client, connect
from tests.inbound.scene import settings
from tests.outbound.scene import Relaying, is_worked_off

from .scene import to_data
from .test_a_line_discipline import ENDS, INNER

START = b"Subject: x\r\n\r\nbody"
EVERYTHING = ("PIPELINING", "8BITMIME", "CHUNKING", "BINARYMIME")


class Wire:
    """Another server, which keeps every octet that it is sent and answers groups of commands.

    ``contents`` are what came behind DATA, stuffed and without the dot, or in chunks; ``commands`` all lines
    that it took for commands.
    """

    def __init__(self, *keywords: str) -> None:
        self._keywords = keywords
        self._received = b""
        self.commands: list[str] = []
        self.contents: list[bytes] = []
        self.port = 0

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Take connections until cancelled."""
        with trio.socket.socket() as listener:
            await listener.bind(("127.0.0.1", 0))
            listener.listen()
            self.port = listener.getsockname()[1]
            task_status.started()
            while True:
                connected, _ = await listener.accept()
                stream = SocketStream(connected._sock)  # type: ignore[attr-defined]  # trio has no public way back
                try:
                    await self._talk(stream)
                finally:
                    stream.close()

    async def _talk(self, stream: SocketStream) -> None:
        self._received, in_chunks = b"", b""
        await stream.send_all(b"220 wire.test\r\n")
        while (line := await self._until(stream, b"\r\n")) is not None:
            verb, _, argument = line.decode("latin-1").partition(" ")
            self.commands.append(verb.upper())
            reply = b"250 ok\r\n"
            if verb == "EHLO":
                reply = b"".join(b"250-%b\r\n" % word.encode() for word in self._keywords) + b"250 HELP\r\n"
            elif verb == "DATA":
                await stream.send_all(b"354 go on\r\n")
                content = await self._until(stream, b"\r\n.\r\n")
                assert content is not None, "there was no end of data"
                self.contents.append(content + b"\r\n")
            elif verb == "BDAT":
                size, _, last = argument.partition(" ")
                in_chunks += await self._octets(stream, int(size))
                if last:
                    self.contents.append(in_chunks)
                    in_chunks = b""
            await stream.send_all(reply)

    async def _until(self, stream: SocketStream, end: bytes) -> bytes | None:
        while end not in self._received:
            block = await stream.receive_some()
            if not block:
                return None
            self._received += block
        found, _, self._received = self._received.partition(end)
        return found

    async def _octets(self, stream: SocketStream, size: int) -> bytes:
        while len(self._received) < size:
            self._received += await stream.receive_some()
        octets, self._received = self._received[:size], self._received[size:]
        return octets


@asynccontextmanager
async def passing_on(
    folder: Path, wire: Wire, *, way: str, **values: Any
) -> AsyncIterator[tuple[Server, Client]]:
    """A server that passes mail on to the wire, by its queue on a disk or while the client waits."""
    async with trio.open_nursery() as nursery:
        await nursery.start(wire.serve)
        hop = f"smtp://127.0.0.1:{wire.port}"
        if way == "queued":
            plugins: list[object] = [Relaying()]
            values["outbound"] = {"relay_host": hop}
        else:
            plugins = [Anybody(), QueueSmtpForward(next_hop=[hop])]
        server = Server(settings(folder, **values), plugins=plugins, log=silent_logger(), strict=True)
        async with server.running(), connect(server) as client:
            await client.reply()
            await client.command("EHLO client.test")
            yield server, client
        nursery.cancel_scope.cancel()


class Anybody(Plugin):
    """Takes mail for anybody."""

    @hookimpl(trylast=True)
    def hook_rcpt(self) -> Any:
        return OK


async def chunk(client: Client, content: bytes, params: str = "") -> int:
    """The code of the answer to a message in one chunk."""
    await client.send(
        b"MAIL FROM:<a@client.test>%b\r\nRCPT TO:<b@example.com>\r\nBDAT %d LAST\r\n%b"
        % (params.encode(), len(content), content)
    )
    replies = [await client.reply() for _ in range(3)]
    assert replies[2] is not None
    return replies[2].code


def lines_of(content: bytes) -> bytes:
    """The content with CRLF where there was a CR or an LF alone."""
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


def unstuffed(sent: bytes) -> bytes:
    """What a server makes of content behind DATA."""
    return sent.removeprefix(b".").replace(b"\r\n.", b"\r\n")


WITHOUT_NUL = [end for end in ENDS if b"\0" not in end]
WAYS = pytest.mark.parametrize("way", ["queued", "forwarded"])


@WAYS
@pytest.mark.parametrize("end", WITHOUT_NUL, ids=ascii)
async def test_a_false_end_that_came_in_a_chunk_goes_behind_data_as_lines(
    end: bytes, way: str, tmp_path: Path
) -> None:
    wire, content = Wire("PIPELINING"), START + end + INNER + b"\r\n.\r\nQUIT\r\n"
    async with passing_on(tmp_path, wire, way=way) as (server, client):
        assert await chunk(client, content) == 250
        await is_worked_off(server)
    (sent,) = wire.contents
    assert not set(b"\r\n") & set(sent.replace(b"\r\n", b""))
    assert b"\n.\r" not in sent
    assert unstuffed(sent).endswith(lines_of(content))
    assert wire.commands.count("MAIL") == wire.commands.count("DATA") == 1


@WAYS
@pytest.mark.parametrize("end", WITHOUT_NUL, ids=ascii)
async def test_a_false_end_goes_in_chunks_as_it_came(end: bytes, way: str, tmp_path: Path) -> None:
    wire, content = Wire(*EVERYTHING), START + end + INNER + b"\r\n.\r\nQUIT\r\n"
    async with passing_on(tmp_path, wire, way=way) as (server, client):
        assert await chunk(client, content) == 250
        await is_worked_off(server)
    (sent,) = wire.contents
    assert sent.endswith(content)
    assert wire.commands.count("MAIL") == wire.commands.count("BDAT") == 1


@WAYS
@pytest.mark.parametrize("end", ENDS, ids=ascii)
async def test_binary_content_never_goes_behind_data_as_it_came(end: bytes, way: str, tmp_path: Path) -> None:
    wire, content = Wire("PIPELINING"), START + end + INNER + b"\r\n.\r\nQUIT\r\n\xff"
    async with passing_on(tmp_path, wire, way=way) as (server, client):
        await chunk(client, content, " BODY=BINARYMIME")
        await is_worked_off(server)
    assert "BDAT" not in wire.commands
    for sent in wire.contents:
        assert not set(b"\r\n\0") & set(sent.replace(b"\r\n", b""))
        assert sent.isascii()
        assert b"\n.\r" not in sent
    assert len(wire.contents) <= 1


@WAYS
@pytest.mark.parametrize("end", ENDS, ids=ascii)
async def test_a_false_end_behind_data_is_mended_before_it_goes_on(
    end: bytes, way: str, tmp_path: Path
) -> None:
    wire, content = Wire("PIPELINING"), START + end + INNER
    async with passing_on(tmp_path, wire, way=way, smtp={"bare_newlines": "normalize"}) as (server, client):
        await to_data(client)
        await client.send(content + b"\r\n.\r\n")
        reply = await client.reply()
        await is_worked_off(server)
    assert reply is not None
    if b"\0" in end:
        assert (reply.code, wire.contents) == (554, [])
        return
    (sent,) = wire.contents
    assert not set(b"\r\n") & set(sent.replace(b"\r\n", b""))
    assert INNER in sent
    assert wire.commands.count("MAIL") == wire.commands.count("DATA") == 1


@pytest.mark.parametrize("keywords", [(), EVERYTHING], ids=["data", "chunks"])
@pytest.mark.parametrize("end", ENDS, ids=ascii)
async def test_what_a_program_sends_is_one_message(
    end: bytes, keywords: tuple[str, ...], tmp_path: Path
) -> None:
    wire = Wire(*keywords)
    async with passing_on(tmp_path, wire, way="queued") as (server, _):
        try:
            await server.outbound.send(
                "a@client.test", "b@example.com", START + end + INNER + b"\r\n.\r\nQUIT\r\n"
            )
        except ValueError:
            assert b"\0" in end
        await is_worked_off(server)
    assert len(wire.contents) == (b"\0" not in end)
    for sent in wire.contents:
        assert not set(b"\r\n\0") & set(sent.replace(b"\r\n", b""))


@pytest.mark.parametrize("end", ENDS, ids=ascii)
async def test_a_subject_that_a_program_gives_ends_nothing(end: bytes, tmp_path: Path) -> None:
    wire = Wire()
    async with passing_on(tmp_path, wire, way="queued") as (server, _):
        try:
            content = b"Subject: a" + end + b"b\r\n\r\nbody\r\n"
            await server.outbound.send("a@client.test", "b@example.com", content)
        except ValueError:
            assert b"\0" in end
        await is_worked_off(server)
    assert len(wire.contents) == (b"\0" not in end)
