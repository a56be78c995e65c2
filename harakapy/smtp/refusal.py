"""What a server refuses by rules that are not about order; those are in the table (`state`).

``closes`` marks a client that is out of step, so that what follows may be something else than it seems: the
octets of a chunk of unknown size, a message sent before it was asked for, a request to a web server whose
body has SMTP commands in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from harakapy.smtp.errors import RemoteProtocolError
from harakapy.smtp.event import Refused
from harakapy.smtp.reply import Reply
from harakapy.smtp.verbs import Data, StartTls, Unrecognized

__all__ = [
    "BINARY_NEEDS_BDAT",
    "FLOOD",
    "MUST_WAIT",
    "TLS_HANDSHAKE",
    "TLS_REFUSED",
    "http",
    "long_line",
    "unreadable",
]

TLS_HANDSHAKE: Final = b"\x16\x03"
"""What a record of a TLS handshake begins with, its type and major version (RFC 8446 5.1)."""
TLS_REFUSED: Final = Refused(
    Reply(500, "this port does not begin with TLS", "5.5.1"), TLS_HANDSHAKE, "a TLS handshake", closes=True
)
FLOOD: Final = Refused(
    Reply(554, "too much input, wait for replies", "5.5.0"), b"", "too much unread input", closes=True
)
MUST_WAIT: Final[Mapping[type, Refused]] = {
    Data: Refused(  # RFC 2920 3.1
        Reply(554, "wait for 354 before sending content", "5.5.0"), b"DATA", "input behind DATA", closes=True
    ),
    StartTls: Refused(  # RFC 3207 4.2, CVE-2011-0411
        Reply(554, "wait for 220 before the TLS handshake", "5.5.0"),
        b"STARTTLS",
        "input behind STARTTLS",
        closes=True,
    ),
}
"""Commands that must end a group, and what is said if they do not."""
BINARY_NEEDS_BDAT: Final = Refused(  # RFC 3030 3
    Reply(503, "BODY=BINARYMIME needs BDAT", "5.5.1"), b"DATA", "DATA after BODY=BINARYMIME"
)

_LINE_TOO_LONG = Reply(500, "line too long", "5.5.2")
_NOT_HTTP = Reply(500, "this is SMTP, not HTTP", "5.5.1")
_HTTP_METHODS: Final = frozenset({"CONNECT", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


def http(command: Unrecognized, line: bytes) -> Refused | None:
    """Refuse a request to a web server."""
    return Refused(_NOT_HTTP, line, "HTTP", closes=True) if command.verb in _HTTP_METHODS else None


def long_line(line: bytes) -> RemoteProtocolError:
    """The error of a line over the limit."""
    return RemoteProtocolError(_LINE_TOO_LONG, f"a line of {len(line)} octets")


def unreadable(error: RemoteProtocolError, line: bytes, *, has_chunks: bool) -> Refused:
    """Refuse what is no command. ``has_chunks``: BDAT is offered, so one that is malformed hides its size."""
    closes = error.closes or (has_chunks and line[:4].upper() == b"BDAT")
    return Refused(error.reply, line, error.reason, closes=closes)
