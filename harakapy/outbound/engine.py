"""The engine: works off the queue.

Theory of operation. The store is where mail is safe; the schedule says what may be tried now. Between them
stands what the engine has *in hand*: deliveries under its lease, few enough to fit into memory. A message
that comes in is committed already leased, if there is room for it, and goes to the schedule as it is; what
there is no room for waits in the store, and is claimed when there is. Whenever something becomes possible,
because mail came in, a delivery ended or time has passed, the schedule is asked what to start until it has
nothing more. Each start is given to a task that makes one attempt, writes down how it ended, and goes on with
the next start (`crew`). So nothing is polled but the store, for the mail of other processes.

Whatever goes wrong in an attempt, also by a defect of ours, defers it. Whatever goes wrong in the store is
tried again: what was delivered must be written down, and the lease is ours as long as we live.

The file is long because all that is in hand, and what becomes of it, is in this one place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import trio

from harakapy.hooks import IllegalAnswer
from harakapy.log import Logger
from harakapy.mail import Content
from harakapy.net import enter_task
from harakapy.outbound.attempts import Attempted, Attempts, Stages
from harakapy.outbound.clock import SteadyClock
from harakapy.outbound.crew import Crew
from harakapy.outbound.kept import KeptContents
from harakapy.outbound.overdue import LOOK_S as OVERDUE_S
from harakapy.outbound.overdue import Overdue
from harakapy.outbound.reports import Reporter
from harakapy.outbound.schedule import Schedule
from harakapy.outbound.turn import Admission, Start
from harakapy.queue import (
    ClockSet,
    Deferred,
    Delivery,
    DeliveryKey,
    DeliveryRequest,
    Lease,
    QueuedMessage,
    Selection,
    Store,
    StoreError,
)

__all__ = ["LEASE_S", "Engine"]

LEASE_S: Final = 900.0
"""How long the work of a process that died is left alone; longer than any wait for a host. Picked."""

RENEW_S: Final = LEASE_S / 3
"""How often leases are renewed: two renewals may fail, and nothing is lost."""

POLL_S: Final = 300.0
"""How often the store is looked at unasked. Who puts mail there from another process wakes us, so this is for
when that was lost; and to notice that the clock was set. Picked."""

REPORT_POLL_S: Final = 600.0
"""The same for reports, which only our own outcomes and operators make due. Picked."""

CLAIM_RECIPIENTS: Final = 100
"""Recipients of one destination claimed at a time at most: one full transaction."""

DESTINATIONS_A_LOOK: Final = 500
"""Destinations that one look at the store gives. Picked: their names are some tens of kB."""

WITHDRAWN_S: Final = 10.0
"""How long what was withdrawn is left in the store for who wants to change it. Picked: a page of the queue is
changed in a fraction of a second."""

LOOK_PAUSE_S: Final = 0.02
"""Between two looks at the store at least: a busy server does not look for each message. Picked."""

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
"""Between two tries of something that the store did not do; picked."""


class Engine:
    """Works off a store. ``owner`` is whose leases it holds; no other engine has that name.

    ``now`` gives seconds of the wall clock; ``clock_set`` is called when that was set. ``attempts`` and
    ``reporter`` may be replaced at any time.
    """

    def __init__(
        self,
        store: Store,
        schedule: Schedule,
        attempts: Attempts,
        reporter: Reporter,
        log: Logger,
        *,
        owner: str,
        now: SteadyClock,
        clock_set: Callable[[], None] = lambda: None,
    ) -> None:
        self.schedule = schedule
        self._store = store
        self.attempts = attempts
        self.reporter = reporter
        self._log = log
        self._owner = owner
        self._now = now
        # As trio.current_time, which goes there by two functions more; asked often for each message.
        self._time: Callable[[], float] = trio.lowlevel.current_clock().current_time
        self._clock_set = clock_set
        self._overdue = Overdue(store, schedule, owner=owner, now=now)
        self._kept = KeptContents()
        self._crew: Crew | None = None
        self._woken = trio.Event()
        self._has_reports = trio.Event()
        self._alarm = trio.CancelScope()
        self._nap = trio.CancelScope()
        self._has_more: set[str] = set()  # destinations of which the store has more than there was room for
        self._ended = trio.Event()
        self._admitted: dict[Start, trio.Event] = {}  # whose hosts have answered, and that wait for room

    # What comes in.

    def lease_for(self, destinations: Iterable[str]) -> Lease | None:
        """The lease to commit a new message under; None if there is no room for it in hand."""
        now = self._time()
        if self._crew is None:
            return None
        for each in destinations:
            if not self.schedule.room(each, now):
                return None
        return Lease(self._owner, self._now() + LEASE_S)

    def take(self, message: QueuedMessage, deliveries: Sequence[Delivery], content: Content) -> None:
        """Go on with a message that was committed just now, under `lease_for` or without a lease."""
        if deliveries[0].lease is None:
            self.wake()
            return
        if self._crew is None:  # all ends; so will the lease
            return
        requests = _by_destination(message, deliveries)
        self._kept.keep(message.id, content, attempts=len(requests))
        now = self._time()
        for request in requests:
            self.schedule.offer(request, now)
        self._start_what_may()

    def wake(self) -> None:
        """Look at the store now: something may have become due, or is to be reported."""
        self._woken.set()
        self._has_reports.set()

    async def withdraw(self, selection: Selection) -> None:
        """Give back to the store what is selected, in hand and not begun: it is about to be changed there."""
        keys = [
            delivery.key
            for request in self.schedule.waiting_requests()
            for delivery in request.deliveries
            if selection.matches(request.message, delivery)
        ]
        if keys:
            self._discard(keys)
            await self._unclaim(keys, self._now() + WITHDRAWN_S)

    # What goes out.

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work off the store until cancelled."""
        tasks = (
            self._look_at_store,
            self._renew_leases,
            self._ring_alarms,
            self._look_for_overdue,
            self._report,
        )
        try:
            async with trio.open_nursery() as nursery:
                self._crew = Crew(nursery, self._deliver)
                for task in tasks:
                    nursery.start_soon(self._keep_up, task)
                task_status.started()
        finally:
            self._crew = None

    async def stop(self, deadline: float) -> None:
        """Start nothing more, and let deliveries under way end until ``deadline`` (trio time)."""
        waiting = self.schedule.drain(self._time())
        with trio.move_on_at(deadline):
            await self._give_back(waiting)
            while self.schedule.running:
                self._ended = trio.Event()
                await self._ended.wait()

    async def _keep_up(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run a task that never ends, again if it does: no defect of ours may stop all mail."""
        while True:
            try:
                await task()
            except Exception as error:  # noqa: BLE001  # see above
                self._log.crit(
                    "a part of the delivery failed and begins anew", error=str(error), exc_info=error
                )
            await trio.sleep(LONGEST_PAUSE_S)

    def _start_what_may(self) -> None:
        """Start whatever the schedule lets start, each in a task."""
        while (start := self._next_start()) is not None:
            assert self._crew is not None, "something is in hand only while the engine runs"
            self._crew.begin(start)

    def _next_start(self) -> Start | None:
        """What may start now; None if nothing may, and then the alarm is set for when something may."""
        while isinstance(found := self.schedule.next(self._time()), Admission):
            if (room := self._admitted.get(found.start)) is not None:  # else it was cancelled
                room.set()
        if isinstance(found, Start):
            return found
        if found.until is not None and found.until < self._alarm.deadline:
            self._alarm.deadline = found.until
        return None

    async def _ring_alarms(self) -> None:
        """Ask the schedule again whenever something may start by itself."""
        while True:
            with trio.CancelScope() as self._alarm:
                self._start_what_may()
                await trio.sleep_forever()
            self._woken.set()  # a destination that was left alone may have more in the store

    async def _deliver(self, start: Start, scope: trio.CancelScope) -> Start | None:
        """Make one attempt, in a scope of this task's own; the next one for this task, if there is any."""
        await self._deliver_one(start, scope)
        following = self._next_start()
        if following is not None:  # perhaps more than one may start now, as the window has grown
            self._start_what_may()
        return following

    async def _deliver_one(self, start: Start, scope: trio.CancelScope) -> None:
        request, moved_s = start.request, self._now.moved_s
        stages = Stages(partial(self._heed_route, start), partial(self._wait_for_room, start))
        attempted = await self.attempts.make(request, self._open_content, scope, stages)
        request = self._now.request_up_to_date(request, moved_s)
        self._kept.attempted(request.message.id)
        if not scope.shield:  # to set it is work also when it is set
            scope.shield = True
        try:
            await self._write_down(request, attempted, scope)
        except IllegalAnswer:
            raise
        except Exception as error:  # noqa: BLE001  # it is tried again after its lease; all others go on
            self._log.crit(
                "an attempt was in vain", uuid=request.message.id, error=str(error), exc_info=error
            )
        scope.shield = False
        now = self._time()
        until = now + attempted.dead_until - self._now() if attempted.dead_until else 0.0
        is_blocked = self.schedule.finished(start, attempted.feedback, now, until=until)
        if is_blocked:
            await self._give_back(self.schedule.withdraw_beside(start, now))
        elif self._has_more:
            self._ask_for_more(start.destination, now)
        self._ended.set()

    def _ask_for_more(self, destination: str, now: float) -> None:
        """Have the store looked at if it has more for a destination, and little of that is in hand."""
        if destination in self._has_more and self.schedule.is_running_low(destination, now):
            self._has_more.discard(destination)
            self._woken.set()

    def _heed_route(self, start: Start) -> None:
        """The hosts are known, and with them the site that this delivery is for."""
        if self.schedule.relocate(start, self._time()):
            self._start_what_may()

    async def _wait_for_room(self, start: Start) -> None:
        """A host has answered: go on when there is room, which is mostly now."""
        if not start.is_call:
            return
        room = self._admitted[start] = trio.Event()
        try:
            is_admitted = self.schedule.answered(start, self._time())
            self._start_what_may()  # more may go to that host, and another one may be called
            if not is_admitted:
                await enter_task()
                await room.wait()
        finally:
            del self._admitted[start]

    async def _write_down(
        self, request: DeliveryRequest, attempted: Attempted, scope: trio.CancelScope
    ) -> None:
        """Record what came of an attempt; what is reported follows from that. ``scope`` shields it."""
        outcomes = attempted.outcomes
        if attempted.unclaimed:
            await self._unclaim(attempted.unclaimed, attempted.unclaimed_until, scope)
        if not outcomes:
            return
        await self._insist(lambda: self._store.record(outcomes, owner=self._owner), scope)
        deferred = []
        for each in outcomes:
            if isinstance(each, Deferred):
                deferred.append(each.due)
            elif each.report_at is not None:
                self._has_reports.set()
        if deferred:
            self._look_at(min(deferred))
            await self.attempts.tell_of_delay(request)

    async def _open_content(self, message_id: str) -> Content:
        return self._kept.get(message_id) or await self._store.open_content(message_id)

    # The store.

    async def _look_at_store(self) -> None:
        """Claim what is due and finds room, whenever something may be."""
        while True:
            self._woken = trio.Event()
            looked_at = self._time()
            self._nap = trio.CancelScope(deadline=looked_at + POLL_S)
            try:
                self._look_at(await self._look())
            except StoreError as error:
                self._log.error("the queue cannot be read", problem=str(error))
            with self._nap:
                await self._woken.wait()
            if self._time() < looked_at + LOOK_PAUSE_S:
                await trio.sleep_until(looked_at + LOOK_PAUSE_S)

    async def _look(self) -> float | None:
        """Claim what is due; when to look again. One question, as long as nothing is due: usually."""
        await self._heed_clock()
        first = await self._store.next_due()
        if first is None or first > self._now():
            return first
        await self._claim_due()
        return await self._store.next_due(after=self._now())

    def _look_at(self, due: float | None) -> None:
        """Look at the store when something there is due, at this time of the wall clock."""
        if due is not None:
            moment = self._time() + max(0.0, due - self._now())
            self._nap.deadline = min(self._nap.deadline, moment)

    async def _heed_clock(self) -> None:
        """If somebody has set the wall clock, all that is timed by it moves along.

        What is in hand and not begun goes back to the store for that; an attempt under way brings its message
        up to date itself. Nothing is awaited between that and the store's getting to know.
        """
        jump_s = self._now.jump()
        if not jump_s:
            return
        self._log.warn("the clock was set; mail and its retries move along", by_s=jump_s)
        keys = [each.key for request in self.schedule.waiting_requests() for each in request.deliveries]
        self._discard(keys)
        self._now.move(jump_s)
        try:
            await self._store.shift_times(ClockSet(jump_s, self._now()))
        except StoreError:
            self._now.move(-jump_s)
            raise
        finally:
            self._clock_set()
            await self._unclaim(keys, self._now())

    async def _claim_due(self) -> None:
        after, now = "", self._now()
        self._has_more.clear()  # what still has more is found again now; the rest may have been given up
        while found := await self._store.due_destinations(now, limit=DESTINATIONS_A_LOOK, after=after):
            for destination in found:
                await self._claim(destination, now)
            after = found[-1]

    async def _claim(self, destination: str, now: float) -> None:
        """Claim of one destination as much as there is room for."""
        while (room := self.schedule.room(destination, self._time())) > 0:
            limit = min(room, CLAIM_RECIPIENTS)
            lease = Lease(self._owner, self._now() + LEASE_S)
            requests = await self._store.claim(destination, lease=lease, now=now, limit=limit)
            with trio.CancelScope(shield=True):  # these are ours now, and the schedule must get to know
                await self._read_ahead(requests)
            moment = self._time()
            for request in requests:
                self.schedule.offer(request, moment)
            self._start_what_may()
            if sum(len(request.deliveries) for request in requests) < limit:
                self._has_more.discard(destination)
                return
        self._has_more.add(destination)

    async def _read_ahead(self, requests: Sequence[DeliveryRequest]) -> None:
        """Have the contents of what was claimed at hand: by one look at the store, not one for each message.

        What was tried before may well fail again before its content is asked for.
        """
        new = [each.message.id for each in requests if each.deliveries[0].attempts == 1]
        if new:
            with suppress(StoreError):  # who needs it will ask again, and say so
                for message_id, content in (await self._store.contents(new)).items():
                    self._kept.keep(message_id, content, attempts=1)

    async def _renew_leases(self) -> None:
        """Renew what is in hand; what another engine has taken over is dropped before it begins."""
        while True:
            await trio.sleep(RENEW_S)
            keys = self.schedule.in_hand()
            if not keys:
                continue
            try:
                kept = await self._store.renew(keys, Lease(self._owner, self._now() + LEASE_S))
            except StoreError as error:
                self._log.error("leases not renewed", problem=str(error))
            else:
                self._discard(keys - kept)

    async def _look_for_overdue(self) -> None:
        """Conclude what is too old and waits for a site that is left alone, now and then."""
        while True:
            await trio.sleep(OVERDUE_S)
            try:
                if await self._overdue.look(self.attempts):
                    self._has_reports.set()
            except StoreError as error:
                self._log.error("what is overdue must wait", problem=str(error))

    async def _report(self) -> None:
        """Send the reports that are due, whenever some may be."""
        self._has_reports.set()  # of what ended before we began
        while True:
            again = await self.reporter.report_due(self._now())
            wait_s = REPORT_POLL_S if again is None else max(again - self._now(), 0.0)
            is_heard = False
            with trio.move_on_after(wait_s) as wait:
                await self._has_reports.wait()
                self._has_reports = trio.Event()  # what ends from now on is due later than what we wait for
                is_heard = True
                await trio.sleep(max(0.0, self.reporter.report_at(0.0)))
            if wait.cancelled_caught and is_heard:
                self._has_reports.set()  # its reports may be due later than now

    def _discard(self, keys: Collection[DeliveryKey]) -> None:
        """Drop what is in hand and not begun, for it is somebody else's now."""
        self.schedule.discard(keys, self._time())
        for message_id in {key.message_id for key in keys}:
            self._kept.forget(message_id)

    async def _give_back(self, requests: Sequence[DeliveryRequest]) -> None:
        """Return to the store what was claimed and not tried."""
        keys = [delivery.key for request in requests for delivery in request.deliveries]
        for request in requests:
            self._kept.attempted(request.message.id)
        if keys:
            await self._unclaim(keys, self._now())

    async def _unclaim(
        self, keys: Sequence[DeliveryKey], due: float, scope: trio.CancelScope | None = None
    ) -> None:
        await self._insist(lambda: self._store.unclaim(keys, owner=self._owner, due=due), scope)
        self._look_at(due)

    async def _insist(
        self, work: Callable[[], Awaitable[object]], scope: trio.CancelScope | None = None
    ) -> None:
        """Have the store do something, however often it takes, until cancelled.

        ``scope`` shields the first try only: who is to stop does not wait for a store that fails, and what is
        not written down then is done again at the next start.
        """
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                await work()
            except StoreError as error:
                self._log.error("the queue does not take what became of mail", problem=str(error))
            else:
                return
            if scope is not None:
                scope.shield = False
            await enter_task()
            await trio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _by_destination(message: QueuedMessage, deliveries: Sequence[Delivery]) -> list[DeliveryRequest]:
    """What can be tried in one attempt each: no more of one destination than would be claimed at a time."""
    if len(deliveries) == 1:
        return [DeliveryRequest(message, tuple(deliveries))]
    groups: dict[str, list[Delivery]] = {}
    for delivery in deliveries:
        groups.setdefault(delivery.destination, []).append(delivery)
    return [
        DeliveryRequest(message, tuple(group[at : at + CLAIM_RECIPIENTS]))
        for group in groups.values()
        for at in range(0, len(group), CLAIM_RECIPIENTS)
    ]
