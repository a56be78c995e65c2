"""One header field: its bytes, its text, and how a new one is written (RFC 5322 2.2).

Reading is liberal and never fails; writing is strict. A value that comes from a plugin often holds what a
stranger said, so everything that could begin another field is refused here, in the one place where fields are
made.
"""

from __future__ import annotations

import re
from typing import Final, Self

from msgspec import Struct

from harakapy.mail.encoded_word import decode_words, encode_whole, encode_words
from harakapy.mail.safe_text import find_unsafe, neutralise

__all__ = ["HeaderField", "check_formatted", "field_key", "fold", "format_field"]

MAX_LINE: Final = 998
"""Octets of a line without its CRLF that no message may exceed (RFC 5322 2.1.1)."""

PREFERRED_LINE: Final = 78
"""Octets of a line without its CRLF that a writer stays below where it can (RFC 5322 2.1.1)."""

_MAX_NAME: Final = 76  # the longest that leaves room for the colon in a preferred line

_NAME = re.compile(r"[!-9;-~]+")  # RFC 5322 2.2: printable ASCII without the colon
_RAW_NAME = re.compile(rb"([!-9;-~]+)[ \t]*:")  # RFC 5322 4.5 allows space before the colon in old mail
_FORMATTED = re.compile(
    rb"(?>(?:[!-9;-~]++:[^\r\n\x00]*+\r\n(?>(?:[ \t][^\r\n\x00]*+\r\n)*))+)"  # one pass, no way back
)
_WORD = re.compile(r"[ \t]*[^ \t]+")


class HeaderField(Struct, frozen=True):
    """One field as it stands in a header.

    ``name`` is as written, and empty for a malformed line; ``raw`` is the bytes from the name to the final
    CRLF, folding included.
    """

    name: str
    raw: bytes

    @classmethod
    def from_raw(cls, raw: bytes) -> Self:
        """The field that these bytes are."""
        found = _RAW_NAME.match(raw)
        return cls(found[1].decode("ascii") if found else "", raw)

    @property
    def text(self) -> str:
        """The value unfolded, without white space around it.

        UTF-8 is decoded; other octets and control characters are written out (``\\xe4``, ``\\x1b``). Encoded
        words stay as they are. A malformed line is all value.
        """
        value = self.raw.partition(b":")[2] if self.name else self.raw
        text = value.replace(b"\r\n", b"").decode("utf-8", "backslashreplace")
        return neutralise(text.strip(" \t"))

    @property
    def decoded(self) -> str:
        """As ``text``, with encoded words decoded (RFC 2047)."""
        return decode_words(self.text)


def field_key(raw: bytes) -> bytes:
    """The name of a raw field in lower case; empty for a malformed line."""
    found = _RAW_NAME.match(raw)
    return found[1].lower() if found else b""


def format_field(name: str, value: str, *, utf8: bool = False) -> bytes:
    """The bytes of a new field, folded (RFC 5322 2.2.3).

    Text outside ASCII is encoded (RFC 2047), with ``utf8`` left as it is (RFC 6532). White space around the
    value is dropped. A value with a word too long for any line is encoded as a whole, so that it can be
    folded. Encoding knows no structure: where a field has one (a name in quotes), give it encoded.

    Raises ValueError if the name is none, or the value has a line end or another control character.
    """
    _check(name, value)
    value = value.strip(" \t")
    if value.isascii() and 0 < len(value) <= PREFERRED_LINE - len(name) - 2:
        return f"{name}: {value}\r\n".encode("ascii")
    if not utf8 and not value.isascii():
        value = encode_words(value)
    if any(len(word.encode()) > MAX_LINE for word in _WORD.findall(" " + value)):
        value = encode_whole(decode_words(value))
    limit = PREFERRED_LINE - 2 if "=?" in value else PREFERRED_LINE  # RFC 2047 2: 76 with encoded words
    return fold(name, _WORD.findall(" " + value), limit)


def check_formatted(fields: bytes) -> None:
    """Raise ValueError unless these are whole fields: each begins with its name and ends with CRLF."""
    if not _FORMATTED.fullmatch(fields):
        raise ValueError(f"not formatted header fields: {fields[:80]!r}")


def _check(name: str, value: str) -> None:
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        raise ValueError(f"{name[:_MAX_NAME]!r} is not the name of a header field")
    unsafe = find_unsafe(value)
    if unsafe:
        raise ValueError(f"{name}: the value of a header field cannot have the character {unsafe!r}")


def fold(name: str, words: list[str], limit: int = PREFERRED_LINE) -> bytes:
    """The bytes of a field of ``words``, each with its white space before it.

    A line breaks before the word that would make it longer than ``limit`` octets; a word that is longer than
    that by itself stays whole.
    """
    lines: list[str] = []
    line, size = f"{name}:", len(name) + 1
    for word in words:
        octets = len(word) if word.isascii() else len(word.encode())
        if size + octets > limit:
            lines.append(line)
            line, size = "", 0
        line += word
        size += octets
    lines.append(line)
    return ("\r\n".join(lines) + "\r\n").encode()
