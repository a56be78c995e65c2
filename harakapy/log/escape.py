"""Values of any origin as text that is safe in a log line.

Nearly all that a mail server logs was written by strangers: HELO names, addresses, reverse DNS names,
replies of other servers. Here is the one place where that becomes printable:

- A line holds printable characters only. All else (C0 and C1 controls with ESC and CSI, line separators,
  bidirectional overrides, private use, lone surrogates) is escaped as in JSON, which readers of logfmt know
  too. Printable is what `str.isprintable` says: all but the Unicode categories Other and Separator; the
  space is allowed.
- Octets that are not ASCII stay octets (the text `\\xff`): nobody said which encoding they have.
- A value that would blur the borders between fields (with a space, `"`, `=` or `\\`, or empty) is quoted.
- A value longer than `VALUE_LIMIT` is cut, and says how long it was.
- A value whose `__str__` fails is named by its type: a log call never raises because of what it shows.
"""

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from itertools import islice
from json.encoder import encode_basestring_ascii

__all__ = [
    "DEPTH_LIMIT",
    "EVENT_LIMIT",
    "ITEM_LIMIT",
    "VALUE_LIMIT",
    "bare_or_quoted",
    "cut",
    "event_text",
    "field_name",
    "field_text",
    "is_plain",
    "plain_text",
]

VALUE_LIMIT = 1024
"""Characters of one value: four times the longest path (RFC 5321 4.5.3.1.3), and a 10 kB HELO stays small."""

EVENT_LIMIT = 4096
"""Characters of the event itself: more than a value, as plugins put whole sentences there."""

ITEM_LIMIT = 50
"""Items shown of a list or mapping. Picked: more is a dump, and a dump belongs into a file."""

DEPTH_LIMIT = 2
"""Containers shown inside each other; deeper ones are named by type. Keeps a list within itself harmless."""

NAME_LIMIT = 64
"""Characters of a field's name. Names are ours, unless a plugin spreads a stranger's mapping."""

SMALL_INTEGER = 1 << 64
"""Below this an integer is shown without a further look."""

INTEGER_BITS = 1024
"""Longest integer shown in decimal: Python refuses above 4,300 digits, and the work is quadratic."""

_is_plain = re.compile(r"[!#-<>-\[\]-~]+").fullmatch
is_plain = re.compile(rf"[!#-<>-\[\]-~]{{1,{VALUE_LIMIT}}}").fullmatch
"""Whether a text stands in a line as it is: it is short, and nothing in it is to be escaped or quoted."""
_not_in_a_name = re.compile(r"[^A-Za-z0-9_.-]")


def field_text(value: object) -> str:
    """`value` as it stands behind `name=` in a line: bare if it is plain, else quoted and escaped.

    >>> field_text("a\\x1b[31m b")
    '"a\\\\u001b[31m b"'
    """
    if type(value) is str:
        return value if is_plain(value) else _quoted(cut(value, VALUE_LIMIT))
    if type(value) is int and -SMALL_INTEGER < value < SMALL_INTEGER:  # not a bool, nor a member of an Enum
        return str(value)
    if type(value) is float:
        return _float_text(value)
    if value is True or value is False:
        return "true" if value else "false"
    return bare_or_quoted(plain_text(value))


def bare_or_quoted(text: str) -> str:
    """`text`, however long, bare if it is plain ASCII without a space, else quoted and escaped."""
    return text if _is_plain(text) else _quoted(text)


def event_text(event: str) -> str:
    """The event as it stands in a line: bare if no part of it could be mistaken for a field, else quoted."""
    if event and event.isprintable() and len(event) <= EVENT_LIMIT and not _blurs(event):
        return event
    return _quoted(cut(event, EVENT_LIMIT))


def field_name(name: str) -> str:
    """`name` as the name of a field: letters, digits, `_`, `.` and `-`; all else becomes `_`."""
    return _not_in_a_name.sub("_", str(name)[:NAME_LIMIT]) or "_"


def plain_text(value: object, depth: int = DEPTH_LIMIT) -> str:
    """What `value` says, not yet escaped, cut at `VALUE_LIMIT` characters.

    Octets that are not ASCII read `\\xNN`; None, booleans and containers read `null`, `true`, `a,b` and
    `key:value,key:value`, containers within each other down to `depth`; a member of an Enum reads as its
    name.
    """
    try:
        if isinstance(value, bytes | bytearray | memoryview):
            return _octets_text(value)
        return cut(_spoken(value, depth), VALUE_LIMIT)
    except Exception:  # noqa: BLE001 - a broken __str__ must not break the program that logs
        return f"<unprintable {type(value).__name__}>"


def cut(text: str, limit: int) -> str:
    """`text`, or its first `limit` characters and how many there were."""
    return text if len(text) <= limit else f"{text[:limit]}...[{len(text)} characters]"


def _spoken(value: object, depth: int) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Enum):
        return value.name
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return _integer_text(value)
    if isinstance(value, float):
        return _float_text(value)
    if isinstance(value, Mapping) or type(value) in (list, tuple, set, frozenset):
        return _spoken_container(value, depth)
    return str(value)


def _integer_text(value: int) -> str:
    return int.__str__(value) if value.bit_length() <= INTEGER_BITS else hex(value)[:VALUE_LIMIT]


def _float_text(value: float) -> str:
    if not -1e15 < value < 1e15:  # so large, infinite, or not a number
        return float.__repr__(value)
    return f"{value:.6f}".rstrip("0").rstrip(".")  # microseconds are the finest that we measure


def _spoken_container(value: object, depth: int) -> str:
    if not depth:
        return f"<{type(value).__name__}>"
    if isinstance(value, Mapping):
        pairs = (f"{plain_text(k, 0)}:{plain_text(v, depth - 1)}" for k, v in value.items())
        return _listed(pairs, len(value))
    assert isinstance(value, list | tuple | set | frozenset)
    return _listed((plain_text(item, depth - 1) for item in value), len(value))


def _listed(items: Iterable[str], count: int) -> str:
    shown = ",".join(islice(items, ITEM_LIMIT))
    return shown if count <= ITEM_LIMIT else f"{shown},...[{count} items]"


def _octets_text(octets: bytes | bytearray | memoryview) -> str:
    count = len(octets)
    shown = bytes(octets[:VALUE_LIMIT]).decode("latin-1").encode("unicode_escape").decode("ascii")
    return shown if count <= VALUE_LIMIT else f"{shown}...[{count} octets]"


def _blurs(text: str) -> bool:
    return "=" in text or '"' in text or "\\" in text


def _quoted(text: str) -> str:
    if text.isprintable():
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    # All of it goes to ASCII, not only the odd character: this encoder runs in C, and a text that carries
    # controls needs exactness more than looks.
    return encode_basestring_ascii(text)
