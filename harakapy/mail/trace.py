"""Trace fields: who had a message, when (RFC 5321 4.4), and the fields a submission server adds (RFC 6409 8).

What goes into them was said by strangers (the name in EHLO, the name that reverse DNS gives), so it is cut
down to the characters of a host name first: it can neither end the clause it stands in nor pose as another.
Time is passed in; it must know its zone.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import Final

from harakapy.smtp.address import Address

__all__ = [
    "count_received",
    "date_field",
    "date_time",
    "message_id_field",
    "received_field",
    "return_path_field",
    "with_protocol",
]

# Written out, because ignoring case makes the search twenty times slower.
_RECEIVED = re.compile(rb"\r\n[Rr][Ee][Cc][Ee][Ii][Vv][Ee][Dd][ \t]*:")
_RECEIVED_FIRST = re.compile(rb"[Rr][Ee][Cc][Ee][Ii][Vv][Ee][Dd][ \t]*:")

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_NOT_IN_TOKEN = re.compile(r"[^A-Za-z0-9._:/+=\[\]-]")
_MAX_TOKEN: Final = 255  # the longest host name (RFC 5321 4.5.3.1.2)


def with_protocol(*, is_esmtp: bool, is_tls: bool, is_authenticated: bool, is_utf8: bool) -> str:
    """The protocol's name in a Received field, such as ``ESMTPSA`` or ``UTF8SMTPS`` (RFC 3848, RFC 6531 4.3).

    ``is_utf8`` means that the transaction asked for SMTPUTF8.
    """
    if not is_esmtp:
        return "SMTP"  # no variants are registered
    name = "UTF8SMTP" if is_utf8 else "ESMTP"
    return f"{name}{'S' if is_tls else ''}{'A' if is_authenticated else ''}"


def received_field(
    *,
    hello: str,
    remote_host: str,
    remote_ip: str,
    by: str,
    protocol: str,
    transaction: str,
    when: datetime,
    software: str = "",
    recipient: Address | None = None,
    cipher: str = "",
) -> bytes:
    """The Received field that a message gets when it comes to us (RFC 5321 4.4).

    ``hello`` is the client's argument of EHLO; ``remote_host`` its name by reverse DNS, empty if unknown;
    ``remote_ip`` empty if it has none (a unix socket); ``by`` our name and ``transaction`` our id for it;
    ``protocol`` comes from ``with_protocol``. ``recipient`` is for messages with one recipient only, so that
    none sees another (RFC 5321 7.2), and left out if it cannot be shown in ASCII outside of SMTPUTF8.
    ``cipher`` names the TLS cipher suite (RFC 8314 4.3).
    """
    lines = [
        f"Received: from {_client(hello, remote_host, remote_ip)}",
        f"by {_token(by)}{f' ({_token(software)})' if software else ''}"
        f" with {_token(protocol)} id {_token(transaction)}",
    ]
    if recipient is not None and (recipient.path.isascii() or protocol.startswith("UTF8")):
        lines.append(f"for {recipient.path}")
    if cipher:
        lines.append(f"tls {_token(cipher)}")
    return ("\r\n\t".join(lines) + f";\r\n\t{date_time(when)}\r\n").encode()


def return_path_field(sender: Address) -> bytes:
    """The Return-Path field of a final delivery, ``<>`` for the null reverse-path (RFC 5321 4.4)."""
    return f"Return-Path: {sender.path}\r\n".encode()


def date_field(when: datetime) -> bytes:
    """The Date field of a message that came without (RFC 6409 8.1)."""
    return f"Date: {date_time(when)}\r\n".encode("ascii")


def message_id_field(unique: str, hostname: str) -> bytes:
    """The Message-ID field of a message that came without; ``unique`` is an id of ours (RFC 6409 8.2)."""
    return f"Message-ID: <{_token(unique)}@{_token(hostname)}>\r\n".encode("ascii")


@lru_cache(maxsize=16)  # a busy server asks for the same second a thousand times
def date_time(when: datetime) -> str:
    """A time as headers write it: ``Sun, 22 Nov 2026 10:00:00 +0000`` (RFC 5322 3.3).

    Raises ValueError if the time does not know its zone.
    """
    if when.tzinfo is None:
        raise ValueError("a time in a header needs its zone")
    # Not strftime's %a and %b, which speak the operator's language. Twice as fast as email.utils.
    return f"{_DAYS[when.weekday()]}, {when.day:02} {_MONTHS[when.month - 1]} {when:%Y %H:%M:%S %z}"


def count_received(header: bytes) -> int:
    """How many Received fields a raw header has, found without parsing it."""
    return len(_RECEIVED.findall(header)) + (_RECEIVED_FIRST.match(header) is not None)


@lru_cache(maxsize=1024)  # most clients bring more than one message
def _client(hello: str, host: str, ip: str) -> str:
    """What the client says of itself, and in brackets what we know of it."""
    literal = f"[{'IPv6:' if ':' in ip else ''}{_token(ip.partition('%')[0])}]" if ip else ""
    known = " ".join(part for part in (host and _token(host), literal) if part)
    return f"{_token(hello)} ({known})" if known else _token(hello)


@lru_cache(maxsize=1024)  # the names in it come again with every message
def _token(text: str) -> str:
    """Text cut down to what cannot end a clause; never empty."""
    return _NOT_IN_TOKEN.sub("?", text[:_MAX_TOKEN]) or "unknown"
