"""What a report gives back of the message it is about (RFC 6522 3, RFC 3461 4.3, RFC 6533 4).

A small message goes back whole, if its sender may want it; else its header, from which a person sees which
one it was. Either is brought into a form that needs no more than the report itself.
"""

from __future__ import annotations

import binascii
import re
from typing import Final

from msgspec import Struct, field

from harakapy.mail.content import Content
from harakapy.mail.header import Header
from harakapy.mail.seven_bit import NotConvertible, seven_bit
from harakapy.smtp.parameters import Body

__all__ = ["NOTHING", "Returned", "give_back", "quoted_printable"]

MAX_HEADER: Final = 65536
"""Octets of a header that goes back; what is longer is cut at the end of a line. Picked: a hundred hops of
trace fields fit."""

_UNFIT = re.compile(rb"(?<![^\r\n])[^\r\n]{999}|[\x00\x80-\xff]|\r(?!\n)|(?<!\r)\n")


class Returned(Struct, frozen=True):
    """A message or its header in the form of a part of a report; nothing at all if ``octets`` is empty."""

    media_type: str = ""
    encoding: str = ""
    """Its Content-Transfer-Encoding."""
    octets: bytes = b""
    header: Header = field(default_factory=Header)
    """That of the message, to be read."""

    @property
    def description(self) -> str:
        """What it is, for people."""
        is_header = self.media_type.endswith("headers")
        return "Header of the message" if is_header else "The message"


NOTHING: Final = Returned()


def give_back(
    content: Content, *, max_octets: int, is_utf8_allowed: bool = False, body: Body = Body.EIGHTBITMIME
) -> Returned:
    """The message if it has at most ``max_octets`` (0: none has), else its header.

    ``body`` says what the content may hold. Reads the content: blocking, if it is spooled. Raises OSError.
    """
    if content.output_size <= max_octets:
        whole = _whole(content, body, is_utf8_allowed=is_utf8_allowed)
        if whole is not None:
            return whole
    return _header(content, is_utf8_allowed=is_utf8_allowed)


def quoted_printable(octets: bytes) -> bytes:
    """Text with lines ending in CRLF, encoded (RFC 2045 6.7)."""
    return binascii.b2a_qp(b"\r\n" + octets)[2:]  # the line end in front shows which kind to write


def _whole(content: Content, body: Body, *, is_utf8_allowed: bool) -> Returned | None:
    """The message; None if it cannot be had without octets that the report cannot have."""
    header = Header(content.header_bytes)
    octets = content.to_bytes()
    if octets.isascii() and body is not Body.BINARYMIME:
        return Returned("message/rfc822", "7bit", octets, header)
    try:
        with seven_bit(content, body=body) as converted:
            return Returned("message/rfc822", "7bit", converted.to_bytes(), header)
    except NotConvertible:
        if is_utf8_allowed and body is not Body.BINARYMIME:
            return Returned("message/global", "8bit", octets, header)
        return None


def _header(content: Content, *, is_utf8_allowed: bool) -> Returned:
    raw = content.header_bytes
    if len(raw) > MAX_HEADER:
        end = raw.rfind(b"\r\n", 0, MAX_HEADER)
        raw = raw[:MAX_HEADER] if end < 0 else raw[: end + 2]
    header = Header(raw)
    if not _UNFIT.search(raw):
        return Returned("text/rfc822-headers", "7bit", raw, header)
    if is_utf8_allowed and _is_utf8(raw):
        return Returned("message/global-headers", "8bit", raw, header)
    lines = re.sub(rb"\r\n|\r|\n", b"\r\n", raw)
    return Returned("text/rfc822-headers", "quoted-printable", quoted_printable(lines), header)


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return _UNFIT.search(re.sub(rb"[\x80-\xff]", b"?", raw)) is None
