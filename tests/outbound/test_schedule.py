"""Which delivery starts next."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import pytest

from harakapy.outbound.concurrency import Feedback
from harakapy.outbound.destination import DestinationLimits, Hold, Rate
from harakapy.outbound.schedule import Schedule
from harakapy.outbound.turn import Admission, ScheduleLimits, Start
from tests.outbound.deliveries import World, request, starts, wait

HEALTHY, BUSY, DEAD, NOTHING = Feedback.HEALTHY, Feedback.BUSY, Feedback.DEAD, Feedback.NOTHING


def scheduled(limits: DestinationLimits | None = None, **total: float) -> Schedule:
    own = limits or DestinationLimits()
    return Schedule(ScheduleLimits(**total), limits_for=lambda site: own)  # type: ignore[arg-type]


def fill(schedule: Schedule, destination: str, number: int, now: float = 0.0) -> None:
    for _ in range(number):
        schedule.offer(request(destination), now)


def one(schedule: Schedule, now: float) -> Start:
    start = schedule.next(now)
    assert isinstance(start, Start)
    return start


def block(schedule: Schedule, destination: str, now: float, until: float = 0.0) -> None:
    schedule.offer(request(destination), now)
    assert schedule.finished(one(schedule, now), DEAD, now, until=until)


def test_what_is_offered_is_started() -> None:
    schedule, wanted = Schedule(), request("a.example", recipients=3)
    assert schedule.offer(wanted, 0) == 3
    start = one(schedule, 0)
    assert (start.request, start.destination, start.site) == (wanted, "a.example", "a.example")
    assert wait(schedule, 0) is None
    assert not schedule.finished(start, HEALTHY, 1)
    assert schedule.in_hand() == frozenset()


def test_what_is_in_hand_is_not_taken_again() -> None:
    schedule, whole = Schedule(), request("a.example", recipients=2)
    part = type(whole)(whole.message, whole.deliveries[:1])
    assert schedule.offer(part, 0) == 1
    assert schedule.offer(whole, 0) == 1
    assert schedule.offer(whole, 0) == 0
    assert sorted(start.request.deliveries[0].number for start in starts(schedule, 0)) == [0, 1]
    assert schedule.offer(whole, 0) == 0


def test_a_delivery_ends_once() -> None:
    schedule = Schedule()
    schedule.offer(request("a.example"), 0)
    start = one(schedule, 0)
    schedule.finished(start, HEALTHY, 0)
    with pytest.raises(ValueError, match="finished before"):
        schedule.finished(start, HEALTHY, 0)


def test_destinations_take_turns() -> None:
    schedule = Schedule()
    for name in ("a.example", "b.example", "c.example"):
        fill(schedule, name, 3)
    order = [start.destination[0] for start in starts(schedule, 0)]
    assert order == list("abcabcabc")


def test_urgent_mail_goes_first_within_its_destination() -> None:
    schedule = Schedule()
    for priority in (0, -3, 5, 0, 5):
        schedule.offer(request("a.example", priority=priority), 0)
    assert [start.request.message.priority for start in starts(schedule, 0)] == [5, 5, 0, 0, -3]


def test_a_new_destination_starts_slowly_and_each_success_opens_it_further() -> None:
    schedule = scheduled(DestinationLimits(connections=8, initial=2))
    fill(schedule, "a.example", 1000)
    running, sizes = starts(schedule, 0), []
    for _ in range(10):
        sizes.append(len(running))
        schedule.finished(running.pop(0), HEALTHY, 0)
        running += starts(schedule, 0)
    assert sizes == [2, 3, 4, 5, 6, 7, 8, 8, 8, 8]


def test_success_on_one_connection_does_not_open_a_window_that_was_never_used() -> None:
    schedule = scheduled(DestinationLimits(connections=100, initial=2))
    for _ in range(50):
        schedule.offer(request("a.example"), 0)
        schedule.finished(one(schedule, 0), HEALTHY, 0)
    assert schedule.why("a.example", 0).window <= 3


def test_each_busy_answer_takes_one_from_the_window() -> None:
    schedule = scheduled(DestinationLimits(connections=10, initial=10))
    fill(schedule, "a.example", 30)
    running = starts(schedule, 0)
    for start in running[:3]:
        schedule.finished(start, BUSY, 0)
    assert schedule.why("a.example", 0).window == 7
    for start in running[3:]:
        schedule.finished(start, HEALTHY, 0)
    assert schedule.why("a.example", 0).window == 7  # one more only after a whole window of successes


def test_a_destination_is_left_alone_when_a_whole_cohort_was_busy() -> None:
    schedule = scheduled(DestinationLimits(connections=5, initial=5))
    fill(schedule, "a.example", 20)
    answers = [schedule.finished(start, BUSY, 0) for start in starts(schedule, 0)]
    assert answers == [False] * 4 + [True]
    assert schedule.blocked(0) == {"a.example": 60}


def test_a_destination_is_not_left_alone_while_some_of_it_works() -> None:
    schedule = scheduled(DestinationLimits(connections=5, initial=5))
    fill(schedule, "a.example", 200)
    running = starts(schedule, 0)
    for turn in range(100):
        schedule.finished(running.pop(0), HEALTHY if turn % 3 == 0 else BUSY, 0)
        running += starts(schedule, 0)
    assert not schedule.blocked(0)


def test_a_dead_destination_is_left_alone_at_once_and_longer_each_time() -> None:
    schedule, now, pauses = Schedule(), 0.0, []
    for _ in range(6):
        block(schedule, "a.example", now)
        end = schedule.blocked(now)["a.example"]
        pauses.append(end - now)
        fill(schedule, "a.example", 1, now)
        assert wait(schedule, now) == end
        now = end
        schedule.withdraw("a.example", now)
    assert pauses == [60, 120, 240, 480, 600, 600]


def test_a_destination_is_left_alone_as_long_as_its_hosts_are_known_to_be_dead() -> None:
    schedule = Schedule()
    block(schedule, "a.example", 0, until=1000)
    assert schedule.blocked(0) == {"a.example": 1000}


def test_connections_that_break_together_count_as_one_failure() -> None:
    schedule = scheduled(DestinationLimits(connections=20, initial=20))
    fill(schedule, "a.example", 20)
    for start in starts(schedule, 0):
        schedule.finished(start, DEAD, 0)
    assert schedule.blocked(0) == {"a.example": 60}


def test_a_refused_connection_beside_working_ones_means_busy() -> None:
    schedule = scheduled(DestinationLimits(connections=20, initial=20))
    fill(schedule, "a.example", 20)
    working, refused, *_ = starts(schedule, 0)
    schedule.finished(working, HEALTHY, 0)
    assert not schedule.finished(refused, DEAD, 0)
    assert schedule.why("a.example", 0).window == 19


def test_after_the_pause_one_delivery_goes_ahead_of_the_others() -> None:
    schedule = Schedule()
    block(schedule, "a.example", 0)
    fill(schedule, "a.example", 10)
    assert starts(schedule, 59) == []
    [probe] = starts(schedule, 60)
    schedule.finished(probe, HEALTHY, 61)
    assert len(starts(schedule, 61)) == 2
    assert schedule.why("a.example", 61).pauses == 0


def test_what_was_under_way_when_it_was_blocked_may_end_the_pause() -> None:
    schedule = Schedule()
    fill(schedule, "a.example", 3)
    running = starts(schedule, 0)
    assert schedule.finished(running[0], DEAD, 0)
    assert not schedule.finished(running[1], HEALTHY, 1)
    assert schedule.blocked(1) == {}


def test_nothing_is_learnt_from_what_we_gave_up() -> None:
    schedule = Schedule()
    for _ in range(20):
        fill(schedule, "a.example", 1)
        assert not schedule.finished(one(schedule, 0), NOTHING, 0)
    assert schedule.why("a.example", 0).window == 5


def test_an_operator_may_end_a_pause() -> None:
    schedule = Schedule()
    block(schedule, "a.example", 0)
    fill(schedule, "a.example", 2)
    schedule.unblock("a.example", 0)
    schedule.unblock("unknown.example", 0)
    assert len(starts(schedule, 0)) == 1


def test_a_rate_is_kept_in_every_stretch_of_time() -> None:
    schedule = scheduled(DestinationLimits(rate=Rate(3, 60)))
    fill(schedule, "a.example", 10)
    times = []
    for now in range(200):
        for start in starts(schedule, now):
            times.append(now)
            schedule.finished(start, HEALTHY, now)
    assert times == [0, 0, 0, 60, 60, 60, 120, 120, 120, 180]


def test_a_large_rate_is_kept_in_parts() -> None:
    schedule = scheduled(DestinationLimits(connections=200, initial=200, rate=Rate(2500, 300)))
    fill(schedule, "a.example", 3000)
    times: list[float] = []
    now: float | None = 0.0
    while now is not None:
        while running := starts(schedule, now):
            for start in running:
                times.append(now)
                schedule.finished(start, HEALTHY, now)
        now = wait(schedule, now)
    assert Counter(times) == {0: 833, 100: 833, 200: 833, 300: 501}


def test_destinations_of_one_site_share_its_limits_and_its_fate() -> None:
    schedule = Schedule(
        limits_for=lambda site: DestinationLimits(connections=2), site_of=lambda name: "relay"
    )
    fill(schedule, "a.example", 2)
    fill(schedule, "b.example", 2)
    running = starts(schedule, 0)
    assert [start.destination for start in running] == ["a.example", "a.example"]
    schedule.finished(running[0], DEAD, 0)
    assert schedule.room("b.example", 0) == 0
    assert len(schedule.withdraw("a.example", 0)) == 2


def test_a_call_counts_for_the_hosts_once_they_are_known_and_what_waits_beside_it_too() -> None:
    sites: dict[str, str] = {}
    schedule = Schedule(site_of=lambda name: sites.get(name, name))
    for name in ("a.example", "b.example"):
        fill(schedule, name, 3)
    a, b = starts(schedule, 0, hanging=True)
    sites |= {"a.example": "mx.example", "b.example": "mx.example"}
    assert [schedule.relocate(each, 0) for each in (a, a, b)] == [True, False, True]
    assert (a.site, b.site, wait(schedule, 0)) == ("mx.example", "mx.example", None)
    standing = schedule.why("b.example", 0)
    assert (standing.site, standing.running, standing.waiting) == ("mx.example", 2, 4)
    assert standing.hold is Hold.UNKNOWN
    assert schedule.answered(a, 0)
    assert len(starts(schedule, 0)) == 3
    assert not schedule.finished(a, HEALTHY, 0)
    assert not schedule.finished(b, DEAD, 0)
    assert schedule._active == 1


def test_one_destination_leaves_room_for_a_new_one() -> None:
    schedule = scheduled(DestinationLimits(connections=1000, initial=1000), max_deliveries=100)
    fill(schedule, "a.example", 1)
    schedule.finished(starts(schedule, 0)[0], Feedback.HEALTHY, 0)
    fill(schedule, "a.example", 1000)
    assert len(starts(schedule, 0)) == 90
    assert schedule.why("a.example", 0).hold is Hold.SHARE
    fill(schedule, "b.example", 1000)
    assert [start.destination for start in starts(schedule, 0)] == ["b.example"] * 10
    assert schedule.why("b.example", 0).hold is Hold.TOTAL


def test_a_thousand_new_destinations_that_hang_hold_up_nobody() -> None:
    schedule = scheduled(max_deliveries=10)
    for number in range(1000):
        fill(schedule, f"hanging{number}.example", 100)
    hanging = starts(schedule, 0, hanging=True)
    assert (len(hanging), schedule.calls) == (1000, 1000)
    assert schedule.why("hanging1.example", 0).hold is Hold.UNKNOWN
    fill(schedule, "well.example", 20)
    call = one(schedule, 0)
    assert (call.site, wait(schedule, 0)) == ("well.example", None)
    assert schedule.answered(call, 0)
    assert {start.site for start in starts(schedule, 0)} == {"well.example"}
    assert schedule.why("well.example", 0).running == 5


def test_there_are_so_many_calls_and_no_more() -> None:
    schedule = scheduled(max_calls=8)
    for number in range(5):
        block(schedule, f"dead{number}.example", 0)
        fill(schedule, f"dead{number}.example", 1)
    for number in range(9):
        fill(schedule, f"new{number}.example", 2)
    calls = starts(schedule, 60, hanging=True)
    assert Counter(call.site[:3] for call in calls) == {"dea": 2, "new": 6}
    assert schedule.why("new8.example", 60).hold is Hold.CALLS
    schedule.finished(calls[0], NOTHING, 60)
    assert len(starts(schedule, 60, hanging=True)) == 1


def test_who_answers_waits_for_room_before_anything_else_begins() -> None:
    schedule = scheduled(max_deliveries=2)
    for number in range(4):
        fill(schedule, f"d{number}.example", 1)
    calls = starts(schedule, 0, hanging=True)
    assert [schedule.answered(call, 0) for call in calls] == [True, True, False, False]
    assert not schedule.answered(calls[2], 0)
    fill(schedule, "d0.example", 1)
    assert wait(schedule, 0) is None
    schedule.finished(calls[2], NOTHING, 0)  # it has lost patience
    schedule.finished(calls[0], HEALTHY, 0)
    assert schedule.next(0) == Admission(calls[3])
    assert schedule.answered(calls[3], 0)
    schedule.drain(0)
    assert (wait(schedule, 0), schedule.running) == (None, 2)


def test_who_answers_is_let_in_although_nothing_more_begins() -> None:
    schedule = scheduled(max_deliveries=1)
    fill(schedule, "a.example", 1)
    fill(schedule, "b.example", 1)
    first, second = starts(schedule, 0, hanging=True)
    assert schedule.answered(first, 0)
    schedule.drain(0)
    assert not schedule.answered(second, 0)
    schedule.finished(first, HEALTHY, 0)
    assert schedule.next(0) == Admission(second)


def test_a_thousand_destinations_that_hang_leave_room_in_hand() -> None:
    schedule = Schedule()
    for number in range(1000):
        name = f"hanging{number}.example"
        fill(schedule, name, schedule.room(name, 0))
    assert schedule.waiting < 7500
    assert len(starts(schedule, 0, hanging=True)) == 1000
    assert schedule.room("new.example", 0) > 0


def test_room_goes_to_those_that_have_least_of_it() -> None:
    schedule = scheduled(DestinationLimits(connections=1000, initial=1000), max_deliveries=100)
    fill(schedule, "a.example", 1000)
    running = starts(schedule, 0)
    fill(schedule, "b.example", 1000)
    running += starts(schedule, 0)
    for start in running[:80]:
        schedule.finished(start, NOTHING, 0)
        starts(schedule, 0)
    shares = [schedule.why(name, 0).running for name in ("a.example", "b.example")]
    assert shares == [45, 45]  # and a tenth is left for the next one


def test_destinations_that_hang_do_not_hold_up_one_that_works() -> None:
    def behaviour(destination: str, now: float) -> tuple[float, Feedback]:
        return (0.1, HEALTHY) if destination == "well.example" else (30, DEAD)

    world = World(Schedule(), behaviour)
    for number in range(100):
        for _ in range(20):
            world.offer(f"dead{number}.example", at=100)
    for number in range(6000):
        world.offer("well.example", at=number * 0.1)
    world.run(until=700)
    waits = [
        at - number * 0.1
        for number, at in enumerate(at for at, name in world.started if name == "well.example")
    ]
    assert len(waits) == 6000
    assert max(waits[1300:]) < 0.5  # once the hundred are known, nothing is felt of them
    assert max(waits) < 30


def test_a_dead_destination_that_comes_back_is_found_within_its_longest_pause() -> None:
    def behaviour(destination: str, now: float) -> tuple[float, Feedback]:
        return (1, HEALTHY) if now > 7200 else (5, DEAD)

    world = World(Schedule(), behaviour)
    for _ in range(50):
        world.offer("a.example", at=0)
    world.run(until=7200 + 700)
    assert sum(feedback is HEALTHY for _, _, feedback in world.ended) == 50


def test_only_a_part_of_the_room_is_for_trying_the_dead_again() -> None:
    schedule = scheduled(max_calls=40)
    for number in range(30):
        block(schedule, f"dead{number}.example", 0)
        fill(schedule, f"dead{number}.example", 1)
    probes = starts(schedule, 60, hanging=True)
    assert len(probes) == 10
    assert schedule.why("dead29.example", 60).hold is Hold.PROBES
    fill(schedule, "well.example", 5)
    assert len(starts(schedule, 60)) == 5
    schedule.finished(probes[0], DEAD, 60)
    (probe,) = starts(schedule, 60, hanging=True)
    assert probe.destination == "dead10.example"


def test_what_waits_is_given_back() -> None:
    schedule = Schedule()
    wanted = [request("a.example", priority=number % 2) for number in range(9)]
    for each in wanted:
        schedule.offer(each, 0)
    fill(schedule, "b.example", 1)
    running = starts(schedule, 0)
    assert sum(start.destination == "a.example" for start in running) == 5
    back = schedule.withdraw("a.example", 0)
    assert [each.message.priority for each in back] == [0, 0, 0, 0]
    assert schedule.withdraw("a.example", 0) == ()
    assert schedule.withdraw("unknown.example", 0) == ()
    assert len(schedule.in_hand()) == 6


def test_what_waits_beside_a_failure_is_given_back_although_its_site_is_another_one_by_now() -> None:
    sites = {"a.example": "a.example"}
    schedule = Schedule(site_of=sites.__getitem__)
    fill(schedule, "a.example", 6)
    start, *_ = starts(schedule, 0)
    sites["a.example"] = "mx.example"
    assert schedule.finished(start, DEAD, 0)
    assert schedule.withdraw("a.example", 0) == ()
    assert len(schedule.withdraw_beside(start, 0)) == 1


def test_after_draining_nothing_starts_and_what_runs_may_end() -> None:
    schedule = Schedule()
    fill(schedule, "a.example", 6)
    running = starts(schedule, 0)
    assert len(schedule.drain(0)) == 1
    assert schedule.offer(request("a.example"), 0) == 0
    assert (schedule.room("a.example", 0), schedule.why("a.example", 0).hold) == (0, Hold.CLOSED)
    assert wait(schedule, 0) is None
    for start in running:
        schedule.finished(start, HEALTHY, 0)
    assert schedule.running == 0


def test_what_was_lost_is_not_tried() -> None:
    schedule = Schedule()
    first, second = request("a.example", recipients=2), request("a.example")
    schedule.offer(first, 0)
    schedule.offer(second, 0)
    schedule.discard({first.deliveries[0].key, second.deliveries[0].key}, 0)
    [start] = starts(schedule, 0)
    assert start.request.deliveries == first.deliveries[1:]
    schedule.discard({first.deliveries[1].key}, 0)  # it runs: its end tells
    assert len(schedule.in_hand()) == 1


def test_there_is_room_for_what_can_be_delivered_soon() -> None:
    schedule = Schedule()
    assert schedule.room("a.example", 0) == 100
    schedule.offer(request("a.example", recipients=30), 0)
    assert (schedule.room("a.example", 0), schedule.is_running_low("a.example", 0)) == (69, True)
    schedule.offer(request("a.example", recipients=30), 0)
    assert (schedule.room("a.example", 0), schedule.is_running_low("a.example", 0)) == (38, False)
    starts(schedule, 0)
    assert schedule.is_running_low("a.example", 0)


def test_there_is_no_room_for_a_blocked_destination_and_little_for_a_probe() -> None:
    schedule = Schedule()
    block(schedule, "a.example", 0)
    assert (schedule.room("a.example", 0), schedule.is_running_low("a.example", 0)) == (0, False)
    assert schedule.room("a.example", 60) == 20


def test_many_destinations_leave_room_in_hand_for_one_more() -> None:
    schedule = scheduled(max_waiting=1000)
    for number in range(1000):
        name = f"d{number}.example"
        if room := schedule.room(name, 0):
            schedule.offer(request(name, recipients=room), 0)
    assert 700 < schedule.waiting <= 750
    starts(schedule, 0)
    assert schedule.room("new.example", 0) > 0


def test_other_limits_count_at_once() -> None:
    own = DestinationLimits(connections=10, initial=10)
    schedule = Schedule(limits_for=lambda site: own)
    fill(schedule, "a.example", 30)
    running = starts(schedule, 0)
    own = DestinationLimits(connections=3, rate=Rate(1, 10))
    schedule.reconfigure(ScheduleLimits(), 0)
    for start in running:
        assert starts(schedule, 0) == [] or schedule.why("a.example", 0).running <= 3
        schedule.finished(start, HEALTHY, 0)
    own = DestinationLimits(connections=12)
    schedule.reconfigure(ScheduleLimits(max_deliveries=2), 0)
    assert schedule.running + len(starts(schedule, 0)) == 2


def test_it_tells_why_something_waits() -> None:
    schedule = scheduled(DestinationLimits(connections=2, rate=Rate(3, 10)), max_deliveries=4)
    assert schedule.why("a.example", 0).hold is Hold.NOTHING
    fill(schedule, "a.example", 5)
    running = starts(schedule, 0)
    standing = schedule.why("a.example", 0)
    assert (standing.hold, standing.waiting, standing.running) == (Hold.CONNECTIONS, 3, 2)
    schedule.finished(running[0], HEALTHY, 1)
    starts(schedule, 1)
    standing = schedule.why("a.example", 1)
    assert (standing.hold, standing.until) == (Hold.RATE, 10)
    schedule.finished(running[1], DEAD, 2)
    block(schedule, "b.example", 2)
    standing = schedule.why("b.example", 3)
    assert (standing.hold, standing.until, standing.pauses) == (Hold.BLOCKED, 62, 1)


def test_a_hundred_thousand_destinations_that_went_by_leave_little() -> None:
    schedule = Schedule()
    for number in range(100_000):
        fill(schedule, f"d{number}.example", 1, number)
        feedback = DEAD if number % 3 == 0 else HEALTHY
        schedule.finished(one(schedule, number), feedback, number)
        schedule.withdraw(f"d{number}.example", number)
    schedule.next(200_000)
    assert len(schedule._sites) < 1500
    assert len(schedule._timers) < 5000
    assert schedule._active == 0


def test_a_hundred_thousand_dead_destinations_at_once_are_bounded_too() -> None:
    schedule = Schedule()
    for number in range(100_000):
        block(schedule, f"d{number}.example", number / 1000)
    assert len(schedule._sites) <= 10_001
    assert len(schedule._timers) <= 25_000
    assert sys.getsizeof(schedule._idle) < 2_000_000


def test_a_rate_is_not_forgotten_while_it_counts() -> None:
    schedule = scheduled(DestinationLimits(rate=Rate(1, 3600)))
    for number in range(12_000):
        fill(schedule, f"d{number}.example", 1)
        schedule.finished(one(schedule, 0), HEALTHY, 0)
    fill(schedule, "d0.example", 1)
    assert wait(schedule, 0) == 3600


@pytest.mark.parametrize("bad", [{"connections": 0}, {"initial": 0}, {"rate": Rate(0, 1)}])
def test_limits_under_which_nothing_goes_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="nothing could ever be delivered"):
        DestinationLimits(**bad)


@pytest.mark.parametrize(
    "bad", [{"max_deliveries": 0}, {"max_calls": 0}, {"max_waiting": 0}, {"pause_s": 700}, {"pause_s": 0}]
)
def test_total_limits_under_which_nothing_goes_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="nothing could ever be delivered"):
        ScheduleLimits(**bad)
