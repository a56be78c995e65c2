"""What makes and unmakes messages, as jobs for the writer: each runs in a transaction that is open."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from harakapy.queue.delivery import DeliveryKey, State
from harakapy.queue.errors import LeaseLost
from harakapy.queue.outcome import Deferred, Delivered, Failed, Outcome, Settlement
from harakapy.queue.sqlite_rows import (
    DELIVERY_COLUMNS,
    FINAL_CODE,
    MESSAGE_COLUMNS,
    STATE_CODES,
    diagnostic_columns,
)
from harakapy.queue.sqlite_schema import KEY_BITS

__all__ = ["drop", "first_key", "insert", "last_key", "record", "seq_of", "settle"]


def _placeholders(columns: str) -> str:
    return ", ".join("?" * (columns.count(",") + 1))


_INSERT_MESSAGE: Final = (
    f"INSERT INTO message ({MESSAGE_COLUMNS}, file) VALUES ({_placeholders(MESSAGE_COLUMNS)}, ?)"
)
_INSERT_DELIVERY: Final = (
    f"INSERT INTO delivery (key, {DELIVERY_COLUMNS}) VALUES (?, {_placeholders(DELIVERY_COLUMNS)})"
)
FREE_PAGES: Final = 8192
"""Pages (32 MiB) kept for the next messages: growing and shrinking with each burst would cost more."""

PAGES_GIVEN_BACK: Final = 8
"""Pages moved to the front for each message that is done: more than most messages have. Some 50 us."""

_SET_DIAGNOSTIC: Final = "diagnostic = ?, status = ?, host = ?, is_reply = ?"
_DEFER: Final = (
    f"UPDATE delivery SET lease_owner = NULL, due = ?, ready = ?, {_SET_DIAGNOSTIC} "
    f"WHERE key = ? AND state < {FINAL_CODE} AND lease_owner = ?"
)
_KEEP: Final = (
    f"UPDATE delivery SET lease_owner = NULL, state = ?, due = ?, ready = ?, {_SET_DIAGNOSTIC} "
    f"WHERE key = ? AND state < {FINAL_CODE} AND lease_owner IS coalesce(?, lease_owner)"
)
_FILE_IF_DONE: Final = (
    "SELECT file FROM message WHERE NOT EXISTS (SELECT 1 FROM delivery WHERE key BETWEEN ? AND ?) AND seq = ?"
)
_FINISH: Final = (
    f"DELETE FROM delivery WHERE key = ? AND state < {FINAL_CODE} AND lease_owner IS coalesce(?, lease_owner)"
)


def insert(
    connection: sqlite3.Connection,
    message: Sequence[Any],
    deliveries: Iterable[tuple[int, Sequence[Any]]],
    *,
    octets: bytes | None,
    file: str | None,
) -> None:
    """Store a message: its row, the rows of its deliveries by number, its octets or the file that has them.

    Raises ValueError if its id is taken.
    """
    try:
        seq = connection.execute(_INSERT_MESSAGE, (*message, file)).lastrowid
    except sqlite3.IntegrityError as error:
        raise ValueError(f"message {message[0]!r} is in the store already, or is none ({error})") from error
    assert seq is not None
    if octets is not None:
        connection.execute("INSERT INTO content (seq, octets) VALUES (?, ?)", (seq, octets))
    base = first_key(seq)
    connection.executemany(_INSERT_DELIVERY, [(base | number, *row) for number, row in deliveries])


def record(
    connection: sqlite3.Connection, outcomes: Iterable[Outcome], owner: str
) -> tuple[frozenset[DeliveryKey], list[str]]:
    """Write down outcomes: those that came too late, and files that no row names any more."""
    seqs: dict[str, int | None] = {}
    late = set()
    files: list[str] = []
    for outcome in outcomes:
        message_id, number = outcome.key
        if message_id not in seqs:
            seqs[message_id] = seq_of(connection, message_id)
        seq = seqs[message_id]
        if seq is None or not _record_one(connection, outcome, first_key(seq) | number, owner):
            late.add(outcome.key)
        elif not isinstance(outcome, Deferred) and outcome.report_at is None:
            files += _drop_if_done(connection, seq)
    return frozenset(late), files


def _record_one(connection: sqlite3.Connection, outcome: Outcome, key: int, owner: str) -> bool:
    if isinstance(outcome, Deferred):
        columns = diagnostic_columns(outcome.diagnostic)
        done = connection.execute(_DEFER, (outcome.due, outcome.due, *columns, key, owner))
        return done.rowcount > 0
    required = owner if isinstance(outcome, Failed) else None  # what is delivered is, whoever has the lease
    if outcome.report_at is None:
        return connection.execute(_FINISH, (key, required)).rowcount > 0
    state = STATE_CODES[State.DELIVERED if isinstance(outcome, Delivered) else State.FAILED]
    columns = diagnostic_columns(outcome.diagnostic)
    done = connection.execute(_KEEP, (state, outcome.report_at, outcome.report_at, *columns, key, required))
    return done.rowcount > 0


def settle(connection: sqlite3.Connection, settlement: Settlement) -> list[str]:
    """Record that something is reported; the files that no row names any more.

    Raises LeaseLost as `Store.settle`.
    """
    seq = seq_of(connection, settlement.message_id)
    if seq is None:
        raise LeaseLost(settlement.message_id)
    if settlement.is_delay_reported:
        marked = connection.execute(
            "UPDATE message SET is_delay_reported = 1 WHERE seq = ? AND NOT is_delay_reported", (seq,)
        )
        if not marked.rowcount:
            raise LeaseLost(settlement.message_id)
    for number in set(settlement.concluded):
        concluded = connection.execute(
            f"DELETE FROM delivery WHERE key = ? AND state >= {FINAL_CODE} AND lease_owner = ?",
            (first_key(seq) | number, settlement.owner),
        )
        if not concluded.rowcount:
            raise LeaseLost(settlement.message_id)
    return _drop_if_done(connection, seq) if settlement.concluded else []


def drop(connection: sqlite3.Connection, keys: Collection[int]) -> list[str]:
    """Delete deliveries, and the messages that have none left; the files that no row names any more."""
    connection.executemany("DELETE FROM delivery WHERE key = ?", [(key,) for key in keys])
    return [file for seq in {key >> KEY_BITS for key in keys} for file in _drop_if_done(connection, seq)]


def seq_of(connection: sqlite3.Connection, message_id: str) -> int | None:
    """The seq of a message; None if it is not there."""
    found: tuple[int] | None = connection.execute(
        "SELECT seq FROM message WHERE id = ?", (message_id,)
    ).fetchone()
    return found[0] if found else None


def first_key(seq: int) -> int:
    """The key of a message's delivery number 0, to which a number is added."""
    return seq << KEY_BITS


def last_key(seq: int) -> int:
    """The greatest key that a delivery of a message can have."""
    return (seq + 1 << KEY_BITS) - 1


def _drop_if_done(connection: sqlite3.Connection, seq: int) -> list[str]:
    """Delete a message without deliveries; the file that it had, or nothing."""
    found = connection.execute(_FILE_IF_DONE, (first_key(seq), last_key(seq), seq)).fetchone()
    if found is None:
        return []
    connection.execute("DELETE FROM message WHERE seq = ?", (seq,))
    connection.execute("DELETE FROM content WHERE seq = ?", (seq,))
    _give_back_pages(connection)
    return [file for file in found if file is not None]


def _give_back_pages(connection: sqlite3.Connection) -> None:
    """Let the database shrink a little if it has many free pages: so it does as the queue does."""
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    if free > FREE_PAGES:
        for _ in range(
            PAGES_GIVEN_BACK
        ):  # one by one: Python's module takes but the first step of this pragma
            connection.execute("PRAGMA incremental_vacuum(1)")
