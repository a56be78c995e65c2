"""Where a message ends and what a line is: SMTP smuggling (CVE-2023-51764, 51765, 51766) and its kin."""

from pathlib import Path

import pytest

from harakapy.testing import Client
from tests.inbound.scene import Accept

from .scene import codes, esmtp, in_step, open_transaction, to_data

ENDS = [
    b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\n", b"\n.\r", b"\r.\r\n", b"\r\n.\r", b"\n\n.\r\n",
    b"\r\n.\r\r\n", b"\r\r\n.\r\r\n", b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n\0.\r", b"\r\n\0.\n",
]  # fmt: skip
"""What some servers take for the end of data. Only CR LF . CR LF is (RFC 5321 4.1.1.4)."""
INNER = b"MAIL FROM:<s@x.test>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nSubject: smuggled\r\n\r\nsmuggled"


async def reply_to(client: Client, content: bytes) -> str:
    await client.send(content)
    return str(await client.reply())


@pytest.mark.parametrize("end", ENDS, ids=ascii)
async def test_a_false_end_of_data_is_refused_once_behind_the_true_one(end: bytes, tmp_path: Path) -> None:
    accept = Accept()
    async with esmtp(tmp_path, accept) as client:
        await to_data(client)
        reply = await reply_to(client, b"Subject: x\r\n\r\nbody" + end + INNER + b"\r\n.\r\n")
        assert reply.startswith("554 5.6.0 ")
        assert await in_step(client)
    assert accept.messages == []


@pytest.mark.parametrize("end", ENDS, ids=ascii)
async def test_a_false_end_of_data_that_is_repaired_makes_one_message(end: bytes, tmp_path: Path) -> None:
    accept = Accept()
    async with esmtp(tmp_path, accept, smtp={"bare_newlines": "normalize"}) as client:
        await to_data(client)
        reply = await reply_to(client, b"Subject: x\r\n\r\nbody" + end + INNER + b"\r\n.\r\n")
        assert await in_step(client)
    if b"\0" in end:
        assert reply.startswith("554 5.6.0 The message has a NUL")
        assert accept.messages == []
        return
    assert reply.startswith("250 2.0.0 ")
    [message] = accept.messages
    assert message.endswith(INNER + b"\r\n")
    assert not set(b"\r\n") & set(message.replace(b"\r\n", b""))


@pytest.mark.parametrize("end", ENDS, ids=ascii)
async def test_a_false_end_of_data_in_a_chunk_is_content_like_all_else(end: bytes, tmp_path: Path) -> None:
    accept = Accept()
    content = b"Subject: x\r\n\r\nbody" + end + INNER + b"\r\n.\r\n"
    async with esmtp(tmp_path, accept) as client:
        await open_transaction(client)
        await client.send(b"BDAT %d LAST\r\n" % len(content) + content)
        reply = await client.reply()
        assert await in_step(client)
    assert reply is not None
    if b"\0" in end:
        assert (reply.code, accept.messages) == (554, [])
    else:
        assert reply.code == 250
        [message] = accept.messages
        assert message.endswith(content)


async def test_a_message_too_big_is_refused_once_whatever_its_end_looks_like(tmp_path: Path) -> None:
    accept = Accept()
    async with esmtp(tmp_path, accept, smtp={"max_message_size": 1024}) as client:
        await to_data(client)
        await client.send(b"x" * 5000 + b"\r\n.\n")
        assert (await reply_to(client, b"HELP\r\nHELP\r\n.\r\n")).startswith("552 5.3.4 ")
        assert await in_step(client)
    assert accept.messages == []


@pytest.mark.parametrize("cut", range(1, 5))
@pytest.mark.parametrize("body", [b"body", b""], ids=["body", "empty"])
async def test_the_end_of_data_may_come_in_two_segments(cut: int, body: bytes, tmp_path: Path) -> None:
    accept, end = Accept(), b"\r\n.\r\n"
    async with esmtp(tmp_path, accept) as client:
        await to_data(client)
        await client.send(b"Subject: x\r\n\r\n" + body + end[:cut])
        assert (await reply_to(client, end[cut:])).startswith("250 2.0.0 ")
        assert await in_step(client)
    assert len(accept.messages) == 1


async def test_dots_at_the_beginning_of_lines_come_out_as_they_were(tmp_path: Path) -> None:
    accept = Accept()
    async with esmtp(tmp_path, accept) as client:
        content = b"Subject: x\r\n\r\n.\r\n..\r\n.x\r\n..x\r\n...\r\n"
        replies = await client.hand_over("a@client.test", ["b@example.com"], content)
        assert replies[-1].code == 250
    assert accept.messages[0].endswith(content)


@pytest.mark.parametrize(
    "sent", [b"NOOP\n", b"RSET\nNOOP\r\n", b"MAIL FROM:<a@b.test>\nRCPT TO:<b@example.com>\n"]
)
async def test_a_command_that_ends_with_a_bare_lf_does_nothing_and_ends_the_session(
    sent: bytes, tmp_path: Path
) -> None:
    accept = Accept()
    async with esmtp(tmp_path, accept) as client:
        await client.send(sent)
        assert await codes(client) == [500]
