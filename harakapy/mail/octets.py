"""A message as octets at any position, for what must look at it twice."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from harakapy.mail.content import Content

__all__ = ["BLOCK_SIZE", "MAX_FOUND", "Octets"]

BLOCK_SIZE: Final = 57 * 4598
"""Octets read at a time: near 256 KiB, and a multiple of what one line of base64 holds (RFC 2045 6.8)."""

MAX_FOUND: Final = 240
"""Octets of what is searched for, and of what it looks ahead at: so many of each block are searched again."""


class Octets:
    """All octets of a message as it leaves, to be read anywhere; to be closed by whoever made it.

    They stand in memory, or in a file of our own if the content is in one.
    """

    def __init__(self, content: Content, directory: Path) -> None:
        """Copy the content, to ``directory`` if it is spooled. Raises OSError."""
        self.size = content.output_size
        self._octets = b""
        self._file: IO[bytes] | None = None
        if content.is_spooled:
            self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - closed by close
            self._file.writelines(content.blocks())
        else:
            self._octets = content.to_bytes()

    def close(self) -> None:
        """Remove the file, if there is one."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def read(self, start: int, stop: int) -> bytes:
        """These octets, at once."""
        if self._file is None:
            return self._octets[start:stop]
        self._file.seek(start)
        return self._file.read(stop - start)

    def blocks(self, start: int, stop: int) -> Iterator[bytes]:
        """These octets in blocks that end nowhere between a CR and its LF."""
        while start < stop:
            block = self.read(start, min(start + BLOCK_SIZE, stop))
            if block.endswith(b"\r") and 1 < len(block) < stop - start:
                block = block[:-1]
            yield block
            start += len(block)

    def find(self, pattern: re.Pattern[bytes], start: int, stop: int) -> Iterator[tuple[int, int, bool]]:
        """Where a pattern is found, of at most `MAX_FOUND` octets and with one group.

        Each time it is begin and end, and whether the group took part.
        """
        searched = start
        while searched < stop:
            end = min(searched + BLOCK_SIZE, stop)
            block = self.read(searched, end)
            last = len(block) if end == stop else len(block) - MAX_FOUND
            upto = last
            for found in pattern.finditer(block):
                if found.start() >= last:
                    break
                yield searched + found.start(), searched + found.end(), found[1] is not None
                upto = max(upto, found.end())
            searched += upto
