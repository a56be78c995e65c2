"""What becomes of stored times when somebody sets the wall clock while the queue is worked off.

Nobody's mail gets older by that, nor younger. Times that were taken from the clock, or planned by it, move
along with it: arrivals, retries, leases, the end of DELIVERBY's time. Two kinds stay: an hour that the sender
has named itself (HOLDUNTIL) and that is still to come; and mail that was accepted by another clock than the
one that was set, such as that of earlier runs where the clock was wrong at the start, and is put right now.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from harakapy.queue.delivery import Delivery
from harakapy.queue.message import QueuedMessage

__all__ = ["ClockSet"]

NOTICED_S: Final = 600.0
"""Within what time it is noticed that the clock was set: what seems to have arrived since then was accepted
by the new clock, by another process. Picked: twice as long as the engine takes at most."""


class ClockSet(Struct, frozen=True):
    """The clock was set: by so many seconds, back if that is negative, so that it is ``now`` by it."""

    by_s: float
    now: float

    @property
    def before(self) -> float:
        """What it was before."""
        return self.now - self.by_s

    @property
    def since(self) -> float:
        """From when on mail was accepted by the new clock."""
        return self.now - NOTICED_S

    def knows(self, message: QueuedMessage) -> bool:
        """Whether the clock as it was before knew of a message, or that was accepted by another one."""
        return message.arrived <= self.before

    def moves(self, message: QueuedMessage) -> bool:
        """Whether a message was accepted by the clock as it was before."""
        return self.knows(message) and not self.since <= message.arrived <= self.now

    def keeps_hold(self, message: QueuedMessage) -> bool:
        """Whether it is held until an hour that its sender has named, and that is still to come."""
        until = message.hold_until
        return message.params.hold_until is not None and until is not None and until > self.before

    def moved(self, message: QueuedMessage) -> QueuedMessage:
        """The message with its times moved along."""
        if not self.moves(message):
            return message
        hold_until = message.hold_until if self.keeps_hold(message) else _plus(message.hold_until, self.by_s)
        return replace(
            message,
            arrived=message.arrived + self.by_s,
            deliver_by=_plus(message.deliver_by, self.by_s),
            hold_until=hold_until,
        )

    def moved_delivery(self, message: QueuedMessage, delivery: Delivery) -> Delivery:
        """A delivery of the message, as it was before, with its times moved along; leases always are."""
        lease = delivery.lease and replace(delivery.lease, until=delivery.lease.until + self.by_s)
        is_planned = delivery.attempts > 0 or delivery.state.is_final  # by us, with the clock as it was
        is_moved = self.knows(message) if is_planned else self.moves(message) and not self.keeps_hold(message)
        if not is_moved:
            return replace(delivery, lease=lease)
        return replace(
            delivery,
            due=delivery.due + self.by_s,
            last_attempt=_plus(delivery.last_attempt, self.by_s),
            lease=lease,
        )


def _plus(time: float | None, by_s: float) -> float | None:
    return None if time is None else time + by_s
