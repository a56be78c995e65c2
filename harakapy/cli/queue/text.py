"""What is in the queue as text for people.

Nearly all of it was said by strangers, and a terminal obeys some characters: none of those gets there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from harakapy.cli.table import format_cells, format_table
from harakapy.config.quantity import format_duration

BLOCK = 200
"""Rows that are laid out together: the first are seen at once, however many there are. Picked."""
MAX_ERROR = 60
"""Characters of the last reply in a list; `show` has all of it."""

HEAD = ("ID", "AGE", "SIZE", "SENDER", "RECIPIENT", "STATE", "TRIES", "NEXT", "ERROR")


class Listing:
    """A table of messages, printed block by block as they come."""

    def __init__(self, echo: Callable[[str], None]) -> None:
        self._echo = echo
        self._rows: list[tuple[str, ...]] = []
        self._has_head = False

    def add(self, message: dict[str, Any]) -> None:
        """Take the next message."""
        self._rows += _rows(message)
        if len(self._rows) >= BLOCK:
            self._print()

    def end(self, done: dict[str, Any]) -> None:
        """Print the rest and the sum."""
        if self._rows:
            self._print()
        rest = done["messages"] - done["listed"]
        more = f", {rest:,} of them not listed" if rest > 0 else ""
        self._echo(f"{_sum(done)}{more}")

    def _print(self) -> None:
        table = format_cells([HEAD, *self._rows])
        self._echo(table.partition("\n")[2] if self._has_head else table)
        self._rows, self._has_head = [], True


def _rows(message: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """The cells of `HEAD` for each recipient: of a hundred thousand, so there is no dictionary for each."""
    deliveries = message["deliveries"]
    name, age = _safe(message["id"]), _duration(message["age_s"])
    size, sender = str(message["size"]), f"<{_safe(message['sender'])}>"
    for delivery in deliveries:
        state = delivery["state"]
        yield (
            name,
            age,
            size,
            sender,
            _safe(delivery["recipient"]),
            "trying" if delivery["is_worked_on"] else state,
            str(delivery["attempts"]),
            _duration(delivery["due_in_s"]) if state == "waiting" else "-",
            _safe(delivery["error"] or "")[:MAX_ERROR] or "-",
        )
    more = message["recipients"] - len(deliveries)
    if more:
        yield (name, "", "", "", f"... and {more:,} more", "", "", "", "")


def message_text(message: dict[str, Any]) -> str:
    """One message with all there is to say of it."""
    return "\n\n".join(
        [
            "\n".join(_envelope(message)),
            *("\n".join(_why(why)) for why in message["why"]),
            "\n".join(_header(message)),
        ]
    )


def _envelope(message: dict[str, Any]) -> Iterator[str]:
    yield f"Message {_safe(message['id'])}"
    yield f"  accepted:   {_time(message['arrived'])}, {_duration(message['age_s'])} ago"
    yield f"  size:       {message['size']:,} octets"
    yield f"  sender:     <{_safe(message['sender'])}>{_parameters(message)}"
    for delivery in message["deliveries"]:
        state = "being tried" if delivery["is_worked_on"] else delivery["state"]
        yield f"  recipient:  <{_safe(delivery['recipient'])}>{_parameters(delivery)}: {state}"
    more = message["recipients"] - len(message["deliveries"])
    if more:
        yield f"              and {more:,} more"
    if message["priority"]:
        yield f"  priority:   {message['priority']}"
    if message["deliver_by"] is not None:
        yield f"  deliver by: {_time(message['deliver_by'])}"
    if message["is_delay_reported"]:
        yield "  its sender was told that it takes long"


def _parameters(owner: dict[str, Any]) -> str:
    words = [name if value is None else f"{name}={value}" for name, value in owner["parameters"].items()]
    return _safe("".join(f" {word}" for word in words))


def _why(why: dict[str, Any]) -> Iterator[str]:
    number = why["recipients"]
    yield f"To {_safe(why['destination'])} ({number:,} recipient{'' if number == 1 else 's'}):"
    for line in (*why["reasons"], *why["limits"]):
        yield f"  {_safe(line)}"
    if why["next_try"] is not None:
        yield f"  next try:   {_time(why['next_try'])}, in {_duration(why['next_try_s'])}"
    for reply in why["last_replies"]:
        host = f" ({_safe(reply['host'])})" if reply["host"] else ""
        yield f"  last reply: {_safe(reply['error'])}{host}"


def _header(message: dict[str, Any]) -> Iterator[str]:
    if message["header"] is None:
        yield f"The header cannot be shown: {_safe(message['header_problem'])}"
        return
    yield "Header:"
    for line in message["header"].removesuffix("\r\n").split("\r\n"):
        yield f"  {_safe(line)}"


def stats_text(stats: dict[str, Any]) -> str:
    """The queue in numbers."""
    oldest = f", the oldest {_duration(stats['oldest_s'])} old" if stats["messages"] else ""
    lines = [f"{_sum(stats)}{oldest}"]
    lines += [f"  {number:,} {state}" for state, number in stats["states"].items() if number]
    if stats["destinations"]:
        columns = ("destination", "recipients", "waiting", "held", "quarantined", "worked_on", "next")
        rows = [
            {**counts, "destination": _safe(name), "next": _next(counts)}
            for name, counts in stats["destinations"].items()
        ]
        lines += ["", format_table(rows, columns)]
    return "\n".join(lines)


def _next(counts: dict[str, Any]) -> str | None:
    return None if counts["next_due_s"] is None else _duration(counts["next_due_s"])


def _duration(seconds: float) -> str:
    """A duration to two units at most, as nobody wants to know more."""
    for unit in (86400, 3600, 60):
        if seconds >= 10 * unit:
            return _whole(int(seconds // unit * unit))
    return _whole(int(seconds))


@lru_cache(maxsize=4096)  # a list says the same few again and again
def _whole(seconds: int) -> str:
    return format_duration(seconds)


def _time(when: float) -> str:
    return f"{datetime.fromtimestamp(when, UTC):%Y-%m-%d %H:%M:%SZ}"


def _safe(text: str) -> str:
    """The text without what a terminal would obey, or show as something else."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _sum(numbers: dict[str, Any]) -> str:
    """How many messages and recipients."""
    return f"{counted(numbers['messages'], 'message')}, {counted(numbers['recipients'], 'recipient')}"


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural where it is one."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
