"""The wall clock, and how to notice that somebody has set it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

__all__ = ["ClockWatch"]

TOLERANCE_S: Final = 5.0
"""What passes unnoticed between two looks: more than a clock that is slewed gains in an hour. Picked."""


def _steady() -> float:
    """Seconds that nobody sets; where the system has one, a clock that goes on while it sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class ClockWatch:
    """Compares a wall clock with a steady one."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = _steady) -> None:
        self._wall = wall
        self._steady = steady
        self._offset = wall() - steady()

    def jump(self) -> float:
        """By how many seconds the wall clock was set since the last call; 0.0 if it was not."""
        offset = self._wall() - self._steady()
        jump, self._offset = offset - self._offset, offset
        return jump if abs(jump) > TOLERANCE_S else 0.0
