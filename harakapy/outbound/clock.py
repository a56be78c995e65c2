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
        """By how many seconds the wall clock was set since the last call; 0.0 if it was not."""
        offset = self._wall() - trio.current_time()
        jump, self._offset = offset - self._offset, offset
        return jump if abs(jump) > TOLERANCE_S else 0.0
