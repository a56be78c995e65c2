"""How it is noticed that somebody has set the wall clock."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from harakapy.outbound.clock import TOLERANCE_S, ClockWatch


class Wall:
    """A wall clock that runs as trio's does, until it is set."""

    def __init__(self) -> None:
        self.set_by = 0.0

    def __call__(self) -> float:
        return 1_800_000_000.0 + trio.current_time() + self.set_by


async def test_time_that_passes_is_no_jump(autojump_clock: trio.testing.MockClock) -> None:
    watch = ClockWatch(Wall())
    await trio.sleep(5 * 86400)
    assert watch.jump() == 0


@pytest.mark.parametrize("by_s", [3600.0, -3600.0, 2 * TOLERANCE_S])
async def test_a_jump_is_told_of_until_it_is_heeded(
    autojump_clock: trio.testing.MockClock, by_s: float
) -> None:
    wall = Wall()
    watch = ClockWatch(wall)
    wall.set_by += by_s
    assert watch.jump() == pytest.approx(by_s)
    await trio.sleep(60)
    assert watch.jump() == pytest.approx(by_s)
    watch.heeded(by_s)
    assert watch.jump() == 0


async def test_a_second_jump_before_the_first_was_heeded_is_told_of_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wall = Wall()
    watch = ClockWatch(wall)
    wall.set_by += 100
    jump_s = watch.jump()
    wall.set_by += 50
    watch.heeded(jump_s)
    assert watch.jump() == pytest.approx(50)


async def test_a_clock_that_is_slewed_is_followed_silently(autojump_clock: trio.testing.MockClock) -> None:
    wall = Wall()
    watch = ClockWatch(wall)
    for _ in range(100):
        await trio.sleep(60)
        wall.set_by += TOLERANCE_S / 2
        assert watch.jump() == 0
