"""User names as they come over the wire."""

from __future__ import annotations

from typing import Final

from harakapy.smtp.sasl.exchange import Failure, fail
from harakapy.smtp.saslprep import saslprep

__all__ = ["MAX_NAME_OCTETS", "MAX_PASSWORD_OCTETS", "decode_name", "decode_password"]

MAX_NAME_OCTETS: Final = 255
"""The longest user name: what RFC 4616 2 asks a server to take, at least; no directory has longer ones."""
MAX_PASSWORD_OCTETS: Final = 1024
"""The longest password. Picked: long for a human, too short to make a hash function work for nothing."""


def decode_name(raw: bytes) -> str:
    """A user name, prepared by SASLprep; ends the exchange if it is none."""
    if not raw or len(raw) > MAX_NAME_OCTETS:
        raise fail(Failure.MALFORMED, f"user name empty or longer than {MAX_NAME_OCTETS} octets")
    try:
        name = saslprep(raw.decode("utf-8"))
    except ValueError:
        raise fail(Failure.MALFORMED, "user name not UTF-8 or with prohibited characters") from None
    if not name:
        raise fail(Failure.MALFORMED, "user name of nothing but invisible characters")
    return name


def decode_password(raw: bytes) -> str:
    """A password as typed; ends the exchange if it cannot be anybody's.

    An empty password is always wrong. Directories take it for an anonymous bind and say yes (RFC 4513 5.1.2),
    so it must not get there.
    """
    if not raw or len(raw) > MAX_PASSWORD_OCTETS:
        raise fail(Failure.WRONG, f"password empty or longer than {MAX_PASSWORD_OCTETS} octets")
    try:
        return raw.decode("utf-8")
    except ValueError:
        raise fail(Failure.WRONG, "password not UTF-8") from None
