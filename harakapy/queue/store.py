"""The contract of a message store: what every implementation promises, and what it may expect.

Theory of operation. A message is stored once, with one delivery for each recipient. Deliveries stand in
queues by destination. A scheduler asks which destinations have something due, and claims some of it under a
lease; as long as that lasts nobody else gets it, and when it ends without a result, because the owner died,
anybody does. A claim counts the attempt before it is made, so that a message which kills its worker is not
tried without end. Each recipient's outcome is recorded as soon as it is known; with the last one the message
is gone. A recipient whose fate is to be reported stays, in a final state, until the report is stored in the
same step that settles it.

For implementers:

- What a method has returned is durable: it survives a crash of the process and of the machine. Claims and
  outcomes (`claim`, `claim_reports`, `renew`, `unclaim`, `release_leases`, `record`) survive a crash of the
  process at once, and one of the machine a moment later: what is lost of them is done again.
- A method does all or nothing, unless its docstring says otherwise, whatever fails and whenever.
- Cancelled while it waits, a method has done nothing. Once begun it is finished and returns; the cancellation
  then shows at the next checkpoint. So the caller always knows. (Reading may simply be abandoned.)
- Nothing reads a clock: every time, ``now`` too, is given, in seconds of a wall clock since the epoch.
- What the world does to us is raised as `StoreError` and means later. ValueError is a bug of the caller.
- What is unreadable is quarantined: its state says so, nothing else is held up, the log tells.
- Several schedulers and receivers may work at once, in several processes.

``tests/queue/conformance.py`` checks all this; a store is one when it passes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import Self

from msgspec import Struct

from harakapy.mail.content import Content
from harakapy.queue.clock_set import ClockSet
from harakapy.queue.delivery import MAX_DELIVERIES, Delivery, DeliveryKey, DeliveryRequest, Diagnostic, Lease
from harakapy.queue.message import QueuedMessage
from harakapy.queue.outcome import Outcome, Settlement
from harakapy.queue.selection import Count, Selection
from harakapy.queue.statistics import QueueStats

__all__ = ["Page", "Store", "check_commit"]


class Page(Struct, frozen=True):
    """A part of a selection: messages with their selected deliveries, in the order of their commits."""

    requests: tuple[DeliveryRequest, ...]
    cursor: str | None
    """Where the next part begins, to be given as ``after``; None behind the last one."""


class Store(ABC):
    """Keeps messages until each of their recipients is delivered or given up, and reported."""

    @abstractmethod
    async def commit(
        self,
        message: QueuedMessage,
        deliveries: Sequence[Delivery],
        content: Content,
        *,
        settles: Settlement | None = None,
    ) -> None:
        """Take responsibility for a message: once this returns it is durable, and the client may be told 250.

        Deliveries are stored as they are. Given under a lease (see `Delivery.claimed`) they belong to its
        owner from the start, who goes on with the values in hand and need not read them back. The content is
        read, with all that was put in front of it, and stays the caller's.

        ``settles`` makes the message a report: it is stored and the other one settled, or neither.

        Raises ValueError if the notes are no JSON, the id is in the store already, the size is not the
        content's, the deliveries are not numbered as `Delivery.number` says, or it settles itself; LeaseLost
        as `settle`; StoreFull if there is no room; StoreUnavailable.
        """

    def commits_outside_of_tasks(self, content: Content) -> bool:
        """Whether `commit` may be awaited by a `harakapy.net.Pump` that runs inline, given this content."""
        return False

    @abstractmethod
    async def settle(self, settlement: Settlement) -> None:
        """Record that something was reported, or is not to be; deliveries concluded are gone.

        Raises LeaseLost, and changes nothing, if one of them is not in a final state under the owner's lease,
        or the message is gone, or its sender was told as much before.
        """

    @abstractmethod
    async def due_destinations(self, now: float, *, limit: int, after: str = "") -> tuple[str, ...]:
        """Destinations where something can be claimed now, in the order of their names, at most ``limit``.

        Begins behind ``after``: going round through the names gives each its turn, however many are blocked.
        """

    @abstractmethod
    async def next_due(self, *, after: float = -math.inf) -> float | None:
        """When the next delivery or report can be claimed, later than ``after``; None if none will be.

        With ``after`` being now, that is when something new becomes due, whatever is due and blocked already.
        What is under a lease counts with the end of that: the time to look again should its owner die.
        """

    @abstractmethod
    async def claim(
        self, destination: str, *, lease: Lease, now: float, limit: int
    ) -> tuple[DeliveryRequest, ...]:
        """Take what is due at one destination, at most ``limit`` recipients, under a lease.

        What is more urgent comes first, then what is due longest. Recipients of a message with equal due
        times come together. The values returned have the lease, and the attempt counted.

        What another owner had claimed is taken over when its lease is over; so is the claimant's own: it is
        up to an owner to know what it has in hand (after the clock was set, say).
        """

    @abstractmethod
    async def claim_reports(self, *, lease: Lease, now: float, limit: int) -> tuple[DeliveryRequest, ...]:
        """Take messages of which something is to be reported now, at most ``limit``, under a lease.

        Each comes with all its deliveries in a final state that nobody else has claimed, so that one report
        can tell of them all. No attempt is counted.
        """

    @abstractmethod
    async def renew(self, keys: Collection[DeliveryKey], lease: Lease) -> frozenset[DeliveryKey]:
        """Extend leases of ``lease.owner``; gives those it still has. Work on the others should stop."""

    @abstractmethod
    async def unclaim(self, keys: Collection[DeliveryKey], *, owner: str, due: float) -> None:
        """Give back deliveries for which no attempt was made, uncounted. What is not the owner's stays."""

    @abstractmethod
    async def release_leases(self, owner: str) -> int:
        """End all leases of an owner that is known to be dead; gives how many. Attempts stay counted."""

    @abstractmethod
    async def record(self, outcomes: Collection[Outcome], *, owner: str) -> frozenset[DeliveryKey]:
        """Write down how attempts ended; gives the keys for which that came too late.

        The lease ends. Delivered is true whoever holds the lease now; Deferred and Failed count only under
        the owner's lease, even one that is over, as long as nobody took over or removed the delivery. A held
        one that is deferred stays held. Without ``report_at`` a delivery that is final is gone, and with the
        last delivery the message and its content.
        """

    @abstractmethod
    async def open_content(self, message_id: str) -> Content:
        """The content of a message, to be closed by the caller; of any size, so read it in blocks.

        Raises MessageNotFound; ContentUnreadable if it is lost or damaged, then the message is quarantined;
        StoreUnavailable if it cannot be read now.
        """

    async def contents(self, message_ids: Collection[str]) -> Mapping[str, Content]:
        """The contents of these messages that can be had in memory by one look, by message.

        Saves a look for each. What is not among them is to be had from `open_content`, or that tells why not.
        Raises StoreUnavailable.
        """
        return {}

    @abstractmethod
    async def select(self, selection: Selection, *, limit: int, after: str = "") -> Page:
        """Up to ``limit`` messages that have selected deliveries, with these; ``after`` is a `Page.cursor`.

        What is added or removed meanwhile may be seen or not; everything else is seen once.
        """

    @abstractmethod
    async def count(self, selection: Selection) -> Count:
        """How much is selected."""

    @abstractmethod
    async def stats(self, *, destinations: int = 100) -> QueueStats:
        """The queue in numbers, with at most that many destinations one by one."""

    # The methods below steer what is selected and give how much they changed. A large selection is changed
    # in parts: after an error, some of it may be.

    @abstractmethod
    async def hold(self, selection: Selection) -> Count:
        """Keep what waits from being tried. An attempt under way is finished, and its result counts."""

    @abstractmethod
    async def release(self, selection: Selection) -> Count:
        """Let what is held or quarantined wait again, due when it was."""

    @abstractmethod
    async def flush(self, selection: Selection, *, now: float) -> Count:
        """Make what waits and is not under a lease due now."""

    @abstractmethod
    async def reroute(self, selection: Selection, next_hop: str) -> Count:
        """Give all that is not final another next hop, as of the next attempt; ``""``: its domain decides."""

    @abstractmethod
    async def bounce(self, selection: Selection, diagnostic: Diagnostic, *, now: float) -> Count:
        """Give up what is not final and not being worked on now; its report is due at once."""

    @abstractmethod
    async def remove(self, selection: Selection) -> Count:
        """Drop deliveries without a word to anybody, in any state; with the last one the message is gone."""

    @abstractmethod
    async def shift_times(self, change: ClockSet) -> None:
        """Move what is timed by the wall clock along with it, as `ClockSet` says: the clock was set."""

    @abstractmethod
    async def aclose(self) -> None:
        """Finish what is begun and close; then everything raises StoreUnavailable. May be called again."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def check_commit(
    message: QueuedMessage, deliveries: Sequence[Delivery], content: Content, settles: Settlement | None
) -> None:
    """What every store checks first. Raises ValueError as `Store.commit` says."""
    numbers = {delivery.number for delivery in deliveries}
    if not numbers or len(numbers) < len(deliveries):
        raise ValueError(f"the deliveries of message {message.id!r} are none, or two have one number")
    if min(numbers) < 0 or max(numbers) >= MAX_DELIVERIES:
        raise ValueError(f"a delivery of message {message.id!r} has a number out of range")
    for delivery in deliveries:
        if delivery.message_id != message.id or delivery.state.is_final:
            raise ValueError(f"a delivery is not one of message {message.id!r}, or is final already")
    if settles is not None and settles.message_id == message.id:
        raise ValueError(f"message {message.id!r} settles itself")
    if message.size != content.output_size:
        raise ValueError(f"message {message.id!r} has {content.output_size} octets, not {message.size}")
