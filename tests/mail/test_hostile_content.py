"""Content that strangers made to break something: format, size, nesting, injection.

Defined behaviour, each with a test here: malformed lines stay where they are and as they are, so whatever a
signature covers is unchanged; nothing in a header can become another field, a log line or a terminal command;
time and memory grow with the size of a message and nothing else.
"""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import pytest

from harakapy.mail import Content, ContentWriter, Header
from harakapy.mail.field import check_formatted, format_field

TRACE = b"Received: from c.example by mx.example.org; Sun, 22 Nov 2026 10:00:00 +0000\r\n"


def collect(raw: bytes, directory: Path) -> Content:
    """Content as it is received: in segments, with the defaults of a server."""
    writer = ContentWriter(262_144, directory)
    for at in range(0, len(raw), 65_536):
        writer.write(raw[at : at + 65_536])
        if writer.is_flush_due:
            writer.flush()
    return writer.finish()


def output(content: Content) -> bytes:
    return b"".join(content.blocks())


# Lengths of lines, of the header, and numbers of lines


@pytest.mark.parametrize(("octets", "is_over"), [(998, False), (999, True), (100_000, True)])
def test_a_long_header_line_is_seen_and_kept(octets: int, is_over: bool, tmp_path: Path) -> None:
    raw = b"X: " + b"y" * (octets - 3) + b"\r\nSubject: x\r\n\r\nbody\r\n"
    content = collect(raw, tmp_path)
    assert content.has_header_line_over(998) is is_over
    assert content.header.get("Subject") == "x"
    assert output(content) == raw


@pytest.mark.parametrize("line", [b"X: y\r\n", b"y" * 998 + b"\r\n", b"\x00", b"\r\n \r", b"\r\n."])
def test_a_header_too_large_is_seen_at_once_and_takes_no_memory(line: bytes, tmp_path: Path) -> None:
    block = b"A: b" + line * (65_536 // len(line))
    writer = ContentWriter(262_144, tmp_path)
    tracemalloc.start()
    try:
        for number in range(1, 161):  # ten megabytes
            writer.write(block)
            assert writer.header_size == number * len(block)
            if writer.is_flush_due:
                writer.flush()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        writer.discard()
    assert peak < 1024 * 1024


@pytest.mark.parametrize(
    "line", [b"X: y\r\n", b"Received: y\r\n", b"no colon\r\n", b"X:\r\n y\r\n", b": \r\n"]
)
def test_a_hundred_thousand_header_lines_take_linear_time(line: bytes, tmp_path: Path) -> None:
    raw = line * 100_000 + b"Subject: x\r\n\r\nbody\r\n"
    with collect(raw, tmp_path) as content:
        started = time.perf_counter()
        assert content.header.get("subject") == "x"
        assert content.received_count == (100_000 if line.startswith(b"R") else 0)
        content.header.remove("X")
        content.header.remove("Received")
        content.header.replace("Subject", "y")
        assert content.header.get_decoded("subject") == "y"
        assert content.header.defects in (0, 100_000)
        assert time.perf_counter() - started < 10  # quadratic would take hours


def test_continuation_lines_without_end_are_one_field(tmp_path: Path) -> None:
    raw = b"Subject: x\r\n" + b" y\r\n" * 100_000 + b"\r\n"
    with collect(raw, tmp_path) as content:
        assert len(content.header) == 1
        assert content.header.get("Subject") == "x" + " y" * 100_000


# Malformed headers, and characters that have no place there


@pytest.mark.parametrize(
    ("raw", "defects"),
    [
        pytest.param(b" begins with space\r\nFrom: a@b.example\r\n\r\nbody\r\n", 1, id="leading space"),
        pytest.param(b"\tX: y\r\nFrom: a@b.example\r\n\r\nbody\r\n", 1, id="leading tab"),
        pytest.param(b"From: a@b.example\r\nbody without an empty line\r\n", 1, id="no empty line"),
        pytest.param(b"From: a@b.example\r\nno colon here\r\nTo: b\r\n\r\nbody\r\n", 1, id="no colon"),
        pytest.param(b"From: a@b.example\r\nTo me: b\r\n\r\nbody\r\n", 1, id="space in name"),
        pytest.param(b"From: a@b.example\r\n: b\r\n\r\nbody\r\n", 1, id="no name"),
        pytest.param(b"From: a@b.example\r\n \t \r\n\r\nbody\r\n", 0, id="blank continuation"),
        pytest.param(b"From: a@b.example\r\nX: \x00\r\n\r\nbody\r\n", 1, id="NUL"),
        pytest.param(b"From: a@b.example\r\nX: \xff\xe9\r\n\r\nbody\r\n", 0, id="8-bit value"),
        pytest.param(b"From: a@b.example\r\n\xff\xe9: y\r\n\r\nbody\r\n", 1, id="8-bit name"),
        pytest.param(b"From: a@b.example\r\nX: a\rBcc: b\r\n\r\nbody\r\n", 1, id="lone CR"),
        pytest.param(b"From: a@b.example\r\nX: a\nBcc: b\r\n\r\nbody\r\n", 1, id="bare LF"),
        pytest.param(b"From: a@b.example\r\nX: a\n\nBcc: b\r\n\r\nbody\r\n", 1, id="bare LF LF"),
        pytest.param(b"From: a@b.example\r\nX: a\r\r\n\r\nbody\r\n", 1, id="extra CR"),
        pytest.param(b"From: a@b.example\r\n__proto__: x\r\nconstructor: y\r\n\r\nbody\r\n", 0, id="objects"),
    ],
)
def test_malformed_headers_are_counted_and_what_is_signed_stays(raw: bytes, defects: int) -> None:
    content = Content.from_bytes(raw)
    content.prepend(TRACE)
    unread = output(content)
    assert content.header.defects == defects
    assert unread == output(content)
    assert content.header.get("From") == "a@b.example"
    assert output(content).startswith(TRACE)
    assert output(content).endswith(raw)
    assert content.header.get("Received") == TRACE.decode().removeprefix("Received: ").strip()


@pytest.mark.parametrize(
    "raw", [b"X: a\rBcc: b\r\n", b"X: a\nBcc: b\r\n", b"X: a\r\r\nBcc: b\r\n".replace(b"\r\nB", b"\rB")]
)
def test_bare_line_ends_do_not_make_another_field(raw: bytes) -> None:
    header = Header(raw)
    assert "Bcc" not in header
    assert (header.get("X") or "").replace(r"\x0d", "").replace(r"\x0a", "") == "aBcc: b"


# MIME made to nest, to loop, to inflate: it is passed on without being looked at


@pytest.mark.parametrize(
    ("boundary", "body"),
    [
        pytest.param(b"b", b"--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" * 10_000, id="nested"),
        pytest.param(b"b" * 70, b"--" + b"b" * 70 + b"\r\n\r\nx\r\n--" + b"b" * 70 + b"--\r\n", id="70"),
        pytest.param(b"b" * 71, b"--" + b"b" * 71 + b"\r\n\r\nx\r\n", id="71, unterminated"),
        pytest.param(b"b" * 2_049, b"--" + b"b" * 2_049 + b"\r\n\r\nx\r\n", id="2049"),
        pytest.param(b"b", b"--b\r\n--b\r\n" * 50_000, id="empty parts"),
        pytest.param(
            b"b", b"--b\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b"UEsDBA" * 100_000, id="base64"
        ),
    ],
)
def test_mime_costs_nothing_and_stays(boundary: bytes, body: bytes, tmp_path: Path) -> None:
    raw = b'Content-Type: multipart/mixed; boundary="' + boundary + b'"\r\n\r\n' + body
    with collect(raw, tmp_path) as content:
        started = time.perf_counter()
        assert content.header.get("content-type") == f'multipart/mixed; boundary="{boundary.decode()}"'
        assert len(content.header) == 1
        assert time.perf_counter() - started < 1
        assert output(content) == raw


# Who is it from


@pytest.mark.parametrize(
    ("header", "addresses"),
    [
        pytest.param(b"From: a@b.example\r\nFrom: c@d.example\r\n", ["a@b.example", "c@d.example"], id="two"),
        pytest.param(b"Subject: x\r\n", [], id="none"),
        pytest.param(b"From:\r\n", [], id="empty"),
        pytest.param(b"From: a@b.example, c@d.example\r\n", ["a@b.example", "c@d.example"], id="list"),
        pytest.param(b"From: Us: a@b.example, c@d.example;\r\n", ["a@b.example", "c@d.example"], id="group"),
        pytest.param(
            b"From: a@b.example\r\n\t, c@d.example\r\n", ["a@b.example", "c@d.example"], id="folded"
        ),
        pytest.param(b"From: a@b.example\x00, c@d.example\r\n", [None, "c@d.example"], id="NUL"),
        pytest.param(b"From: a@b.example\r, c@d.example\r\n", [None, "c@d.example"], id="lone CR"),
        pytest.param(b"From: =?utf-8?q?a=40b.example?=\r\n", [None], id="encoded address"),
        pytest.param(b'From: "a@b.example" <c@d.example>\r\n', ["c@d.example"], id="address as a name"),
    ],
)
def test_every_author_is_seen(header: bytes, addresses: list[str | None]) -> None:
    found = [box.address and str(box.address) for box in Header(header).get_addresses("From")]
    assert found == addresses


def test_encoded_line_ends_do_not_make_another_field() -> None:
    header = Header(b"From: =?utf-8?q?a=0d=0aBcc:x?= <a@b.example>\r\n")
    (author,) = header.get_addresses("From")
    assert author.name == r"a\x0d\x0aBcc:x"
    header.add("X-Author", author.name)
    header.add("X-From", header.get_decoded("From") or "")
    assert "Bcc" not in header
    assert len(Header(header.to_bytes())) == 3


# Loops


def test_fifty_one_hops_are_counted(tmp_path: Path) -> None:
    hops = b"".join(b"Received: from h%d\r\n\tby h%d; x\r\n" % (number, number) for number in range(51))
    raw = hops + b"Subject: Received: no\r\n\r\nReceived: in the body\r\n"
    content = collect(raw, tmp_path)
    content.prepend(TRACE)
    assert content.received_count == 51


# Hardly anything


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\r\n", id="only CRLF"),
        pytest.param(b"\r\n\r\n", id="CRLF CRLF"),
        pytest.param(b"From: a@b.example\r\n", id="only a header"),
        pytest.param(b"From: a@b.example\r\n\r\n", id="only a header, ended"),
        pytest.param(b".\r\n..\r\n.x\r\n", id="dots as header"),
        pytest.param(b"\r\n.\r\n..\r\n.x\r\n..x\r\n", id="dots as body"),
        pytest.param(b".", id="one dot"),
    ],
)
def test_hardly_any_content_stays_what_it_is(raw: bytes, tmp_path: Path) -> None:
    for content in (collect(raw, tmp_path), Content.from_bytes(raw)):
        assert output(content) == raw
        content.prepend(TRACE)
        assert output(content) == TRACE + raw
        assert content.header.get("Received") is not None
        assert output(content) == TRACE + raw


# Injection into logs, terminals and other headers

HOSTILE = [
    b"a\x1b[31mb",
    b'"a\\"',
    b"%s%n%(x)s",
    b"${jndi:x}",
    b"x" * 10_240,
    b"a\x9bb",
    b"\xc2\x9b31m",
    b"\xe2\x80\xa8x",
]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("name", ["Subject", "Message-ID"])
def test_values_do_nothing_in_a_log_or_another_header(name: str, value: bytes) -> None:
    header = Header(name.encode() + b": " + value + b"\r\n y\r\n")
    text, decoded = header.get(name), header.get_decoded(name)
    assert text is not None
    assert decoded == text
    assert text.isprintable()
    raw = format_field("X-Copy", text)
    check_formatted(raw)
    assert len(Header(raw)) == 1
    assert Header(raw).get_decoded("X-Copy") == text
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
