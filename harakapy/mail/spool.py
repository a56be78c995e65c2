"""Collecting content as it arrives: in memory up to a limit, beyond that in a file.

The file has no name, so nobody else can open it and nothing is left behind by a crash. It is written in large
pieces, because each piece means a switch to a thread and back; memory stays bounded by the size of a piece.
"""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import Final

from harakapy.mail.content import Content, find_end_of_header

__all__ = ["ContentWriter"]

FLUSH_SIZE: Final = 262144
"""Octets collected for one write to the spool file: so many that the switch to a thread and back costs little
beside writing them, and so few that every connection may hold them. Picked, not measured."""

# Neighbouring blocks this small are joined at once: a client that sends two octets a segment would else cost
# 25 times what it sends. Each such write copies at most the larger of them.
_SMALL_BLOCK: Final = 512
_JOINED_BLOCK: Final = 4096

_MAX_VECTOR: Final = 1024  # blocks of one writev, IOV_MAX of Linux and the BSDs


class ContentWriter:
    """Collects the content of one message, then gives it as ``Content``.

    ``write`` never touches the disk. What does is ``flush``, due when ``is_flush_due`` says so, and
    ``finish`` if ``is_spooled``: an async caller runs these in a thread. A caller that heeds this keeps the
    larger of ``spool_after`` and ``FLUSH_SIZE``, and one block, in memory at most.

    The caller ends with either ``finish`` or ``discard``, after a failure too.
    """

    __slots__ = ("_blocks", "_directory", "_file", "_pending", "_spool_after", "_tail", "header_size", "size")

    def __init__(self, spool_after: int, directory: Path) -> None:
        """Content of more than ``spool_after`` octets goes to a file in ``directory``, which must exist."""
        self.size = 0
        """Octets written so far."""
        self.header_size = 0
        """Octets of the header among them, without the empty line: too large a header is seen early."""
        self._spool_after = spool_after
        self._directory = directory
        self._blocks: list[bytes] = []
        self._pending = 0
        self._file: io.FileIO | None = None
        self._tail: bytes | None = b"\r\n"  # the last octets while the end of the header is looked for

    @property
    def is_spooled(self) -> bool:
        """Whether this content is, or at the end will be, in a file."""
        return self._file is not None or self.size > self._spool_after

    @property
    def is_flush_due(self) -> bool:
        """Whether enough has been collected to write it to the file now."""
        return self._pending >= FLUSH_SIZE and self.size > self._spool_after

    def write(self, block: bytes) -> None:
        """Take the next octets, however they are cut. A block is kept, not copied, unless it is small."""
        if not block:
            return
        blocks = self._blocks
        if len(block) < _SMALL_BLOCK and blocks and len(blocks[-1]) < _JOINED_BLOCK:
            blocks[-1] += block
        else:
            blocks.append(block)
        if self._tail is not None:
            self._look_for_end_of_header(block, self._tail)
        self._pending += len(block)
        self.size += len(block)

    def flush(self) -> None:
        """Write what was collected to the file.

        Raises OSError if the disk does not take it (full, broken, no file descriptor); the content is then
        incomplete, and ``discard`` is all that is left to do.
        """
        if self._file is None:
            # Without a name from the beginning (O_TMPFILE) where the file system can; readable for us alone.
            self._file = tempfile.TemporaryFile(buffering=0, dir=self._directory)  # noqa: SIM115 - owned by us
        blocks, self._blocks, self._pending = self._blocks, [], 0
        for start in range(0, len(blocks), _MAX_VECTOR):
            _write_all(self._file.fileno(), blocks[start : start + _MAX_VECTOR])

    def finish(self) -> Content:
        """The content, which owns the file now; the writer is done.

        Raises OSError as ``flush`` does.
        """
        if self.is_spooled:
            self.flush()
            content = Content(b"", self._file, self.size, self.header_size)
        else:
            raw = self._blocks[0] if len(self._blocks) == 1 else b"".join(self._blocks)
            content = Content(raw, None, self.size, self.header_size)
        self._file = None
        self._blocks = []
        return content

    def discard(self) -> None:
        """Forget what was written, and the file with it. May be called again, and after ``finish``."""
        self._blocks = []
        if self._file is not None:
            self._file.close()
            self._file = None

    def _look_for_end_of_header(self, block: bytes, tail: bytes) -> None:
        end = find_end_of_header(tail, block)
        if end is None:
            self._tail = block[-3:] if len(block) >= 3 else (tail + block)[-3:]
            self.header_size = self.size + len(block)
        else:
            self._tail = None
            self.header_size = self.size + end


def _write_all(file: int, blocks: list[bytes]) -> None:
    """Write blocks at the end of a file without joining them; the disk may take only some at first."""
    written = os.writev(file, blocks)
    if written < sum(map(len, blocks)):
        rest = memoryview(b"".join(blocks))[written:]
        while rest:
            rest = rest[os.write(file, rest) :]
