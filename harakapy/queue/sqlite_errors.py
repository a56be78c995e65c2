"""The border to SQLite and the file system: their errors as ours."""

from __future__ import annotations

import errno
import sqlite3

from harakapy.queue.errors import StoreFull, StoreUnavailable

__all__ = ["is_busy", "is_damage", "primary_code", "translated"]

_FULL = (errno.ENOSPC, errno.EDQUOT)


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another process kept us from writing."""
    return primary_code(error) == sqlite3.SQLITE_BUSY


def is_damage(error: sqlite3.Error) -> bool:
    """Whether it is about what is on the disk, rather than a disk that does not work now."""
    return primary_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's code without its details; 0 if Python's module itself raised the error."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def translated(error: Exception) -> Exception:
    """The error as the contract has it, with the original as its cause; one that is no I/O error as it is."""
    if isinstance(error, sqlite3.Error):
        kind = StoreFull if primary_code(error) == sqlite3.SQLITE_FULL else StoreUnavailable
        ours: Exception = kind(f"the database: {error} ({getattr(error, 'sqlite_errorname', 'no code')})")
    elif isinstance(error, OSError):
        kind = StoreFull if error.errno in _FULL else StoreUnavailable
        ours = kind(f"the file system: {error}")
    else:
        return error
    ours.__cause__ = error
    return ours
