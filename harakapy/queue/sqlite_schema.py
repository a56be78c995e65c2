"""The tables in SQLite, how they came to be, and how a connection to them is set up."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from harakapy.queue.errors import StoreUnavailable

__all__ = [
    "APPLICATION_ID",
    "KEY_BITS",
    "MIGRATIONS",
    "connect",
    "is_current",
    "is_empty",
    "is_newer",
    "is_ours",
    "migrate",
]

APPLICATION_ID: Final = 0x68617261  # "hara": tells our databases from others
KEY_BITS: Final = 20
"""A delivery's key is its message's seq, then so many bits of its number: one integer that is the row's place
in the table, next to the other recipients of the message."""

BUSY_TIMEOUT_S: Final = 10.0
"""How long to wait for another process that writes: longer than groups take, shorter than clients wait."""

CHECKPOINT_PAGES: Final = 4000
"""Pages in the log (16 MiB) before they are copied to the database, in the writing thread: a pause of some 40
ms. SQLite's 1,000 pause four times as often for a tenth less throughput."""

LOG_SIZE_LIMIT: Final = 64 << 20
"""Octets the log keeps on disk after a long reader let it grow."""

CACHE_KIB: Final = 8192
"""Pages in memory per connection that writes: the inner nodes for millions of messages."""

_VERSION_1: Final = (
    # AUTOINCREMENT: a seq is never used twice, so what was read about one message never hits another one.
    """
    CREATE TABLE message (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        mail_from TEXT NOT NULL,
        params TEXT NOT NULL,
        size INTEGER NOT NULL,
        arrived REAL NOT NULL,
        priority INTEGER NOT NULL,
        deliver_by REAL,
        hold_until REAL,
        notes TEXT NOT NULL,
        is_delay_reported INTEGER NOT NULL,
        file TEXT
    )
    """,
    "CREATE UNIQUE INDEX message_by_file ON message (file) WHERE file IS NOT NULL",
    # A table of its own, so that reading through the messages does not read through their content.
    "CREATE TABLE content (seq INTEGER PRIMARY KEY, octets BLOB NOT NULL)",
    """
    CREATE TABLE delivery (
        key INTEGER PRIMARY KEY,
        recipient TEXT NOT NULL,
        params TEXT NOT NULL,
        domain TEXT NOT NULL,
        next_hop TEXT NOT NULL,
        destination TEXT NOT NULL,
        urgency INTEGER NOT NULL,
        state INTEGER NOT NULL,
        due REAL NOT NULL,
        ready REAL NOT NULL,
        lease_owner TEXT,
        attempts INTEGER NOT NULL,
        last_attempt REAL,
        diagnostic TEXT,
        status TEXT,
        host TEXT,
        is_reply INTEGER
    )
    """,
    # `ready` is the end of the lease, if there is one, else `due`: so what a dead owner leaves is found
    # like what became due. `urgency` is the priority negated, so that one direction serves all columns.
    "CREATE INDEX delivery_by_due ON delivery (destination, urgency, ready) WHERE state = 0",
    "CREATE INDEX delivery_by_report ON delivery (ready) WHERE state >= 3",
)

MIGRATIONS: Final[Sequence[Sequence[str]]] = (_VERSION_1,)
"""What leads from each version to the next: statement by statement, all in one transaction."""


def connect(path: Path) -> sqlite3.Connection:
    """Open the database with everything set that has to be, in autocommit mode, for any one thread at a time.

    Raises sqlite3.Error.
    """
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        if is_empty(connection):
            # Cannot be set later: lets pages of deleted content be given back to the system.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # a commit is synced, and that in WAL mode, too
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {LOG_SIZE_LIMIT}")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute("PRAGMA trusted_schema = OFF")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def is_empty(connection: sqlite3.Connection) -> bool:
    """Whether nothing was ever made in it. Raises sqlite3.Error."""
    found: tuple[int] = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return found[0] == 0


def is_ours(connection: sqlite3.Connection) -> bool:
    """Whether it was made by `migrate`. Raises sqlite3.Error."""
    found: tuple[int] = connection.execute("PRAGMA application_id").fetchone()
    return found[0] == APPLICATION_ID


def is_current(connection: sqlite3.Connection) -> bool:
    """Whether its tables are of the newest version. Raises sqlite3.Error."""
    return _version(connection) == len(MIGRATIONS)


def is_newer(connection: sqlite3.Connection) -> bool:
    """Whether its tables are of a version that we do not know. Raises sqlite3.Error."""
    return _version(connection) > len(MIGRATIONS)


def _version(connection: sqlite3.Connection) -> int:
    found: tuple[int] = connection.execute("PRAGMA user_version").fetchone()
    return found[0]


def migrate(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Bring the tables to the newest version, from any older one and from none.

    Raises StoreUnavailable, and leaves all as it is, if they are of a version newer than we know;
    sqlite3.Error.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)
        if version > len(migrations):
            raise StoreUnavailable(f"the queue was written by a newer version (its format is {version})")
        for statement in (statement for steps in migrations[version:] for statement in steps):
            connection.execute(statement)
        if version < len(migrations):
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {len(migrations)}")
    except (sqlite3.Error, StoreUnavailable):
        connection.rollback()
        raise
    connection.execute("COMMIT")
