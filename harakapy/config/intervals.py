"""Series of durations and rates as people write them: `"5m*2, 10m, 1h"`, `"100/1m"`."""

import math
import re
from collections.abc import Iterator
from itertools import groupby
from typing import Annotated

from msgspec import Struct
from pydantic import BeforeValidator

from harakapy.config.quantity import Kind, Parsed, format_duration, parse_duration

__all__ = ["Intervals", "Rate", "RateSetting", "format_intervals", "parse_intervals", "parse_rate"]

MAX_INTERVALS = 1000
"""The longest series. Picked: five days of retries, one every eight minutes."""

NOT_INTERVALS = 'must be a list of durations, such as "5m*2, 10m, 1h", each more than 0'
NOT_A_RATE = 'must be a rate, such as "100/1m", "20/s" or "5000/1d"'

_interval = re.compile(r"(.+?)(?:\*\s*([0-9]{1,4}))?").fullmatch
_rate = re.compile(r"([0-9]{1,9})\s*/\s*([0-9.]*)\s*(ms|[smhdw])").fullmatch


class Rate(Struct, frozen=True):
    """At most `count` events in any `per_s` seconds. As text: `100/1m`."""

    count: int
    per_s: float

    def __str__(self) -> str:
        return f"{self.count}/{format_duration(self.per_s)}"


def parse_intervals(value: object) -> tuple[float, ...]:
    """Seconds for each interval of a series, from text such as `"5m*2, 10m, 1h"` or a list of durations.

    `5m*2` stands for two intervals of five minutes. Raises ValueError for anything else, for an empty
    series, an interval of 0, and more than 1,000 of them.
    """
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not parts:
        raise ValueError(NOT_INTERVALS)
    series: list[float] = []
    for part in parts:
        series += _repeated(part)
        if len(series) > MAX_INTERVALS:
            raise ValueError(f"must have at most {MAX_INTERVALS} intervals; the last one repeats anyway")
    return tuple(series)


def format_intervals(series: tuple[float, ...]) -> str:
    """The text that `parse_intervals` reads as this series, to the millisecond."""
    return ", ".join(_runs(series))


def parse_rate(value: object) -> Rate:
    """A rate from text such as `"100/1m"` or `"20/s"`; units as in durations. Raises ValueError otherwise."""
    if isinstance(value, Rate):
        return value
    if isinstance(value, str) and (found := _rate(value.strip())):
        count, number, unit = found.groups()
        per_s = _duration(f"{number or 1}{unit}", NOT_A_RATE)
        if int(count) > 0 and per_s > 0:
            return Rate(int(count), per_s)
    raise ValueError(NOT_A_RATE)


def _repeated(part: object) -> list[float]:
    times = 1
    if isinstance(part, str) and (found := _interval(part.strip())):
        part, times = found[1], int(found[2] or 1)
    length = _duration(part, NOT_INTERVALS)
    if length <= 0 or not times:
        raise ValueError(NOT_INTERVALS)
    return [length] * times


def _duration(value: object, otherwise: str) -> float:
    try:
        seconds = parse_duration(value)
    except ValueError:
        raise ValueError(otherwise) from None
    if not math.isfinite(seconds):  # 9999...9w
        raise ValueError(otherwise)
    return seconds


def _runs(series: tuple[float, ...]) -> Iterator[str]:
    for text, equal in groupby(map(format_duration, series)):
        times = len(list(equal))
        yield text if times == 1 else f"{text}*{times}"


Intervals = Annotated[
    tuple[float, ...], BeforeValidator(parse_intervals), Kind("intervals", format_intervals)
]
"""Seconds for each of a series of intervals, written as `"5m*2, 10m, 1h"`."""

RateSetting = Annotated[Rate, Parsed(parse_rate), Kind("rate", str)]
"""A `Rate`, written as `"100/1m"`."""
