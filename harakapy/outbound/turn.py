"""What a schedule answers when it is asked whose turn it is, and the limits that it keeps."""

from __future__ import annotations

from msgspec import Struct

from harakapy.outbound.destination import Destination
from harakapy.queue.delivery import DeliveryRequest

__all__ = ["Admission", "ScheduleLimits", "Start", "Wait"]


class ScheduleLimits(Struct, frozen=True):
    """What is allowed in all; what one destination is to bear is in `DestinationLimits`.

    Raises ValueError if something is below one, or the longest pause is shorter than the first.
    """

    max_deliveries: int = 200
    """Deliveries under way at a time, calls aside."""
    max_calls: int = 2000
    """Hosts that are waited for at a time of which nothing is known, or that failed: each is a socket."""
    max_waiting: int = 10_000
    """Recipients in hand that are not under way: the memory they need, some 30 MB."""
    pause_s: float = 60.0
    """How long a destination is left alone when it failed; then twice that, and so on."""
    max_pause_s: float = 600.0
    """The longest pause: how late a destination that is well again is found out."""

    def __post_init__(self) -> None:
        least = min(self.max_deliveries, self.max_calls, self.max_waiting)
        if least < 1 or not 1 <= self.pause_s <= self.max_pause_s:
            raise ValueError(f"nothing could ever be delivered under {self}")


class Start:
    """A delivery to begin now: try ``request``, and tell `Schedule.finished` how it ended.

    When it ``is_call``, tell `Schedule.answered` before that as soon as a host has answered, if one does.
    """

    __slots__ = ("_destination", "_is_over", "_is_probe", "_news", "is_call", "request")

    def __init__(self, destination: Destination, request: DeliveryRequest) -> None:
        concurrency = destination.concurrency
        self.request = request
        self._destination = destination
        self._news = concurrency.news
        self._is_probe = destination.is_suspect
        self._is_over = False
        self.is_call = self._is_probe or destination.is_unknown

    @property
    def site(self) -> str:
        """The site whose room it takes."""
        return self._destination.name

    @property
    def destination(self) -> str:
        """Where the request goes: its next hop or its domain."""
        return self.request.deliveries[0].destination


class Admission(Struct, frozen=True):
    """A delivery whose host has answered, and for which there was no room, may go on now."""

    start: Start


class Wait(Struct, frozen=True):
    """Nothing can start now. At ``until`` something may; None: not before the schedule is told more."""

    until: float | None
