"""Deadlines for many tasks that are nearly always moved before they come.

Theory of operation. A server arms a deadline before every read: for each command of each connection one.
trio's own (`trio.move_on_after`, or moving `CancelScope.deadline`) do that exactly, at the price of a
heap operation or two and a few microseconds each time. But a deadline of a busy connection is moved away
a thousand times for each time that it comes. So one task, the watchdog, keeps a heap of the times at
which to *look* at a deadline, and the deadline itself is only a number. Moving it later changes the
number and nothing else; when the time to look has come and the number has moved on, the watchdog notes
the new time to look. Only a deadline that moves before its time to look costs a heap operation.

Nothing is less exact for it: an armed deadline always has a time to look that is not after it. And
without armed deadlines nothing ever wakes up.
"""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import Final, Protocol

import trio

# Entries of deadlines that were closed or moved stay in the heap until their time, or until they are the
# larger part of it. A heap of this size is not worth cleaning.
SMALL_HEAP: Final = 64


class Cancellable(Protocol):
    """What a deadline can end: a cancel scope, or anything else that knows how to end its waiting."""

    def cancel(self) -> None:
        """End whatever waits; called by the watchdog's task, so it must not wait itself."""


class Deadline:
    """The time at which a cancel scope, or what behaves like one, is cancelled; made by `Watchdog.watch`.

    Use it as a context manager or call `close`: an open deadline is kept, and its scope with it.
    """

    __slots__ = ("_at", "_look_at", "_scope", "_watchdog", "is_expired")

    def __init__(self, watchdog: "Watchdog", scope: Cancellable) -> None:
        self._at = inf
        # When the watchdog will look at us: inf for never, -inf once closed, so that nothing is earlier.
        self._look_at = inf
        self._scope: Cancellable | None = scope
        self._watchdog = watchdog
        # Whether the deadline came and its scope was cancelled for that reason.
        self.is_expired = False

    @property
    def at(self) -> float:
        """When the scope is cancelled, in trio's time (`trio.current_time`); ``math.inf`` is never.

        May be moved at any time, in either direction; has no effect once closed. Once expired it comes again,
        which means something to what can be cancelled again, and nothing to a cancel scope.
        """
        return self._at

    @at.setter
    def at(self, when: float) -> None:
        self._at = when
        if when < self._look_at:
            self._watchdog._look_earlier(self, when)

    def never(self) -> None:
        """Disarm the deadline."""
        self._at = inf

    def after(self, seconds: float) -> float:
        """Set the deadline to that many seconds from now, and tell when that is."""
        watchdog = self._watchdog
        self._at = when = watchdog.now() + seconds
        if when < self._look_at:
            watchdog._look_earlier(self, when)
        return when

    def close(self) -> None:
        """Give the deadline up: it will not come any more. May be called again."""
        if self._scope is not None:
            self._scope = None
            self._look_at = -inf
            self._watchdog._forget_one()

    def __enter__(self) -> "Deadline":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Watchdog:
    """Cancels scopes when their deadlines pass; one is enough for a whole server.

    Made inside `trio.run`, whose clock it takes. Deadlines come only while `run` runs.
    """

    def __init__(self) -> None:
        self.now: Callable[[], float] = trio.lowlevel.current_clock().current_time
        self._open = 0
        # (time to look, tie breaker, deadline). An entry counts only while it is its deadline's own time
        # to look.
        self._heap: list[tuple[float, int, Deadline]] = []
        self._ticket = count()
        self._nap: trio.CancelScope | None = None

    def watch(self, scope: Cancellable) -> Deadline:
        """A deadline for ``scope``, not armed yet (at ``math.inf``)."""
        self._open += 1
        return Deadline(self, scope)

    async def run(self) -> None:
        """Watch until cancelled."""
        try:
            while True:
                with trio.CancelScope(deadline=self._heap[0][0] if self._heap else inf) as self._nap:
                    await trio.sleep_forever()
                self._look(trio.current_time())
        finally:
            self._nap = None

    def _look_earlier(self, deadline: Deadline, when: float) -> None:
        """Note to look at ``deadline`` at ``when``; called by one that moves before its time to look."""
        deadline._look_at = when
        heappush(self._heap, (when, next(self._ticket), deadline))
        self._clean()
        if self._nap is not None and when < self._nap.deadline:
            self._nap.deadline = when

    def _forget_one(self) -> None:
        """Count a closed deadline; `Deadline` calls it. What it left in the heap is removed in bulk."""
        self._open -= 1
        self._clean()

    def _clean(self) -> None:
        if len(self._heap) > SMALL_HEAP + 2 * self._open:
            self._heap = [entry for entry in self._heap if entry[0] == entry[2]._look_at]
            heapify(self._heap)

    def _look(self, now: float) -> None:
        while self._heap and self._heap[0][0] <= now:
            look_at, _, deadline = heappop(self._heap)
            if look_at != deadline._look_at:  # closed, or moved earlier since and looked at then
                continue
            deadline._look_at = inf
            if deadline._at > now:
                if deadline._at < inf:
                    self._look_earlier(deadline, deadline._at)
            elif deadline._scope is not None:
                deadline.is_expired = True
                deadline._scope.cancel()
