"""How many reports go out, to all and to each."""

from __future__ import annotations

from harakapy.outbound.report_limits import HORIZON_S, MAX_ADDRESSEES, ReportLimits
from harakapy.smtp import Address

ANN, BOB = Address.parse("ann@example.org"), Address.parse("bob@example.org")
NOW = 1_800_000_000.0


def test_each_addressee_has_a_limit_of_its_own() -> None:
    limits = ReportLimits(0, 2)
    limits.take(ANN, NOW)
    assert limits.has_room_for(ANN, NOW)
    limits.take(ANN, NOW)
    assert not limits.has_room_for(ANN, NOW)
    assert limits.has_room_for(BOB, NOW)
    assert limits.has_room_for(ANN, NOW + 1800)


def test_the_limit_for_all_counts_every_report() -> None:
    limits = ReportLimits(2, 0)
    assert limits.room(NOW) == 2
    limits.take(ANN, NOW)
    limits.take(BOB, NOW)
    assert limits.room(NOW) == 0
    assert limits.next_at(NOW) == NOW + 1800
    assert limits.has_room_for(ANN, NOW)


def test_those_that_wait_have_their_turns_one_after_the_other() -> None:
    limits = ReportLimits(0, 4)
    for _ in range(4):
        limits.take(ANN, NOW)
    assert [limits.turn_of(ANN, NOW) for _ in range(3)] == [NOW + 900, NOW + 1800, NOW + 2700]
    assert limits.is_anybody_waiting(NOW + 2699)
    assert not limits.is_anybody_waiting(NOW + 2700)


def test_a_clock_that_was_set_back_keeps_nobody_waiting_for_years() -> None:
    limits = ReportLimits(0, 1)
    limits.take(ANN, NOW)
    limits.turn_of(ANN, NOW)
    assert limits.turn_of(ANN, NOW - 1e8) <= NOW - 1e8 + HORIZON_S


def test_any_number_of_addressees_takes_bounded_memory() -> None:
    limits = ReportLimits(0, 1)
    for number in range(2 * MAX_ADDRESSEES):
        limits.take(Address(f"user{number}", "example.org"), NOW)
    assert len(limits._addressees) <= MAX_ADDRESSEES


def test_who_has_all_its_allowance_again_is_forgotten() -> None:
    limits = ReportLimits(0, 1)
    for number in range(100):
        limits.take(Address(f"user{number}", "example.org"), NOW + 3600 * number)
    assert len(limits._addressees) <= 3
