"""How it is noticed that somebody has set the wall clock."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from harakapy.outbound.clock import TOLERANCE_S, SteadyClock
from harakapy.queue import DeliveryRequest, QueuedMessage
from harakapy.smtp import Address


class Wall:
    """A wall clock that runs as trio's does, until it is set."""

    def __init__(self) -> None:
        self.set_by = 0.0

    def __call__(self) -> float:
        return 1_800_000_000.0 + trio.current_time() + self.set_by


def message(arrived: float) -> QueuedMessage:
    return QueuedMessage(id="M1", mail_from=Address.parse("me@example.org"), size=1, arrived=arrived)


async def test_time_that_passes_is_no_jump(autojump_clock: trio.testing.MockClock) -> None:
    wall = Wall()
    clock = SteadyClock(wall)
    clock()
    await trio.sleep(5 * 86400)
    assert clock.jump() == 0
    assert clock() == wall()


@pytest.mark.parametrize("by_s", [3600.0, -3600.0, 2 * TOLERANCE_S])
async def test_a_jump_is_told_of_until_it_is_heeded_and_time_goes_on_as_before(
    autojump_clock: trio.testing.MockClock, by_s: float
) -> None:
    wall = Wall()
    clock = SteadyClock(wall)
    before = clock()
    wall.set_by += by_s
    assert clock.jump() == pytest.approx(by_s)
    await trio.sleep(60)
    assert clock.jump() == pytest.approx(by_s)
    assert clock() == pytest.approx(before + 60)
    clock.move(by_s)
    assert clock.jump() == 0
    assert clock() == pytest.approx(wall())


async def test_a_second_jump_before_the_first_was_heeded_is_told_of_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wall = Wall()
    clock = SteadyClock(wall)
    clock()
    wall.set_by += 100
    jump_s = clock.jump()
    wall.set_by += 50
    clock.move(jump_s)
    assert clock.jump() == pytest.approx(50)


async def test_a_clock_that_is_slewed_is_followed_silently(autojump_clock: trio.testing.MockClock) -> None:
    wall = Wall()
    clock = SteadyClock(wall)
    for _ in range(100):
        await trio.sleep(60)
        wall.set_by += TOLERANCE_S / 2
        assert clock.jump() == 0
        assert clock() == wall()


async def test_a_message_in_hand_is_as_old_as_before(autojump_clock: trio.testing.MockClock) -> None:
    wall = Wall()
    clock = SteadyClock(wall)
    request = DeliveryRequest(message(clock() - 300), ())
    moved_s = clock.moved_s
    assert clock.request_up_to_date(request, moved_s) is request
    wall.set_by += 86400
    clock.move(clock.jump())
    moved = clock.request_up_to_date(request, moved_s).message
    assert clock() - moved.arrived == pytest.approx(300)
