"""What a trusted client says of the client it speaks for (Postfix's XCLIENT_README).

Names and values come from a machine that we trust to say them, but it repeats what strangers told it: what is
not exactly of the form that belongs to an attribute is refused.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Final, Self

from msgspec import Struct
from msgspec.structs import asdict, replace

from harakapy.smtp.address import UNSAFE_CHARACTERS
from harakapy.smtp.dsn import decode_xtext, encode_xtext
from harakapy.smtp.saslprep import saslprep

__all__ = ["TEMPORARILY_UNAVAILABLE", "UNAVAILABLE", "XCLIENT_ATTRIBUTES", "ClientClaims"]

UNAVAILABLE: Final = "[UNAVAILABLE]"
TEMPORARILY_UNAVAILABLE: Final = "[TEMPUNAVAIL]"
MAX_VALUE: Final = 255
"""Characters of a value, as in Postfix."""

_IPV6: Final = "IPV6:"
_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?").fullmatch
_PORT = re.compile(r"[1-9][0-9]{0,4}").fullmatch
_HELO = re.compile(r"[!-~]+").fullmatch


class ClientClaims(Struct, frozen=True, kw_only=True):
    """The attributes of an XCLIENT command; None for one that was not given.

    ``name`` is the client's name in DNS, or `UNAVAILABLE` or `TEMPORARILY_UNAVAILABLE`. ``addr`` and
    ``destaddr`` are numeric addresses in their shortest form, ``port`` and ``destport`` numbers, ``proto``
    is SMTP or ESMTP, ``helo`` the name the client gave, ``login`` who has logged in. What is unavailable is
    "", and 0 for a port. ``str()`` gives the attributes as they are sent.
    """

    name: str | None = None
    addr: str | None = None
    port: int | None = None
    proto: str | None = None
    helo: str | None = None
    login: str | None = None
    destaddr: str | None = None
    destport: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``NAME=spike.example ADDR=192.0.2.7``.

        Raises ValueError if there is no attribute, one is unknown or given twice, or a value is wrong.
        """
        values: dict[str, str | int] = {}
        for word in filter(None, text.split(" ")):
            keyword, equals, value = word.partition("=")
            read = _READERS.get(keyword.upper())
            if not equals or read is None:
                raise ValueError("attribute=value expected, of attributes that are offered")
            if keyword.lower() in values:
                raise ValueError(f"{keyword.upper()} is given twice")
            values[keyword.lower()] = _read(keyword.upper(), read, value)
        if not values:
            raise ValueError("attribute=value expected")
        return cls(**values)  # type: ignore[arg-type]  # the table has the reader that belongs to each field

    def followed_by(self, later: ClientClaims) -> ClientClaims:
        """These claims with those of a later command in their place.

        A new address has a new name: the old one is kept only with the old address.
        """
        known = {key: value for key, value in asdict(later).items() if value is not None}
        kept = self if later.addr is None else replace(self, name=None)
        return replace(kept, **known)

    def __str__(self) -> str:
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return " ".join(f"{name.upper()}={_written(name, value)}" for name, value in given.items())


def _read(keyword: str, read: Callable[[str], str | int], value: str) -> str | int:
    if len(value) > MAX_VALUE:
        raise ValueError(f"{keyword} is longer than {MAX_VALUE} characters")
    text = decode_xtext(value)
    if not text or UNSAFE_CHARACTERS.search(text):
        raise ValueError(f"{keyword} is empty or has control characters")
    return read(text)


def _read_name(text: str) -> str:
    if text.upper() in (UNAVAILABLE, TEMPORARILY_UNAVAILABLE):
        return text.upper()
    if not _NAME(text):
        raise ValueError("NAME is no host name")
    return text.rstrip(".").lower()


def _read_address(text: str) -> str:
    if text.upper() == UNAVAILABLE:
        return ""
    is_v6 = text.upper().startswith(_IPV6)
    try:
        if is_v6:
            return str(ipaddress.IPv6Address(text[len(_IPV6) :].partition("%")[0]))
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise ValueError("an address is malformed") from None


def _read_port(text: str) -> int:
    if text.upper() == UNAVAILABLE:
        return 0
    if not _PORT(text) or int(text) > 65535:
        raise ValueError("a port is malformed")
    return int(text)


def _read_proto(text: str) -> str:
    if text.upper() not in ("SMTP", "ESMTP"):
        raise ValueError("PROTO must be SMTP or ESMTP")
    return text.upper()


def _read_helo(text: str) -> str:
    if text.upper() == UNAVAILABLE:
        return ""
    if not _HELO(text):
        raise ValueError("HELO must be one ASCII word")
    return text


def _read_login(text: str) -> str:
    if text.upper() == UNAVAILABLE:
        return ""
    login = saslprep(text)
    if not login:
        raise ValueError("LOGIN has nothing but invisible characters")
    return login


_READERS: Final[dict[str, Callable[[str], str | int]]] = {
    "NAME": _read_name,
    "ADDR": _read_address,
    "PORT": _read_port,
    "PROTO": _read_proto,
    "HELO": _read_helo,
    "LOGIN": _read_login,
    "DESTADDR": _read_address,
    "DESTPORT": _read_port,
}
XCLIENT_ATTRIBUTES: Final = tuple(_READERS)
"""All of them, in the order in which they are offered."""


def _written(name: str, value: str | int) -> str:
    if not value:
        return UNAVAILABLE
    if name.endswith("addr") and ":" in str(value):
        return f"{_IPV6}{value}"
    return encode_xtext(str(value))
