"""The directory of a store: what lies where, and who uses it.

Every process that has the store open holds a lock that it shares with the others. Who comes when nobody has
it may do what disturbs others: repair, migrate, sweep. The rest wait until that is done.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["DirectoryLock", "StoreDirectory", "sync_directory"]

_DATABASE_FILES: Final = ("", "-wal", "-shm")


class StoreDirectory:
    """Paths below one directory, which belongs to the store alone."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.database = root / "queue.db"
        self.salvaged = root / "salvaged.db"
        """Exists only while a damaged database is replaced by it."""
        self.content = root / "content"
        self.quarantine = root / "quarantine"
        """What was unreadable, in numbered directories, for a person to look at."""
        self.lock = root / "lock"

    def make(self) -> None:
        """Make what is missing, readable for us alone. Raises OSError."""
        for path in (self.root, self.content, self.quarantine):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_directory(self.root.parent)
        self.sync()

    def new_quarantine(self) -> Path:
        """Make an empty directory for what is found to be unreadable now. Raises OSError."""
        number = 1
        while True:
            path = self.quarantine / str(number)
            with suppress(FileExistsError):
                path.mkdir(mode=0o700)
                return path
            number += 1

    def move_database(self, target: Path) -> None:
        """Move the database to another directory, and then its log. Raises OSError."""
        self.sync()
        for source in self.database_files(self.database):
            source.rename(target / source.name)
        self.sync()

    def database_files(self, database: Path) -> list[Path]:
        """The files that make up a database, as far as they are there; the one with the data first."""
        found = (database.with_name(database.name + suffix) for suffix in _DATABASE_FILES)
        return [path for path in found if path.exists()]

    def sync(self) -> None:
        """Wait until the disk has the names in the directory. Raises OSError."""
        sync_directory(self.root)


def sync_directory(path: Path) -> None:
    """Wait until the disk has the names in a directory. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class DirectoryLock:
    """Holds a store's directory, alone at first if nobody else has it."""

    def __init__(self, path: Path) -> None:
        """Wait until nobody has the directory alone, then have it, too. Raises OSError."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.is_alone = self._take_alone()
        if not self.is_alone:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)
            self.is_alone = self._take_alone()  # who was here may have died meanwhile, in the middle of it
            if not self.is_alone:
                fcntl.flock(self._descriptor, fcntl.LOCK_SH)  # a conversion that fails loses what it had

    def _take_alone(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def share(self) -> None:
        """Let others in."""
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)
        self.is_alone = False

    def release(self) -> None:
        """Give the directory up. May be called again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
