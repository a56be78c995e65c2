"""What handing a message over has left to do, once it is in the queue: concluded like any other attempt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import trio
from msgspec import Struct
from msgspec.structs import replace

from harakapy.hooks import IllegalAnswer
from harakapy.log import Logger
from harakapy.outbound.courier import Ending
from harakapy.outbound.engine import LEASE_S
from harakapy.outbound.hmail import HMail
from harakapy.outbound.hop import Protocol
from harakapy.outbound.route import Route
from harakapy.queue import Delivery, DeliveryRequest, Lease, Outcome, QueuedMessage, StoreError

if TYPE_CHECKING:
    from harakapy.outbound.works import Works

__all__ = ["Remainder"]

CONCLUDE_S: Final = 60.0
"""How long it may take, also when the server stops. If it is not enough, all is tried again after the lease,
and those who have the message and asked for a report of that get it twice. Picked."""

PAUSE_S: Final = 1.0  # before the store is asked once more to write something down; picked


class Remainder(Struct, frozen=True):
    """Deliveries of which some were tried before they came into the queue.

    ``deliveries`` are what to commit: those that were tried are under a lease, so that nobody tries them
    again until it is written down how that ended.
    """

    message: QueuedMessage
    deliveries: tuple[Delivery, ...]
    endings: tuple[Ending | None, ...]
    owner: str

    @classmethod
    def of(
        cls,
        message: QueuedMessage,
        deliveries: Sequence[Delivery],
        endings: Sequence[Ending | None],
        *,
        owner: str,
        now: float,
    ) -> Remainder:
        """From the deliveries of a message that is not committed yet, with their endings."""
        lease = Lease(owner, now + LEASE_S)
        marked = []
        for delivery, ending in zip(deliveries, endings, strict=True):
            if ending is None:
                marked.append(delivery)
                continue
            # Where a mailbox server has it, the name of that lets the report say delivered, not relayed.
            target = ending.target
            is_final = target is not None and target.hop.protocol is Protocol.LMTP
            next_hop = str(target.hop) if target is not None and is_final else delivery.next_hop
            marked.append(replace(delivery, next_hop=next_hop).claimed(lease, now=now))
        return cls(message, tuple(marked), tuple(endings), owner)

    async def conclude(self, works: Works, log: Logger) -> None:
        """Call the hooks, and write down what follows from the endings. Nothing but cancelling stops it."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CONCLUDE_S):
            try:
                await self._record(works, log)
            except IllegalAnswer:
                raise
            except Exception as error:  # noqa: BLE001  # mail must outlive any defect of ours
                uuid = self.message.id
                log.crit("what is left is tried again", uuid=uuid, error=str(error), exc_info=error)
        works.engine.wake()

    async def _record(self, works: Works, log: Logger) -> None:
        outcomes: list[Outcome] = []
        for request, endings in self._requests():
            hmail = HMail.of(request, works.store.open_content)
            route = Route(rule=works.router.rule(request.deliveries[0].domain))
            outcomes += await works.conclusion.conclude(hmail, request, endings, route)
        while outcomes:
            try:
                await works.store.record(outcomes, owner=self.owner)
            except StoreError as error:
                log.error("the queue does not take what became of mail", problem=str(error))
                await trio.sleep(PAUSE_S)
            else:
                return

    def _requests(self) -> Iterator[tuple[DeliveryRequest, list[Ending]]]:
        """What was tried, by destination."""
        tried: dict[str, list[tuple[Delivery, Ending]]] = {}
        for delivery, ending in zip(self.deliveries, self.endings, strict=True):
            if ending is not None:
                tried.setdefault(delivery.destination, []).append((delivery, ending))
        for group in tried.values():
            deliveries = tuple(delivery for delivery, _ in group)
            yield DeliveryRequest(self.message, deliveries), [ending for _, ending in group]
