"""File systems in which one call fails, or all are written down; a disk that fails for a whole process."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harakapy.queue import FileSystem, FreeSpace

CALLS = ("create", "write", "sync", "rename", "sync_directory")
"""What storing a file calls, in this order."""


class FailingFileSystem(FileSystem):
    """A real file system, until it is told to fail in one of its calls."""

    def __init__(self) -> None:
        self.failing = ""
        self.error = errno.EIO
        self.free: FreeSpace | None = None
        self.calls: list[str] = []

    def create(self, path: Path) -> int:
        self._call("create")
        return super().create(path)

    def write(self, descriptor: int, octets: memoryview) -> int:
        self._call("write")
        return super().write(descriptor, octets[:100_000])  # as a disk may: not all at once

    def sync(self, descriptor: int) -> None:
        self._call("sync")
        super().sync(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        self._call("rename")
        super().rename(source, target)

    def sync_directory(self, path: Path) -> None:
        self._call("sync_directory")
        super().sync_directory(path)

    def remove(self, path: Path) -> None:
        self._call("remove")
        super().remove(path)

    def free_space(self, path: Path) -> FreeSpace:
        return self.free or super().free_space(path)

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self.failing:
            raise OSError(self.error, f"{name} failed as told")


def failing_disk(folder: Path) -> Path:
    """A library to be preloaded: see ``failing_disk.c``. The test is skipped where none can be made."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler and a preloading linker")
    library = folder / "failing_disk.so"
    source = Path(__file__).with_name("failing_disk.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return library
