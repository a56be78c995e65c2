"""What happens before a store opens, while nobody else has it: check, repair, migrate, sweep.

Nothing here deletes what may have been acknowledged. A database that is not ours, or is unreadable, is moved
to the quarantine with all content files. One that is damaged is replaced by what can be saved of it, and
moved there too. Content files that no row names are deleted only if the database they would be named in was
whole.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from enum import Enum, auto
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from harakapy.queue.directory import StoreDirectory
from harakapy.queue.errors import StoreUnavailable
from harakapy.queue.files import ContentFiles
from harakapy.queue.sqlite_claims import release_leases
from harakapy.queue.sqlite_errors import is_damage, primary_code
from harakapy.queue.sqlite_salvage import salvage
from harakapy.queue.sqlite_schema import connect, is_current, is_empty, is_newer, is_ours, migrate

__all__ = ["Incident", "prepare", "require_prepared"]

_CHECKED: Final = ("message", "delivery")
"""Tables checked at each start, with their indexes: some 2 s for a million messages. That of the content is
not: it can have any size, and a row that is unreadable there concerns one message, which is quarantined when
it is its turn. (quick_check is hardly faster and misses what an index lacks: mail that would never be
claimed.)"""


class Incident(Struct, frozen=True):
    """Something an operator should know, to be logged: what happened, and to what."""

    event: str
    fields: Mapping[str, object] = field(default_factory=dict)


class _Condition(Enum):
    NEW = auto()
    GOOD = auto()
    DAMAGED = auto()
    FOREIGN = auto()


def prepare(directory: StoreDirectory, files: ContentFiles) -> list[Incident]:
    """Make the database ready for use, with all tables and no leases; what was found on the way.

    Raises OSError, sqlite3.Error; StoreUnavailable if the database is of a newer version.
    """
    incidents = list(_make_whole(directory))
    with closing(connect(directory.database)) as connection:
        is_new = is_empty(connection)
        migrate(connection)
        release_leases(connection, None)  # nobody else is here, so whoever had one is dead
        incidents += _sweep(directory, files, connection, keep=is_new or bool(incidents))
    return incidents


def require_prepared(directory: StoreDirectory) -> None:
    """Check that somebody else has prepared the database, in the format that we know.

    Raises StoreUnavailable if not; sqlite3.Error.
    """
    with closing(connect(directory.database)) as connection:
        if not is_current(connection):
            raise StoreUnavailable("the queue is in use by another version")


def _make_whole(directory: StoreDirectory) -> Iterator[Incident]:
    """Put a database in place that is whole, or none."""
    _finish_moving(directory)
    condition, why = _examine(directory.database)
    if condition is _Condition.DAMAGED:
        yield from _replace_damaged(directory, why)
    elif condition is _Condition.FOREIGN:
        yield _set_aside(directory, why)


def _examine(database: Path) -> tuple[_Condition, str]:
    """What state a database is in, and why it is not good."""
    if not database.exists():
        return _Condition.NEW, ""
    try:
        with closing(connect(database)) as connection:
            if is_empty(connection):
                return _Condition.NEW, ""
            if not is_ours(connection):
                return _Condition.FOREIGN, "it was made by another program"
            if is_newer(connection):
                return _Condition.GOOD, ""  # or not: that is not for us to say, nor to repair
            problem = _problem(connection)
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        condition = _Condition.FOREIGN if primary_code(error) == sqlite3.SQLITE_NOTADB else _Condition.DAMAGED
        return condition, str(error)
    return (_Condition.DAMAGED, problem) if problem else (_Condition.GOOD, "")


def _problem(connection: sqlite3.Connection) -> str:
    """What is wrong with the tables, first of all; "" if nothing is. Indexes are made anew if that helps."""
    problem = _check(connection)
    if problem:
        with suppress(sqlite3.DatabaseError):
            connection.execute("REINDEX")
            problem = _check(connection)
    return problem


def _check(connection: sqlite3.Connection) -> str:
    for table in _CHECKED:
        found: str = connection.execute(f"PRAGMA integrity_check({table})").fetchone()[0]
        if found != "ok":
            return found
    return ""


def _replace_damaged(directory: StoreDirectory, why: str) -> Iterator[Incident]:
    """Save what can be read. Cut short anywhere, the next start does it again, or finishes it."""
    try:
        saved = salvage(directory.database, directory.salvaged)
    except sqlite3.DatabaseError as error:
        _remove_database(directory, directory.salvaged)
        if not is_damage(error):  # a full disk, say: the damaged database stays where it is
            raise
        yield _set_aside(directory, f"{why}; nothing could be saved: {error}")
        return
    quarantine = directory.new_quarantine()
    directory.move_database(quarantine)
    _finish_moving(directory)
    yield Incident(
        "queue database was damaged, and replaced by what could be read of it",
        {"reason": why, "moved_to": str(quarantine), **saved._asdict()},
    )


def _finish_moving(directory: StoreDirectory) -> None:
    """Finish what an earlier start began, if it has moved the damaged database; else forget what it saved."""
    if directory.database.exists():
        _remove_database(directory, directory.salvaged)
        return
    if directory.database_files(directory.database):  # its log, which must not meet another database
        directory.move_database(directory.new_quarantine())
    if directory.salvaged.exists():
        directory.salvaged.rename(directory.database)
        directory.sync()


def _remove_database(directory: StoreDirectory, database: Path) -> None:
    for path in directory.database_files(database):
        path.unlink()


def _set_aside(directory: StoreDirectory, why: str) -> Incident:
    quarantine = directory.new_quarantine()
    directory.move_database(quarantine)
    return Incident(
        "queue database was unreadable, and moved away: the queue is empty now",
        {"reason": why, "moved_to": str(quarantine)},
    )


def _sweep(
    directory: StoreDirectory, files: ContentFiles, connection: sqlite3.Connection, *, keep: bool
) -> Iterator[Incident]:
    """Remove content files that no row names; with ``keep`` move them away, as foreign ones always are."""
    quarantine: Path | None = None
    moved = 0
    for name, may_be_ours in files.names():
        if may_be_ours and connection.execute("SELECT 1 FROM message WHERE file = ?", (name,)).fetchone():
            continue
        if may_be_ours and not keep:
            files.discard(name)
            continue
        quarantine = quarantine or directory.new_quarantine()
        (files.directory / name).rename(quarantine / name)
        moved += 1
    if quarantine is not None:
        yield Incident(
            "files that belong to no message were moved away", {"files": moved, "moved_to": str(quarantine)}
        )
