"""Content too large for the database, as files: whole and synced before anything names them.

The file is written under a temporary name, synced and renamed, and its directory synced; only then the row
that names it is committed. When the message is gone the file is removed, after its row. So a crash leaves at
most files that no row names. They were never acknowledged, or are finished, and are removed at the next
start.
"""

from __future__ import annotations

import errno
import io
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from harakapy.mail.content import Content
from harakapy.queue.directory import sync_directory
from harakapy.queue.errors import StoreFull

__all__ = ["ContentFiles", "FileSystem", "Floor", "FreeSpace"]

BLOCK_SIZE: Final = 262144
"""Octets of one write: what costs is the copying then, not the calls."""

_ALLOWANCE: Final = 8 << 20
"""Octets taken at most between two looks at the free space, a fraction of the floor. Picked."""

_OVERHEAD: Final = 65536
"""What a message counts for beside its content, so that small ones make us look, too: after 128 of them."""

_TEMPORARY: Final = ".new"
_NAME = re.compile(rf"[0-9a-f]{{32}}(?:{re.escape(_TEMPORARY)})?")


class FreeSpace(Struct, frozen=True):
    """What a file system has left: octets, and inodes (None if it does not count them)."""

    octets: int
    inodes: int | None


class Floor(Struct, frozen=True):
    """What is left free: below, new mail is not taken, so that what is there can still be worked off.

    The octets are room for the database's log to double, and some; the inodes are for whatever else lives on
    that file system. Both picked.
    """

    octets: int = 128 << 20
    inodes: int = 1000


class FileSystem:
    """The calls that make a file durable, in one place, where a test lets one fail. All raise OSError."""

    def create(self, path: Path) -> int:
        """Make a file that is not there, for us alone to read; its descriptor."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, descriptor: int, octets: memoryview) -> int:
        """Write the start of ``octets``; how many."""
        return os.write(descriptor, octets)

    def sync(self, descriptor: int) -> None:
        """Wait until the disk has the file."""
        os.fsync(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name, at once."""
        source.rename(target)

    def sync_directory(self, path: Path) -> None:
        """Wait until the disk has the names in a directory."""
        sync_directory(path)

    def remove(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def free_space(self, path: Path) -> FreeSpace:
        """What we may still use where ``path`` is."""
        found = os.statvfs(path)
        return FreeSpace(found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None)


class ContentFiles:
    """The directory of content files. All but `require_room` and `discard` is for a thread that may wait."""

    def __init__(self, directory: Path, file_system: FileSystem, floor: Floor) -> None:
        self.directory = directory
        self._file_system = file_system
        self._floor = floor
        self._allowance = 0  # octets to be taken without looking at the disk

    def require_room(self, size: int) -> None:
        """Check that ``size`` octets can be stored without going below the floor.

        Looks at the disk only now and then while there is much room: another thread that runs makes a call
        that takes 1 us take 12. Raises StoreFull if not; OSError if the file system does not answer.
        """
        if size + _OVERHEAD > self._allowance:
            self._allowance = min(self._look(size), _ALLOWANCE)
        self._allowance -= size + _OVERHEAD

    def _look(self, size: int) -> int:
        """How many octets are free above the floor, if ``size`` are."""
        free = self._file_system.free_space(self.directory)
        if free.octets - size < self._floor.octets:
            raise StoreFull(
                f"{free.octets} octets are free for the queue, {self._floor.octets} are to be left"
            )
        if free.inodes is not None and free.inodes < self._floor.inodes:
            raise StoreFull(
                f"{free.inodes} inodes are free for the queue, {self._floor.inodes} are to be left"
            )
        return free.octets - self._floor.octets

    def store(self, content: Content) -> str:
        """Write content to a new file; its name, once the disk has it.

        Raises OSError, and what reading the content raises; then nothing is left.
        """
        name = uuid.uuid4().hex
        temporary, final = self.directory / (name + _TEMPORARY), self.directory / name
        try:
            self._write(temporary, content)
            self._file_system.rename(temporary, final)
            self._file_system.sync_directory(self.directory)
        except Exception:
            self.discard(temporary.name)
            self.discard(final.name)
            raise
        return name

    def open(self, name: str) -> io.FileIO:
        """Open a file for reading. Raises FileNotFoundError, OSError."""
        if not _NAME.fullmatch(name):  # a damaged row may name anything
            raise FileNotFoundError(errno.ENOENT, "this is no name of a content file", name)
        return (self.directory / name).open("rb", buffering=0)

    def discard(self, name: str) -> None:
        """Remove a file that no row names any more. If even that fails, it goes at the next start."""
        with suppress(OSError):
            self._file_system.remove(self.directory / name)

    def names(self) -> Iterator[tuple[str, bool]]:
        """All files in the directory, and whether we can have made them. Raises OSError."""
        with os.scandir(self.directory) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    yield entry.name, bool(_NAME.fullmatch(entry.name))

    def _write(self, path: Path, content: Content) -> None:
        descriptor = self._file_system.create(path)
        try:
            size = 0
            for block in content.blocks(BLOCK_SIZE):
                size += len(block)
                rest = memoryview(block)
                while rest:
                    rest = rest[self._file_system.write(descriptor, rest) :]
            if size != content.output_size:
                raise OSError(errno.EIO, f"the content has {size} octets, not {content.output_size}")
            self._file_system.sync(descriptor)
        finally:
            os.close(descriptor)
