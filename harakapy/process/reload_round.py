"""Having workers reload one after the other, so that the rest answer if a plugin takes long for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from harakapy.process.channel import Order
from harakapy.process.crew import Worker

__all__ = ["ReloadRound"]


class ReloadRound:
    """Passes an order on when a worker has carried it out, or is dead; ``when_done`` is called at the end."""

    def __init__(self, when_done: Callable[[], None]) -> None:
        self._when_done = when_done
        self._waiting: list[tuple[Worker, Order]] = []

    def begin(self, workers: Iterable[Worker], order: Order) -> None:
        """Give an order to all of them, behind those that still wait for one of before."""
        is_idle = not self._waiting
        self._waiting += [(worker, order) for worker in workers]
        if is_idle:
            self._order_first()

    def done(self, worker: Worker) -> None:
        """Go on behind a worker that has done what it was told."""
        if self._waiting and self._waiting[0][0] is worker:
            del self._waiting[0]
            self._order_first()

    def is_dead(self, worker: Worker) -> None:
        """Wait no more for a worker."""
        if self._waiting:
            is_first = self._waiting[0][0] is worker
            self._waiting = [each for each in self._waiting if each[0] is not worker]
            if is_first:
                self._order_first()

    def _order_first(self) -> None:
        if self._waiting:
            worker, order = self._waiting[0]
            worker.channel.send(order)
        else:
            self._when_done()
