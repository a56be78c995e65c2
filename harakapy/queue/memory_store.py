"""A store that keeps nothing: for tests, for embedding, and as the model that other stores are compared with.

It is written for being read: every question is answered by looking at everything.

The file is long because it has every method of the contract.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import trio
from msgspec import Struct
from msgspec.structs import replace

from harakapy.mail.content import Content
from harakapy.net import enter_task
from harakapy.queue.clock_set import ClockSet
from harakapy.queue.delivery import Delivery, DeliveryKey, DeliveryRequest, Diagnostic, Lease, State
from harakapy.queue.errors import LeaseLost, MessageNotFound, StoreUnavailable
from harakapy.queue.message import QueuedMessage, encode_notes
from harakapy.queue.outcome import Deferred, Delivered, Outcome, Settlement
from harakapy.queue.selection import Count, Selection
from harakapy.queue.statistics import DestinationStats, QueueStats
from harakapy.queue.store import Page, Store, check_commit

__all__ = ["MemoryStore"]


class _Entry(Struct):
    """One message: its place in the order of commits, and its deliveries by number."""

    place: int
    message: QueuedMessage
    content: bytes
    deliveries: dict[int, Delivery]

    def request(self, deliveries: Iterable[Delivery]) -> DeliveryRequest:
        return DeliveryRequest(self.message, tuple(deliveries))


class MemoryStore(Store):
    """The contract of `Store` in memory; durable until the process ends."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._places = 0
        self._is_closed = False

    async def commit(
        self,
        message: QueuedMessage,
        deliveries: Sequence[Delivery],
        content: Content,
        *,
        settles: Settlement | None = None,
    ) -> None:
        await self._begin()
        check_commit(message, deliveries, content, settles)
        encode_notes(message.notes)
        if message.id in self._entries:
            raise ValueError(f"message {message.id!r} is in the store already")
        by_number = {each.number: each for each in sorted(deliveries, key=lambda each: each.number)}
        octets = content.to_bytes()
        if settles is not None:
            self._settle(settles)
        self._places += 1
        self._entries[message.id] = _Entry(self._places, message, octets, by_number)

    async def settle(self, settlement: Settlement) -> None:
        await self._begin()
        self._settle(settlement)

    async def due_destinations(self, now: float, *, limit: int, after: str = "") -> tuple[str, ...]:
        await self._begin()
        names = {
            delivery.destination
            for _, delivery in self._all()
            if _is_claimable(delivery, now) and delivery.destination > after
        }
        return tuple(sorted(names)[:limit])

    async def next_due(self, *, after: float = -math.inf) -> float | None:
        await self._begin()
        times = (
            delivery.ready
            for _, delivery in self._all()
            if delivery.ready > after and (delivery.state is State.WAITING or delivery.state.is_final)
        )
        return min(times, default=None)

    async def claim(
        self, destination: str, *, lease: Lease, now: float, limit: int
    ) -> tuple[DeliveryRequest, ...]:
        await self._begin()
        found = [
            (-entry.message.priority, delivery.ready, entry.place, delivery.number, entry)
            for entry, delivery in self._all()
            if delivery.destination == destination and _is_claimable(delivery, now)
        ]
        claimed: defaultdict[str, list[Delivery]] = defaultdict(list)
        for _, _, _, number, entry in heapq.nsmallest(limit, found, key=lambda each: each[:4]):
            delivery = entry.deliveries[number].claimed(lease, now=now)
            entry.deliveries[number] = delivery
            claimed[entry.message.id].append(delivery)
        return tuple(self._entries[each].request(deliveries) for each, deliveries in claimed.items())

    async def claim_reports(self, *, lease: Lease, now: float, limit: int) -> tuple[DeliveryRequest, ...]:
        await self._begin()
        due = [
            (delivery.ready, entry.place, entry)
            for entry, delivery in self._all()
            if delivery.state.is_final and delivery.ready <= now
        ]
        entries = {place: entry for _, place, entry in sorted(due, key=lambda each: each[:2])}
        return tuple(self._claim_report(entry, lease, now) for entry in list(entries.values())[:limit])

    def _claim_report(self, entry: _Entry, lease: Lease, now: float) -> DeliveryRequest:
        kept = [
            replace(delivery, lease=lease)
            for delivery in entry.deliveries.values()
            if delivery.state.is_final and (delivery.lease is None or delivery.ready <= now)
        ]
        entry.deliveries.update((delivery.number, delivery) for delivery in kept)
        return entry.request(kept)

    async def renew(self, keys: Collection[DeliveryKey], lease: Lease) -> frozenset[DeliveryKey]:
        await self._begin()
        kept = {key for key in keys if self._is_owner(key, lease.owner)}
        for key in kept:
            self._change(key, lease=lease)
        return frozenset(kept)

    async def unclaim(self, keys: Collection[DeliveryKey], *, owner: str, due: float) -> None:
        await self._begin()
        for key in keys:
            delivery = self._find(key)
            if delivery is not None and self._is_owner(key, owner) and not delivery.state.is_final:
                attempts = delivery.attempts - 1
                last_attempt = delivery.last_attempt if attempts else None
                self._change(key, lease=None, due=due, attempts=attempts, last_attempt=last_attempt)

    async def release_leases(self, owner: str) -> int:
        await self._begin()
        keys = [delivery.key for _, delivery in self._all() if self._is_owner(delivery.key, owner)]
        for key in keys:
            self._change(key, lease=None)
        return len(keys)

    async def record(self, outcomes: Collection[Outcome], *, owner: str) -> frozenset[DeliveryKey]:
        await self._begin()
        return frozenset(outcome.key for outcome in outcomes if not self._record(outcome, owner))

    def _record(self, outcome: Outcome, owner: str) -> bool:
        delivery = self._find(outcome.key)
        if delivery is None or delivery.state.is_final:
            return False
        if not (isinstance(outcome, Delivered) or self._is_owner(outcome.key, owner)):
            return False
        if isinstance(outcome, Deferred):
            self._change(outcome.key, lease=None, due=outcome.due, diagnostic=outcome.diagnostic)
        elif outcome.report_at is None:
            self._drop(outcome.key)
        else:
            state = State.DELIVERED if isinstance(outcome, Delivered) else State.FAILED
            due, taken_by = outcome.report_at, outcome.taken_by if isinstance(outcome, Delivered) else ""
            next_hop = taken_by or delivery.next_hop
            values = {"diagnostic": outcome.diagnostic, "state": state, "next_hop": next_hop}
            self._change(outcome.key, lease=None, due=due, **values)
        return True

    async def open_content(self, message_id: str) -> Content:
        await self._begin()
        entry = self._entries.get(message_id)
        if entry is None:
            raise MessageNotFound(message_id)
        return Content.from_bytes(entry.content)

    async def contents(self, message_ids: Collection[str]) -> dict[str, Content]:
        await self._begin()
        return {
            each: Content.from_bytes(self._entries[each].content)
            for each in message_ids
            if each in self._entries
        }

    async def select(self, selection: Selection, *, limit: int, after: str = "") -> Page:
        await self._begin()
        start = int(after or 0)
        found: list[DeliveryRequest] = []
        for entry in self._entries.values():
            if entry.place <= start:
                continue
            if len(found) == limit:
                return Page(tuple(found), str(start))
            start = entry.place
            if selected := [
                each for each in entry.deliveries.values() if selection.matches(entry.message, each)
            ]:
                found.append(entry.request(selected))
        return Page(tuple(found), None)

    async def count(self, selection: Selection) -> Count:
        await self._begin()
        keys = [delivery.key for entry, delivery in self._all() if selection.matches(entry.message, delivery)]
        return _count(keys)

    async def stats(self, *, destinations: int = 100) -> QueueStats:
        await self._begin()
        everything = [delivery for _, delivery in self._all()]
        return QueueStats(
            messages=len(self._entries),
            recipients=len(everything),
            octets=sum(entry.message.size for entry in self._entries.values()),
            oldest=min((entry.message.arrived for entry in self._entries.values()), default=None),
            states=Counter(delivery.state for delivery in everything),
            leased=sum(delivery.lease is not None for delivery in everything),
            destinations=_destination_stats(everything, destinations),
        )

    async def hold(self, selection: Selection) -> Count:
        return await self._steer(selection, lambda each: each.state is State.WAITING, state=State.HELD)

    async def release(self, selection: Selection) -> Count:
        stopped = (State.HELD, State.QUARANTINED)
        return await self._steer(selection, lambda each: each.state in stopped, state=State.WAITING)

    async def flush(self, selection: Selection, *, now: float) -> Count:
        return await self._steer(
            selection,
            lambda each: each.state is State.WAITING and (each.lease is None or each.ready <= now),
            due=now,
        )

    async def reroute(self, selection: Selection, next_hop: str) -> Count:
        return await self._steer(selection, lambda each: not each.state.is_final, next_hop=next_hop)

    async def bounce(self, selection: Selection, diagnostic: Diagnostic, *, now: float) -> Count:
        return await self._steer(
            selection,
            lambda each: not each.state.is_final and (each.lease is None or each.ready <= now),
            state=State.FAILED,
            due=now,
            lease=None,
            diagnostic=diagnostic,
        )

    async def remove(self, selection: Selection) -> Count:
        await self._begin()
        keys = [delivery.key for entry, delivery in self._all() if selection.matches(entry.message, delivery)]
        for key in keys:
            self._drop(key)
        return _count(keys)

    async def shift_times(self, change: ClockSet) -> None:
        await self._begin()
        for entry in self._entries.values():
            for number, delivery in entry.deliveries.items():
                entry.deliveries[number] = change.moved_delivery(entry.message, delivery)
            entry.message = change.moved(entry.message)

    async def aclose(self) -> None:
        self._is_closed = True
        self._entries.clear()
        await trio.lowlevel.checkpoint()

    async def _begin(self) -> None:
        await enter_task()
        await trio.lowlevel.checkpoint()
        if self._is_closed:
            raise StoreUnavailable("the store is closed")

    def _all(self) -> Iterator[tuple[_Entry, Delivery]]:
        for entry in self._entries.values():
            for delivery in entry.deliveries.values():
                yield entry, delivery

    def _find(self, key: DeliveryKey) -> Delivery | None:
        entry = self._entries.get(key.message_id)
        return entry.deliveries.get(key.number) if entry else None

    def _is_owner(self, key: DeliveryKey, owner: str) -> bool:
        delivery = self._find(key)
        return delivery is not None and delivery.lease is not None and delivery.lease.owner == owner

    def _change(self, key: DeliveryKey, **changes: Any) -> None:
        deliveries = self._entries[key.message_id].deliveries
        deliveries[key.number] = replace(deliveries[key.number], **changes)

    def _drop(self, key: DeliveryKey) -> None:
        entry = self._entries[key.message_id]
        del entry.deliveries[key.number]
        if not entry.deliveries:
            del self._entries[key.message_id]

    def _settle(self, settlement: Settlement) -> None:
        entry = self._entries.get(settlement.message_id)
        keys = {DeliveryKey(settlement.message_id, number) for number in settlement.concluded}
        if entry is None or (settlement.told and entry.message.told >= settlement.told):
            raise LeaseLost(settlement.message_id)
        for key in keys:
            delivery = self._find(key)
            if delivery is None or not delivery.state.is_final or not self._is_owner(key, settlement.owner):
                raise LeaseLost(settlement.message_id)
        if settlement.told:
            entry.message = replace(entry.message, told=settlement.told)
        for key in keys:
            self._drop(key)

    async def _steer(
        self, selection: Selection, applies: Callable[[Delivery], bool], **changes: Any
    ) -> Count:
        await self._begin()
        keys = [
            delivery.key
            for entry, delivery in self._all()
            if applies(delivery) and selection.matches(entry.message, delivery)
        ]
        for key in keys:
            self._change(key, **changes)
        return _count(keys)


def _is_claimable(delivery: Delivery, now: float) -> bool:
    return delivery.state is State.WAITING and delivery.ready <= now


def _count(keys: Collection[DeliveryKey]) -> Count:
    return Count(len({key.message_id for key in keys}), len(keys))


def _destination_stats(everything: Iterable[Delivery], limit: int) -> tuple[DestinationStats, ...]:
    queues: defaultdict[str, list[Delivery]] = defaultdict(list)
    for delivery in everything:
        if not delivery.state.is_final:
            queues[delivery.destination].append(delivery)
    fullest = sorted(queues.items(), key=lambda each: (-len(each[1]), each[0]))[:limit]
    return tuple(
        DestinationStats(
            name=name,
            recipients=len(deliveries),
            states=Counter(delivery.state for delivery in deliveries),
            leased=sum(delivery.lease is not None for delivery in deliveries),
            next_due=min((each.due for each in deliveries if each.state is State.WAITING), default=None),
        )
        for name, deliveries in fullest
    )
