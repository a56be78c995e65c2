"""The engine as those see it who steer the queue of a running server."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from harakapy.outbound.destination import Hold
from harakapy.outbound.steering import Deliverer
from harakapy.outbound.steering_request import Operation, SteeringRequest
from harakapy.outbound.works import Works
from harakapy.queue import DeliveryRequest, Selection

__all__ = ["SteeredWorks"]


class SteeredWorks(Deliverer):
    """What delivers in this server; ``works`` gives it, or None once it has stopped."""

    def __init__(self, works: Callable[[], Works | None]) -> None:
        self._works = works

    def limits(self, request: DeliveryRequest) -> Sequence[str]:
        """What holds up these deliveries, all to one destination: sentences."""
        works = self._works()
        if works is None:
            return super().limits(request)
        now = trio.current_time()
        standing = works.schedule.why(request.deliveries[0].destination, now)
        if standing.hold is Hold.NOTHING:
            return []
        if standing.until is not None:
            return [f"{standing.hold.value}, for another {max(0.0, standing.until - now):.0f} s"]
        if standing.hold is Hold.CONNECTIONS:
            return [f"{standing.hold.value} ({standing.running} of {standing.window})"]
        return [standing.hold.value]

    async def withdraw(self, selection: Selection) -> None:
        """Give back what is claimed of the selection and not begun."""
        works = self._works()
        if works is not None:
            await works.engine.withdraw(selection)

    def wake(self, request: SteeringRequest) -> None:
        """Look at the queue again; after a flush every host has another chance."""
        works = self._works()
        if works is None:
            return
        if request.operation is Operation.FLUSH:
            works.try_all_again(trio.current_time())
        works.engine.wake()
