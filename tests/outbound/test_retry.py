"""When a delivery is tried again, and when it is given up."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from harakapy.outbound.retry import Lifetime, RetrySchedule
from harakapy.queue import Diagnostic, QueuedMessage, Told
from harakapy.smtp.parameters import DeliverBy, MailParameters
from tests.queue.samples import LATER, NOW, message

HOUR = 3600.0
DAY = 24 * HOUR
LIFETIME = Lifetime(max_age=5 * DAY, report_max_age=DAY, delay_warning=4 * HOUR)
REPORT = message(mail_from="")


def limited(by: DeliverBy) -> QueuedMessage:
    return replace(message(), params=MailParameters(by=by), deliver_by=NOW + by.seconds)


def test_the_last_interval_repeats() -> None:
    retry = RetrySchedule((60, 300, 300, 3600), jitter=0)
    waits = [retry.next_due(attempts, NOW, Random()) - NOW for attempts in range(1, 7)]
    assert waits == [60, 300, 300, 3600, 3600, 3600]


def test_what_failed_together_comes_back_spread() -> None:
    retry, rng = RetrySchedule((1000,), jitter=0.1), Random(1)
    waits = [retry.next_due(1, NOW, rng) - NOW for _ in range(1000)]
    assert 900 <= min(waits) < 910
    assert 1090 < max(waits) <= 1100


@pytest.mark.parametrize("intervals", [(), (0,), (60, -1), (float("inf"),), (float("nan"),)])
def test_intervals_that_never_end_or_never_pass_are_refused(intervals: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="intervals"):
        RetrySchedule(intervals)


@pytest.mark.parametrize("jitter", [-0.1, 1, float("nan")])
def test_jitter_that_could_lead_into_the_past_is_refused(jitter: float) -> None:
    with pytest.raises(ValueError, match="jitter"):
        RetrySchedule((60,), jitter)


def test_mail_is_tried_for_five_days_and_a_report_for_one() -> None:
    assert LIFETIME.expires_at(message()) == NOW + 5 * DAY
    assert LIFETIME.expires_at(REPORT) == NOW + DAY
    assert not LIFETIME.is_expired(message(), NOW + 5 * DAY - 1)
    assert LIFETIME.is_expired(message(), NOW + 5 * DAY)


def test_what_was_held_back_is_tried_as_long_as_anything_else() -> None:
    held = replace(message(), hold_until=NOW + 30 * DAY)
    assert LIFETIME.expires_at(held) == NOW + 35 * DAY
    assert LIFETIME.delay_report_at(held) == NOW + 30 * DAY + 4 * HOUR


def test_there_is_a_last_try_when_the_time_is_over() -> None:
    queued, soon = message(), NOW + 5 * DAY - 10
    assert LIFETIME.within(queued, NOW + 60, NOW) == NOW + 60
    assert LIFETIME.within(queued, soon + HOUR, soon) == NOW + 5 * DAY
    assert LIFETIME.within(queued, NOW + 6 * DAY, NOW + 5 * DAY) is None


def test_mail_to_be_returned_is_not_tried_after_its_time_limit() -> None:
    queued = limited(DeliverBy(600, "R"))
    assert LIFETIME.within(queued, NOW + 3600, NOW) == NOW + 600
    assert not LIFETIME.is_too_late(queued, NOW + 599)
    assert LIFETIME.is_too_late(queued, NOW + 600)
    assert LIFETIME.is_expired(queued, NOW + 600)


def test_mail_to_be_notified_of_goes_on_after_its_time_limit() -> None:
    queued = limited(DeliverBy(600, "N"))
    assert LIFETIME.within(queued, NOW + 3600, NOW) == NOW + 600
    assert LIFETIME.within(queued, NOW + 3600, NOW + 600) == NOW + 3600
    assert not LIFETIME.is_too_late(queued, NOW + 600)
    assert LIFETIME.expires_at(queued) == NOW + 5 * DAY
    assert LIFETIME.is_delay_report_due(queued, NOW + 600)
    assert not LIFETIME.is_delay_report_due(queued, NOW + 599)


def test_a_time_limit_that_was_over_on_arrival_is_told_at_once() -> None:
    assert LIFETIME.is_delay_report_due(limited(DeliverBy(-5, "N")), NOW)


def test_the_sender_hears_of_a_delay_once() -> None:
    assert not LIFETIME.is_delay_report_due(message(), NOW + 4 * HOUR - 1)
    assert LIFETIME.is_delay_report_due(message(), NOW + 4 * HOUR)
    assert LIFETIME.delay_report_at(replace(message(), told=Told.DELAY)) is None


def test_who_heard_of_a_delay_hears_of_a_later_time_limit_too() -> None:
    late = limited(DeliverBy(6 * 3600, "N"))
    assert LIFETIME.delay_report_at(late) == NOW + 4 * HOUR
    assert LIFETIME.delay_report_at(replace(late, told=Told.DELAY)) == NOW + 6 * HOUR
    early = limited(DeliverBy(3600, "N"))
    assert LIFETIME.delay_report_at(early) == NOW + HOUR
    for each in (late, early):
        assert LIFETIME.delay_report_at(replace(each, told=Told.TIME_LIMIT)) is None


def test_the_null_sender_hears_of_no_delay() -> None:
    assert LIFETIME.delay_report_at(REPORT) is None


def test_without_delay_warnings_only_a_time_limit_is_told_of() -> None:
    silent = replace(LIFETIME, delay_warning=0)
    assert silent.delay_report_at(message()) is None
    assert silent.delay_report_at(limited(DeliverBy(600, "N"))) == NOW + 600


def test_what_was_heard_last_is_why_it_failed() -> None:
    assert LIFETIME.last_word(message(), LATER, NOW + 5 * DAY) == LATER
    unheard = LIFETIME.last_word(message(), None, NOW + 5 * DAY)
    assert str(unheard.status) == "4.4.7"


def test_a_time_limit_that_is_over_is_why_it_failed() -> None:
    queued = limited(DeliverBy(600, "R"))
    late = LIFETIME.last_word(queued, LATER, NOW + 600)
    assert str(late.status) == "5.4.7"
    assert late.text.endswith(LATER.text)
    assert not late.is_reply
    assert LIFETIME.last_word(queued, None, NOW + 600) == Diagnostic(
        "the time that the sender set for delivery is over", late.status
    )


@given(
    st.lists(st.floats(1, 1e6), min_size=1, max_size=5),
    st.floats(0, 0.99),
    st.integers(0, 10**6),
    st.floats(0, 6 * DAY),
    st.none() | st.builds(DeliverBy, st.integers(1, 10**6), st.sampled_from("RN")),
    st.randoms(use_true_random=False),
)
def test_a_retry_is_later_than_now_and_no_later_than_it_expires(
    intervals: list[float],
    jitter: float,
    attempts: int,
    age: float,
    by: DeliverBy | None,
    rng: Random,
) -> None:
    queued = limited(by) if by else message()
    now = NOW + age
    due = RetrySchedule(tuple(intervals), jitter).next_due(attempts, now, rng)
    within = LIFETIME.within(queued, due, now)
    assert due > now
    assert (within is None) == LIFETIME.is_expired(queued, now)
    if within is not None:
        assert now < within <= min(due, LIFETIME.expires_at(queued))
