"""Messages of odd form: what is bounded, what is refused, and what comes out as it was."""

import tracemalloc
from pathlib import Path

import pytest

from harakapy import Connection, Plugin, hookimpl
from harakapy.testing import Client
from tests.inbound.scene import Accept

from .scene import esmtp, in_step, to_data

MIB = 1 << 20
KIB = 1 << 10


async def handed_over(
    folder: Path, content: bytes, *plugins: object, **smtp: object
) -> tuple[str, list[bytes]]:
    """The reply to a message, and what was kept."""
    accept = Accept()
    async with esmtp(folder, *plugins, accept, smtp=smtp) as client:
        replies = await client.hand_over("a@client.test", ["b@example.com"], content)
        assert await in_step(client)
    return str(replies[-1]), accept.messages


LINES = {
    "998": (998, {}, "250 2.0.0"),
    "999": (999, {}, "250 2.0.0"),
    "999 where 998 is the limit": (999, {"max_header_line": 998}, "554 5.6.0"),
    "998 where 998 is the limit": (998, {"max_header_line": 998}, "250 2.0.0"),
    "100,000": (100_000, {"max_header_size": MIB}, "554 5.6.0"),
    "100,000 in a header too large": (100_000 + 4096, {}, "552 5.3.4"),
}


@pytest.mark.parametrize(("octets", "smtp", "reply"), LINES.values(), ids=LINES)
async def test_a_long_line_of_the_header(
    octets: int, smtp: dict[str, int], reply: str, tmp_path: Path
) -> None:
    line = b"X-Long: ".ljust(octets, b"x")
    got, kept = await handed_over(tmp_path, line + b"\r\n\r\nbody\r\n", **smtp)
    assert got.startswith(reply)
    assert len(kept) == reply.startswith("250")


@pytest.mark.parametrize(
    ("octets", "reply"), [(99 * KIB, "250"), (101 * KIB, "552 5.3.4"), (10 * MIB, "552 5.3.4")]
)
async def test_a_large_header(octets: int, reply: str, tmp_path: Path) -> None:
    got, kept = await handed_over(tmp_path, b"X: y\r\n" * (octets // 6) + b"\r\nbody\r\n")
    assert got.startswith(reply)
    assert len(kept) == reply.startswith("250")


async def test_a_hundred_thousand_header_lines_take_bounded_memory(tmp_path: Path) -> None:
    accept = Accept()
    async with esmtp(tmp_path, accept) as client:
        await to_data(client)
        tracemalloc.start()
        for _ in range(100):
            await client.send(b"Received: x\r\n" * 1000)
        await client.send(b"\r\n.\r\n")
        assert str(await client.reply()).startswith("552 5.3.4")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 2 * MIB
        assert await in_step(client)
    assert accept.messages == []


async def test_a_message_may_not_have_gone_through_fifty_one_servers(tmp_path: Path) -> None:
    received = b"Received: from a by b; Thu, 1 Jan 1970 00:00:00 +0000\r\n"
    assert (await handed_over(tmp_path, received * 50 + b"\r\n"))[0].startswith("250")
    assert (await handed_over(tmp_path, received * 51 + b"\r\n"))[0].startswith("554 5.4.6")


ODD = {
    "first line begins with a space": b" folded\r\nSubject: x\r\n\r\nbody\r\n",
    "no empty line": b"Subject: x\r\nbody without a colon\r\nmore\r\n",
    "a line without a colon": b"Subject: x\r\nnonsense\r\nFrom: a@b.test\r\n\r\nbody\r\n",
    "a name with a space": b"Sub ject: x\r\n\r\nbody\r\n",
    "8 bits in the header": b"Subject: gr\xfc\xdfe\r\n\r\nbody\r\n",
    "only an empty line": b"\r\n",
    "only a header": b"Subject: x\r\n",
    "nothing": b"",
    "only lines that begin with dots": b"..\r\n.\r\n...\r\n",
    "two From": b"From: a@b.test\r\nFrom: c@d.test\r\n\r\nbody\r\n",
    "no From": b"Subject: x\r\n\r\nbody\r\n",
    "a group": b"From: friends: a@b.test, c@d.test;\r\n\r\nbody\r\n",
    "an encoded line end": b"From: =?utf-8?q?a=0d=0aBcc:x?= <a@b.test>\r\n\r\nbody\r\n",
    "MIME within itself": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    + b"--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" * 1000,
    "10,000 parts without end": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    + b"--b\r\n\r\n" * 10_000,
    "a boundary of 2,049 octets": b"Content-Type: multipart/mixed; boundary=" + b"b" * 2049 + b"\r\n\r\n",
    "base64 that inflates": b"Content-Encoding: gzip\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + b"A" * 76 * 100,
}


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
async def test_a_message_of_odd_form_comes_out_octet_by_octet(content: bytes, tmp_path: Path) -> None:
    if content and not content.endswith(b"\r\n"):
        content += b"\r\n"
    read: list[object] = []

    class Reader(Plugin):
        @hookimpl
        def hook_data_post(self, connection: Connection) -> None:
            assert connection.transaction is not None
            header = connection.transaction.header
            read.extend([header.get("Subject"), header.get_all("From"), header.get_addresses("From")])
            read.append(header.get_decoded("From"))

    reply, kept = await handed_over(tmp_path, content, Reader)
    assert reply.startswith("250 2.0.0")
    [message] = kept
    assert message.endswith(content)
    trace = message.removesuffix(content).decode("ascii").splitlines()
    assert trace[0].startswith("Received: from client.test ")
    if content.startswith(b" "):
        assert trace.pop() == "X-Malformed-Line:"  # else our own field would go on with it
    assert all(line.startswith("\t") for line in trace[1:])
    assert not [value for value in read if isinstance(value, str) and "\n" in value]


POLICY = {
    "a NUL": (b"Subject: a\0b\r\n\r\nbody\r\n", "554 5.6.0 The message has a NUL octet"),
    "a NUL in the body": (b"Subject: ab\r\n\r\nbo\0dy\r\n", "554 5.6.0 The message has a NUL octet"),
    "a lone CR in the header": (
        b"Subject: a\rBcc: x@y.test\r\n\r\nbody\r\n",
        "554 5.6.0 The message has a bare",
    ),
    "a lone LF in the header": (
        b"Subject: a\nBcc: x@y.test\r\n\r\nbody\r\n",
        "554 5.6.0 The message has a bare",
    ),
}


@pytest.mark.parametrize(("content", "reply"), POLICY.values(), ids=POLICY)
async def test_what_other_programs_would_read_differently_is_refused(
    content: bytes, reply: str, tmp_path: Path
) -> None:
    got, kept = await handed_over(tmp_path, content)
    assert got.startswith(reply)
    assert kept == []


async def test_a_declared_size_is_no_excuse(tmp_path: Path) -> None:
    """10 octets were announced and 10 MiB come: refused behind the end of data, and nothing of it is kept."""
    accept = Accept()
    async with esmtp(tmp_path, accept, smtp={"max_message_size": 256 * KIB, "spool_after": KIB}) as client:
        assert (await client.command("MAIL FROM:<a@client.test> SIZE=10")).code == 250
        assert (await client.command("RCPT TO:<b@example.com>")).code == 250
        assert (await client.command("DATA")).code == 354
        tracemalloc.start()
        await _pour(client, 10 * MIB)
        await client.send(b"\r\n.\r\n")
        reply = await client.reply()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert str(reply).startswith("552 5.3.4 ")
        assert peak < 3 * MIB
        assert list((tmp_path / "spool").iterdir()) == []
        assert await in_step(client)
    assert accept.messages == []


async def _pour(client: Client, octets: int) -> None:
    block = b"x" * 1022 + b"\r\n"
    for _ in range(octets // len(block)):
        await client.send(block)
