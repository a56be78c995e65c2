"""The wall clock by which mail is kept, which nobody can set unnoticed.

Setting the clock must not make mail old, or lose a lease. So this one does not jump: when the clock of the
system does, it goes on as before, until all that is timed by it, in the store and in hand, is moved along.
Between two looks it is followed silently by as much as a clock is slewed. A system that sleeps looks just the
same: nothing was tried meanwhile, and so nothing has become older.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from harakapy.queue import ClockSet, DeliveryRequest, QueuedMessage

__all__ = ["SteadyClock"]

TOLERANCE_S: Final = 5.0
"""What passes unnoticed between two looks: more than a clock that is slewed gains in an hour. Picked."""


class SteadyClock:
    """Gives seconds of a wall clock, kept steady by that of trio; to be called in trio.

    ``moved_s`` is by how many seconds it was moved so far. Who holds on to a message while others run takes
    note of that, and brings the message `up_to_date` afterwards.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self.moved_s = 0.0
        self._wall = wall
        self._steady: Callable[[], float] | None = None
        self._offset: float | None = None

    def __call__(self) -> float:
        """What time it is."""
        if self._steady is None:  # as trio.current_time, by two functions less
            self._steady = trio.lowlevel.current_clock().current_time
        wall, steady = self._wall(), self._steady()
        offset = wall - steady
        if self._offset is None or -TOLERANCE_S <= offset - self._offset <= TOLERANCE_S:  # nearly always
            self._offset = offset
            return wall
        return steady + self._offset

    def jump(self) -> float:
        """By how many seconds the wall clock was set; 0.0 if it was not. Told of until it is moved."""
        now = self()
        jump = self._wall() - now
        return jump if abs(jump) > TOLERANCE_S else 0.0

    def move(self, by_s: float) -> None:
        """Go on with another time, as what was planned by this clock moves along."""
        assert self._offset is not None, "a jump is noticed before it is heeded"
        self._offset += by_s
        self.moved_s += by_s

    def up_to_date(self, message: QueuedMessage, moved_s: float) -> QueuedMessage:
        """A message from when the clock had been moved by ``moved_s``, as it is now."""
        by_s = self.moved_s - moved_s
        return ClockSet(by_s, self()).moved(message) if by_s else message

    def request_up_to_date(self, request: DeliveryRequest, moved_s: float) -> DeliveryRequest:
        """The same for a request."""
        if self.moved_s == moved_s:  # nearly always
            return request
        return DeliveryRequest(self.up_to_date(request.message, moved_s), request.deliveries)
