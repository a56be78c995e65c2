"""What makes and unmakes messages, as jobs for the writer: each runs in a transaction that is open."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from msgspec import Struct

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

__all__ = ["NewMessage", "drop", "first_key", "insert", "last_key", "record", "seq_of", "seqs_of", "settle"]


_NEXT_SEQ: Final = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'message'), 0) + 1"
_MESSAGES: Final = f"message (seq, file, {MESSAGE_COLUMNS})"
_CONTENTS: Final = "content (seq, octets)"
_DELIVERIES: Final = f"delivery (key, {DELIVERY_COLUMNS})"
_ROWS_AT_ONCE: Final = (64, 16, 4, 1)
"""Rows in one INSERT: few different statements, which are kept prepared, for any number of rows."""

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
_NAME: Final = "UPDATE delivery SET next_hop = ?, destination = ? WHERE key = ?"
_TELL: Final = "UPDATE message SET is_delay_reported = ? WHERE seq = ? AND is_delay_reported < ?"
# A list of any length is one parameter, and so one statement.
_SEQS: Final = "SELECT id, seq FROM message WHERE id IN (SELECT value FROM json_each(?))"
_DONE: Final = f"""
    SELECT seq, file FROM message m WHERE seq IN (SELECT value FROM json_each(?)) AND NOT EXISTS (
        SELECT 1 FROM delivery WHERE key BETWEEN m.seq << {KEY_BITS} AND (m.seq + 1 << {KEY_BITS}) - 1)
"""
_FINISH_ALL: Final = (
    "DELETE FROM delivery WHERE key IN (SELECT value FROM json_each(?)) "
    f"AND state < {FINAL_CODE} RETURNING key"
)
_FINISH: Final = (
    f"DELETE FROM delivery WHERE key = ? AND state < {FINAL_CODE} AND lease_owner IS coalesce(?, lease_owner)"
)


class NewMessage(Struct, frozen=True):
    """What is stored of a message: its row, the rows of its deliveries by number, and its content.

    That is ``octets``, or the name of the ``file`` that has them.
    """

    row: tuple[Any, ...]
    deliveries: Sequence[tuple[int, tuple[Any, ...]]]
    octets: bytes | None
    file: str | None


def insert(connection: sqlite3.Connection, messages: Sequence[NewMessage]) -> list[tuple[str, ...]]:
    """Store messages; no files are of no use any more, for each.

    Raises ValueError if an id is taken.
    """
    (seq,) = connection.execute(_NEXT_SEQ).fetchone()
    numbered = list(enumerate(messages, seq))
    try:
        _insert_rows(connection, _MESSAGES, [(seq, each.file, *each.row) for seq, each in numbered])
    except sqlite3.IntegrityError as error:
        ids = ", ".join(repr(each.row[0]) for each in messages)
        raise ValueError(f"message {ids} is in the store already, or is none ({error})") from error
    contents = [(seq, each.octets) for seq, each in numbered if each.octets is not None]
    _insert_rows(connection, _CONTENTS, contents)
    rows = [(first_key(seq) | number, *row) for seq, each in numbered for number, row in each.deliveries]
    _insert_rows(connection, _DELIVERIES, rows)
    return [()] * len(messages)


def _insert_rows(connection: sqlite3.Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    at = 0
    for size in _ROWS_AT_ONCE:
        while at + size <= len(rows):
            values = list(chain.from_iterable(rows[at : at + size]))
            connection.execute(_insert_statement(table, len(rows[0]), size), values)
            at += size


@lru_cache(maxsize=32)
def _insert_statement(table: str, columns: int, rows: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return f"INSERT INTO {table} VALUES {', '.join([row] * rows)}"


def record(
    connection: sqlite3.Connection, batches: Sequence[tuple[Collection[Outcome], str]]
) -> list[tuple[frozenset[DeliveryKey], list[str]]]:
    """Write down outcomes, each collection with the owner of the leases.

    For each: those that came too late, and files that no row names any more.
    """
    seqs = seqs_of(connection, {each.key.message_id for outcomes, _ in batches for each in outcomes})
    finished = _finish(connection, seqs, [outcome for outcomes, _ in batches for outcome in outcomes])
    late: list[set[DeliveryKey]] = []
    touched: dict[int, int] = {}  # {seq: number of the batch that has ended something of it}
    for place, (outcomes, owner) in enumerate(batches):
        late.append(set())
        for outcome in outcomes:
            seq = seqs.get(outcome.key.message_id)
            if seq is None or not _is_recorded(connection, outcome, first_key(seq), owner, finished):
                late[place].add(outcome.key)
            elif not isinstance(outcome, Deferred) and outcome.report_at is None:
                touched[seq] = place
    files: list[list[str]] = [[] for _ in batches]
    for seq, file in _drop_if_done(connection, touched):
        if file is not None:
            files[touched[seq]].append(file)
    return [(frozenset(keys), names) for keys, names in zip(late, files, strict=True)]


def _is_simply_done(outcome: Outcome) -> bool:
    """Whether the delivery goes away, whoever has its lease: what is delivered is."""
    return isinstance(outcome, Delivered) and outcome.report_at is None


def seqs_of(connection: sqlite3.Connection, ids: Collection[str]) -> dict[str, int]:
    """The seqs of messages, by id; those that are not there are missing."""
    return dict(connection.execute(_SEQS, (json.dumps(list(ids)),)).fetchall())


def _finish(connection: sqlite3.Connection, seqs: Mapping[str, int], outcomes: Iterable[Outcome]) -> set[int]:
    """Delete all deliveries at once that are simply done; their keys."""
    keys = [
        first_key(seqs[each.key.message_id]) | each.key.number
        for each in outcomes
        if _is_simply_done(each) and each.key.message_id in seqs
    ]
    if not keys:
        return set()
    return {key for (key,) in connection.execute(_FINISH_ALL, (json.dumps(keys),)).fetchall()}


def _is_recorded(
    connection: sqlite3.Connection, outcome: Outcome, first: int, owner: str, finished: set[int]
) -> bool:
    key = first | outcome.key.number
    if not _is_simply_done(outcome):
        return _record_one(connection, outcome, key, owner)
    if key not in finished:
        return False
    finished.discard(key)  # a second outcome for it came too late
    return True


def _record_one(connection: sqlite3.Connection, outcome: Outcome, key: int, owner: str) -> bool:
    if isinstance(outcome, Deferred):
        columns = diagnostic_columns(outcome.diagnostic)
        done = connection.execute(_DEFER, (outcome.due, outcome.due, *columns, key, owner))
        return done.rowcount > 0
    required = owner if isinstance(outcome, Failed) else None
    if outcome.report_at is None:
        return connection.execute(_FINISH, (key, required)).rowcount > 0
    state = STATE_CODES[State.DELIVERED if isinstance(outcome, Delivered) else State.FAILED]
    columns = diagnostic_columns(outcome.diagnostic)
    done = connection.execute(_KEEP, (state, outcome.report_at, outcome.report_at, *columns, key, required))
    if done.rowcount and isinstance(outcome, Delivered) and outcome.taken_by:
        connection.execute(_NAME, (outcome.taken_by, outcome.taken_by, key))
    return done.rowcount > 0


def settle(connection: sqlite3.Connection, settlement: Settlement) -> list[str]:
    """Record that something is reported; the files that no row names any more.

    Raises LeaseLost as `Store.settle`.
    """
    seq = seq_of(connection, settlement.message_id)
    if seq is None:
        raise LeaseLost(settlement.message_id)
    if settlement.told:
        told = int(settlement.told)
        marked = connection.execute(_TELL, (told, seq, told))
        if not marked.rowcount:
            raise LeaseLost(settlement.message_id)
    for number in set(settlement.concluded):
        concluded = connection.execute(
            f"DELETE FROM delivery WHERE key = ? AND state >= {FINAL_CODE} AND lease_owner = ?",
            (first_key(seq) | number, settlement.owner),
        )
        if not concluded.rowcount:
            raise LeaseLost(settlement.message_id)
    return _files(_drop_if_done(connection, [seq])) if settlement.concluded else []


def drop(connection: sqlite3.Connection, keys: Collection[int]) -> list[str]:
    """Delete deliveries, and the messages that have none left; the files that no row names any more."""
    connection.executemany("DELETE FROM delivery WHERE key = ?", [(key,) for key in keys])
    return _files(_drop_if_done(connection, {key >> KEY_BITS for key in keys}))


def _files(dropped: Iterable[tuple[int, str | None]]) -> list[str]:
    return [file for _, file in dropped if file is not None]


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


def _drop_if_done(connection: sqlite3.Connection, seqs: Collection[int]) -> list[tuple[int, str | None]]:
    """Delete those of the messages that have no deliveries any more; their seqs, with the files they had."""
    if not seqs:
        return []
    done = connection.execute(_DONE, (json.dumps(list(seqs)),)).fetchall()
    if done:
        listed = (json.dumps([seq for seq, _ in done]),)
        connection.execute("DELETE FROM message WHERE seq IN (SELECT value FROM json_each(?))", listed)
        connection.execute("DELETE FROM content WHERE seq IN (SELECT value FROM json_each(?))", listed)
        _give_back_pages(connection, len(done))
    return done


def _give_back_pages(connection: sqlite3.Connection, messages: int) -> None:
    """Let the database shrink a little if it has many free pages: so it does as the queue does."""
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    if free > FREE_PAGES:
        # One by one: Python's module takes but the first step of this pragma.
        for _ in range(PAGES_GIVEN_BACK * messages):
            connection.execute("PRAGMA incremental_vacuum(1)")
