"""Records as lines: text for people, logfmt and JSON for programs.

Each renderer takes a `LogRecord` and gives the finished octets, line end included. A record is one line in
all three, but for a traceback in text, whose lines are indented: a new record never starts with a space.

The text line is `2026-11-22T10:00:00.123Z INFO  [uuid] event key=value`, with `[-]` where there is no uuid.
There is no encoder of mappings in between, and what stands around the values is made once for each set of
names and remembered: that is what keeps a line with six fields near five microseconds.
"""

import math
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from itertools import islice
from json.encoder import encode_basestring_ascii

from harakapy.log.escape import (
    DEPTH_LIMIT,
    EVENT_LIMIT,
    ITEM_LIMIT,
    VALUE_LIMIT,
    bare_or_quoted,
    cut,
    event_text,
    field_name,
    field_text,
    is_plain,
    plain_text,
)
from harakapy.log.level import Level
from harakapy.log.record import LogRecord

__all__ = ["FORMATS", "JsonRenderer", "LogfmtRenderer", "Renderer", "TextRenderer", "renderer"]

Renderer = Callable[[LogRecord], bytes]
"""Makes the line of a record, UTF-8 with its line feed."""

TRACEBACK_LIMIT = 32768
"""Characters of a traceback that are shown: the last ones, with the innermost call and the error."""

NAMES_REMEMBERED = 512
"""Field names kept in their rendered form: all of ours fit, and a stranger's mapping cannot grow it."""

EXACT_IN_JSON = 2**53
"""Above this, readers that keep numbers as doubles would change an integer, so it goes as a string."""

_INDENT = "    | "


def renderer(format_name: str, *, timestamps: bool = True) -> Renderer:
    """The renderer of that name: one of `FORMATS`.

    Without `timestamps` no time is written, for journals that add their own.
    Raises ValueError, naming the formats, for any other name.
    """
    kind = _RENDERERS.get(format_name)
    if kind is None:
        raise ValueError(f"no log format {format_name!r}; the formats are {', '.join(FORMATS)}")
    return kind(timestamps=timestamps)


def _clock() -> Callable[[float], str]:
    """ISO 8601 with milliseconds, UTC. The part up to the second is kept until the second is over."""
    kept = (-1, "")  # one value, so that two threads never mix two of them
    milliseconds = tuple(f".{ms:03d}Z" for ms in range(1000))

    def text(at: float) -> str:
        nonlocal kept
        whole = int(at)
        second, prefix = kept
        if whole != second:
            prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
            kept = (whole, prefix)
        return prefix + milliseconds[int((at - whole) * 1000)]

    return text


class _Names(dict[str, str]):
    """Field names in the form in which a format writes them, each made once."""

    def __init__(self, pattern: str, taken: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self._pattern = pattern
        self._taken = taken

    def __missing__(self, name: str) -> str:
        safe = field_name(name)
        # A field may not pass for what the format itself says: `level` of a caller becomes `level_`.
        shown = self._pattern % (f"{safe}_" if safe in self._taken else safe)
        if len(self) < NAMES_REMEMBERED:
            self[name] = shown
        return shown


class _Events(dict[str, str]):
    """Events as they stand in a line of text; they do not vary, so each is made once."""

    def __missing__(self, event: str) -> str:
        shown = event_text(event)
        if len(self) < NAMES_REMEMBERED and len(event) <= VALUE_LIMIT:
            self[event] = shown
        return shown


class _Shapes(dict[tuple[str, ...], str]):
    """What stands around the values of a line of text, by the names of its fields; each made once."""

    def __missing__(self, names: tuple[str, ...]) -> str:
        shape = "".join(f" {field_name(name)}=%s" for name in names)
        if len(self) < NAMES_REMEMBERED and sum(map(len, names)) <= VALUE_LIMIT:
            self[names] = shape
        return shape


class TextRenderer:
    """For people: time, level, uuid and event in columns, then the fields."""

    def __init__(self, *, timestamps: bool = True) -> None:
        self._clock = _clock() if timestamps else None
        self._labels = tuple(f"{level.name:<5} [" for level in Level)
        self._shapes = _Shapes()
        self._events = _Events()

    def __call__(self, record: LogRecord) -> bytes:
        # A line for each message and each connection: a record is unpacked once, and a call is made for
        # values only that need one.
        level, event, fields, at, uuid, exception = record
        shown = [
            value if type(value) is str and is_plain(value) else field_text(value)
            for value in fields.values()
        ]
        begin = f"{self._clock(at)} {self._labels[level]}" if self._clock else self._labels[level]
        end = self._shapes[tuple(fields)] % tuple(shown)
        if exception is not None:
            end += _indented(_traceback(exception))
        line = f"{begin}{field_text(uuid) if uuid else '-'}] {self._events[event]}{end}\n"
        return line.encode("utf-8", "backslashreplace")


class LogfmtRenderer:
    """`time=... level=info uuid=... event="..." key=value`, as Loki, Vector and others read it."""

    def __init__(self, *, timestamps: bool = True) -> None:
        self._clock = _clock() if timestamps else None
        self._labels = tuple(f"level={level.name.lower()}" for level in Level)
        self._names = _Names(" %s=", _RESERVED)

    def __call__(self, record: LogRecord) -> bytes:
        names = self._names
        parts = [f"time={self._clock(record.time)} " if self._clock else "", self._labels[record.level]]
        if record.uuid:
            parts.append(f" uuid={field_text(record.uuid)}")
        parts.append(f" event={bare_or_quoted(cut(record.event, EVENT_LIMIT))}")
        for name, value in record.fields.items():
            parts.append(names[name])
            parts.append(field_text(value))
        if record.exception is not None:
            parts.append(f" traceback={bare_or_quoted(_traceback(record.exception))}")
        parts.append("\n")
        return "".join(parts).encode("utf-8", "backslashreplace")


class JsonRenderer:
    """One object a line, ASCII only: everything else is escaped by JSON's own rules."""

    def __init__(self, *, timestamps: bool = True) -> None:
        self._clock = _clock() if timestamps else None
        self._labels = tuple(f'"level":"{level.name.lower()}"' for level in Level)
        self._names = _Names(',"%s":', _RESERVED)

    def __call__(self, record: LogRecord) -> bytes:
        names = self._names
        parts = [
            f'{{"time":"{self._clock(record.time)}",' if self._clock else "{",
            self._labels[record.level],
        ]
        if record.uuid:
            parts.append(f',"uuid":{_json_text(record.uuid)}')
        parts.append(f',"event":{_json_string(cut(record.event, EVENT_LIMIT))}')
        for name, value in record.fields.items():
            parts.append(names[name])
            parts.append(_json_text(value))
        if record.exception is not None:
            parts.append(f',"traceback":{_json_string(_traceback(record.exception))}')
        parts.append("}\n")
        return "".join(parts).encode("ascii")


_RESERVED = frozenset({"time", "level", "uuid", "event", "traceback"})

_RENDERERS: Mapping[str, type[TextRenderer] | type[LogfmtRenderer] | type[JsonRenderer]] = {
    "text": TextRenderer,
    "logfmt": LogfmtRenderer,
    "json": JsonRenderer,
}

FORMATS: tuple[str, ...] = tuple(_RENDERERS)
"""The names of the formats."""


def _traceback(exception: BaseException) -> str:
    try:
        text = "".join(traceback.format_exception(exception)).rstrip("\n")
    except Exception:  # noqa: BLE001 - an exception that cannot even be shown must still be reported
        return f"<unprintable {type(exception).__name__}>"
    return text if len(text) <= TRACEBACK_LIMIT else f"[{len(text)} characters]...{text[-TRACEBACK_LIMIT:]}"


def _indented(text: str) -> str:
    # The message of an exception may quote a stranger, so each line is escaped by itself; a line end of the
    # stranger's becomes one more indented line.
    return "".join(f"\n{_INDENT}{_printable_line(line)}" for line in text.split("\n"))


def _printable_line(line: str) -> str:
    return line if line.isprintable() else line.encode("unicode_escape").decode("ascii")


def _json_text(value: object, depth: int = DEPTH_LIMIT) -> str:
    if type(value) is str:
        return _json_string(value if len(value) <= VALUE_LIMIT else cut(value, VALUE_LIMIT))
    if value is None or value is True or value is False:
        return plain_text(value)
    if type(value) is int and -EXACT_IN_JSON <= value <= EXACT_IN_JSON:
        return str(value)
    if type(value) is float and math.isfinite(value):
        return plain_text(value)
    if depth and isinstance(value, Mapping):
        return _json_object(value, depth)
    if depth and type(value) in (list, tuple, set, frozenset):
        assert isinstance(value, list | tuple | set | frozenset)
        return _json_array(value, depth)
    return _json_string(plain_text(value, depth))


def _json_array(value: Collection[object], depth: int) -> str:
    items = [_json_text(item, depth - 1) for item in islice(value, ITEM_LIMIT)]
    if len(value) > ITEM_LIMIT:
        items.append(f'"...[{len(value)} items]"')
    return f"[{','.join(items)}]"


def _json_object(value: Mapping[object, object], depth: int) -> str:
    pairs = islice(value.items(), ITEM_LIMIT)
    items = [f"{_json_string(plain_text(k))}:{_json_text(v, depth - 1)}" for k, v in pairs]
    if len(value) > ITEM_LIMIT:
        items.append(f'"...":"[{len(value)} items]"')
    return f"{{{','.join(items)}}}"


def _json_string(text: str) -> str:
    if not text.isascii():
        # JSON can write a lone surrogate, but strict readers refuse the whole line for it.
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return encode_basestring_ascii(text)
