"""The border to SQLite and the file system: their errors as ours."""

from __future__ import annotations

import errno
import sqlite3

from harakapy.queue.errors import StoreFull, StoreUnavailable

__all__ = ["translated"]

_FULL = (errno.ENOSPC, errno.EDQUOT)


def translated(error: Exception) -> Exception:
    """The error as the contract has it, with the original as its cause; one that is no I/O error as it is."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code
        kind = StoreFull if code == sqlite3.SQLITE_FULL else StoreUnavailable
        ours: Exception = kind(f"the database: {error} ({getattr(error, 'sqlite_errorname', 'no code')})")
    elif isinstance(error, OSError):
        kind = StoreFull if error.errno in _FULL else StoreUnavailable
        ours = kind(f"the file system: {error}")
    else:
        return error
    ours.__cause__ = error
    return ours
