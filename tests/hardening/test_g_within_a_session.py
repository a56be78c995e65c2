"""Limits that do not end the session: the reply, and a neighbour that notices nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from harakapy.net import SocketAddress
from harakapy.testing import Client, connect
from tests.inbound.scene import MESSAGE, Accept, serving

from .scene import in_step

NEIGHBOUR = SocketAddress("198.51.100.1", 40000)
RECEIVED = b"Received: from a by b; Thu, 1 Jan 1970 00:00:00 +0000\r\n"


@asynccontextmanager
async def both(folder: Path, accept: Accept, **smtp: object) -> AsyncIterator[tuple[Client, Client]]:
    """A client and its neighbour, who has begun a message."""
    async with (
        serving(folder, accept, smtp=smtp) as server,
        connect(server) as client,
        connect(server, NEIGHBOUR) as neighbour,
    ):
        for each in (client, neighbour):
            await each.reply()
            assert (await each.command("EHLO client.test")).code == 250
        for command, code in (("MAIL FROM:<n@b.test>", 250), ("RCPT TO:<n@example.com>", 250), ("DATA", 354)):
            assert (await neighbour.command(command)).code == code
        await neighbour.send(b"Subject: of the neighbour\r\n")
        yield client, neighbour


OVER = {
    "a header too large": (b"X: y\r\n" * 20_000 + b"\r\n", {}, "552 5.3.4"),
    "a line of the header too long": (b"X: " + b"y" * 40_000 + b"\r\n\r\n", {}, "554 5.6.0"),
    "a line of the body too long": (b"\r\n" + b"y" * 1000 + b"\r\n", {"max_line_length": 998}, "554 5.6.0"),
    "too many hops": (RECEIVED * 51 + b"\r\n", {}, "554 5.4.6"),
    "a message too large": (b"\r\n" + b"y" * 5000 + b"\r\n", {"max_message_size": 4096}, "552 5.3.4"),
    "a bare LF": (b"a\nb\r\n", {}, "554 5.6.0"),
    "a NUL": (b"a\0b\r\n", {}, "554 5.6.0"),
}


@pytest.mark.parametrize(("content", "smtp", "reply"), OVER.values(), ids=OVER)
async def test_a_message_over_a_limit_is_refused_between_two_good_ones(
    content: bytes, smtp: dict[str, object], reply: str, tmp_path: Path
) -> None:
    accept = Accept()
    async with both(tmp_path, accept, **smtp) as (client, neighbour):
        for each, expected in ((MESSAGE, "250 2.0.0"), (content, reply), (MESSAGE, "250 2.0.0")):
            replies = await client.hand_over("a@b.test", ["b@example.com"], each)
            assert str(replies[-1]).startswith(expected)
        await neighbour.send(b"\r\nbody\r\n.\r\n")
        assert str(await neighbour.reply()).startswith("250 2.0.0")
        assert await in_step(client)
        assert await in_step(neighbour)
    assert len(accept.messages) == 3
    assert accept.messages[2].endswith(b"Subject: of the neighbour\r\n\r\nbody\r\n")


async def test_recipients_over_the_limit_are_counted_for_their_own_message_only(tmp_path: Path) -> None:
    accept = Accept()
    group = b"MAIL FROM:<a@b.test>\r\n" + b"RCPT TO:<b@example.com>\r\n" * 101 + b"DATA\r\n"
    async with both(tmp_path, accept, max_recipients=100) as (client, neighbour):
        for _ in range(2):
            await client.send(group)
            replies = [str(await client.reply())[:9] for _ in range(103)]
            assert replies[1:101] == ["250 2.1.5"] * 100
            assert replies[101][:9] == "452 4.5.3"
            assert replies[102].startswith("354")
            await client.send(MESSAGE + b".\r\n")
            assert str(await client.reply()).startswith("250 2.0.0")
        await neighbour.send(b"\r\n.\r\n")
        assert str(await neighbour.reply()).startswith("250 2.0.0")
        assert await in_step(neighbour)
    assert len(accept.messages) == 3
