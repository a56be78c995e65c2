"""What delivery status notifications add to the envelope (RFC 3461, RFC 6533): values and their wire form.

Everything here ends up in a report that somebody else's software reads, so what holds control characters is
refused when it is made: no CR or LF ever comes out of an ENVID or ORCPT.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from msgspec import Struct

from harakapy.smtp.address import UNSAFE_CHARACTERS

__all__ = [
    "MAX_ENVELOPE_ID",
    "MAX_ORIGINAL_RECIPIENT",
    "Notify",
    "OriginalRecipient",
    "Ret",
    "decode_xtext",
    "encode_xtext",
    "parse_envelope_id",
    "parse_notify",
]

MAX_ENVELOPE_ID: Final = 100
"""Characters of an ENVID as sent (RFC 3461 4.4)."""
MAX_ORIGINAL_RECIPIENT: Final = 500
"""Characters of an ORCPT as sent (RFC 3461 4.2)."""

# RFC 3461 4 has upper-case digits, senders both.
_XTEXT = re.compile(r"(?>(?:[!-*,-<>-~]|\+[0-9A-Fa-f]{2})*)")
_HEXCHAR = re.compile(rb"\+(..)")
_NOT_XCHAR = re.compile(rb"[^!-*,-<>-~]")

_EMBEDDED_CHARACTER = r"\\x\{(10[0-9A-Fa-f]{4}|[0-9A-Fa-f]{1,5})\}"  # RFC 6533 3
_UTF8_ADDRESS = rf"(?>(?:[^\x00- +=\\\x7f]|{_EMBEDDED_CHARACTER})*)"  # rare, and slow to compile
_NOT_QCHAR = re.compile(r"[^!-*,-<>-\[\]-~]")

_ATOM = re.compile(r"[a-z0-9!#$%&'*+\-/?^_`{|}~]++")


class Ret(Enum):
    """How much of the message a failure report returns (RFC 3461 4.3)."""

    FULL = "FULL"
    HDRS = "HDRS"


class Notify(Enum):
    """When a recipient's fate is reported to the sender (RFC 3461 4.1); NEVER stands alone."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


class OriginalRecipient(Struct, frozen=True):
    """The recipient as the sender knew it (RFC 3461 4.2, RFC 6533 3).

    ``addr_type`` is lower-case, nearly always ``rfc822`` or ``utf-8``; ``address`` is decoded. ``str()``
    gives the value to send, which passes without SMTPUTF8 whatever the type. Raises ValueError if the type
    is no atom, or the address is empty, not printable, or (unless ``utf-8``) not ASCII.
    """

    addr_type: str
    address: str

    def __post_init__(self) -> None:
        if not _ATOM.fullmatch(self.addr_type):
            raise ValueError("the address type is malformed")
        if self.addr_type != "utf-8" and not self.address.isascii():
            raise ValueError("the address is not ASCII")
        _require_printable(self.address)

    @classmethod
    def parse(cls, value: str) -> OriginalRecipient:
        """Parse ``rfc822;user+2Bdetail@host``. Raises ValueError if it is malformed or too long."""
        if len(value) > MAX_ORIGINAL_RECIPIENT:
            raise ValueError(f"it is longer than {MAX_ORIGINAL_RECIPIENT} characters")
        addr_type, _, address = value.partition(";")
        if not addr_type.isascii():
            raise ValueError("the address type is malformed")
        if addr_type.lower() != "utf-8":
            return cls(addr_type.lower(), decode_xtext(address))
        if not re.fullmatch(_UTF8_ADDRESS, address):
            raise ValueError("the address is malformed")
        return cls("utf-8", re.sub(_EMBEDDED_CHARACTER, lambda found: chr(int(found[1], 16)), address))

    def __str__(self) -> str:
        if self.addr_type != "utf-8":
            return f"{self.addr_type};{encode_xtext(self.address)}"
        return "utf-8;" + _NOT_QCHAR.sub(lambda found: rf"\x{{{ord(found[0]):02X}}}", self.address)


def parse_notify(value: str) -> frozenset[Notify]:
    """Parse ``NEVER`` or ``SUCCESS,DELAY``. Raises ValueError for anything else (RFC 3461 4.1)."""
    words = value.upper().split(",")
    wanted = frozenset(member for member in Notify if member.value in words)
    if len(wanted) != len(words) or (Notify.NEVER in wanted and len(wanted) > 1):
        raise ValueError("it must be NEVER, or some of SUCCESS, FAILURE and DELAY")
    return wanted


def parse_envelope_id(value: str) -> str:
    """Decode an ENVID (RFC 3461 4.4). Raises ValueError if it is too long or not printable ASCII in xtext."""
    if len(value) > MAX_ENVELOPE_ID:
        raise ValueError(f"it is longer than {MAX_ENVELOPE_ID} characters")
    text = decode_xtext(value)
    if not text.isascii():
        raise ValueError("it is not ASCII")
    _require_printable(text)
    return text


def encode_xtext(text: str) -> str:
    """Write any text as xtext (RFC 3461 4): ``a=b`` becomes ``a+3Db``, what is not ASCII goes as UTF-8."""
    return _NOT_XCHAR.sub(lambda found: b"+%02X" % found[0][0], text.encode()).decode("ascii")


def decode_xtext(value: str) -> str:
    """Read xtext; the result may hold control characters.

    Raises ValueError if the value is malformed or does not hold UTF-8.
    """
    if not _XTEXT.fullmatch(value):
        raise ValueError("it is not xtext")
    try:
        return _HEXCHAR.sub(lambda found: bytes((int(found[1], 16),)), value.encode("ascii")).decode()
    except UnicodeDecodeError:
        raise ValueError("it does not hold UTF-8") from None


def _require_printable(text: str) -> None:
    if not text or UNSAFE_CHARACTERS.search(text):
        raise ValueError("it is empty or has control characters")
