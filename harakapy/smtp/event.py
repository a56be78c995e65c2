"""What a protocol object hands out besides commands.

An event is *answered* with a reply, or it only tells something and the next one may be taken at once.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import Struct

from harakapy.smtp.reply import Reply
from harakapy.smtp.verbs import Command, Lhlo

__all__ = [
    "NEED_DATA",
    "Abandon",
    "AuthResponse",
    "ChunkEnd",
    "Closed",
    "Connect",
    "ContentChunk",
    "ContentEnd",
    "EndOfFile",
    "NeedData",
    "Refused",
    "Replied",
    "Sent",
]


class NeedData(Enum):
    """The type of `NEED_DATA`."""

    NEED_DATA = "NEED_DATA"


NEED_DATA: Final = NeedData.NEED_DATA
"""Nothing can be taken before more octets have been received."""


class Connect(Struct, frozen=True):
    """The connection stands: the first thing answered, with the greeting. A server does not see it."""


class Abandon(Struct, frozen=True):
    """The side that serves has given the transaction up by itself. Never handed out, not answered."""


class Refused(Struct, frozen=True):
    """The peer broke the protocol, which has decided already: answered with ``reply``.

    ``line`` is what the peer sent, without CRLF, for the log; at most 80 octets of what was not a line.
    ``reason`` is for the log too. If ``closes``, the session is over with the reply.
    """

    reply: Reply
    line: bytes
    reason: str
    closes: bool = False


class ContentChunk(Struct):
    """A block of message content, as large as it was received, stuffed dots removed. Not answered."""

    data: bytes


class ContentEnd(Struct, frozen=True):
    """The content that followed DATA is complete. Answered for the whole message."""


class ChunkEnd(Struct, frozen=True):
    """A chunk of BDAT is complete. Answered for the chunk, or for the whole message if it is the last."""

    is_last: bool


class AuthResponse(Struct, frozen=True):
    """A line of an AUTH exchange, as it came. Answered with 334 to go on, anything else to end it."""

    line: bytes


class EndOfFile(Struct, frozen=True):
    """The peer has closed its side. Not answered; handed out each time from now on."""


Sent = Command | Lhlo | Connect | AuthResponse | ContentEnd
"""Everything of a client's that a server answers; a `Bdat` stands for its octets too."""


class Replied(Struct, frozen=True):
    """The server has answered ``command``: what the client sees in place of commands.

    ``command`` is None for a 421 that came when nothing waited for a reply. The line of an `AuthResponse` is
    left out, being a secret. ``recipient`` is set where a server of LMTP answers for one recipient after the
    content: the number of its RCPT in the transaction, from 0, refused ones counted.
    """

    command: Sent | None
    reply: Reply
    recipient: int | None = None


class Closed(Struct, frozen=True):
    """The session is over: the server has closed it, or said 421, or answered QUIT.

    Handed out each time from now on. What still waited for a reply gets none.
    """
