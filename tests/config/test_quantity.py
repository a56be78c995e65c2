"""Durations, sizes and counts as people write them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from harakapy.config.quantity import (
    Count,
    Duration,
    Size,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)


class Model(BaseModel):
    duration: Duration = 1.0
    size: Size = 1
    count: Count = 1


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30s", 30.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("1h 30m 5s", 5405.0),
        (" 2 d ", 172_800.0),
        ("1w", 604_800.0),
        ("500ms", 0.5),
        ("1.5h", 5400.0),
        ("1m500ms", 60.5),
        ("90", 90.0),
        ("0.25", 0.25),
        (90, 90.0),
        (0.25, 0.25),
        (0, 0.0),
    ],
)
def test_duration_is_read_as_seconds(written: object, seconds: float) -> None:
    assert parse_duration(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "m",
        "5 5m",
        "5 parsecs",
        "-5m",
        "5m-",
        "1 2",
        "5M",
        "1h30",
        "٣m",
        "inf",
        "nan",
        -1,
        True,
        None,
        [],
        "5mm",
    ],
)
def test_other_durations_are_refused(written: object) -> None:
    with pytest.raises(ValueError, match='must be a duration, such as "30s"'):
        parse_duration(written)


@pytest.mark.parametrize("written", [float("inf"), float("nan")])
def test_endless_quantities_are_refused(written: float) -> None:
    with pytest.raises(ValueError):
        parse_duration(written)
    with pytest.raises(ValueError):
        parse_size(written)


@pytest.mark.parametrize(
    ("written", "octets"),
    [
        ("256 KiB", 262_144),
        ("25MB", 25_000_000),
        ("25 mib", 26_214_400),
        ("1.5 GiB", 1_610_612_736),
        ("2TB", 2_000_000_000_000),
        ("100 kB", 100_000),
        ("17B", 17),
        ("4096", 4096),
        (4096, 4096),
        (4096.0, 4096),
        (0, 0),
    ],
)
def test_size_is_read_as_octets(written: object, octets: int) -> None:
    assert parse_size(written) == octets
    assert type(parse_size(written)) is int


@pytest.mark.parametrize(
    "written", ["", "25M", "25 K", "MiB", "-1", -1, 0.5, True, None, "1 KiB 1 B", "1 XiB", "1iB"]
)
def test_other_sizes_are_refused(written: object) -> None:
    with pytest.raises(ValueError, match='must be a size, such as "256 KiB"'):
        parse_size(written)


@given(st.integers(0, 10**12))
def test_duration_is_read_back_as_it_was_written(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)


@given(
    st.one_of(
        st.integers(0, 2**60), st.builds(lambda n, unit: n * unit, st.integers(0, 2000), st.just(2**20))
    )
)
def test_size_is_read_back_as_it_was_written(octets: int) -> None:
    text = format_size(octets)
    assert parse_size(text) == octets or octets > 2**53  # a number above goes through a float


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.5, "500ms"),
        (90, "1m30s"),
        (300.0, "5m"),
        (5400, "1h30m"),
        (864_000, "10d"),
        (604_800, "1w"),
    ],
)
def test_duration_is_written_in_few_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (102_400, "100 KiB"),
        (26_214_400, "25 MiB"),
        (25_000_000, "25 MB"),
        (5000, "5 kB"),
    ],
)
def test_size_is_written_in_its_largest_unit(octets: int, text: str) -> None:
    assert format_size(octets) == text


def test_quantities_are_types_of_a_model() -> None:
    assert Model.model_validate({"duration": "1m", "size": "1 KiB", "count": "7"}) == Model(
        duration=60.0, size=1024, count=7
    )


@pytest.mark.parametrize(
    ("key", "value"), [("count", True), ("count", 1.5), ("count", "x"), ("duration", True), ("size", False)]
)
def test_booleans_and_fractions_are_no_quantities(key: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        Model.model_validate({key: value})
