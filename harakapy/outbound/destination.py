"""One site as the scheduler sees it: what waits for it, how much runs, and what holds it back."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from enum import Enum
from heapq import heapify, heappop, heappush
from typing import Final

from msgspec import Struct

from harakapy.config import Rate
from harakapy.outbound.concurrency import Concurrency
from harakapy.queue.delivery import Delivery, DeliveryKey, DeliveryRequest

__all__ = ["Destination", "DestinationLimits", "Hold", "Rate", "RateLimit", "Standing"]

_MAX_STARTS: Final = 1000
"""Times remembered for a rate: 32 KiB a site at most."""


class RateLimit:
    """Keeps a rate exactly: at most ``count`` starts in any stretch of ``per_s`` seconds.

    The time of each start is remembered until it is ``per_s`` ago. For a count above a thousand the rate
    is kept in parts (10,000 an hour as 1,000 each six minutes), which is stricter, and takes less memory.
    """

    __slots__ = ("_count", "_per_s", "_starts", "rate")

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        parts = -(-rate.count // _MAX_STARTS)
        self._count = rate.count // parts
        self._per_s = rate.per_s / parts
        self._starts: deque[float] = deque(maxlen=self._count)

    @property
    def free_at(self) -> float:
        """When the next may start."""
        return self._starts[0] + self._per_s if len(self._starts) == self._count else -math.inf

    @property
    def empty_at(self) -> float:
        """When nothing that is remembered counts any more."""
        return self._starts[-1] + self._per_s if self._starts else -math.inf

    def add(self, now: float) -> None:
        """Remember a start."""
        self._starts.append(now)


class DestinationLimits(Struct, frozen=True):
    """What one site is to bear at most: deliveries at a time, at how many it starts, and messages over time.

    Raises ValueError if a number is below one.
    """

    connections: int = 20  # as Postfix: default_destination_concurrency_limit
    initial: int = 5  # as Postfix: initial_destination_concurrency
    rate: Rate | None = None

    def __post_init__(self) -> None:
        if min(self.connections, self.initial, self.rate.count if self.rate else 1) < 1:
            raise ValueError(f"nothing could ever be delivered under {self}")


class Hold(Enum):
    """What keeps the messages for a site waiting."""

    NOTHING = "nothing: it is tried as soon as its turn comes"
    BLOCKED = "the destination failed, and is left alone for a while"
    RATE = "the rate of the destination is used up"
    CONNECTIONS = "as many deliveries are under way as the destination bears"
    UNKNOWN = "nothing is known of it yet: the first delivery waits for its host"
    PROBES = "enough other destinations that failed are being tried again"
    CALLS = "as many hosts that have not answered yet are waited for as are allowed"
    SHARE = "it has its share of the deliveries, and others wait"
    TOTAL = "as many deliveries are under way as are allowed in all"
    CLOSED = "no more deliveries are started"


class Standing(Struct, frozen=True):
    """How a destination stands, for people who ask why something is waiting."""

    destination: str
    site: str
    hold: Hold
    until: float | None = None
    """When the hold ends by itself; None if only the end of a delivery can end it."""
    waiting: int = 0
    """Recipients in hand that have not been tried; there may be more in the store."""
    running: int = 0
    """Deliveries under way."""
    window: int = 0
    """How many of them there may be now."""
    pauses: int = 0
    """How often in a row it was left alone."""


class Destination:
    """What the scheduler keeps for one site. Only the scheduler uses it."""

    __slots__ = (
        "_requests",
        "concurrency",
        "has_answered",
        "name",
        "rate",
        "ring",
        "running",
        "serial",
        "timer",
        "waiting",
    )

    def __init__(self, name: str, concurrency: Concurrency, rate: Rate | None) -> None:
        self.name = name
        self.concurrency = concurrency
        self.rate = RateLimit(rate) if rate else None
        self.running = 0
        self.has_answered = False  # a host of it, ever
        self.waiting = 0  # recipients
        self.serial = 0
        self.ring: OrderedDict[Destination, None] | None = None  # where it stands in line
        self.timer = -math.inf  # when it is looked at again by itself
        self._requests: list[tuple[int, int, DeliveryRequest]] = []

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do for it."""
        return not (self._requests or self.running)

    @property
    def is_unknown(self) -> bool:
        """Whether no host of it has answered yet, and it has not failed either."""
        return not (self.has_answered or self.concurrency.news)

    @property
    def is_suspect(self) -> bool:
        """Whether it failed, and nothing has succeeded since."""
        return self.concurrency.pauses > 0

    def free_at(self) -> float:
        """When time alone no longer holds it back."""
        blocked_until = self.concurrency.blocked_until
        return blocked_until if self.rate is None else max(blocked_until, self.rate.free_at)

    def is_forgettable(self, now: float) -> bool:
        """Whether a new one in its place would be allowed no more than it."""
        return now >= self.concurrency.blocked_until and self.is_rate_forgettable(now)

    def is_rate_forgettable(self, now: float) -> bool:
        """Whether no start counts any more for its rate."""
        return self.rate is None or now >= self.rate.empty_at

    def push(self, request: DeliveryRequest) -> None:
        """Let a request wait: by priority (RFC 6710), those of one priority in the order they came."""
        self.serial += 1
        self.waiting += len(request.deliveries)
        heappush(self._requests, (-request.message.priority, self.serial, request))

    def pop(self) -> DeliveryRequest:
        """The request whose turn it is."""
        request = heappop(self._requests)[2]
        self.waiting -= len(request.deliveries)
        return request

    @property
    def requests(self) -> tuple[DeliveryRequest, ...]:
        """The requests that wait, in their order."""
        return tuple(request for _, _, request in sorted(self._requests))

    def clear(self) -> tuple[DeliveryRequest, ...]:
        """All requests, in their order, none of which waits here any more."""
        requests = self.requests
        self._requests = []
        self.waiting = 0
        return requests

    def discard(self, keys: frozenset[DeliveryKey]) -> list[Delivery]:
        """Drop what has one of these keys, and give it."""
        gone = [each for entry in self._requests for each in entry[2].deliveries if each.key in keys]
        kept = []
        for urgency, serial, request in self._requests:
            deliveries = tuple(each for each in request.deliveries if each.key not in keys)
            if deliveries:
                kept.append((urgency, serial, DeliveryRequest(request.message, deliveries)))
        heapify(kept)
        self._requests = kept
        self.waiting -= len(gone)
        return gone

    def limit(self, limits: DestinationLimits) -> None:
        """Go on under other limits; what is remembered for a rate that stays the same counts on."""
        self.concurrency.limit = limits.connections
        self.concurrency.initial = min(limits.initial, limits.connections)
        if limits.rate != (self.rate and self.rate.rate):
            self.rate = RateLimit(limits.rate) if limits.rate else None
