"""Which delivery starts next: pure code, told what happened and when, asked what to do.

Theory of operation. Here is only what is in hand: deliveries claimed from the store, or accepted just now.
They wait at their site: the destination itself, or what several destinations have in common, a relay host or
the hosts of a large provider. A site has a window, a rate and a pause of its own; see `Concurrency`.

The sites that may start something stand in a line. The first one starts one delivery, and goes to the end if
it may start another. A site that may not is taken out of the line, so it costs nobody anything; what brings
it back is the end of one of its deliveries, or a timer. So a site in the line waits for at most as many
starts as there are sites before it.

That would not be fair by itself, because deliveries do not take the same time: forty sites that hang until
they time out would end with all the room there is. Therefore there are two kinds of room. To deliver needs
memory, the processor and the disk; to wait for a host that has not answered needs a socket and next to
nothing else. So a delivery to a site of which nothing is known, or which has failed, begins as a *call*: one
for each site, under a limit of their own that is much larger. When the host answers (`answered`) the call
takes its place among the deliveries, and waits for one if there is none (`Admission`); no others begin before
it. A thousand hosts that hang thus hold up nobody, as long as there may be more calls than they are.

What begins to hang although it is known takes room until it fails. Therefore:

- While others are in the line, a site keeps to its share: the room divided by the sites that want some. One
  that has its share waits in a second line, which is served when the first is empty.
- A tenth of the room is only for sites below their share. So a new one finds room at once.
- Sites that failed and are tried again may have a quarter of the calls together.

Of a site with nothing to do the scheduler remembers what it learnt, until too many others came.

The file is long because the lines, their counts and what moves a site between them are one invariant: a site
that may start something stands in a line, and one that may not comes back when that changes.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from heapq import heapify, heappop, heappush
from typing import Final

from harakapy.outbound.concurrency import Concurrency, Feedback
from harakapy.outbound.destination import Destination, DestinationLimits, Hold, Standing
from harakapy.outbound.turn import Admission, ScheduleLimits, Start, Wait
from harakapy.queue.delivery import Delivery, DeliveryKey, DeliveryRequest

__all__ = ["Schedule"]

_DEFAULT: Final = DestinationLimits()

_RESERVE: Final = 10
"""One part in so many is only for sites below their share. Picked: small, and never nothing."""
_PROBE_SHARE: Final = 4
"""One part in so many of the calls is for sites that failed. Picked: most are for those that may be well."""
_LOOKAHEAD: Final = 20
"""Recipients in hand for each delivery that may run: a claim for twenty is cheap beside twenty deliveries."""
_ROOM_SHARE: Final = 4
"""One part in so many of the free room in hand is what one site may take: the last ones still find some."""
_UNKNOWN_SHARE: Final = 50
"""The same of a site that is unknown or suspect, of half of the room; of the other half, which but for a
quarter is theirs too, one recipient each. So a thousand of them find room in hand, and leave some. Picked."""
_IDLE: Final = 1000
"""Sites with nothing to do that are remembered: about a megabyte."""
_IDLE_AND_BLOCKED: Final = 10 * _IDLE
"""The same, when they are in a pause; more than that fail only where there is no network."""


# Names of the module: in Python 3.11 a member of an Enum takes ten times as long to look up.
_NOTHING, _BLOCKED, _RATE, _CONNECTIONS, _UNKNOWN, _PROBES, _CALLS, _SHARE, _TOTAL, _CLOSED = Hold

_WAIT_TO_BE_TOLD: Final = Wait(None)
_NOBODY: Final[OrderedDict[Destination, None]] = OrderedDict()


class Schedule:
    """Decides what is delivered when.

    ``limits_for`` gives the limits of a site by its name, ``site_of`` names the site of a destination (see
    `Delivery.destination`). Both are asked often and answer at once; ``site_of`` may learn: what is in hand
    stays where it is.

    Every ``now`` is of one clock, in seconds; one that nobody sets is best.
    """

    def __init__(
        self,
        limits: ScheduleLimits | None = None,
        *,
        limits_for: Callable[[str], DestinationLimits] = lambda site: _DEFAULT,
        site_of: Callable[[str], str] = lambda destination: destination,
    ) -> None:
        self._limits = limits or ScheduleLimits()
        self._limits_for = limits_for
        self._site_of = site_of
        self._sites: dict[str, Destination] = {}
        self._keys: set[DeliveryKey] = set()
        self._running = 0
        self._waiting = 0
        self._calls = 0  # of those running, the ones that wait for a host to answer
        self._probes = 0  # of the calls, those to sites that failed
        self._answered: OrderedDict[Start, None] = OrderedDict()  # calls whose hosts answered, without room
        self._active = 0  # sites that are not idle
        self._is_closed = False
        self._line: OrderedDict[Destination, None] = OrderedDict()
        self._unknown: OrderedDict[Destination, None] = OrderedDict()  # nothing of theirs has ended yet
        self._sated: OrderedDict[Destination, None] = OrderedDict()  # have their share
        self._suspects: OrderedDict[Destination, None] = OrderedDict()  # wait for room among the probes
        self._idle: OrderedDict[Destination, None] = OrderedDict()  # nothing to do, the longest first
        self._timers: list[tuple[float, int, Destination]] = []
        self._timer_serial = 0
        self._was_probe = False  # the last call

    @property
    def running(self) -> int:
        """Deliveries under way, calls included."""
        return self._running

    @property
    def calls(self) -> int:
        """Of these, how many wait for a host that has not answered."""
        return self._calls

    @property
    def waiting(self) -> int:
        """Recipients in hand that are not under way."""
        return self._waiting

    # What the engine does for each delivery.

    def room(self, destination: str, now: float) -> int:
        """How many more recipients may be taken in hand for a destination; 0 when it is blocked.

        It is small for one that bears little, and for one that is tried again after a pause. A message that
        is accepted while there is none is better left to the store: see `offer`.
        """
        return max(0, self._room(self._sites.get(self._site_of(destination)), now))

    def is_running_low(self, destination: str, now: float) -> bool:
        """Whether more should be claimed for a destination soon: half of what it may have in hand is gone."""
        site = self._sites.get(self._site_of(destination))
        return self._room(site, now) > (0 if site is None else site.waiting)

    def _room(self, site: Destination | None, now: float) -> int:
        free = (self._limits.max_waiting - self._waiting) // _ROOM_SHARE
        if self._is_closed or free <= 0:
            return 0
        if site is None:
            return self._unknown_room(_DEFAULT.initial)
        if site.concurrency.is_blocked(now):
            return 0
        if site.is_unknown or site.is_suspect:
            return self._unknown_room(site.concurrency.window) - site.waiting
        return min(site.concurrency.window * _LOOKAHEAD, free) - site.waiting

    def _unknown_room(self, window: int) -> int:
        quarter = self._limits.max_waiting // 4
        free = self._limits.max_waiting - self._waiting - quarter
        wanted = min(window * _LOOKAHEAD, (free - quarter) // _UNKNOWN_SHARE)
        return max(wanted, 1) if free > 0 else 0

    def offer(self, request: DeliveryRequest, now: float) -> int:
        """Take a claimed request in hand; gives how many recipients that were.

        What is in hand already is left out, so that nothing is tried twice at a time. There is no other
        bound here: ask `room` first. After `drain` nothing is taken.
        """
        keys = [each.key for each in request.deliveries]
        if not self._keys.isdisjoint(keys):
            request = self._without_known(request)
            keys = [each.key for each in request.deliveries]
        if not keys or self._is_closed:
            return 0
        self._keys.update(keys)
        self._waiting += len(keys)
        site = self._site(self._site_of(request.deliveries[0].destination))
        self._be_busy(site)
        site.push(request)
        if site.ring is None:
            self._line_up(site, now)
        return len(keys)

    def next(self, now: float) -> Start | Admission | Wait:
        """The next delivery to begin or to go on with, or how long there is none."""
        if self._timers:
            self._wake(now)
        if self._is_full():
            return _WAIT_TO_BE_TOLD
        if self._answered:
            return Admission(self._answered.popitem(last=False)[0])
        if self._is_closed:
            return _WAIT_TO_BE_TOLD
        is_anyone_there = self._line or self._unknown or self._suspects or self._sated
        site = self._take(now) if is_anyone_there else None
        if site is None:
            return Wait(self._timers[0][0]) if self._timers else _WAIT_TO_BE_TOLD
        start = Start(site, site.pop())
        self._waiting -= len(start.request.deliveries)
        self._running += 1
        self._calls += start.is_call
        self._probes += start._is_probe
        site.running += 1
        if site.rate is not None:
            site.rate.add(now)
        self._line_up(site, now)
        return start

    def relocate(self, start: Start, now: float) -> bool:
        """Count a delivery, and what waits beside it, for the site that its destination has by now.

        Gives whether that is another one than before.

        To be told when the hosts of a destination are known: else there would be a call to the destination
        and one to its hosts, of all its messages that are in hand one after the other.
        """
        old, new = start._destination, self._site(self._site_of(start.destination))
        if old is new:
            return False
        self._be_busy(new)
        start._destination, start._news = new, new.concurrency.news
        old.running -= 1
        new.running += 1
        if new.rate is not None:
            new.rate.add(now)
        self._move(old, new)
        self._come_back(new, now)
        self._step_out(old, now)
        return True

    def _move(self, old: Destination, new: Destination) -> None:
        """Have what waits at one site and belongs to another one wait there."""
        for request in old.clear():
            belongs_there = self._site_of(request.deliveries[0].destination) == new.name
            (new if belongs_there else old).push(request)

    def answered(self, start: Start, now: float) -> bool:
        """Take in that a host has answered a call; whether there is room to go on.

        If there is none, `next` tells when, by an `Admission`; the host is there to wait for until then.
        """
        site = start._destination
        if start.is_call:
            self._hang_up(start)
            site.has_answered = True
            if self._answered or self._delivering() > self._limits.max_deliveries:  # it counts itself by now
                self._answered[start] = None
            self._come_back(site, now)
        return start not in self._answered

    def finished(self, start: Start, feedback: Feedback, now: float, *, until: float = 0.0) -> bool:
        """Take in how a delivery ended; gives whether its site is blocked: see `withdraw_beside`.

        Whatever the feedback, the request is no longer in hand. ``until`` comes with `Feedback.DEAD`: when
        the first of its hosts is worth another try. Raises ValueError if it was finished before.
        """
        if start._is_over:
            raise ValueError(f"the delivery to {start.site} has finished before")
        start._is_over = True
        site = start._destination
        self._learn(start, feedback, now, until)
        self._keys.difference_update([each.key for each in start.request.deliveries])
        self._running -= 1
        site.running -= 1
        self._hang_up(start)
        self._answered.pop(start, None)
        self._come_back(site, now)
        if site.is_idle:
            self._rest(site, now)
        return site.concurrency.is_blocked(now)

    def _hang_up(self, start: Start) -> None:
        """A call is over, because a host has answered or because none has."""
        if start.is_call:
            start.is_call = False
            self._calls -= 1
            self._probes -= start._is_probe

    # What is done now and then.

    def withdraw(self, destination: str, now: float) -> tuple[DeliveryRequest, ...]:
        """Take out of hand what waits for the site of a destination, to be given back to the store."""
        site = self._sites.get(self._site_of(destination))
        return () if site is None else self._clear(site, now)

    def withdraw_beside(self, start: Start, now: float) -> tuple[DeliveryRequest, ...]:
        """The same for the site that a delivery counted for, whatever site its destination has now."""
        return self._clear(start._destination, now)

    def drain(self, now: float) -> tuple[DeliveryRequest, ...]:
        """Take everything out of hand that waits, and start nothing any more; what runs may finish."""
        self._is_closed = True
        return tuple(each for site in list(self._sites.values()) for each in self._clear(site, now))

    def discard(self, keys: Collection[DeliveryKey], now: float) -> None:
        """Drop what waits and has one of these keys: its lease is lost, or an operator removed it."""
        wanted = frozenset(keys) & self._keys
        for site in list(self._sites.values()) if wanted else ():
            if site.waiting:
                self._out_of_hand(site.discard(wanted))
                self._step_out(site, now)

    def in_hand(self) -> frozenset[DeliveryKey]:
        """Everything that waits or is under way: what leases must be renewed for."""
        return frozenset(self._keys)

    def waiting_requests(self) -> Iterator[DeliveryRequest]:
        """Everything in hand that is not under way."""
        for site in list(self._sites.values()):
            yield from site.requests

    def unblock(self, destination: str, now: float) -> None:
        """End the pause of a destination, because somebody knows better: an operator, say."""
        site = self._sites.get(self._site_of(destination))
        if site is not None:
            site.concurrency.unblock()
            self._come_back(site, now)

    def reconfigure(self, limits: ScheduleLimits, now: float) -> None:
        """Go on with other limits, and ask ``limits_for`` again. What is under way beyond them finishes."""
        self._limits = limits
        for name, site in list(self._sites.items()):
            site.limit(self._limits_for(name))
            site.concurrency.pause_s, site.concurrency.max_pause_s = limits.pause_s, limits.max_pause_s
            self._come_back(site, now)

    # What people ask.

    def blocked(self, now: float) -> dict[str, float]:
        """The sites that are left alone now, and until when."""
        ends = {name: site.concurrency.blocked_until for name, site in self._sites.items()}
        return {name: end for name, end in ends.items() if now < end}

    def why(self, destination: str, now: float) -> Standing:
        """How a destination stands, and what holds it."""
        name = self._site_of(destination)
        site = self._sites.get(name)
        if site is None:
            return Standing(destination, name, self._common_hold())
        hold = self._hold(site, now)
        if hold in (None, _NOTHING):
            hold = self._common_hold()
        is_timed = hold in (_BLOCKED, _RATE)
        return Standing(
            destination=destination,
            site=name,
            hold=hold,
            until=site.free_at() if is_timed else None,
            waiting=site.waiting,
            running=site.running,
            window=site.concurrency.window,
            pauses=site.concurrency.pauses,
        )

    # The lines.

    def _hold(self, site: Destination, now: float) -> Hold | None:
        """What keeps a site from starting something, apart from what holds all; None for nothing."""
        free_at = site.free_at()
        if now < free_at:
            return _BLOCKED if site.concurrency.is_blocked(now) else _RATE
        if not site.waiting:
            return _NOTHING
        if site.running >= site.concurrency.window:
            return _CONNECTIONS
        if site.is_unknown or site.is_suspect:
            return self._hold_of_call(site)
        return _SHARE if site.running and site.running >= self._share() else None

    def _hold_of_call(self, site: Destination) -> Hold | None:
        if site.running and site.is_unknown:
            return _UNKNOWN
        if site.is_suspect and not self._may_probe():
            return _PROBES
        return _CALLS if self._calls >= self._limits.max_calls else None

    def _common_hold(self) -> Hold:
        if self._is_closed:
            return _CLOSED
        return _TOTAL if self._is_full() or self._answered else _NOTHING

    def _may_probe(self) -> bool:
        return self._probes < max(1, self._limits.max_calls // _PROBE_SHARE)

    def _is_full(self) -> bool:
        return self._delivering() >= self._limits.max_deliveries

    def _delivering(self) -> int:
        """Deliveries that take room: neither calls nor without room."""
        return self._running - self._calls - len(self._answered)

    def _reserve(self) -> int:
        return self._limits.max_deliveries // _RESERVE

    def _share(self) -> int:
        return (self._limits.max_deliveries - self._reserve()) // max(1, self._active)

    def _line_up(self, site: Destination, now: float) -> None:
        """Put a site that stands nowhere where it belongs now."""
        self._place(site, self._hold(site, now))

    def _come_back(self, site: Destination, now: float) -> None:
        """Let a site line up again that may be allowed more than before; one that is in the line stays."""
        hold = self._hold(site, now)
        if site.ring is None:
            self._place(site, hold)
        elif (
            (site.ring is self._sated and hold is not _SHARE)
            or (site.ring is self._unknown and not site.is_unknown)
            or (site.ring is self._suspects and not site.is_suspect)
        ):
            del site.ring[site]
            site.ring = None
            self._place(site, hold)

    def _place(self, site: Destination, hold: Hold | None) -> None:
        if hold in (_BLOCKED, _RATE):
            self._set_timer(site)
            return
        if hold in (_NOTHING, _CONNECTIONS, _UNKNOWN):
            return  # the next request, an answer, or the end of a delivery brings it back
        if hold is _SHARE:
            ring = self._sated
        elif site.is_suspect:
            ring = self._suspects
        else:
            ring = self._unknown if site.is_unknown else self._line
        ring[site] = None
        site.ring = ring

    def _take(self, now: float) -> Destination | None:
        """The site whose turn it is, taken out of its line: calls first, as they take no room from others.

        Of the calls, suspects have every other one, if they may.
        """
        site = self._take_call(now) if self._calls < self._limits.max_calls else None
        site = site or self._first(self._line, now)
        if site is None and self._limits.max_deliveries - self._delivering() > self._reserve():
            site = self._first(self._sated, now)
        return site

    def _take_call(self, now: float) -> Destination | None:
        suspects = self._suspects if self._may_probe() else _NOBODY
        lines = (self._unknown, suspects) if self._was_probe else (suspects, self._unknown)
        site = self._first(lines[0], now) or self._first(lines[1], now)
        self._was_probe = site is not None and site.is_suspect
        return site

    def _first(self, line: OrderedDict[Destination, None], now: float) -> Destination | None:
        """The first of a line that may start something; those before it go where they belong."""
        while line:
            site, _ = line.popitem(last=False)
            site.ring = None
            hold = self._hold(site, now)
            if hold is None or (hold is _SHARE and line is self._sated):
                return site
            self._place(site, hold)
        return None

    def _set_timer(self, site: Destination) -> None:
        at = site.free_at()
        if site.timer == at:
            return
        site.timer = at
        self._timer_serial += 1
        heappush(self._timers, (at, self._timer_serial, site))
        if len(self._timers) > 2 * len(self._sites) + 100:  # most are of sites that were looked at since
            self._timers = [each for each in self._timers if each[0] == each[2].timer]
            heapify(self._timers)

    def _wake(self, now: float) -> None:
        """Let those line up whose time has come, and drop timers that were set anew."""
        while self._timers:
            at, _, site = self._timers[0]
            is_valid = at == site.timer
            if is_valid and now < at:
                return
            heappop(self._timers)
            if is_valid:
                site.timer = -math.inf
                if site.ring is None:
                    self._line_up(site, now)

    # The sites.

    def _site(self, name: str) -> Destination:
        site = self._sites.get(name)
        if site is None:
            limits, own = self._limits, self._limits_for(name)
            concurrency = Concurrency(
                limit=own.connections,
                initial=own.initial,
                pause_s=limits.pause_s,
                max_pause_s=limits.max_pause_s,
            )
            site = self._sites[name] = Destination(name, concurrency, own.rate)
        return site

    def _be_busy(self, site: Destination) -> None:
        """A site is about to have something to do."""
        if site.is_idle:
            self._active += 1
            self._idle.pop(site, None)

    def _rest(self, site: Destination, now: float) -> None:
        """A site has nothing to do any more; forget others that had nothing for longer."""
        self._active -= 1
        self._idle[site] = None
        for _ in range(2):  # so the number falls although one comes with each call
            if len(self._idle) <= _IDLE:
                return
            oldest, _ = self._idle.popitem(last=False)
            is_too_many = len(self._idle) >= _IDLE_AND_BLOCKED and oldest.is_rate_forgettable(now)
            if is_too_many or oldest.is_forgettable(now):
                oldest.timer = -math.inf
                del self._sites[oldest.name]
            else:
                self._idle[oldest] = None

    def _learn(self, start: Start, feedback: Feedback, now: float, until: float) -> None:
        site = start._destination
        match feedback:
            case Feedback.HEALTHY:
                site.concurrency.healthy(site.running)
            case Feedback.BUSY:
                site.concurrency.busy(now, news=start._news)
            case Feedback.DEAD:
                site.concurrency.dead(now, until, news=start._news)
            case Feedback.NOTHING:
                pass

    def _clear(self, site: Destination, now: float) -> tuple[DeliveryRequest, ...]:
        requests = site.clear()
        if requests:
            self._out_of_hand([each for request in requests for each in request.deliveries])
            self._step_out(site, now)
        return requests

    def _out_of_hand(self, deliveries: Collection[Delivery]) -> None:
        """Forget deliveries that waited."""
        self._waiting -= len(deliveries)
        self._keys.difference_update([each.key for each in deliveries])

    def _step_out(self, site: Destination, now: float) -> None:
        """Some of what waited for a site is gone; with the last of it, its place in the line."""
        if site.waiting:
            return
        if site.ring is not None:
            del site.ring[site]
            site.ring = None
        self._line_up(site, now)
        if site.is_idle:
            self._rest(site, now)

    def _without_known(self, request: DeliveryRequest) -> DeliveryRequest:
        new = tuple(each for each in request.deliveries if each.key not in self._keys)
        return DeliveryRequest(request.message, new)
