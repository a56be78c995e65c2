"""What has been received and not yet taken: lines for commands, blocks for content.

Only CR LF ends a line. A bare LF never does: where two servers differ on that, one message becomes two
("SMTP smuggling", CVE-2023-51764), so a peer that sends one is out of step and nothing it sent is executed.

The buffer is a bytes object and a position. Taking a line moves the position, nothing else, so a group of
10,000 pipelined commands is taken in linear time. The consumed part goes away with the next ``append``,
which copies only what is left: part of a line, if one reads only when nothing more can be taken. When all is
taken the octets are let go, so that an idle session holds none.
"""

from __future__ import annotations

from typing import Final, Protocol

from harakapy.smtp.errors import RemoteProtocolError
from harakapy.smtp.reply import Reply

__all__ = ["BlockDecoder", "ReceiveBuffer"]

_CR: Final = 0x0D

_BARE_LF = Reply(500, "lines end with CR LF", "5.5.2")
_ENDLESS = Reply(500, "line too long", "5.5.2")


class BlockDecoder(Protocol):
    """Takes content out of a buffer."""

    def receive(self, data: bytes, start: int) -> tuple[bytes, int]:
        """Take what belongs to the content from ``data[start:]``.

        Returns the decoded block, perhaps empty, and the position behind what was taken.
        """


class ReceiveBuffer:
    """Octets from the wire, in order, each taken once.

    ``is_empty``: everything has been taken.
    """

    __slots__ = ("_data", "_position", "is_empty")

    def __init__(self) -> None:
        self.is_empty = True
        self._data = b""
        self._position = 0

    def __len__(self) -> int:
        """Octets not yet taken."""
        return len(self._data) - self._position

    def append(self, data: bytes) -> None:
        """Add octets from the wire."""
        self._data = data if self.is_empty else self._data[self._position :] + data
        self._position = 0
        self.is_empty = not self._data

    def clear(self) -> None:
        """Forget everything not yet taken."""
        self._data = b""
        self._position = 0
        self.is_empty = True

    def startswith(self, prefix: bytes) -> bool:
        """Whether what was not yet taken begins with ``prefix``."""
        return self._data.startswith(prefix, self._position)

    def peek(self, octets: int) -> bytes:
        """At most so many octets of what was not yet taken."""
        return self._data[self._position : self._position + octets]

    def take_line(self, bound: int) -> bytes | None:
        """The next line without its CRLF, or None if it is not complete.

        Raises RemoteProtocolError (``closes``) for a bare LF, or if no line ends within ``bound`` octets,
        CRLF included; the answer is the same at any split of the octets. Nothing has been taken then.
        """
        data, start = self._data, self._position
        newline = data.find(b"\n", start, start + bound)
        if newline > start and data[newline - 1] == _CR:
            if newline + 1 == len(data):
                self._data, self._position, self.is_empty = b"", 0, True
            else:
                self._position = newline + 1
            return data[start : newline - 1]
        if newline >= 0:
            raise RemoteProtocolError(_BARE_LF, "bare LF in a command", closes=True)
        if len(data) - start >= bound:
            raise RemoteProtocolError(_ENDLESS, f"no line end within {bound} octets", closes=True)
        return None

    def take_block(self, decoder: BlockDecoder) -> bytes:
        """Let ``decoder`` take what is its own; returns the decoded block, perhaps empty."""
        block, position = decoder.receive(self._data, self._position)
        if position == len(self._data):
            self._data, self._position, self.is_empty = b"", 0, True
        else:
            self._position = position
        return block
