from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harakapy.outbound.allowance import Allowance


def test_no_limit_is_no_limit() -> None:
    allowance = Allowance(0, 3600.0)
    for _ in range(10_000):
        allowance.take(0.0)
    assert allowance.available(0.0) > 10_000
    assert allowance.next_at(5.0) == 5.0


def test_a_clock_that_was_set_back_gains_nothing_and_loses_nothing() -> None:
    allowance = Allowance(2, 10.0)
    allowance.take(100.0)
    allowance.take(100.0)
    assert allowance.available(50.0) == 0
    assert allowance.available(55.0) == 1


@given(
    count=st.integers(1, 50), period_s=st.floats(1, 10_000), waits=st.lists(st.floats(0, 5000), max_size=100)
)
def test_no_more_is_taken_than_fits_the_rate(count: int, period_s: float, waits: list[float]) -> None:
    allowance = Allowance(count, period_s)
    now = 1_800_000_000.0
    taken = 0
    for wait in waits:
        now += wait
        if allowance.available(now):
            allowance.take(now)
            taken += 1
        assert taken <= count + (now - 1_800_000_000.0) * count / period_s + 2e-3


@given(count=st.integers(1, 1000), period_s=st.floats(1, 10_000))
def test_one_is_available_when_it_was_said(count: int, period_s: float) -> None:
    allowance = Allowance(count, period_s)
    now = 1_800_000_000.0
    for _ in range(count):
        allowance.take(now)
    assert not allowance.available(now)
    assert allowance.available(allowance.next_at(now))
