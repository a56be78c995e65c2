"""What an operator changes, in SQL: part by part, so that nothing large keeps the writer from new mail."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from harakapy.queue.clock_set import ClockSet
from harakapy.queue.delivery import Diagnostic, State
from harakapy.queue.sqlite_commits import drop
from harakapy.queue.sqlite_rows import (
    FINAL_CODE,
    HELD_CODE,
    QUARANTINED_CODE,
    STATE_CODES,
    WAITING_CODE,
    diagnostic_columns,
)
from harakapy.queue.sqlite_schema import KEY_BITS

__all__ = [
    "PART",
    "Change",
    "Changed",
    "apply",
    "bounce",
    "flush",
    "hold",
    "release",
    "remove",
    "reroute",
    "shift_times",
]

PART: Final = 500
"""Deliveries changed in one transaction: some 5 ms."""

Changed = tuple[list[int], list[str]]
"""Keys of what was changed, and files that no row names any more."""


class Change(Struct, frozen=True):
    """An UPDATE of the columns in ``assignments`` where ``applies`` holds, with its parameters."""

    assignments: str
    applies: str
    values: tuple[Any, ...] = ()


def hold() -> Change:
    """The change of `Store.hold`."""
    return Change(f"state = {HELD_CODE}", f"state = {WAITING_CODE}")


def release() -> Change:
    """The change of `Store.release`."""
    return Change(f"state = {WAITING_CODE}", f"state IN ({HELD_CODE}, {QUARANTINED_CODE})")


def flush(now: float) -> Change:
    """The change of `Store.flush`; a lease that is over is left for the next claim."""
    return Change(
        "due = ?, ready = CASE WHEN lease_owner IS NULL THEN ? ELSE ready END",
        f"state = {WAITING_CODE} AND (lease_owner IS NULL OR ready <= ?)",
        (now, now, now),
    )


def reroute(next_hop: str) -> Change:
    """The change of `Store.reroute`."""
    return Change(
        "next_hop = ?, destination = CASE ? WHEN '' THEN domain ELSE ? END",
        f"state < {FINAL_CODE}",
        (next_hop, next_hop, next_hop),
    )


def bounce(diagnostic: Diagnostic, now: float) -> Change:
    """The change of `Store.bounce`."""
    return Change(
        f"state = {STATE_CODES[State.FAILED]}, lease_owner = NULL, due = ?, ready = ?, "
        "diagnostic = ?, status = ?, host = ?, is_reply = ?",
        f"state < {FINAL_CODE} AND (lease_owner IS NULL OR ready <= ?)",
        (now, now, *diagnostic_columns(diagnostic), now),
    )


def apply(connection: sqlite3.Connection, change: Change, keys: Sequence[int]) -> Changed:
    """Make a change to those of these deliveries to which it applies."""
    statement = f"UPDATE delivery SET {change.assignments} WHERE {change.applies} AND key = ?"
    return [key for key in keys if connection.execute(statement, (*change.values, key)).rowcount], []


def remove(connection: sqlite3.Connection, keys: Sequence[int]) -> Changed:
    """Drop those of these deliveries that are still there."""
    there = [
        key for key in keys if connection.execute("SELECT 1 FROM delivery WHERE key = ?", (key,)).fetchone()
    ]
    return there, drop(connection, there)


# What `ClockSet` says, for a message and for its deliveries.
_KNOWS: Final = "arrived <= :before"
_MOVES: Final = f"({_KNOWS} AND NOT arrived BETWEEN :since AND :now)"
_KEEPS_HOLD: Final = "coalesce(hold_until > :before AND instr(' ' || params, ' HOLDUNTIL=') > 0, 0)"
_MOVE_DELIVERIES: Final = f"""
    UPDATE delivery SET due = due + :by_s, last_attempt = last_attempt + :by_s,
        ready = CASE WHEN lease_owner IS NULL THEN ready + :by_s ELSE ready END
    WHERE key >> {KEY_BITS} IN (SELECT seq FROM message WHERE {_KNOWS})
        AND (attempts > 0 OR state >= {FINAL_CODE}
            OR key >> {KEY_BITS} IN (SELECT seq FROM message WHERE {_MOVES} AND NOT {_KEEPS_HOLD}))
"""
_MOVE_MESSAGES: Final = f"""
    UPDATE message SET arrived = arrived + :by_s, deliver_by = deliver_by + :by_s,
        hold_until = hold_until + :by_s * NOT {_KEEPS_HOLD}
    WHERE {_MOVES}
"""


def shift_times(connection: sqlite3.Connection, change: ClockSet) -> None:
    """As `Store.shift_times`, in one part: what is due next must not depend on how far it came."""
    values = {"by_s": change.by_s, "before": change.before, "since": change.since, "now": change.now}
    connection.execute("UPDATE delivery SET ready = ready + :by_s WHERE lease_owner IS NOT NULL", values)
    connection.execute(_MOVE_DELIVERIES, values)
    connection.execute(_MOVE_MESSAGES, values)
