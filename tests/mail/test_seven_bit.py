from __future__ import annotations

import email
from email.message import Message
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harakapy.mail import Content, ContentWriter, seven_bit
from harakapy.mail import octets as random_access
from harakapy.mail.seven_bit import MAX_DEPTH, MAX_PARTS, NotConvertible, has_eight_bit
from harakapy.smtp.parameters import Body

MULTIPART = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n"


def convert(raw: bytes, body: Body = Body.EIGHTBITMIME) -> bytes:
    with seven_bit.seven_bit(Content.from_bytes(raw), body=body) as content:
        return b"".join(content.blocks())


def leaves(raw: bytes) -> list[bytes]:
    """What a reader sees in each part."""
    message: Message = email.message_from_bytes(raw)
    return [part.get_payload(decode=True) for part in message.walk() if not part.is_multipart()]  # type: ignore[misc]  # bytes, when decoded


def text(body: bytes, fields: bytes = b"Content-Type: text/plain; charset=utf-8\r\n") -> bytes:
    return b"MIME-Version: 1.0\r\n" + fields + b"\r\n" + body


def test_readable_text_becomes_quoted_printable() -> None:
    raw = text("Grüße, dies ist Text, der lang genug ist\r\n".encode())
    assert convert(raw) == (
        b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
        b"Gr=C3=BC=C3=9Fe, dies ist Text, der lang genug ist\r\n"
    )


def test_text_that_is_mostly_not_ascii_becomes_base64() -> None:
    raw = text("Привет, мир\r\n".encode())
    converted = convert(raw)
    assert b"\r\nContent-Transfer-Encoding: base64\r\n\r\n0J/RgNC4" in converted
    assert leaves(converted) == ["Привет, мир\r\n".encode()]


def test_what_is_no_text_becomes_base64() -> None:
    raw = text(b"a long line with one \xe4 in it\r\n", b"Content-Type: application/xml\r\n")
    assert b"Content-Transfer-Encoding: base64" in convert(raw)


def test_an_old_label_is_replaced() -> None:
    raw = text("ä with much more text\r\n".encode(), b"Content-Transfer-Encoding: 8BIT (yes)\r\nX-Own: 1\r\n")
    converted = convert(raw)
    assert b"X-Own: 1\r\nContent-Transfer-Encoding: quoted-printable\r\n" in converted
    assert b"8BIT" not in converted


def test_a_message_that_knows_no_mime_is_given_its_fields() -> None:
    converted = convert("Subject: x\r\n\r\nGrüße und noch viel mehr\r\n".encode("latin-1"))
    assert converted.startswith(b"Subject: x\r\nMIME-Version: 1.0\r\n")
    assert b"Content-Type: text/plain; charset=unknown-8bit\r\n" in converted


def test_a_seven_bit_message_is_the_same_to_the_octet() -> None:
    raw = b"Subject: x\r\nContent-Type: multipart/mixed\r\n\r\n--nothing here fits\r\n" + b"x" * 3000
    assert convert(raw) == raw
    assert not has_eight_bit(Content.from_bytes(raw))


def test_eight_bit_octets_are_seen_in_header_and_body() -> None:
    assert has_eight_bit(Content.from_bytes(b"Subject: \xe4\r\n\r\nbody\r\n"))
    assert has_eight_bit(Content.from_bytes(b"Subject: a\r\n\r\nb\xe4dy\r\n"))


def test_only_the_parts_that_need_it_are_converted() -> None:
    raw = (
        MULTIPART + b"Content-Transfer-Encoding: 8bit\r\n\r\npreamble\r\n"
        b"--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n\r\nplain\r\n"
        b"--b  \r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>ein \xc3\xa4 und viel mehr Text</p>\r\n"
        b"--b\r\n\r\nno header\r\n"
        b"--b--\r\nepilogue\r\n"
    )
    assert convert(raw) == (
        MULTIPART + b"Content-Transfer-Encoding: 7bit\r\n\r\npreamble\r\n"
        b"--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: 7bit\r\n\r\nplain\r\n"
        b"--b  \r\nContent-Type: text/html; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n<p>ein =C3=A4 und viel mehr Text</p>\r\n"
        b"--b\r\n\r\nno header\r\n"
        b"--b--\r\nepilogue\r\n"
    )


def test_parts_of_parts_and_enclosed_messages_are_followed() -> None:
    raw = (
        MULTIPART + b'\r\n--b\r\nContent-Type: multipart/alternative; boundary="b;\\"c"\r\n\r\n'
        b'--b;"c\r\n\r\n\xe4 and more readable text\r\n--b;"c--\r\n'
        b"--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        b"Subject: inner\r\n\r\n\xf6 and more readable text\r\n--b--\r\n"
    )
    converted = convert(raw)
    assert converted.isascii()
    assert leaves(converted) == [b"\xe4 and more readable text", b"\xf6 and more readable text"]
    inner = converted[converted.index(b"message/rfc822") :]
    assert inner.startswith(
        b"message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\nSubject: inner\r\nMIME-Version: 1.0\r\n"
    )


def test_parts_of_a_digest_are_messages() -> None:
    raw = (
        b"MIME-Version: 1.0\r\nContent-Type: multipart/digest; boundary=b\r\n\r\n"
        b"--b\r\n\r\nSubject: first\r\n\r\n\xe4 and more readable text\r\n--b--\r\n"
    )
    assert b"--b\r\n\r\nSubject: first\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding" in convert(raw)


def test_a_global_message_may_be_encoded_as_a_whole() -> None:
    inner = "Subject: Grüße\r\n\r\nbody\r\n".encode()
    raw = MULTIPART + b"\r\n--b\r\nContent-Type: message/global\r\n\r\n" + inner + b"\r\n--b--\r\n"
    assert b"message/global\r\nContent-Transfer-Encoding: base64\r\n" in convert(raw)


def test_what_nobody_sees_is_left_out_if_it_has_eight_bits() -> None:
    raw = MULTIPART + b"\r\npre\xe4mble\r\n--b\r\n\r\n\xe4 and more text\r\n--b--\r\nepilogu\xe9\r\n"
    converted = convert(raw)
    assert leaves(converted) == [b"\xe4 and more text"]
    assert b"pre" not in converted
    assert converted.endswith(b"\r\n--b--\r\n")


def test_a_boundary_that_begins_another_one_ends_nothing() -> None:
    raw = (
        MULTIPART + b"\r\n--b\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n"
        b"--bb\r\n\r\n\xe4 first, readable\r\n--bb\r\n\r\n\xe4 second, readable\r\n--bb--\r\n--b--\r\n"
    )
    assert leaves(convert(raw)) == [b"\xe4 first, readable", b"\xe4 second, readable"]


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("Subject: Grüße\r\n\r\nbody\r\n".encode(), "a header"),
        (MULTIPART + b"\r\n--b\r\nContent-Description: \xe4\r\n\r\n\r\n--b--\r\n", "a header"),
        (MULTIPART.replace(b"mixed", b"signed") + b"\r\n--b\r\n\r\n\xe4\r\n--b--\r\n", "signed"),
        (b"Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\n\xe4\r\n--b--\r\n", "boundary"),
        (MULTIPART + b"\r\n--other\r\n\r\n\xe4\r\n--other--\r\n", "not found"),
        (text(b"YWJj\xe4", b"Content-Transfer-Encoding: base64\r\n"), "is encoded (base64)"),
        (text(b"\xe4", b"Content-Transfer-Encoding: x-own\r\n"), "is encoded (x-own)"),
        (text(b"\xe4", b"Content-Type: message/partial; id=1; number=1\r\n"), "(message/partial)"),
        (MULTIPART + b"\r\n--b\r\n\r\nx" * MAX_PARTS + b"\r\n--b\r\n\r\n\xe4\r\n--b--\r\n", "too many"),
        (b"Content-Type: message/rfc822\r\n\r\n" * (MAX_DEPTH + 1) + b"Subject: x\r\n\r\n\xe4", "too deep"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_cannot_be_converted_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(NotConvertible) as caught:
        convert(raw)
    assert why in str(caught.value)


def test_a_signed_part_without_eight_bits_is_not_touched() -> None:
    signed = (
        b"Content-Type: multipart/signed; boundary=s\r\n\r\n"
        b"--s\r\nContent-Transfer-Encoding: 8bit\r\n\r\nmine\r\n"
        b"--s\r\nContent-Type: application/pgp-signature\r\n\r\nxxx\r\n--s--\r\n"
    )
    raw = MULTIPART + b"\r\n--b\r\n" + signed + b"\r\n--b\r\n\r\n\xe4 and more text\r\n--b--\r\n"
    assert signed in convert(raw)


BINARY = bytes(range(256)) * 3


@pytest.mark.parametrize(
    "octets",
    [BINARY, b"bare\ncr\ronly", b"nul\x00", b"x" * 999, b"x\r\n" * 400 + b"y" * 1000 + b"\r\n"],
    ids=["any", "bare", "nul", "long", "long later"],
)
def test_binary_octets_survive(octets: bytes) -> None:
    raw = (
        MULTIPART + b"\r\n--b\r\nContent-Type: application/octet-stream\r\n"
        b"Content-Transfer-Encoding: binary\r\n\r\n" + octets + b"\r\n--b--\r\n"
    )
    converted = convert(raw, Body.BINARYMIME)
    assert leaves(converted) == [octets]
    assert b"Content-Transfer-Encoding: base64" in converted
    assert max(map(len, converted.split(b"\r\n"))) <= 76


def test_lines_of_the_greatest_length_are_not_touched() -> None:
    raw = text((b"x" * 998 + b"\r\n") * 600)
    assert convert(raw, Body.BINARYMIME) == raw


def test_large_content_is_read_and_written_in_blocks(tmp_path: Path) -> None:
    lines = ("Grüße aus der Ferne, wo es schön ist.\r\n" * 20_000).encode()
    one_line = "ä= \t".encode() * 300_000
    attached = bytes(range(256)) * 8000
    raw = MULTIPART + b"\r\n"
    for kind, part in ((b"text/plain", lines), (b"text/plain", one_line), (b"image/png", attached)):
        raw += b"--b\r\nContent-Type: " + kind + b"\r\n\r\n" + part + b"\r\n"
    raw += b"--b--\r\n"
    writer = ContentWriter(0, tmp_path)
    writer.write(raw)
    with writer.finish() as content, seven_bit.seven_bit(content, directory=tmp_path) as result:
        assert result.is_spooled
        converted = b"".join(result.blocks())
    assert converted == convert(raw)
    assert leaves(converted) == [lines, one_line, attached]
    assert max(map(len, converted.split(b"\r\n"))) <= 76
    assert list(tmp_path.iterdir()) == []


LONG_LINES = [b"\xe4 = \t" * 400, b"\xe4" + b"x" * 2000]


@pytest.mark.parametrize("size", [300, 301, 302, 303, 304, 305, 306, 307])
def test_the_ends_of_blocks_fall_anywhere(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [b"\xe4" + b"x" * (i % 60) + b" \r\n" * (i % 9) + b"=" * (i % 7) for i in range(300)]
    raw = MULTIPART + b"\r\n" + b"".join(b"--b\r\n\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"
    raw = raw.replace(b"\r\n--b--", b"".join(b"\r\n--b\r\n\r\n" + each for each in LONG_LINES) + b"\r\n--b--")
    whole = leaves(convert(raw))
    monkeypatch.setattr(random_access, "BLOCK_SIZE", size)
    writer = ContentWriter(0, tmp_path)
    writer.write(raw)
    with writer.finish() as content, seven_bit.seven_bit(content, directory=tmp_path) as result:
        converted = b"".join(result.blocks())
    assert leaves(converted) == whole == [*parts, *LONG_LINES]
    assert max(map(len, converted.split(b"\r\n"))) <= 76


LINES = st.lists(st.binary(max_size=200).map(lambda octets: octets.replace(b"\r", b"").replace(b"\n", b"")))
TEXTS = LINES.map(b"\r\n".join)


@given(body=TEXTS, kind=st.sampled_from([b"text/plain", b"image/png"]))
def test_a_reader_sees_what_it_saw_before(body: bytes, kind: bytes) -> None:
    raw = MULTIPART + b"\r\n--b\r\nContent-Type: " + kind + b"\r\n\r\n" + body + b"\r\n--b--\r\n"
    converted = convert(raw)
    assert converted.isascii()
    assert leaves(converted) == [body]
    if not body.isascii():
        assert max(map(len, converted.split(b"\r\n"))) <= 76


@given(raw=TEXTS)
def test_converting_is_done_once(raw: bytes) -> None:
    try:
        converted = convert(raw)
    except NotConvertible:
        return
    assert converted.isascii()
    assert convert(converted) == converted


PIECES = st.sampled_from(
    [
        b"\r\n", b"\r\n--b\r\n", b"\r\n--b--\r\n", b"\r\n--c\r\n", b"--b", b"\xe4", b"text", b"\x00",
        b"\r", b"\n", b"Content-Type: /\r\n", b"Content-Transfer-Encoding: 8bit\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n", b"Content-Type: multipart/signed; boundary=c\r\n",
        b"Content-Type: multipart/digest; boundary=c\r\n", b"Content-Type: message/rfc822\r\n",
        b"Content-Transfer-Encoding: base64\r\n",
    ]
)  # fmt: skip


@given(pieces=st.lists(PIECES, max_size=40), body=st.sampled_from(Body))
def test_whatever_comes_is_converted_or_refused(pieces: list[bytes], body: Body) -> None:
    try:
        converted = convert(b"".join(pieces), body)
    except NotConvertible:
        return
    assert converted.isascii()
