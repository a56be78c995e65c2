"""Laws of the schedule: nothing lost or started twice, limits kept, nobody starved, whatever happens."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from harakapy.outbound.concurrency import Concurrency, Feedback
from harakapy.outbound.destination import DestinationLimits, Hold, Rate, RateLimit
from harakapy.outbound.schedule import Schedule
from harakapy.outbound.turn import Admission, ScheduleLimits, Start, Wait
from harakapy.queue import DeliveryKey, DeliveryRequest
from tests.outbound.deliveries import World, request

NAMES = [f"{letter}.example" for letter in "abcdefgh"]
DESTINATIONS = st.sampled_from(NAMES)
FEEDBACK = st.sampled_from([*Feedback, Feedback.HEALTHY, Feedback.DEAD])
OWN_LIMITS = st.builds(
    DestinationLimits,
    connections=st.integers(1, 6),
    initial=st.integers(1, 6),
    rate=st.none() | st.builds(Rate, st.integers(1, 4), st.integers(1, 50).map(float)),
)
LIMITS = st.builds(
    ScheduleLimits,
    max_deliveries=st.integers(1, 12),
    max_calls=st.integers(1, 6),
    max_waiting=st.integers(1, 50),
    pause_s=st.just(10.0),
)
PICKS = st.integers(0, 100)


@dataclass
class Waiting:
    """A request that was taken, and not started yet."""

    request: DeliveryRequest
    order: int


class Laws(RuleBasedStateMachine):
    """Does anything to a schedule, and knows by itself what is where."""

    @initialize(limits=LIMITS, own=st.lists(OWN_LIMITS, min_size=8, max_size=8), sites=st.integers(3, 8))
    def begin(self, limits: ScheduleLimits, own: list[DestinationLimits], sites: int) -> None:
        self.limits = limits
        self.own = dict(zip(NAMES, own, strict=True))
        self.sites = sites
        self.schedule = Schedule(limits, limits_for=self.own.__getitem__, site_of=self.site_of)
        self.now = 1000.0
        self.order = 0
        self.waiting: list[Waiting] = []
        self.running: list[tuple[Start, bool]] = []
        self.calls: list[Start] = []
        self.without_room: list[Start] = []
        self.starts: defaultdict[str, list[float]] = defaultdict(list)
        self.passed_over: defaultdict[str, int] = defaultdict(int)
        self.is_closed = False

    def site_of(self, destination: str) -> str:
        """The last ones share a site."""
        return NAMES[min(NAMES.index(destination), self.sites - 1)]

    def waiting_at(self, site: str) -> list[Waiting]:
        return [each for each in self.waiting if self.site_of(destination_of(each.request)) == site]

    def running_at(self, site: str) -> int:
        return sum(start.site == site for start, _ in self.running)

    @rule(destination=DESTINATIONS, recipients=st.integers(1, 3), priority=st.integers(-1, 1))
    def offer(self, destination: str, recipients: int, priority: int) -> None:
        wanted = request(destination, recipients=recipients, priority=priority)
        taken = self.schedule.offer(wanted, self.now)
        assert taken == (0 if self.is_closed else recipients)
        if taken:
            self.order += 1
            self.waiting.append(Waiting(wanted, self.order))

    @rule(pick=PICKS)
    def offer_again(self, pick: int) -> None:
        in_hand = [each.request for each in self.waiting] + [start.request for start, _ in self.running]
        if in_hand:
            assert self.schedule.offer(in_hand[pick % len(in_hand)], self.now) == 0

    @rule(seconds=st.sampled_from([-1.0, 0.5, 3.0, 11.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(times=st.integers(1, 12))
    def start(self, times: int) -> None:
        for _ in range(times):
            blocked = self.schedule.blocked(self.now)
            eligible = {site for site in NAMES if self.may_start(site)}
            suspects = {site for site in NAMES if self.schedule.why(site, self.now).pauses}
            answer = self.schedule.next(self.now)
            if isinstance(answer, Admission):
                assert answer.start is self.without_room.pop(0)
                assert self.delivering <= self.limits.max_deliveries
                continue
            if isinstance(answer, Wait):
                self.check_wait(answer.until)
                return
            assert not self.without_room, "who has answered comes first"
            assert not self.is_closed
            assert answer.site not in blocked
            self.check_turn(answer)
            self.running.append((answer, answer.site in suspects))
            if answer.is_call:
                self.calls.append(answer)
            self.starts[answer.site].append(self.now)
            self.check_limits(answer.site)
            self.check_starvation(eligible, answer.site)

    @property
    def delivering(self) -> int:
        """Deliveries that take room."""
        return len(self.running) - len(self.calls) - len(self.without_room)

    @property
    def probes(self) -> int:
        """Calls to sites that had failed."""
        return sum(is_suspect for start, is_suspect in self.running if start in self.calls)

    def may_start(self, site: str) -> bool:
        return bool(self.waiting_at(site)) and self.schedule.why(site, self.now).hold is Hold.NOTHING

    def check_wait(self, until: float | None) -> None:
        """Nothing starts only if something holds each of those that wait, and time is told."""
        is_full = self.delivering >= self.limits.max_deliveries
        assert is_full or not self.without_room
        for site in NAMES:
            standing = self.schedule.why(site, self.now)
            if not self.waiting_at(site) or is_full or self.is_closed:
                continue
            assert standing.hold not in (Hold.NOTHING, Hold.TOTAL, Hold.CLOSED)
            if standing.hold in (Hold.BLOCKED, Hold.RATE):
                assert until is not None
                assert standing.until is not None
                assert self.now < until <= standing.until
            if standing.hold is Hold.SHARE:
                free = self.limits.max_deliveries - self.delivering
                assert free <= self.limits.max_deliveries // 10
            if standing.hold is Hold.PROBES:
                assert self.probes >= max(1, self.limits.max_calls // 4)
            if standing.hold is Hold.CALLS:
                assert len(self.calls) == self.limits.max_calls
            if standing.hold is Hold.UNKNOWN:
                assert self.running_at(site) == 1

    def check_turn(self, start: Start) -> None:
        """It was in hand and not started; nothing of its site was more urgent, or as urgent and earlier."""
        [found] = [each for each in self.waiting if each.request == start.request]
        best = min(self.waiting_at(start.site), key=lambda each: (-each.request.message.priority, each.order))
        assert found is best
        self.waiting.remove(found)

    def check_limits(self, site: str) -> None:
        own = self.own[site]
        assert self.delivering <= self.limits.max_deliveries
        assert len(self.calls) == self.schedule.calls <= self.limits.max_calls
        assert self.running_at(site) <= own.connections
        assert self.probes <= max(1, self.limits.max_calls // 4)

    def check_starvation(self, eligible: set[str], started: str) -> None:
        for site in NAMES:
            is_passed_over = site in eligible and site != started
            self.passed_over[site] = self.passed_over[site] + 1 if is_passed_over else 0
            assert self.passed_over[site] <= 2 * len(NAMES)

    @precondition(lambda self: self.calls)
    @rule(pick=PICKS)
    def answer(self, pick: int) -> None:
        start = self.calls.pop(pick % len(self.calls))
        has_room = self.delivering <= self.limits.max_deliveries and not self.without_room
        assert self.schedule.answered(start, self.now) == has_room
        if not has_room:
            self.without_room.append(start)

    @precondition(lambda self: self.running)
    @rule(pick=PICKS, feedback=FEEDBACK, until_s=st.sampled_from([0, 40]))
    def finish(self, pick: int, feedback: Feedback, until_s: int) -> None:
        start, _ = self.running.pop(pick % len(self.running))
        self.calls = [each for each in self.calls if each is not start]
        self.without_room = [each for each in self.without_room if each is not start]
        is_blocked = self.schedule.finished(start, feedback, self.now, until=self.now + until_s)
        assert is_blocked == (start.site in self.schedule.blocked(self.now))
        assert not (is_blocked and feedback is Feedback.HEALTHY)
        if is_blocked:
            assert self.schedule.room(start.destination, self.now) == 0

    @rule(destination=DESTINATIONS)
    def withdraw(self, destination: str) -> None:
        there = self.waiting_at(self.site_of(destination))
        found = self.schedule.withdraw(destination, self.now)
        assert keys(found) == keys(each.request for each in there)
        self.waiting = [each for each in self.waiting if each not in there]

    @rule(pick=PICKS, number=st.integers(0, 2))
    def discard(self, pick: int, number: int) -> None:
        if not self.waiting:
            return
        lost = self.waiting[pick % len(self.waiting)]
        deliveries = lost.request.deliveries
        gone = deliveries[: number + 1]
        self.schedule.discard({each.key for each in gone}, self.now)
        if gone == deliveries:
            self.waiting.remove(lost)
        else:
            lost.request = DeliveryRequest(lost.request.message, deliveries[len(gone) :])

    @rule(destination=DESTINATIONS)
    def unblock(self, destination: str) -> None:
        self.schedule.unblock(destination, self.now)
        assert self.site_of(destination) not in self.schedule.blocked(self.now)

    @precondition(lambda self: not self.is_closed)
    @rule(chance=st.integers(0, 20))
    def drain(self, chance: int) -> None:
        if chance:
            return
        assert keys(self.schedule.drain(self.now)) == keys(each.request for each in self.waiting)
        self.waiting = []
        self.is_closed = True

    @invariant()
    def all_in_hand_is_known(self) -> None:
        requests = [each.request for each in self.waiting] + [start.request for start, _ in self.running]
        assert self.schedule.in_hand() == keys(requests)
        assert self.schedule.waiting == len(keys(each.request for each in self.waiting))
        assert self.schedule.running == len(self.running)
        for site in NAMES:
            standing = self.schedule.why(site, self.now)
            if self.site_of(site) == site:
                assert standing.running == self.running_at(site)
                assert standing.waiting == len(keys(each.request for each in self.waiting_at(site)))

    @invariant()
    def all_rates_are_kept(self) -> None:
        for site, times in self.starts.items():
            rate = self.own[site].rate
            ordered = sorted(times)
            if rate is None or ordered != times:  # a clock that went back is not held to it
                continue
            for first, last in zip(ordered, ordered[rate.count :], strict=False):
                assert last - first >= rate.per_s

    def teardown(self) -> None:
        """In the end everything that waits is started, if only deliveries end and time passes."""
        for start, _ in self.running:
            self.schedule.finished(start, Feedback.HEALTHY, self.now)
        rounds = 0
        while self.waiting:
            answer = self.schedule.next(self.now)
            if isinstance(answer, Start):
                self.check_turn(answer)
                self.schedule.finished(answer, Feedback.HEALTHY, self.now)
            else:
                assert isinstance(answer, Wait)
                assert answer.until is not None
                assert answer.until > self.now
                self.now = answer.until
                rounds += 1
                assert rounds < 5000
        assert not isinstance(self.schedule.next(self.now), Start)


def destination_of(each: DeliveryRequest) -> str:
    return each.deliveries[0].destination


def keys(requests: object) -> frozenset[DeliveryKey]:
    assert hasattr(requests, "__iter__")
    return frozenset(delivery.key for each in requests for delivery in each.deliveries)


TestLaws = Laws.TestCase
TestLaws.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)


@given(
    st.lists(
        st.tuples(st.sampled_from([1.0, 30.0]), st.sampled_from([Feedback.DEAD, Feedback.BUSY])), max_size=30
    )
)
@settings(max_examples=25, deadline=None)
def test_what_the_others_are_like_does_not_delay_a_destination_that_works(
    others: list[tuple[float, Feedback]],
) -> None:
    behaviour = {f"other{number}.example": each for number, each in enumerate(others)}
    behaviour["well.example"] = (1.0, Feedback.HEALTHY)
    world = World(Schedule(ScheduleLimits(max_deliveries=200)), lambda name, now: behaviour[name])
    for name in behaviour:
        for _ in range(10):
            world.offer(name, at=0)
    for number in range(100):
        world.offer("well.example", at=100 + number)
    world.run(until=300)
    waited = [at for at, name in world.started if name == "well.example"][10:]
    assert len(waited) == 100
    assert all(at - (100 + number) <= 0.001 for number, at in enumerate(waited))


@given(st.integers(1, 300), st.integers(1, 20), st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_hosts_that_hang_do_not_delay_one_of_which_nothing_is_known(
    hanging: int, messages: int, max_deliveries: int
) -> None:
    def behaviour(name: str, now: float) -> tuple[float, Feedback]:
        return (0.0, Feedback.HEALTHY) if name == "well.example" else (30.0, Feedback.DEAD)

    world = World(Schedule(ScheduleLimits(max_deliveries=max_deliveries, max_calls=400)), behaviour)
    for number in range(hanging):
        for _ in range(messages):
            world.offer(f"hanging{number}.example", at=0)
    world.offer("well.example", at=1)
    for number in range(10):  # the hanging ones have failed meanwhile, and are tried again and again
        world.offer("well.example", at=30 + 20 * number)
    world.run(until=300)
    assert [at for at, name in world.started if name == "well.example"] == [1, *range(30, 230, 20)]


@given(st.builds(Rate, st.integers(1, 3000), st.floats(0.01, 1e5)), st.lists(st.floats(0, 1e4), max_size=60))
def test_a_rate_holds_in_every_stretch_of_time(rate: Rate, pauses: list[float]) -> None:
    limit, now, times = RateLimit(rate), 0.0, []
    for pause in pauses:
        now = max(now + pause, limit.free_at)
        limit.add(now)
        times.append(now)
    for first, last in zip(times, times[rate.count :], strict=False):
        assert last - first >= rate.per_s * (1 - 1e-9)
    if times:
        assert limit.empty_at <= times[-1] + rate.per_s


@given(
    st.integers(1, 30),
    st.integers(1, 30),
    st.lists(
        st.tuples(st.sampled_from(Feedback), st.integers(1, 40), st.booleans(), st.floats(0, 700)),
        max_size=80,
    ),
)
def test_a_window_stays_within_its_limit_and_a_pause_within_its_longest(
    limit: int, initial: int, events: list[tuple[Feedback, int, bool, float]]
) -> None:
    site, now = Concurrency(limit=limit, initial=initial, pause_s=60, max_pause_s=600), 0.0
    for feedback, running, is_old, passes in events:
        news = site.news - is_old
        if feedback is Feedback.HEALTHY:
            site.healthy(running)
        elif feedback is Feedback.BUSY:
            site.busy(now, news=news)
        elif feedback is Feedback.DEAD:
            site.dead(now, -math.inf, news=news)
        assert 1 <= site.window <= limit
        assert site.blocked_until <= now + 600
        assert not site.is_blocked(now) or (site.pauses and site.window == 1)
        now += passes
