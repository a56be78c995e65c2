"""The content of a message: what came between DATA and the final dot.

It is collected as it arrives, in memory up to a limit and beyond that in a file without a name, which is gone
when it is closed, also by a crash. It is never taken apart into lines. The end of the header is found on the
way; the header is parsed when somebody asks for it, and leaves as the bytes that came unless it was changed.

Only CRLF ends a line here, so the header ends at the first CRLF CRLF (or at once, if the content begins
with CRLF). Content without such an empty line is all header, whatever its lines look like: that is where a
signature sees the border too (RFC 6376 3.4), and nothing has to be changed to pass it on.
"""

from __future__ import annotations

import errno
import io
import os
import re
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from harakapy.mail.field import check_formatted
from harakapy.mail.header import Header
from harakapy.mail.trace import count_received

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["Content", "find_end_of_header"]

BLOCK_SIZE: Final = 65536
"""Octets that reading gives at a time: one pipe's worth, and small against what a connection may keep."""

_END_OF_HEADER: Final = b"\r\n\r\n"
_NEWLINE = re.compile(rb"\r\n|\r|\n")


class Content:
    """The content of a message: as received, and as it will leave.

    ``size`` and ``header_size`` are octets as received; the latter without the empty line behind the header.
    Fields put in front, changes to ``header`` and a replaced body show in ``blocks`` and ``open``; everything
    else leaves as it came.

    If ``is_spooled`` it is in a file, and reading means reading that: mostly the system has it in memory, but
    a caller that must not wait reads in a thread. Any number of readers may be at work at once, each at its
    own position.

    Whoever holds the content closes it; that removes the file.
    """

    __slots__ = ("_body", "_file", "_header", "_leading", "_raw", "header_size", "is_spooled", "size")

    def __init__(self, raw: bytes, file: io.FileIO | None, size: int, header_size: int) -> None:
        """Made by ``ContentWriter.finish``: from ``raw``, or from ``file``, which it owns then."""
        self.size = size
        self.header_size = header_size
        self.is_spooled = file is not None
        self._raw = raw
        self._file = file
        self._leading = b""
        self._header: Header | None = None
        self._body: bytes | None = None

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Content that is in memory already."""
        end = find_end_of_header(b"\r\n", raw)
        return cls(raw, None, len(raw), len(raw) if end is None else end)

    @property
    def header_bytes(self) -> bytes:
        """The header as received, without the empty line behind it."""
        return self._read(0, self.header_size)

    @property
    def header(self) -> Header:
        """The header, to read and to change; parsed at the first use."""
        if self._header is None:
            self._header = Header(self.header_bytes)
            if self._leading:
                self._header.prepend_raw(self._leading)
        return self._header

    @property
    def received_count(self) -> int:
        """How many Received fields came with the content, each a hop it took (RFC 5321 6.3)."""
        return count_received(self.header_bytes)

    @property
    def body(self) -> bytes:
        """What follows the header, as a whole: for content of many megabytes use ``blocks`` or ``open``."""
        if self._body is not None:
            return self._body
        return self._read(min(self.header_size + 2, self.size), self.size)

    @property
    def output_size(self) -> int:
        """Octets that ``blocks`` gives now."""
        if self._header is None and self._body is None:  # nearly always
            return len(self._leading) + self.size
        head, start = self._head()
        return len(head) + (self.size - start if self._body is None else len(self._body))

    def has_header_line_over(self, limit: int) -> bool:
        """Whether a line of the header as received has more than ``limit`` octets without its CRLF."""
        header = self.header_bytes
        start = 0
        while len(header) - start > limit:
            end = header.rfind(b"\r\n", start, start + limit + 2)
            if end < 0:
                return True
            start = end + 2
        return False

    def prepend(self, fields: bytes) -> None:
        """Put formatted fields before everything else, as trace fields are, without parsing the header.

        Raises ValueError if they are not: each begins with its name and ends with CRLF.
        """
        check_formatted(fields)
        if self._header is None and self._read(0, min(1, self.size)) not in (b" ", b"\t"):
            self._leading = fields + self._leading
        else:
            self.header.prepend_raw(fields)

    def replace_body(self, body: bytes, *, is_binary: bool = False) -> None:
        """Send another body instead; the header stays, also where it describes the old one (Content-Type).

        Bare CRs and LFs become CRLF, because no line of a message may end otherwise (RFC 5321 2.3.8), unless
        ``is_binary``, which is for messages received with BODY=BINARYMIME (RFC 3030).
        """
        self._body = body if is_binary else _NEWLINE.sub(b"\r\n", body)

    def blocks(self, block_size: int = BLOCK_SIZE) -> Iterator[bytes]:
        """All octets as they leave, in blocks of at most ``block_size``.

        Raises OSError if the file cannot be read, ValueError if the content is closed.
        """
        if block_size < 1:
            raise ValueError(f"a block has at least one octet (not {block_size})")
        return self._blocks(block_size)

    def to_bytes(self) -> bytes:
        """All octets as they leave, in one piece: for content that is known to be small.

        Raises as `blocks` does.
        """
        if self._header is None and self._body is None and self._file is None:  # nearly always
            return self._leading + self._raw
        head, start = self._head()
        rest = self._read(start, self.size) if self._body is None else self._body
        return head + rest if head else rest

    def open(self) -> io.BufferedReader:
        """All octets as they leave, as a binary stream: for parsers that read files."""
        return io.BufferedReader(_BlockReader(self.blocks()), BLOCK_SIZE)

    def close(self) -> None:
        """Remove the file, if there is one. May be called again."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Content of {self.size} octets{' in a file' if self.is_spooled else ''}>"

    def _blocks(self, block_size: int) -> Iterator[bytes]:
        head, start = self._head()
        for at in range(0, len(head), block_size):
            yield head[at : at + block_size]
        if self._body is None:
            for at in range(start, self.size, block_size):
                yield self._read(at, min(at + block_size, self.size))
        else:
            for at in range(0, len(self._body), block_size):
                yield self._body[at : at + block_size]

    def _head(self) -> tuple[bytes, int]:
        """What leaves before the received octets, and the position from which these then leave."""
        if self._body is not None:
            header = self.header.to_bytes()
            return header + (b"\r\n" if not header or header.endswith(b"\r\n") else b"\r\n\r\n"), self.size
        if self._header is not None and self._header.is_modified:
            return self._header.to_bytes(), self.header_size
        return self._leading, 0

    def _read(self, start: int, stop: int) -> bytes:
        """Octets as received."""
        if self._file is None:
            return self._raw[start:stop]
        octets = os.pread(self._file.fileno(), stop - start, start)
        if len(octets) < stop - start:
            raise OSError(errno.EIO, "the spool file is shorter than what was written to it")
        return octets


def find_end_of_header(before: bytes, block: bytes) -> int | None:
    """Where in ``block`` the header ends, without the empty line; None if it does not end there.

    ``before`` is the up to three octets that came before the block (the result may be negative then), and
    CRLF for the first one, as if a line had ended: so the end of an empty header is found like any other.
    """
    at = (before + block[:3]).find(_END_OF_HEADER)
    if at >= 0:
        return at - len(before) + 2
    at = block.find(_END_OF_HEADER)
    return at + 2 if at >= 0 else None


class _BlockReader(io.RawIOBase):
    """Blocks of octets as a raw stream."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        if not self._rest:
            self._rest = next(self._blocks, b"")
        room = memoryview(buffer)
        octets, self._rest = self._rest[: len(room)], self._rest[len(room) :]
        room[: len(octets)] = octets
        return len(octets)
