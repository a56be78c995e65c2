import math
from collections.abc import Callable

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from harakapy.net import Watchdog
from harakapy.net.deadline import SMALL_HEAP


@pytest.fixture
async def watchdog(nursery: trio.Nursery) -> Watchdog:
    watchdog = Watchdog()
    nursery.start_soon(watchdog.run)
    await trio.testing.wait_all_tasks_blocked()
    return watchdog


class Wakeups(trio.abc.Instrument):
    """Counts how often the watchdog's task ran."""

    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += "Watchdog.run" in task.name


async def test_a_deadline_cancels_its_scope_at_its_time(
    watchdog: Watchdog, autojump_clock: MockClock
) -> None:
    started = trio.current_time()
    with trio.CancelScope() as scope, watchdog.watch(scope) as deadline:
        deadline.at = started + 300
        await trio.sleep_forever()
    assert trio.current_time() == started + 300
    assert scope.cancelled_caught
    assert deadline.is_expired


async def test_after_is_that_long_from_now(watchdog: Watchdog, autojump_clock: MockClock) -> None:
    autojump_clock.jump(17)
    started = trio.current_time()
    with trio.CancelScope() as scope, watchdog.watch(scope) as deadline:
        deadline.after(5)
        assert deadline.at == started + 5
        await trio.sleep_forever()
    assert trio.current_time() == started + 5


async def test_a_deadline_not_armed_never_comes(watchdog: Watchdog, autojump_clock: MockClock) -> None:
    with trio.CancelScope() as scope, watchdog.watch(scope) as deadline:
        await trio.sleep(86_000)
    assert not scope.cancel_called
    assert not deadline.is_expired
    assert deadline.at == math.inf


async def test_a_deadline_that_moves_later_comes_later(watchdog: Watchdog, autojump_clock: MockClock) -> None:
    started = trio.current_time()
    with trio.CancelScope() as scope, watchdog.watch(scope) as deadline:
        for _ in range(10):
            deadline.after(300)
            await trio.sleep(100)
        await trio.sleep_forever()
    assert trio.current_time() == started + 900 + 300


async def test_a_deadline_that_moves_earlier_comes_earlier(
    watchdog: Watchdog, autojump_clock: MockClock
) -> None:
    started = trio.current_time()
    with trio.CancelScope() as scope, watchdog.watch(scope) as deadline:
        deadline.after(300)
        await trio.sleep(10)
        deadline.after(5)
        await trio.sleep_forever()
    assert trio.current_time() == started + 15


async def test_a_deadline_in_the_past_comes_at_once(watchdog: Watchdog, autojump_clock: MockClock) -> None:
    started = trio.current_time()
    with trio.CancelScope() as scope, watchdog.watch(scope) as deadline:
        deadline.at = started - 1
        await trio.sleep_forever()
    assert trio.current_time() == started
    assert deadline.is_expired


@pytest.mark.parametrize("disarm", [lambda deadline: setattr(deadline, "at", math.inf), lambda d: d.close()])
async def test_a_deadline_that_was_disarmed_or_closed_does_not_come(
    watchdog: Watchdog, autojump_clock: MockClock, disarm: Callable[[object], None]
) -> None:
    with trio.CancelScope() as scope, watchdog.watch(scope) as deadline:
        deadline.after(300)
        disarm(deadline)
        await trio.sleep(1000)
    assert not scope.cancel_called
    assert not deadline.is_expired


async def test_arming_a_closed_deadline_does_nothing(watchdog: Watchdog, autojump_clock: MockClock) -> None:
    with trio.CancelScope() as scope:
        deadline = watchdog.watch(scope)
        deadline.after(1)
        deadline.close()
        deadline.close()
        await trio.sleep(10)
        deadline.after(1)
        deadline.at = 0
        assert not watchdog._heap
        await trio.sleep(10)
    assert not scope.cancel_called


async def test_a_deadline_armed_before_the_watchdog_runs_comes(autojump_clock: MockClock) -> None:
    watchdog = Watchdog()
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope, watchdog.watch(scope) as deadline:
            deadline.after(3)
            nursery.start_soon(watchdog.run)
            await trio.sleep_forever()
        assert trio.current_time() == pytest.approx(3)
        nursery.cancel_scope.cancel()


async def test_a_cancelled_watchdog_ends_and_its_deadlines_stay_harmless(autojump_clock: MockClock) -> None:
    watchdog = Watchdog()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watchdog.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    with trio.CancelScope() as scope, watchdog.watch(scope) as deadline:
        deadline.after(1)
        await trio.sleep(10)
    assert not scope.cancel_called


async def test_nobody_wakes_up_while_no_deadline_is_armed(
    watchdog: Watchdog, autojump_clock: MockClock
) -> None:
    wakeups = Wakeups()
    deadlines = [watchdog.watch(trio.CancelScope()) for _ in range(100)]
    trio.lowlevel.add_instrument(wakeups)
    await trio.sleep(86_000)
    trio.lowlevel.remove_instrument(wakeups)
    assert wakeups.count == 0
    assert len(deadlines) == 100


async def test_moving_a_deadline_later_wakes_nobody_until_its_first_time(
    watchdog: Watchdog, autojump_clock: MockClock
) -> None:
    wakeups = Wakeups()
    with trio.CancelScope() as scope, watchdog.watch(scope) as deadline:
        deadline.after(300)
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(wakeups)
        for _ in range(299):
            deadline.after(300)
            await trio.sleep(1)
        assert wakeups.count == 0
        assert len(watchdog._heap) == 1
        await trio.sleep(2)
        trio.lowlevel.remove_instrument(wakeups)
        assert wakeups.count == 1  # to look, and to see that it has moved


async def test_ten_thousand_deadlines_come_each_at_its_time(
    watchdog: Watchdog, autojump_clock: MockClock
) -> None:
    started = trio.current_time()
    late: list[int] = []

    async def wait(seconds: int) -> None:
        with trio.CancelScope() as scope, watchdog.watch(scope) as deadline:
            deadline.after(seconds)
            await trio.sleep_forever()
        if trio.current_time() != started + seconds:
            late.append(seconds)

    async with trio.open_nursery() as nursery:
        for n in range(10_000):
            nursery.start_soon(wait, n * 7919 % 10_007)
    assert not late


async def test_closed_deadlines_do_not_pile_up(watchdog: Watchdog) -> None:
    with watchdog.watch(trio.CancelScope()) as kept:
        kept.after(300)
        for _ in range(10_000):
            with watchdog.watch(trio.CancelScope()) as deadline:
                deadline.after(300)
        assert len(watchdog._heap) <= SMALL_HEAP + 4


async def test_deadlines_closed_all_at_once_are_not_kept(watchdog: Watchdog) -> None:
    deadlines = [watchdog.watch(trio.CancelScope()) for _ in range(10_000)]
    for deadline in deadlines:
        deadline.after(300)
    for deadline in deadlines:
        deadline.close()
    assert len(watchdog._heap) <= SMALL_HEAP


async def test_those_that_stay_open_among_many_closed_come_each_at_its_time(
    watchdog: Watchdog, autojump_clock: MockClock
) -> None:
    started = trio.current_time()
    scopes = [trio.CancelScope() for _ in range(1000)]
    deadlines = [watchdog.watch(scope) for scope in scopes]
    for n, deadline in enumerate(deadlines):
        deadline.at = started + (n * 7919) % 1009 + 0.5
    for n, deadline in enumerate(deadlines):
        if n % 10:
            deadline.close()
    for _ in range(1010):
        await trio.sleep(1)
        now = trio.current_time()
        assert all(
            scope.cancel_called == (deadlines[n].at <= now) for n, scope in enumerate(scopes) if not n % 10
        )
    assert not any(scope.cancel_called for n, scope in enumerate(scopes) if n % 10)


async def test_one_deadline_that_moves_earlier_all_the_time_does_not_pile_up(watchdog: Watchdog) -> None:
    with watchdog.watch(trio.CancelScope()) as deadline:
        for n in range(10_000):
            deadline.after(1e6 - n)
        assert len(watchdog._heap) <= SMALL_HEAP + 4


MOVES = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["at", "wait", "close"]), st.integers(0, 40)), max_size=40
)


@given(moves=MOVES)
def test_any_moves_end_as_with_a_scope_whose_deadline_is_set(moves: list[tuple[int, str, int]]) -> None:
    async def expired_at() -> tuple[list[float | None], list[float | None]]:
        watchdog = Watchdog()
        ends: list[float | None] = [None] * 4
        model_ends: list[float | None] = [None] * 4
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watchdog.run)
            scopes, models = [trio.CancelScope() for _ in range(4)], [trio.CancelScope() for _ in range(4)]
            deadlines = [watchdog.watch(scope) for scope in scopes]
            closed: set[int] = set()

            async def hang(scope: trio.CancelScope, ends: list[float | None], n: int) -> None:
                with scope:
                    await trio.sleep_forever()
                ends[n] = trio.current_time()

            for n in range(4):
                nursery.start_soon(hang, scopes[n], ends, n)
                nursery.start_soon(hang, models[n], model_ends, n)
            for n, what, seconds in moves:
                if what == "at":
                    deadlines[n].after(seconds)
                    if not scopes[n].cancel_called and n not in closed:
                        models[n].deadline = trio.current_time() + seconds
                elif what == "wait":
                    await trio.sleep(seconds + 0.51)  # no tie between a deadline and a move, after 40 either
                else:
                    deadlines[n].close()
                    closed.add(n)
                    models[n].deadline = math.inf
            await trio.sleep(1000)
            nursery.cancel_scope.cancel()
        return ends, model_ends

    ends, model_ends = trio.run(expired_at, clock=MockClock(autojump_threshold=0))
    assert ends == model_ends
