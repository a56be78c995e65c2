"""Questions about the queue, in SQL: run on a connection for reading, beside the writer."""

from __future__ import annotations

import math
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any, Final

from harakapy.queue.delivery import State
from harakapy.queue.selection import Count, Selection
from harakapy.queue.sqlite_claims import COLUMNS, read_rows
from harakapy.queue.sqlite_rows import FINAL_CODE, WAITING_CODE, state_of
from harakapy.queue.sqlite_schema import KEY_BITS
from harakapy.queue.sqlite_selection import condition
from harakapy.queue.statistics import DestinationStats, QueueStats
from harakapy.queue.store import Page

__all__ = [
    "count",
    "due_destinations",
    "matching_keys",
    "next_due",
    "select",
    "stats",
]

_MAX_VALUES: Final = 999  # in one statement: what every SQLite takes

# Both tables in the order of their keys, so that a page ends as soon as it is full.
_JOINED: Final = (
    f"message m CROSS JOIN delivery d ON d.key BETWEEN m.seq << {KEY_BITS} AND (m.seq + 1 << {KEY_BITS}) - 1"
)

# Leaps through the index from one pair of destination and urgency to the next: 7 us a pair, however many
# deliveries it has. First to the next urgency of the same destination, else to the next destination.
_PAIRS: Final = f"""
    WITH RECURSIVE pair(destination, urgency) AS (
        SELECT * FROM (
            SELECT destination, urgency FROM delivery WHERE state = {WAITING_CODE} AND destination > :after
            ORDER BY destination, urgency LIMIT 1)
        UNION ALL
        SELECT d.destination, d.urgency FROM pair JOIN delivery d ON d.key = coalesce(
            (SELECT key FROM delivery
             WHERE state = {WAITING_CODE} AND destination = pair.destination AND urgency > pair.urgency
             ORDER BY urgency LIMIT 1),
            (SELECT key FROM delivery WHERE state = {WAITING_CODE} AND destination > pair.destination
             ORDER BY destination, urgency LIMIT 1))
    ), first(destination, ready) AS (
        SELECT destination, (
            SELECT min(ready) FROM delivery d WHERE d.state = {WAITING_CODE}
            AND d.destination = pair.destination AND d.urgency = pair.urgency AND d.ready > :later_than)
        FROM pair
    )
"""


def due_destinations(connection: sqlite3.Connection, now: float, limit: int, after: str) -> tuple[str, ...]:
    """As `Store.due_destinations`."""
    rows = connection.execute(
        f"{_PAIRS} SELECT DISTINCT destination FROM first WHERE ready <= :now LIMIT :limit",
        {"now": now, "limit": limit, "after": after, "later_than": -math.inf},
    )
    return tuple(name for (name,) in rows)


def next_due(connection: sqlite3.Connection, after: float) -> float | None:
    """As `Store.next_due`."""
    statements = (
        f"{_PAIRS} SELECT min(ready) FROM first",
        f"SELECT min(ready) FROM delivery WHERE state >= {FINAL_CODE} AND ready > :later_than",
    )
    values = {"after": "", "later_than": after}
    times = [connection.execute(statement, values).fetchone()[0] for statement in statements]
    return min((time for time in times if time is not None), default=None)


def select(connection: sqlite3.Connection, selection: Selection, limit: int, after: str) -> Page:
    """As `Store.select`; rows that cannot be read are left out, the log has told of them."""
    sql, values = condition(connection, selection)
    start = int(after or 0)
    rows: list[Any] = []
    seqs: set[int] = set()
    cursor = connection.execute(
        f"SELECT d.key, {COLUMNS} FROM {_JOINED} WHERE m.seq > ? AND {sql} ORDER BY m.seq, d.key",
        (start, *values),
    )
    for row in cursor:
        seq = row[0] >> KEY_BITS
        if seq not in seqs and len(seqs) == limit:
            return Page(read_rows(rows)[0], str(max(seqs, default=start)))
        seqs.add(seq)
        rows.append(row)
    return Page(read_rows(rows)[0], None)


def matching_keys(connection: sqlite3.Connection, selection: Selection, after: int, limit: int) -> list[int]:
    """Keys of selected deliveries behind ``after``, in order."""
    sql, values = condition(connection, selection)
    rows = connection.execute(
        f"SELECT d.key FROM {_JOINED} WHERE m.seq >= ? AND d.key > ? AND {sql} ORDER BY m.seq, d.key LIMIT ?",
        (after >> KEY_BITS, after, *values, limit),
    )
    return [key for (key,) in rows]


def count(connection: sqlite3.Connection, selection: Selection) -> Count:
    """As `Store.count`."""
    sql, values = condition(connection, selection)
    return Count(
        *connection.execute(
            "SELECT count(*), coalesce(sum(number), 0) FROM "
            f"(SELECT count(*) AS number FROM {_JOINED} WHERE {sql} GROUP BY m.seq)",
            values,
        ).fetchone()
    )


def stats(connection: sqlite3.Connection, destinations: int) -> QueueStats:
    """As `Store.stats`."""
    messages, oldest, octets = connection.execute(
        "SELECT count(*), min(arrived), coalesce(sum(size), 0) FROM message"
    ).fetchone()
    rows = connection.execute(
        "SELECT state, count(*), count(lease_owner) FROM delivery GROUP BY state"
    ).fetchall()
    return QueueStats(
        messages=messages,
        recipients=sum(number for _, number, _ in rows),
        octets=octets,
        oldest=oldest,
        states={state_of(code): number for code, number, _ in rows},
        leased=sum(leased for _, _, leased in rows),
        destinations=_destination_stats(connection, destinations),
    )


def _destination_stats(connection: sqlite3.Connection, limit: int) -> tuple[DestinationStats, ...]:
    fullest = connection.execute(
        f"SELECT destination FROM delivery WHERE state < {FINAL_CODE} "
        "GROUP BY destination ORDER BY count(*) DESC, destination LIMIT ?",
        (limit,),
    ).fetchall()
    names = [name for (name,) in fullest]
    # Not joined with the query above: SQLite would look through all deliveries once for each name.
    few = f"AND destination IN ({', '.join('?' * len(names))})" if len(names) <= _MAX_VALUES else ""
    rows = connection.execute(
        "SELECT destination, state, count(*), count(lease_owner), min(due) FROM delivery "
        f"WHERE state < {FINAL_CODE} {few} GROUP BY destination, state",
        names if few else (),
    )
    found: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for name, *row in rows:
        found[name].append(tuple(row))
    return tuple(_one_destination(name, found[name]) for name in names)


def _one_destination(name: str, rows: list[tuple[Any, ...]]) -> DestinationStats:
    states: Mapping[State, int] = Counter({state_of(code): number for code, number, _, _ in rows})
    return DestinationStats(
        name=name,
        recipients=sum(states.values()),
        states=states,
        leased=sum(leased for _, _, leased, _ in rows),
        next_due=next((due for code, _, _, due in rows if code == WAITING_CODE), None),
    )
