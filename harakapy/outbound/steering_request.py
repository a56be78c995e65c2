"""What an operator asks for, as JSON has it, and as values.

A request is an object with ``do`` and what that needs::

    {"do": "hold", "select": {"domain": "example.org", "older_than_s": 3600}, "dry_run": true}
    {"do": "bounce", "select": {"ids": ["F00.1"]}, "text": "the address was a mistake"}
    {"do": "reroute", "all": true, "to": "smtp://relay.example.net"}
    {"do": "list", "select": {"states": ["held"]}, "limit": 100}
    {"do": "show", "id": "F00.1"}
    {"do": "stats", "destinations": 50}
    {"do": "wake"}

Ages are relative to the clock of whoever executes the request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from msgspec import Struct

from harakapy.mail.domain import to_ascii
from harakapy.mail.safe_text import neutralise
from harakapy.outbound.hop import NextHop
from harakapy.queue import Selection, State

__all__ = ["MAX_IDS", "Operation", "Problem", "RequestRefused", "SteeringRequest", "parse_request"]

MAX_IDS: Final = 10_000  # of one request; picked: more are named by what they have in common
MAX_TEXT: Final = 500  # characters of a pattern or a reason; a path has 256 octets (RFC 5321 4.5.3.1.3)
MAX_DESTINATIONS: Final = 1000  # told one by one; picked
DEFAULT_DESTINATIONS: Final = 100

_SURROGATE = re.compile("[\ud800-\udfff]")

GIVEN_UP: Final = "the operator of this server has given the message up"


class Operation(Enum):
    """What can be asked for."""

    LIST = "list"
    SHOW = "show"
    STATS = "stats"
    FLUSH = "flush"
    HOLD = "hold"
    RELEASE = "release"
    REMOVE = "remove"
    BOUNCE = "bounce"
    REROUTE = "reroute"
    WAKE = "wake"


_READING: Final = (Operation.LIST, Operation.SHOW, Operation.STATS, Operation.WAKE)
_HARMLESS: Final = (Operation.LIST, Operation.FLUSH)
"""What may be asked for of everything without saying so: an early attempt loses nothing."""


class Problem(Enum):
    """Why a request was not carried out, or not to its end."""

    MALFORMED = "malformed"
    REFUSED = "refused"
    NOT_FOUND = "not found"
    STORE = "store"
    BUSY = "busy"
    INTERNAL = "internal"


class RequestRefused(Exception):
    """A request was not carried out, or not to its end; ``problem`` is why, and the text says more."""

    def __init__(self, problem: Problem, text: str) -> None:
        super().__init__(text)
        self.problem = problem


class SteeringRequest(Struct, frozen=True, kw_only=True):
    """One request, checked."""

    operation: Operation
    selection: Selection = Selection()  # a frozen value
    limit: int | None = None
    """Of messages to list; None for all."""
    message_id: str = ""
    """Of the message to show."""
    destinations: int = DEFAULT_DESTINATIONS
    """How many of them to count one by one."""
    is_dry_run: bool = False
    text: str = GIVEN_UP
    """What the sender of a bounced message is told."""
    next_hop: str = ""
    """Where to send from now on; ``""`` for where the domain says."""

    @property
    def is_change(self) -> bool:
        """Whether it is about changing what is in the queue."""
        return self.operation not in _READING


def parse_request(raw: object, *, now: float) -> SteeringRequest:
    """The request that a JSON value is. Raises RequestRefused, also if it would change all unsaid."""
    given = _Fields(raw, "the request")
    operation = given.operation()
    select = given.take("select", dict, {})
    has_all = given.take("all", bool, default=False)
    request = SteeringRequest(
        operation=operation,
        selection=_selection(select, now),
        limit=given.count("limit", None),
        message_id=given.text("id") or "",
        destinations=min(given.count("destinations", None) or DEFAULT_DESTINATIONS, MAX_DESTINATIONS),
        is_dry_run=given.take("dry_run", bool, default=False),
        text=neutralise(given.text("text") or GIVEN_UP),
        next_hop=given.text("to") or "",
    )
    given.require_nothing_else()
    _check(request, has_all=has_all, has_next_hop="to" in given)
    return request


def _check(request: SteeringRequest, *, has_all: bool, has_next_hop: bool) -> None:
    operation = request.operation
    is_everything = request.selection == Selection()
    if request.is_change and is_everything and not has_all and operation not in _HARMLESS:
        raise RequestRefused(
            Problem.REFUSED,
            f"{operation.value} everything? Name what is meant: ids, or a selection; or say --all",
        )
    if has_all and not is_everything:
        raise RequestRefused(Problem.REFUSED, "--all and a selection contradict each other")
    if operation is Operation.SHOW and not request.message_id:
        raise _malformed("id", "names the message to show")
    if operation is Operation.REROUTE:
        _check_next_hop(request.next_hop, is_given=has_next_hop)


def _check_next_hop(next_hop: str, *, is_given: bool) -> None:
    if not is_given:
        raise _malformed("to", "says where to send")
    if next_hop:
        try:
            NextHop.parse(next_hop)
        except ValueError as error:
            raise RequestRefused(Problem.REFUSED, str(error)) from error


def _selection(raw: Mapping[str, Any], now: float) -> Selection:
    given = _Fields(raw, "select")
    sender = given.text("sender")
    domain = given.pattern("domain")
    older_s, newer_s = given.seconds("older_than_s"), given.seconds("newer_than_s")
    selection = Selection(
        message_ids=given.ids(),
        mail_from=None if sender is None or _is_anything(sender) else _bare(sender),
        recipient=given.pattern("recipient"),
        domain=None if domain is None else _dns_form(domain),
        destination=given.pattern("destination"),
        states=given.states(),
        arrived_before=None if older_s is None else now - older_s,
        arrived_after=None if newer_s is None else now - newer_s,
        error=given.text("error"),
    )
    given.require_nothing_else()
    return selection


def _is_anything(pattern: str) -> bool:
    """Whether a pattern matches whatever there is: that is no selection, and must not pass as one."""
    return pattern != "" and not pattern.strip("*")


def _bare(pattern: str) -> str:
    return pattern[1:-1] if pattern.startswith("<") and pattern.endswith(">") else pattern


def _dns_form(pattern: str) -> str:
    """A pattern of a domain in the form for DNS, label by label, as far as they are whole."""
    return ".".join(label if "*" in label else _label(label) for label in pattern.split("."))


def _label(label: str) -> str:
    try:
        return to_ascii(label) if label else label
    except ValueError:  # part of a literal, or no domain: then nothing matches, which is the answer
        return label


def _malformed(what: str, why: str) -> RequestRefused:
    return RequestRefused(Problem.MALFORMED, f"{what} {why}")


def _is_text(value: object) -> bool:
    """Whether this is text of a decent length that can be encoded: JSON may hold half a character."""
    return isinstance(value, str) and len(value) <= MAX_TEXT and not _SURROGATE.search(value)


class _Fields:
    """The fields of a JSON object, taken out one by one with their types checked."""

    def __init__(self, raw: object, where: str) -> None:
        if not isinstance(raw, Mapping):
            raise _malformed(where, "is a JSON object")
        self._raw = raw
        self._where = where
        self._known: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._raw

    def take(self, name: str, kind: type, default: Any) -> Any:
        self._known.add(name)
        value = self._raw.get(name)
        if value is None:
            return default
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise _malformed(name, "has a value of the wrong type")
        return value

    def operation(self) -> Operation:
        name = self.take("do", str, "")
        try:
            return Operation(name)
        except ValueError:
            raise _malformed("do", f"is one of {', '.join(each.value for each in Operation)}") from None

    def text(self, name: str) -> str | None:
        value: str | None = self.take(name, str, None)
        if value is not None and not _is_text(value):
            raise _malformed(name, f"is a text of at most {MAX_TEXT} characters")
        return value

    def pattern(self, name: str) -> str | None:
        value = self.text(name)
        return None if value is None or _is_anything(value) else _bare(value)

    def count(self, name: str, default: int | None) -> int | None:
        value: int | None = self.take(name, int, default)
        if value is not None and value < 0:
            raise _malformed(name, "is not negative")
        return value

    def seconds(self, name: str) -> float | None:
        value = self.take(name, int | float, None)  # type: ignore[arg-type]  # isinstance takes unions
        return None if value is None else float(value)

    def ids(self) -> frozenset[str] | None:
        ids = self.take("ids", list, None)
        if ids is None:
            return None
        if len(ids) > MAX_IDS or not all(map(_is_text, ids)):
            raise _malformed("ids", f"is a list of at most {MAX_IDS} texts")
        return frozenset(ids)

    def states(self) -> frozenset[State] | None:
        names = self.take("states", list, None)
        if not names:
            return None
        try:
            return frozenset(State(name) for name in names)
        except ValueError:
            raise _malformed("states", f"are some of {', '.join(each.value for each in State)}") from None

    def require_nothing_else(self) -> None:
        unknown = sorted(str(name) for name in self._raw.keys() - self._known)
        if unknown:
            raise _malformed(self._where, f"has no {', '.join(unknown)[:MAX_TEXT]}")
