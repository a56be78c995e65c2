"""Who works on what, in SQL: jobs for the writer. Each runs in a transaction that is open.

The column ``ready`` is the end of the lease while there is one, so a lease that is over needs no special
care: what it covered is due again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable
from typing import Any, Final

from msgspec.structs import replace

from harakapy.queue.delivery import Delivery, DeliveryKey, DeliveryRequest, Lease
from harakapy.queue.message import QueuedMessage
from harakapy.queue.sqlite_commits import first_key, last_key, seqs_of
from harakapy.queue.sqlite_rows import (
    DELIVERY_COLUMNS,
    FINAL_CODE,
    MESSAGE_COLUMNS,
    QUARANTINED_CODE,
    WAITING_CODE,
    UnreadableRow,
    read_delivery,
    read_message,
)
from harakapy.queue.sqlite_schema import KEY_BITS

__all__ = [
    "COLUMNS",
    "Found",
    "claim",
    "claim_reports",
    "quarantine",
    "read_rows",
    "release_leases",
    "renew",
    "unclaim",
]

_WIDTH: Final = DELIVERY_COLUMNS.count(",") + 1
COLUMNS: Final = ", ".join(
    [f"d.{name.strip()}" for name in DELIVERY_COLUMNS.split(",")]
    + [f"m.{name.strip()}" for name in MESSAGE_COLUMNS.split(",")]
)
# LEFT: what a damaged database has no message for must be found too, or it would be due for ever.
_ROWS: Final = f"SELECT d.key, {COLUMNS} FROM delivery d LEFT JOIN message m ON m.seq = d.key >> {KEY_BITS}"

# The urgencies that occur at a destination, by leaping from one to the next in the index.
_URGENCIES: Final = f"""
    WITH RECURSIVE step(urgency) AS (
        SELECT min(urgency) FROM delivery WHERE state = {WAITING_CODE} AND destination = :destination
        UNION ALL
        SELECT (SELECT min(urgency) FROM delivery
                WHERE state = {WAITING_CODE} AND destination = :destination AND urgency > step.urgency)
        FROM step WHERE step.urgency IS NOT NULL
    )
    SELECT urgency FROM step WHERE urgency IS NOT NULL
"""
_DUE: Final = (
    f"{_ROWS} WHERE d.state = {WAITING_CODE} AND d.destination = ? AND d.urgency = ? AND d.ready <= ? "
    "ORDER BY d.ready, d.key LIMIT ?"
)
# A list of any length is one parameter, and so one statement.
_LISTED: Final = "key IN (SELECT value FROM json_each(?))"
_CLAIM: Final = (
    "UPDATE delivery SET lease_owner = ?, ready = ?, attempts = attempts + 1, last_attempt = ? "
    f"WHERE {_LISTED}"
)
_CLAIM_REPORTS: Final = f"UPDATE delivery SET lease_owner = ?, ready = ? WHERE {_LISTED}"
_RENEW: Final = f"UPDATE delivery SET ready = ? WHERE {_LISTED} AND lease_owner = ? RETURNING key"
_UNCLAIM: Final = f"""
    UPDATE delivery SET lease_owner = NULL, due = ?, ready = ?, attempts = attempts - 1,
        last_attempt = CASE attempts WHEN 1 THEN NULL ELSE last_attempt END
    WHERE {_LISTED} AND lease_owner = ? AND state < {FINAL_CODE}
"""
# Grouped, because a message counts once, however many of its recipients are to be reported.
_REPORTS_DUE: Final = f"""
    SELECT key >> {KEY_BITS} AS seq FROM delivery WHERE state >= {FINAL_CODE} AND ready <= ?
    GROUP BY seq ORDER BY min(ready), seq LIMIT ?
"""
_REPORTABLE: Final = (
    f"{_ROWS} WHERE d.key BETWEEN ? AND ? AND d.state >= {FINAL_CODE} "
    "AND (d.lease_owner IS NULL OR d.ready <= ?) ORDER BY d.key"
)

Found = tuple[tuple[DeliveryRequest, ...], dict[int, str]]
"""What could be read, by message in the order of the rows; and keys of what could not, with the reasons."""


def claim(connection: sqlite3.Connection, destination: str, lease: Lease, now: float, limit: int) -> Found:
    """Claim as `Store.claim`; rows that cannot be read are quarantined on the way."""
    rows: list[Any] = []
    for (urgency,) in connection.execute(_URGENCIES, {"destination": destination}).fetchall():
        rows += connection.execute(_DUE, (destination, urgency, now, limit - len(rows)))
        if len(rows) >= limit:
            break
    requests, unreadable = read_rows(rows)
    quarantine(connection, unreadable)
    taken = _listed(row[0] for row in rows if row[0] not in unreadable)
    connection.execute(_CLAIM, (lease.owner, lease.until, now, taken))
    claimed = (
        replace(request, deliveries=tuple(each.claimed(lease, now=now) for each in request.deliveries))
        for request in requests
    )
    return tuple(claimed), unreadable


def claim_reports(connection: sqlite3.Connection, lease: Lease, now: float, limit: int) -> Found:
    """Claim as `Store.claim_reports`; rows that cannot be read are quarantined on the way."""
    rows: list[Any] = []
    for (seq,) in connection.execute(_REPORTS_DUE, (now, limit)).fetchall():
        rows += connection.execute(_REPORTABLE, (first_key(seq), last_key(seq), now))
    requests, unreadable = read_rows(rows)
    quarantine(connection, unreadable)
    taken = _listed(row[0] for row in rows if row[0] not in unreadable)
    connection.execute(_CLAIM_REPORTS, (lease.owner, lease.until, taken))
    claimed = (
        replace(request, deliveries=tuple(replace(each, lease=lease) for each in request.deliveries))
        for request in requests
    )
    return tuple(claimed), unreadable


def renew(
    connection: sqlite3.Connection, keys: Collection[DeliveryKey], lease: Lease
) -> frozenset[DeliveryKey]:
    """Renew as `Store.renew`."""
    numbers = _numbers(connection, keys)
    renewed = connection.execute(_RENEW, (lease.until, _listed(numbers), lease.owner))
    return frozenset([numbers[number] for (number,) in renewed.fetchall()])


def unclaim(connection: sqlite3.Connection, keys: Collection[DeliveryKey], owner: str, due: float) -> None:
    """Give back as `Store.unclaim`."""
    connection.execute(_UNCLAIM, (due, due, _listed(_numbers(connection, keys)), owner))


def release_leases(connection: sqlite3.Connection, owner: str | None) -> int:
    """End the leases of an owner, or of everybody; how many."""
    return connection.execute(
        "UPDATE delivery SET lease_owner = NULL, ready = due WHERE lease_owner = coalesce(?, lease_owner)",
        (owner,),
    ).rowcount


def quarantine(connection: sqlite3.Connection, reasons: dict[int, str]) -> None:
    """Set deliveries aside, by their keys, each with the reason."""
    connection.executemany(
        f"UPDATE delivery SET state = {QUARANTINED_CODE}, lease_owner = NULL, ready = due, "
        "diagnostic = ?, status = NULL, host = '', is_reply = 0 WHERE key = ?",
        [(reason, key) for key, reason in reasons.items()],
    )


def read_rows(rows: Iterable[Any]) -> Found:
    """Rows of `COLUMNS` behind the key as requests, in the order in which their messages come first."""
    messages: dict[int, QueuedMessage | UnreadableRow] = {}
    deliveries: dict[int, list[Delivery]] = {}
    unreadable: dict[int, str] = {}
    for key, *row in rows:
        seq = key >> KEY_BITS
        if seq not in messages:
            messages[seq] = _message(row[_WIDTH:])
        message = messages[seq]
        try:
            if isinstance(message, UnreadableRow):
                raise message
            delivery = read_delivery(message.id, key, row[:_WIDTH])
        except UnreadableRow as error:
            unreadable[key] = str(error)
        else:
            deliveries.setdefault(seq, []).append(delivery)
    requests = (
        DeliveryRequest(message, tuple(deliveries[seq]))
        for seq, message in messages.items()
        if seq in deliveries and isinstance(message, QueuedMessage)
    )
    return tuple(requests), unreadable


def _message(row: list[Any]) -> QueuedMessage | UnreadableRow:
    try:
        return read_message(row)
    except UnreadableRow as error:
        return error


def _numbers(connection: sqlite3.Connection, keys: Collection[DeliveryKey]) -> dict[int, DeliveryKey]:
    """Keys by what they are in the table, without those whose message is gone."""
    seqs = seqs_of(connection, {key.message_id for key in keys})
    return {first_key(seqs[key.message_id]) | key.number: key for key in keys if key.message_id in seqs}


def _listed(keys: Iterable[int]) -> str:
    return json.dumps(list(keys))
