"""The wall clock, and how to notice that somebody has set it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

__all__ = ["ClockWatch"]

TOLERANCE_S: Final = 5.0
"""What passes unnoticed between two looks: more than a clock that is slewed gains in an hour. Picked."""


class ClockWatch:
    """Compares a wall clock with that of trio, which nobody sets, and which stops while the system sleeps."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._offset = wall() - trio.current_time()

    def jump(self) -> float:
        """By how many seconds the wall clock was set since the last call; 0.0 if it was not.

        A jump is told of until it is `heeded`.
        """
        offset = self._wall() - trio.current_time()
        jump = offset - self._offset
        if abs(jump) > TOLERANCE_S:
            return jump
        self._offset = offset
        return 0.0

    def heeded(self, jump_s: float) -> None:
        """Take note that all that was planned by the clock has moved along with a jump."""
        self._offset += jump_s
