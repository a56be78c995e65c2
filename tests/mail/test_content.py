"""Content: given back as received, whatever was read of it; changed only where it was changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from email import message_from_binary_file, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harakapy.mail import Content, ContentWriter, Header

RAW = b"Received: from a\r\nSubject: x\r\n folded\r\n\r\nfirst line\r\n\r\nlast line\r\n"
ODD = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b" ", b"A: b\r\n", b"Received: x\r\n", b"no colon", b"\x00"])
).map(b"".join)


@pytest.fixture(params=["memory", "file"])
def content(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Content]:
    """``RAW``, once in memory and once in a file."""
    writer = ContentWriter(1000 if request.param == "memory" else 0, tmp_path)
    writer.write(RAW)
    with writer.finish() as content:
        assert content.is_spooled is (request.param == "file")
        yield content


def output(content: Content) -> bytes:
    joined = b"".join(content.blocks())
    assert content.output_size == len(joined)
    assert content.open().read() == joined
    return joined


@pytest.mark.parametrize(
    ("raw", "header", "body"),
    [
        (b"", b"", b""),
        (b"\r\n", b"", b""),
        (b"\r\nbody\r\n", b"", b"body\r\n"),
        (b"\r\n\r\nbody\r\n", b"", b"\r\nbody\r\n"),
        (b"A: b\r\n", b"A: b\r\n", b""),
        (b"A: b\r\n\r\n", b"A: b\r\n", b""),
        (b"A: b\r\n\r\nbody", b"A: b\r\n", b"body"),
        (b"A: b", b"A: b", b""),
        (b"no header at all\r\n", b"no header at all\r\n", b""),
        (b"A: b\n\nno border\r\n", b"A: b\n\nno border\r\n", b""),
        (b"A: b\r\n \r\n\r\nbody", b"A: b\r\n \r\n", b"body"),
        (b"A: b\r\n\r\r\nx", b"A: b\r\n\r\r\nx", b""),
    ],
)
def test_the_header_ends_at_the_first_empty_line(raw: bytes, header: bytes, body: bytes) -> None:
    content = Content.from_bytes(raw)
    assert content.header_bytes == header
    assert content.header_size == len(header)
    assert content.body == body
    assert content.size == len(raw)
    assert output(content) == raw


def test_everything_can_be_read_wherever_it_lies(content: Content) -> None:
    assert content.header.get("subject") == "x folded"
    assert content.body == b"first line\r\n\r\nlast line\r\n"
    assert content.received_count == 1
    assert content.size == len(RAW)
    assert output(content) == RAW


@given(ODD)
def test_reading_changes_nothing(raw: bytes) -> None:
    content = Content.from_bytes(raw)
    content.header.get("A")
    assert content.received_count == len(content.header.get_all("received"))
    assert content.header_bytes + raw[content.header_size :] == raw
    assert output(content) == raw


@given(ODD, st.integers(1, 20))
def test_blocks_joined_are_the_content(raw: bytes, block_size: int) -> None:
    content = Content.from_bytes(raw)
    content.prepend(b"X: y\r\n")
    content.header.add("Z", "z")
    blocks = list(content.blocks(block_size))
    assert b"".join(blocks) == output(content)
    assert all(0 < len(block) <= block_size for block in blocks)


def test_blocks_need_a_size(content: Content) -> None:
    with pytest.raises(ValueError, match="at least one octet"):
        content.blocks(0)


def test_a_block_in_memory_is_not_copied() -> None:
    raw = RAW * 10
    assert next(Content.from_bytes(raw).blocks()) is raw


def test_readers_do_not_disturb_each_other(content: Content) -> None:
    one, other = content.blocks(7), content.blocks(7)
    pairs = list(zip(one, other, strict=True))
    assert b"".join(block for block, _ in pairs) == RAW
    assert all(block == same for block, same in pairs)


def test_trace_fields_go_before_everything(content: Content) -> None:
    content.prepend(b"Received: us\r\n")
    content.prepend(b"Return-Path: <>\r\nX: y\r\n")
    assert output(content) == b"Return-Path: <>\r\nX: y\r\nReceived: us\r\n" + RAW
    assert content.header.get_all("Received") == ("us", "from a")
    content.prepend(b"First: z\r\n")
    assert output(content) == b"First: z\r\nReturn-Path: <>\r\nX: y\r\nReceived: us\r\n" + RAW
    assert content.received_count == 1
    assert content.header_bytes == b"Received: from a\r\nSubject: x\r\n folded\r\n"


@given(ODD)
def test_trace_fields_leave_the_rest_as_it_was(raw: bytes) -> None:
    unread, read = Content.from_bytes(raw), Content.from_bytes(raw)
    read.header.get("A")
    for content in (unread, read):
        content.prepend(b"X: y\r\n")
        assert content.header.get("X") == "y"
        assert output(content).startswith(b"X: y\r\n")
        assert output(content).endswith(raw)
    assert output(unread) == output(read)


@pytest.mark.parametrize("fields", [b"", b"X: y", b"X: y\r\n\r\n", b" X: y\r\n", b"X: \n\r\n"])
def test_trace_fields_must_be_whole(content: Content, fields: bytes) -> None:
    with pytest.raises(ValueError, match="not formatted header fields"):
        content.prepend(fields)
    assert output(content) == RAW


def test_a_changed_header_leaves_the_body(content: Content) -> None:
    content.header.add("A", "b")
    content.header.remove("Received")
    content.header.replace("Subject", "y")
    assert output(content) == b"Subject: y\r\nA: b\r\n\r\nfirst line\r\n\r\nlast line\r\n"
    assert content.size == len(RAW)


def test_a_replaced_body_leaves_the_header(content: Content) -> None:
    content.prepend(b"X: y\r\n")
    content.replace_body(b"new\r\n")
    assert content.body == b"new\r\n"
    assert output(content) == b"X: y\r\nReceived: from a\r\nSubject: x\r\n folded\r\n\r\nnew\r\n"


@given(ODD, st.binary())
def test_a_replaced_body_is_what_a_reader_finds(raw: bytes, body: bytes) -> None:
    content = Content.from_bytes(raw)
    content.replace_body(body, is_binary=True)
    again = Content.from_bytes(output(content))
    assert again.body == body
    assert again.header_bytes.removesuffix(b"\r\n") == content.header_bytes.removesuffix(b"\r\n")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", b"\r\nnew"),
        (b"\r\nold", b"\r\nnew"),
        (b"A: b", b"A: b\r\n\r\nnew"),
        (b"A: b\r\n", b"A: b\r\n\r\nnew"),
        (b"A: b\r\n\r\nold", b"A: b\r\n\r\nnew"),
    ],
)
def test_a_replaced_body_is_behind_an_empty_line(raw: bytes, expected: bytes) -> None:
    content = Content.from_bytes(raw)
    content.replace_body(b"new")
    assert output(content) == expected


def test_lines_of_a_replaced_body_end_with_crlf() -> None:
    content = Content.from_bytes(RAW)
    content.replace_body(b"a\nb\r\nc\rd\n\n.\n")
    assert content.body == b"a\r\nb\r\nc\r\nd\r\n\r\n.\r\n"
    content.replace_body(b"a\nb", is_binary=True)
    assert content.body == b"a\nb"


def test_the_standard_library_reads_it_as_a_file(content: Content) -> None:
    with content.open() as stream:
        message = message_from_binary_file(stream, _class=EmailMessage, policy=policy.SMTP)
    assert message["subject"] == "x folded"
    assert message.get_payload() == "first line\n\nlast line\n"


@pytest.mark.parametrize(("limit", "is_over"), [(30, False), (15, True), (16, False), (9, True)])
def test_long_header_lines_are_seen(limit: int, is_over: bool) -> None:
    content = Content.from_bytes(b"Received: from a\r\nSubject: x\r\n" + b"folded: 5678\r\n\r\n" + b"y" * 100)
    assert content.has_header_line_over(limit) is is_over


@given(st.lists(st.integers(0, 20)), st.integers(1, 20), st.booleans())
def test_long_header_lines_are_seen_wherever_they_are(lengths: list[int], limit: int, is_ended: bool) -> None:
    raw = b"\r\n".join(b"x" * length for length in lengths if length) + b"\r\n" * is_ended
    is_over = any(length > limit for length in lengths)
    assert Content.from_bytes(raw).has_header_line_over(limit) is is_over


def pieces(read: Callable[[int], bytes | None], size: int) -> Iterator[bytes]:
    while piece := read(size):
        yield piece


@pytest.mark.parametrize("size", [1_000, 65_536, 100_000])
def test_a_stream_can_be_read_in_pieces_of_any_size(size: int) -> None:
    raw = bytes(range(256)) * 1000
    content = Content.from_bytes(raw)
    assert b"".join(pieces(content.open().read, size)) == raw
    assert b"".join(pieces(content.open().raw.read, size)) == raw


def test_closing_removes_the_file(tmp_path: Path) -> None:
    writer = ContentWriter(0, tmp_path)
    writer.write(RAW)
    content = writer.finish()
    content.close()
    content.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="closed file"):
        list(content.blocks())


def test_header_is_parsed_once(content: Content) -> None:
    assert isinstance(content.header, Header)
    assert content.header is content.header
    assert "octets" in repr(content)
