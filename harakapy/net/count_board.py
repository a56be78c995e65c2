"""Counts of connections that several processes share, in memory that each of them has mapped.

Theory of operation. Each process has a column of its own, which it alone writes, and reads those of the
others; who dies, however he dies, is forgotten by clearing his column. So there is no lock that a dead
process could hold, and no count that could stay wrong. Counting before looking (see
`harakapy.net.shared_limits`) keeps a limit true when two processes count at the same moment: then both may be
refused, never both be let in.

A column is a hash table of sites in buckets: a site stands in its bucket or nowhere, so that others find it
by reading one bucket, and nothing ever moves. A bucket that is full is no harm: the site is then counted by
its own process alone. The hash is keyed, so that nobody can choose addresses that meet in one bucket.
"""

import mmap
import os
import secrets
import tempfile
from typing import Final, Self

__all__ = ["Column", "CountBoard", "anonymous_file"]

BUCKET: Final = 16  # sites; reading one takes a microsecond
ROOM: Final = 4  # slots for each connection: a bucket of 16 then overflows once in a million
WORD: Final = 8  # octets; each is written at once, so nobody reads half of one

_ALL_BITS: Final = (1 << 64) - 1


class CountBoard:
    """The shared memory: a number of ``columns``, each with room for so many ``connections``.

    It is the file ``fd``, which a process that was forked or started with that descriptor has, too.
    """

    def __init__(self, fd: int, columns: int, connections: int) -> None:
        """Map a board that `create` has made with the same numbers. Raises OSError, ValueError."""
        self.fd, self.columns, self.connections = fd, columns, connections
        self._bits = _bucket_bits(connections)
        size = _column_words(connections)
        self._words = memoryview(mmap.mmap(fd, WORD * (1 + columns * size))).cast("Q")
        self._each = [self._words[1 + n * size : 1 + (n + 1) * size] for n in range(columns)]

    @classmethod
    def create(cls, columns: int, connections: int) -> Self:
        """A new board, with nothing counted. Raises OSError."""
        fd = anonymous_file()
        os.ftruncate(fd, WORD * (1 + columns * _column_words(connections)))
        board = cls(fd, columns, connections)
        board._words[0] = secrets.randbits(64) | 1
        return board

    def column(self, number: int) -> "Column":
        """The column for one process to count in."""
        return Column(self, self._each[number])

    def clear(self, number: int) -> None:
        """Forget what the process of a column has counted: it is dead."""
        self._each[number][:] = memoryview(bytes(self._each[number].nbytes)).cast("Q")

    def total(self) -> int:
        """All connections."""
        return sum(each[0] for each in self._each)

    def count(self, site: int) -> int:
        """The connections from a site."""
        start = self.bucket(site)
        found = 0
        for each in self._each:
            keys = each[start : start + BUCKET].tolist()
            if site in keys:
                found += each[start + BUCKET + keys.index(site)]
        return found

    def bucket(self, site: int) -> int:
        """Where in a column the bucket of a site begins: with its keys, behind which are its counts."""
        hashed = ((site ^ site >> 32) * self._words[0] & _ALL_BITS) >> (64 - self._bits)
        return 1 + 2 * BUCKET * hashed


class Column:
    """The counts of one process."""

    def __init__(self, board: CountBoard, words: memoryview) -> None:
        self.board = board
        self._words = words

    def set_total(self, count: int) -> None:
        """Say how many connections this process has."""
        self._words[0] = count

    def set(self, site: int, count: int) -> None:
        """Say how many of them are from a site, a number other than 0."""
        words, start = self._words, self.board.bucket(site)
        keys = words[start : start + BUCKET].tolist()
        if site in keys:
            words[start + BUCKET + keys.index(site)] = count
        elif count and (free := self._free_slot(start)) is not None:
            words[free] = site
            words[free + BUCKET] = count

    def _free_slot(self, start: int) -> int | None:
        """A slot of the bucket that counts nothing."""
        counts = self._words[start + BUCKET : start + 2 * BUCKET].tolist()
        return start + counts.index(0) if 0 in counts else None


def _bucket_bits(connections: int) -> int:
    return max(1, (connections * ROOM // BUCKET).bit_length())


def _column_words(connections: int) -> int:
    return 1 + (2 * BUCKET << _bucket_bits(connections))


def anonymous_file() -> int:
    """A new file that ends with the last process that has it. Raises OSError."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("harakapy", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
