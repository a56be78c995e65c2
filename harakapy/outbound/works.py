"""The parts of the sending side, made from the settings and put together."""

from __future__ import annotations

import resource
from collections.abc import Callable
from functools import partial
from typing import Final

from msgspec import Struct

from harakapy.config import Settings
from harakapy.hooks import Hooks
from harakapy.log import Logger
from harakapy.net import Poller, Resolver, Watchdog
from harakapy.outbound.attempts import Attempts
from harakapy.outbound.client_tls import ClientTls
from harakapy.outbound.clock import SteadyClock
from harakapy.outbound.conclusion import Conclusion
from harakapy.outbound.courier import Courier
from harakapy.outbound.distant import DistantEngine
from harakapy.outbound.engine import Engine
from harakapy.outbound.facilities import Facilities
from harakapy.outbound.hosts import DeadHosts, OwnHost
from harakapy.outbound.pool import Pool
from harakapy.outbound.report_terms import ReportTerms
from harakapy.outbound.reports import Reporter, Submit
from harakapy.outbound.route import SMTP_PORT, Router
from harakapy.outbound.schedule import Schedule
from harakapy.outbound.sites import Sites
from harakapy.outbound.turn import ScheduleLimits
from harakapy.queue import Store

__all__ = ["Surroundings", "Works", "calls_within"]

FIRST_PAUSE_S: Final = 60.0
"""How long a destination is left alone that has failed: what is only restarted is back by then. Picked."""

LEAST_PAUSE_S: Final = 1.0
"""The same at least, also where dead hosts are never left alone: a failure costs as much as a success."""


MAX_CALLS: Final = 2000
"""How many hosts are waited for at a time of which nothing is known, or that failed. Picked: a task and a
socket each, some 10 kB; twice the thousand that are dead at once where a large provider fails."""

DESCRIPTORS_A_CALL: Final = 4
"""File descriptors for each call: the others are for connections that come in and for deliveries. Picked."""

LEAST_CALLS: Final = 20
"""Calls that there may be however few descriptors there are. Picked."""


class Surroundings(Struct, frozen=True):
    """What the sending side finds there: hooks, log, DNS, and a wall clock in seconds since the epoch.

    ``places`` are the addresses and ports where this server listens, so that it does not send to itself;
    ``mx_port`` is where hosts that the DNS names take mail. With ``announce``, another process delivers, and
    is told by it.
    """

    hooks: Hooks
    log: Logger
    resolver: Resolver
    now: SteadyClock
    places: tuple[tuple[str, int], ...] = ()
    mx_port: int = SMTP_PORT
    announce: Callable[[], None] | None = None


class Works:
    """Everything that is made for one store. Made inside trio."""

    def __init__(
        self, settings: Settings, surroundings: Surroundings, store: Store, *, owner: str, submit: Submit
    ) -> None:
        """``submit`` takes reports. Raises OSError or ValueError as `Outbound` does."""
        outbound = settings.outbound
        self.store = store
        self.watchdog = Watchdog()
        self.poller = Poller()
        self.facilities = Facilities(
            self.watchdog,
            ClientTls(outbound.tls_ca),
            spool_directory=settings.spool_dir,
            poller=self.poller,
        )
        self.pool = Pool(
            self.facilities,
            idle_s=outbound.idle_connection,
            max_messages=outbound.max_messages_per_connection,
        )
        self._surroundings = surroundings
        self._owner = owner
        self._submit = submit
        self._dead_hosts = DeadHosts(outbound.dead_host_time)
        self._take(settings)
        self.schedule = Schedule(
            _limits(settings),
            limits_for=lambda site: self._sites.limits_for(site),
            site_of=lambda destination: self._sites.site_of(destination),
        )
        announce = surroundings.announce
        self.engine = (Engine if announce is None else partial(DistantEngine, announce=announce))(
            store,
            self.schedule,
            self._attempts,
            self._reporter,
            surroundings.log,
            owner=owner,
            now=surroundings.now,
            clock_set=self._dead_hosts.forget,
        )

    def reconfigure(self, settings: Settings, now: float) -> None:
        """Go on with other settings; attempts under way end with the old ones. ``now`` is trio's time.

        Raises OSError or ValueError, and changes nothing, if they name a template or next hop that is none.
        """
        self._take(settings)
        outbound = settings.outbound
        self.pool.idle_s = outbound.idle_connection
        self.pool.max_messages = outbound.max_messages_per_connection
        self.schedule.reconfigure(_limits(settings), now)
        self.engine.attempts, self.engine.reporter = self._attempts, self._reporter

    def try_all_again(self, now: float) -> None:
        """Forget which hosts and destinations failed: somebody wants them tried now (trio's time)."""
        self._dead_hosts.forget()
        for site in self.schedule.blocked(now):
            self.schedule.unblock(site, now)
        self.engine.wake()

    def _take(self, settings: Settings) -> None:
        """Make what depends on nothing but the settings."""
        around, outbound = self._surroundings, settings.outbound
        own = OwnHost.of([settings.hostname], around.places)
        router = Router(
            settings, around.resolver, own=own, dead_hosts=self._dead_hosts, mx_port=around.mx_port
        )
        terms = ReportTerms.of(outbound.reports, settings.hostname, max_wait_s=outbound.report_max_age)
        reporter = Reporter(
            self.store,
            terms,
            owner=self._owner,
            submit=self._submit,
            log=around.log,
        )
        sites = Sites(outbound, router)
        courier = Courier(outbound, self.pool, self._dead_hosts, around.now)
        conclusion = Conclusion(
            outbound, around.hooks, around.log, now=around.now, report_at=reporter.report_at
        )
        self._attempts = Attempts(
            around.hooks,
            router,
            courier,
            conclusion,
            reporter,
            around.log,
            now=around.now,
            learn_route=sites.learn,
        )
        self.router, self.courier, self._reporter, self._sites = router, courier, reporter, sites
        self.conclusion = conclusion


def calls_within(descriptors: int) -> int:
    """How many hosts may be waited for by a process that may have so many file descriptors open."""
    if descriptors == resource.RLIM_INFINITY:
        return MAX_CALLS
    return max(LEAST_CALLS, min(MAX_CALLS, descriptors // DESCRIPTORS_A_CALL))


def _limits(settings: Settings) -> ScheduleLimits:
    """Destinations are left alone as long as their hosts are."""
    outbound = settings.outbound
    longest_s = max(outbound.dead_host_time, LEAST_PAUSE_S)
    return ScheduleLimits(
        max_deliveries=outbound.max_deliveries,
        max_calls=calls_within(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        pause_s=min(FIRST_PAUSE_S, longest_s),
        max_pause_s=longest_s,
    )
