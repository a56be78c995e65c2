"""Durations, sizes and counts as people write them: `"5m"`, `"25 MiB"`, `1000`.

In a model they are types of their own, for plugins too: `timeout: Duration = 30.0`, `limit: Size = 4096`.
Inside the program a duration is a float of seconds and a size an int of octets.
"""

import math
import re
from collections.abc import Callable
from typing import Annotated, Any, TypeGuard

from msgspec import Struct
from pydantic import BeforeValidator, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

__all__ = [
    "KIB",
    "MIB",
    "Count",
    "Duration",
    "Kind",
    "Parsed",
    "Size",
    "format_duration",
    "format_size",
    "parse_duration",
    "parse_size",
]

KIB = 1024
MIB = 1024 * KIB


class Kind(Struct, frozen=True):
    """What a type of setting is called in messages and manuals, and how its values are written in TOML."""

    name: str
    written: Callable[[Any], Any] = lambda value: value


class Parsed(Struct, frozen=True):
    """A type of setting that `parse` makes of what stands in the file; it raises ValueError.

    It does what pydantic's PlainValidator does, but for finding out how the type is written as JSON: that
    would take an eighth of the time in which the validator of all settings is made, at each start.
    """

    parse: Callable[[Any], Any]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.parse)


NOT_A_COUNT = "must be a whole number"
NOT_A_DURATION = 'must be a duration, such as "30s", "5m", "1h30m" or a number of seconds'
NOT_A_SIZE = 'must be a size, such as "256 KiB", "25 MB" or a number of octets'

_SECONDS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 0.001}
_OCTETS = {
    "TIB": 2**40,
    "GIB": 2**30,
    "MIB": 2**20,
    "KIB": 2**10,
    "TB": 10**12,
    "GB": 10**9,
    "MB": 10**6,
    "KB": 10**3,
    "B": 1,
}
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"  # \d would take the digits of every script
_is_number = re.compile(_NUMBER).fullmatch
_duration_parts = re.compile(rf"({_NUMBER})\s*(ms|[smhdw])")
_is_duration = re.compile(rf"(?:{_NUMBER}\s*(?:ms|[smhdw])\s*)+").fullmatch
_size_parts = re.compile(rf"({_NUMBER})\s*((?:[KMGT]i?)?B)", re.IGNORECASE).fullmatch


def parse_duration(value: object) -> float:
    """Seconds, from a number of them or from text such as `"1h30m"`; units ms, s, m, h, d and w.

    Raises ValueError for anything else, also for negative and endless ones.
    """
    if isinstance(value, str):
        text = value.strip()
        if _is_number(text):
            return float(text)
        if _is_duration(text):
            return float(
                sum(float(number) * _SECONDS[unit] for number, unit in _duration_parts.findall(text))
            )
    elif _is_natural(value):
        return float(value)
    raise ValueError(NOT_A_DURATION)


def parse_size(value: object) -> int:
    """Octets, from a number of them or from text such as `"25 MiB"`; KiB is 1024, kB is 1000.

    Raises ValueError for anything else, also for negative ones and for a bare `K` or `M`, of which nobody
    knows which of the two is meant.
    """
    if isinstance(value, str):
        text = value.strip()
        if _is_number(text):
            return round(float(text))
        if match := _size_parts(text):
            return round(float(match[1]) * _OCTETS[match[2].upper()])
    elif _is_natural(value) and value == int(value):
        return int(value)
    raise ValueError(NOT_A_SIZE)


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads as this many seconds, to the millisecond."""
    rest = round(seconds * 1000)
    text = ""
    for unit, length in _SECONDS.items():
        if unit == "w" and rest % 604_800_000:
            continue  # people count weeks only when they are whole
        count, rest = divmod(rest, round(length * 1000))
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def format_size(octets: int) -> str:
    """The text that `parse_size` reads as this many octets, in the largest unit that divides them."""
    for unit, length in _OCTETS.items():
        if octets >= length and octets % length == 0:
            return f"{octets // length} {_SPELT.get(unit, unit)}"
    return "0 B"


_SPELT = {"TIB": "TiB", "GIB": "GiB", "MIB": "MiB", "KIB": "KiB", "KB": "kB"}


def _is_natural(value: object) -> TypeGuard[int | float]:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return math.isfinite(value) and value >= 0


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):  # to Python, true is the number 1
        raise ValueError(NOT_A_COUNT)
    return value


Count = Annotated[int, BeforeValidator(_no_boolean), Kind("whole number")]
"""A whole number; bounds come from the field."""

Duration = Annotated[float, BeforeValidator(parse_duration), Kind("duration", format_duration)]
"""Seconds, written as `"5m"`."""

Size = Annotated[int, BeforeValidator(parse_size), Kind("size", format_size)]
"""Octets, written as `"25 MiB"`."""
