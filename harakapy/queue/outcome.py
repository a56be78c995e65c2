"""What a scheduler tells the store about its work: how attempts ended, and what was reported."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from harakapy.queue.delivery import DeliveryKey, Diagnostic
from harakapy.queue.message import Told

__all__ = ["Deferred", "Delivered", "Failed", "Outcome", "Settlement"]


class Delivered(Struct, frozen=True):
    """The next hop has taken it. With ``report_at`` (seconds of the wall clock) it is kept to be reported.

    ``taken_by`` is the next hop, where a report depends on it; the delivery names it from then on.
    """

    key: DeliveryKey
    diagnostic: Diagnostic
    report_at: float | None = None
    taken_by: str = ""


class Deferred(Struct, frozen=True):
    """Not now: it is tried again when it is ``due`` (seconds of the wall clock)."""

    key: DeliveryKey
    diagnostic: Diagnostic
    due: float


class Failed(Struct, frozen=True):
    """Given up. With ``report_at`` (seconds of the wall clock) it is kept to be reported."""

    key: DeliveryKey
    diagnostic: Diagnostic
    report_at: float | None = None


Outcome: TypeAlias = Delivered | Deferred | Failed
"""How an attempt ended, for one recipient."""


class Settlement(Struct, frozen=True):
    """What a report settles, or the decision to send none: recorded with the report, or not at all."""

    message_id: str
    """The message reported on."""
    owner: str
    """Who holds the leases on the deliveries below."""
    concluded: tuple[int, ...] = ()
    """Numbers of deliveries in a final state that are reported now, and so done with."""
    told: Told = Told.NOTHING
    """What the sender is told now about its being late."""
