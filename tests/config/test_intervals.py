"""Series of durations and rates as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harakapy.config.intervals import (
    MAX_INTERVALS,
    Rate,
    format_intervals,
    parse_intervals,
    parse_rate,
)


@pytest.mark.parametrize(
    ("written", "series"),
    [
        ("5m*2, 10m, 1h", (300.0, 300.0, 600.0, 3600.0)),
        ("1m", (60.0,)),
        (" 1h30m * 2 ,30", (5400.0, 5400.0, 30.0)),
        (["5m*2", 600, "1h"], (300.0, 300.0, 600.0, 3600.0)),
        ((0.5,), (0.5,)),
    ],
)
def test_intervals_are_read_as_seconds(written: object, series: tuple[float, ...]) -> None:
    assert parse_intervals(written) == series


@pytest.mark.parametrize(
    "written",
    [
        "",
        "5m,",
        ",",
        "0s",
        "5m*0",
        "5m*-1",
        "5m*x",
        "*2",
        "5m*2*2",
        "none",
        "-5m",
        [],
        [None],
        300,
        None,
        True,
    ],
)
def test_other_intervals_are_refused(written: object) -> None:
    with pytest.raises(ValueError, match='must be a list of durations, such as "5m'):
        parse_intervals(written)


def test_a_series_has_an_end() -> None:
    assert len(parse_intervals(f"1m*{MAX_INTERVALS}")) == MAX_INTERVALS
    with pytest.raises(ValueError, match="at most 1000 intervals"):
        parse_intervals(f"1m*{MAX_INTERVALS}, 1m")


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=30))
def test_intervals_are_read_back_as_they_were_written(milliseconds: list[int]) -> None:
    series = tuple(part / 1000 for part in milliseconds)
    assert parse_intervals(format_intervals(series)) == pytest.approx(series)


def test_equal_intervals_are_written_once() -> None:
    assert format_intervals((300.0, 300.0, 600.0, 300.0)) == "5m*2, 10m, 5m"


@pytest.mark.parametrize(
    ("written", "rate"),
    [
        ("100/1m", Rate(100, 60.0)),
        ("20/s", Rate(20, 1.0)),
        (" 5000 / 1d ", Rate(5000, 86400.0)),
        ("1/0.5s", Rate(1, 0.5)),
        (Rate(1, 2.0), Rate(1, 2.0)),
    ],
)
def test_rate_is_read(written: object, rate: Rate) -> None:
    assert parse_rate(written) == rate
    assert parse_rate(str(rate)) == rate


@pytest.mark.parametrize(
    "written", ["", "100", "0/1m", "100/0m", "100/", "/1m", "1.5/1m", "-1/1m", "1/1.2.3m", "1/1M", 100, None]
)
def test_other_rates_are_refused(written: object) -> None:
    with pytest.raises(ValueError, match="must be a rate, such as"):
        parse_rate(written)
