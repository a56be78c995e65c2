"""Saving what can be read of a damaged database into a new one.

The tables are read in the order of their keys. Where a page is unreadable, the reading leaps over it: it
doubles its step until something can be read again, and then halves it back to the first such row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

from harakapy.queue.sqlite_claims import quarantine
from harakapy.queue.sqlite_schema import KEY_BITS, connect, migrate

__all__ = ["Salvaged", "salvage"]

_KEYS: Final = {"message": "seq", "content": "seq", "delivery": "key"}
_MAX_KEY: Final = (1 << 63) - 1
_SEQ_OF_DELIVERY: Final = f"key >> {KEY_BITS}"


class Salvaged(NamedTuple):
    """What was saved."""

    messages: int
    recipients: int
    quarantined: int
    """Recipients among them whose message has lost its content."""


def salvage(damaged: Path, target: Path) -> Salvaged:
    """Copy what is readable and complete from ``damaged`` to a new database ``target``, finished and synced.

    Raises sqlite3.Error if ``damaged`` is so broken that not even its tables are known, or if ``target``
    cannot be written.
    """
    with closing(connect(target)) as saved:
        migrate(saved)
        with closing(sqlite3.connect(damaged, isolation_level=None)) as source:
            source.execute("SELECT count(*) FROM sqlite_master")
            saved.execute("BEGIN")
            for table, key in _KEYS.items():
                _copy(source, saved, table, key)
        # A message whose recipients are lost cannot be delivered, nor a recipient whose message is lost.
        saved.execute(f"DELETE FROM delivery WHERE {_SEQ_OF_DELIVERY} NOT IN (SELECT seq FROM message)")
        saved.execute(f"DELETE FROM message WHERE seq NOT IN (SELECT {_SEQ_OF_DELIVERY} FROM delivery)")
        saved.execute("DELETE FROM content WHERE seq NOT IN (SELECT seq FROM message)")
        lost = _without_content(saved)
        quarantine(saved, dict.fromkeys(lost, "its content was lost when the database was damaged"))
        saved.execute("COMMIT")
        return Salvaged(_count(saved, "message"), _count(saved, "delivery"), len(lost))


def _count(saved: sqlite3.Connection, table: str) -> int:
    found: tuple[int] = saved.execute(f"SELECT count(*) FROM {table}").fetchone()
    return found[0]


def _without_content(saved: sqlite3.Connection) -> list[int]:
    rows = saved.execute(
        f"SELECT key FROM delivery JOIN message m ON m.seq = {_SEQ_OF_DELIVERY} "
        "WHERE m.file IS NULL AND m.seq NOT IN (SELECT seq FROM content)"
    )
    return [key for (key,) in rows]


def _copy(source: sqlite3.Connection, saved: sqlite3.Connection, table: str, key: str) -> None:
    there = {row[1] for row in source.execute(f"PRAGMA table_info({table})")}  # fewer in an older version
    names = [row[1] for row in saved.execute(f"PRAGMA table_info({table})") if row[1] in there]
    columns = ", ".join([key, *(name for name in names if name != key)])
    # OR IGNORE: what violates a constraint now was damaged, too.
    insert = f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({', '.join('?' * len(names))})"
    saved.executemany(insert, _readable(source, table, key, columns))


def _readable(source: sqlite3.Connection, table: str, key: str, columns: str) -> Iterator[tuple[Any, ...]]:
    """All rows that can be read, in the order of their keys."""
    rest = f"SELECT {columns} FROM {table} WHERE {key} > ? ORDER BY {key}"
    at: int | None = 0
    while at is not None:
        try:
            for row in source.execute(rest, (at,)):
                yield row
                at = row[0]
            return
        except sqlite3.DatabaseError:
            # A cursor looks one row ahead, so it has kept the last good row to itself.
            if (last := _next_row(source, rest, at)) is not None:
                yield last
                at = last[0]
            else:
                at = _behind_damage(source, rest, at)


def _next_row(source: sqlite3.Connection, rest: str, at: int) -> tuple[Any, ...] | None:
    """The row next to the key ``at``; None if there is none, or it cannot be read."""
    try:
        row: tuple[Any, ...] | None = source.execute(f"{rest} LIMIT 1", (at,)).fetchone()
    except sqlite3.DatabaseError:
        return None
    return row


def _behind_damage(source: sqlite3.Connection, rest: str, at: int) -> int | None:
    """The last key, above ``at``, before the next row that can be read; None if none can."""
    step = 1
    while _next_row(source, rest, at + step) is None:
        step *= 2
        if at + step > _MAX_KEY:
            return None
    damaged, good = at + step // 2, at + step
    while good - damaged > 1:
        middle = (damaged + good) // 2
        if _next_row(source, rest, middle) is None:
            damaged = middle
        else:
            good = middle
    return good
