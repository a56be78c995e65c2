"""A selection as an SQL condition."""

from __future__ import annotations

import sqlite3
from typing import Any, NamedTuple

from harakapy.queue.selection import Selection
from harakapy.queue.sqlite_commits import seq_of
from harakapy.queue.sqlite_rows import STATE_CODES

__all__ = ["Condition", "condition"]


class Condition(NamedTuple):
    """An SQL expression over ``message m`` and ``delivery d``, and the values of its parameters."""

    sql: str
    values: tuple[Any, ...]


def condition(connection: sqlite3.Connection, selection: Selection) -> Condition:
    """The condition that holds where ``selection`` matches; ids are looked up now, by their index."""
    terms: list[str] = []
    values: list[Any] = []
    if selection.message_ids is not None:
        found = (seq_of(connection, message_id) for message_id in selection.message_ids)
        terms.append(f"m.seq IN ({', '.join(str(seq) for seq in found if seq is not None)})")
    if selection.states is not None:
        codes = ", ".join(str(STATE_CODES[state]) for state in selection.states)
        # With the plus its index is not used: for joining messages with deliveries it is the wrong one, and
        # a hundred thousand of them then take minutes instead of milliseconds.
        terms.append(f"+d.state IN ({codes})")
    for operator, time in (("<", selection.arrived_before), (">", selection.arrived_after)):
        if time is not None:
            terms.append(f"m.arrived {operator} ?")
            values.append(time)
    for column, pattern in (
        ("m.mail_from", selection.mail_from),
        ("d.recipient", selection.recipient),
        ("d.domain", selection.domain),
        ("d.destination", selection.destination),
        ("d.diagnostic", None if selection.error is None else f"*{selection.error}*"),
    ):
        if pattern is not None:
            terms.append(rf"{column} LIKE ? ESCAPE '\'")  # without regard to the case of ASCII, as is wanted
            values.append(_like(pattern))
    return Condition(" AND ".join(terms) or "TRUE", tuple(values))


def _like(pattern: str) -> str:
    for special in "\\%_":
        pattern = pattern.replace(special, f"\\{special}")
    return pattern.replace("*", "%")
