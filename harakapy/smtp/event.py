"""What a protocol object hands out besides commands.

An event is *answered* with a reply, or it only tells something and the next one may be taken at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from harakapy.smtp.reply import Reply

__all__ = [
    "NEED_DATA",
    "Abandon",
    "AuthResponse",
    "ChunkEnd",
    "Connect",
    "ContentChunk",
    "ContentEnd",
    "EndOfFile",
    "NeedData",
    "Refused",
]


class NeedData(Enum):
    """The type of `NEED_DATA`."""

    NEED_DATA = "NEED_DATA"


NEED_DATA: Final = NeedData.NEED_DATA
"""Nothing can be taken before more octets have been received."""


@dataclass(frozen=True, slots=True)
class Connect:
    """The connection stands. Never handed out: it is the first thing answered, with the greeting."""


@dataclass(frozen=True, slots=True)
class Abandon:
    """The side that serves has given the transaction up by itself. Never handed out, not answered."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The peer broke the protocol, which has decided already: answered with ``reply``.

    ``line`` is what the peer sent, without CRLF, for the log; at most 80 octets of what was not a line.
    ``reason`` is for the log too. If ``closes``, the session is over with the reply.
    """

    reply: Reply
    line: bytes
    reason: str
    closes: bool = False


@dataclass(slots=True)
class ContentChunk:
    """A block of message content, as large as it was received, stuffed dots removed. Not answered."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ContentEnd:
    """The content that followed DATA is complete. Answered for the whole message."""


@dataclass(frozen=True, slots=True)
class ChunkEnd:
    """A chunk of BDAT is complete. Answered for the chunk, or for the whole message if it is the last."""

    is_last: bool


@dataclass(frozen=True, slots=True)
class AuthResponse:
    """A line of an AUTH exchange, as it came. Answered with 334 to go on, anything else to end it."""

    line: bytes


@dataclass(frozen=True, slots=True)
class EndOfFile:
    """The peer has closed its side. Not answered; handed out each time from now on."""
