"""Mail that waits for a site that is left alone: late and given up in time, though nobody tries it.

A site that failed is tried with one delivery now and then, whatever else waits for it. That one tells how the
site is, for all; but what is never tried would never be too old, nor its sender hear that it is late. So now
and then all that is due at such sites is looked at. What its time has come for is concluded, and the rest
goes back as it was.
"""

from __future__ import annotations

from typing import Final

import trio

from harakapy.mail.status import EnhancedStatus
from harakapy.outbound.attempts import Attempts
from harakapy.outbound.clock import SteadyClock
from harakapy.outbound.schedule import Schedule
from harakapy.queue import (
    Deferred,
    DeliveryKey,
    DeliveryRequest,
    Diagnostic,
    Lease,
    Outcome,
    Selection,
    State,
    Store,
)

__all__ = ["LOOK_S", "Overdue"]

LOOK_S: Final = 900.0
"""How often it is looked for, and how old it is at least: how much too late something may happen. Picked:
each time all that waits for such sites is claimed and given back, some 5 ms for a hundred recipients."""

LEASE_S: Final = 300.0
"""Longer than a hundred recipients take, whose hooks may be slow. Picked."""

_AT_A_TIME: Final = 100  # recipients, or names of destinations; picked

_BACK_S: Final = (
    1.0  # what was looked at is due again so long behind the time of the look: it is claimed once
)

_LEFT_ALONE: Final = Diagnostic(
    "other mail for this destination could not be delivered", EnhancedStatus(4, 4, 0)
)


class Overdue:
    """Looks for it. ``owner`` holds the leases, ``now`` gives seconds of the wall clock."""

    def __init__(self, store: Store, schedule: Schedule, *, owner: str, now: SteadyClock) -> None:
        self._store = store
        self._schedule = schedule
        self._owner = owner
        self._now = now

    async def look(self, attempts: Attempts) -> bool:
        """Conclude what has waited too long; whether something is to be reported for that.

        Raises StoreError; what was concluded until then is recorded.
        """
        now = self._now()
        has_reports = False
        old = Selection(states=frozenset({State.WAITING}), arrived_before=now - LOOK_S)
        if (await self._store.count(old)).recipients:
            after = ""
            while found := await self._store.due_destinations(now, limit=_AT_A_TIME, after=after):
                for destination in found:
                    if self._schedule.why(destination, trio.current_time()).pauses:
                        has_reports |= await self._look_at(destination, attempts, now)
                after = found[-1]
        return has_reports

    async def _look_at(self, destination: str, attempts: Attempts, now: float) -> bool:
        """The same for one destination."""
        has_reports = False
        lease = Lease(self._owner, now + LEASE_S)
        while True:
            moved_s = self._now.moved_s
            requests = await self._store.claim(destination, lease=lease, now=now, limit=_AT_A_TIME)
            if not requests:
                return has_reports
            outcomes: list[Outcome] = []
            late: list[DeliveryRequest] = []
            unchanged: list[DeliveryKey] = []
            in_hand = self._schedule.in_hand()  # may be due, too: if the clock was set just now
            for request in requests:
                request = self._now.request_up_to_date(request, moved_s)
                if any(delivery.key in in_hand for delivery in request.deliveries):
                    continue
                failed = await attempts.give_up(request, self._store.open_content)
                if failed:
                    outcomes += failed
                elif attempts.is_delay_report_due(request):
                    late.append(request)
                    outcomes += _as_late(request, now + _BACK_S)
                else:
                    unchanged += [delivery.key for delivery in request.deliveries]
            await self._store.unclaim(unchanged, owner=self._owner, due=now + _BACK_S)
            await self._store.record(outcomes, owner=self._owner)
            for request in late:
                await attempts.tell_of_delay(request)
            has_reports |= any(not isinstance(each, Deferred) and each.report_at for each in outcomes)


def _as_late(request: DeliveryRequest, due: float) -> list[Outcome]:
    """Outcomes that let a report of the delay say why."""
    return [Deferred(each.key, each.diagnostic or _LEFT_ALONE, due) for each in request.deliveries]
