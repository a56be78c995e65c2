"""From the domain of a recipient to the addresses that take its mail, in the order to try them.

Who decides, the first that has an answer: a plugin (`hook_get_mx`), a route of the configuration,
``relay_host``, the DNS. What one of the first three names is taken for what it says, port and order included,
and only its addresses are looked up. What the DNS says is handled by RFC 5321 5.1:

* MX records by preference, equal ones in random order, so that each gets its share;
* without MX records the domain itself is the host; a null MX (RFC 7505) takes no mail;
* IPv6 and IPv4 addresses of a host take turns: if one of the two is broken on the way, the other is next;
* ourselves, and what is not preferred to ourselves, is left out, or mail would go in a loop.

What the DNS denies is permanent, what it does not tell is temporary; as long as one host has an address, the
others matter to nobody. A next hop that was configured is never missing for good: a slip there must not
return mail.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final

from msgspec import Struct

from harakapy.config import RouteSettings, Settings
from harakapy.mail.status import EnhancedStatus
from harakapy.net import MailExchange, NameNotFound, NoData, Resolver, TemporaryDnsError, enter_task
from harakapy.outbound.addresses import Addresses, Found
from harakapy.outbound.attempt import Answer, Phase
from harakapy.outbound.hop import NextHop, Target
from harakapy.outbound.hosts import DeadHosts, OwnHost
from harakapy.outbound.route_table import RouteTable, dns_name

__all__ = ["Route", "Router"]

SMTP_PORT: Final = 25
_MAX_HOSTS: Final = 20
"""Mail exchangers that are looked at; the largest providers have a handful. Picked."""
_MAX_TARGETS: Final = 20
"""Addresses in one route: with 30 s for each, an attempt ends within ten minutes. Picked."""


class Route(Struct, frozen=True):
    """Where to try, the best first; or, if that is nowhere, ``failure``, whose status has its finality.

    Each target's next hop is complete: its ``tls`` and ``helo`` are what holds there, ``bind`` is an address
    of the right IP version or ``""``. ``rule`` is the table of the configuration for it, with its limits.
    ``retry_at`` is set if all that is wrong is that the hosts are dead: when the first of them has another
    chance.
    """

    targets: tuple[Target, ...] = ()
    failure: Answer | None = None
    rule: RouteSettings | None = None
    retry_at: float | None = None

    @property
    def site(self) -> str:
        """What it has in common with other domains that have the same best hosts, whatever their order."""
        if not self.targets:
            return ""
        best = min(target.hop.preference for target in self.targets)
        hosts = {t.name or t.hop.path for t in self.targets if t.hop.preference == best}
        return " ".join(sorted(hosts))


class Router:
    """Finds the way for each domain.

    ``own`` is this host, that must not be sent to; ``dead_hosts`` what is known of hosts that do not answer,
    which the caller keeps up to date; ``rng`` shuffles; ``mx_port`` is where hosts named by the DNS take
    mail, for tests. New settings need a new Router. Raises ValueError for a next hop in them that is none.
    """

    def __init__(
        self,
        settings: Settings,
        resolver: Resolver,
        *,
        own: OwnHost | None = None,
        dead_hosts: DeadHosts | None = None,
        rng: random.Random | None = None,
        mx_port: int = SMTP_PORT,
    ) -> None:
        self._own = OwnHost.of([settings.hostname]) if own is None else own
        # Not `or`: one that knows of no dead host is empty, and false.
        self._dead_hosts = DeadHosts(settings.outbound.dead_host_time) if dead_hosts is None else dead_hosts
        self._rng = rng or random.Random()
        self._mx_port = mx_port
        self._table = RouteTable(settings)
        self._addresses = Addresses(resolver, settings.outbound.ip_version, self._rng)
        self._resolver = resolver

    async def route(
        self, domain: str, *, hops: Sequence[NextHop] = (), now: float, try_dead: bool = False
    ) -> Route:
        """The way for mail to ``domain``, a name in any form or an address literal, at the time ``now``.

        ``hops`` are what a plugin or an operator said instead of all else. With ``try_dead`` dead hosts are
        tried too if there are no others.
        """
        rule = self._table.rule(domain)
        targets = () if hops else self._table.targets(rule)
        if not targets:
            hops = hops or self._table.hops(rule)
            await enter_task()
            try:
                found = await (self._given(hops) if hops else self._by_dns(domain))
            except _NoRoute as reason:
                return Route(failure=reason.answer, rule=rule)
            targets = tuple(self._table.complete(target, rule) for target in found[:_MAX_TARGETS])
        if self._dead_hosts:
            targets = self._dead_hosts.living_first(targets, now)
            if not try_dead and self._dead_hosts.is_dead(targets[0], now):
                return self._all_dead(targets, rule, now)
        return Route(targets, rule=rule)

    def rule(self, domain: str) -> RouteSettings | None:
        """The route of the configuration for ``domain``, if there is one: its limits hold there."""
        return self._table.rule(domain)

    def site(self, domain: str) -> str:
        """What can be said without the DNS of where ``domain`` goes: a configured next hop, or itself.

        Domains with an equal one share hosts, so one set of limits should hold for all of them.
        """
        hops = self._table.hops(self._table.rule(domain))
        return " ".join(map(str, hops)) or dns_name(domain) or domain.lower()

    def _all_dead(self, targets: Sequence[Target], rule: RouteSettings | None, now: float) -> Route:
        times = (self._dead_hosts.dead_until(target, now) for target in targets)
        names = ", ".join(map(str, targets))
        answer = _answer("4.4.1", f"did not answer a while ago, and is not tried again yet: {names}")
        return Route(failure=answer, rule=rule, retry_at=min(time for time in times if time is not None))

    async def _given(self, hops: Iterable[NextHop]) -> tuple[Target, ...]:
        """The targets of next hops that somebody named; those of equal preference stay in their order."""
        ordered = sorted(hops, key=lambda hop: hop.preference)
        found = await self._addresses.of_all(ordered)
        if targets := tuple(chain.from_iterable(each.targets for each in found)):
            return targets
        status = "4.4.3" if any(each.is_unsure for each in found) else "4.4.4"
        raise _NoRoute(status, f"the DNS has no address of {', '.join(hop.host for hop in ordered)}")

    async def _by_dns(self, domain: str) -> tuple[Target, ...]:
        if domain.startswith("["):
            return self._usable(domain, await self._addresses.of_all([self._literal(domain)]))
        name = dns_name(domain)
        if name is None:
            raise _NoRoute("5.1.2", f"{domain} is no domain name")
        exchanges = self._without_ourselves(domain, await self._exchanges(name))
        hops = [hop for exchange in exchanges if (hop := _hop(exchange, self._mx_port))]
        found = await self._addresses.of_all(hops)
        return self._usable(domain, found)

    def _literal(self, domain: str) -> NextHop:
        """The next hop of an address literal, ``[192.0.2.1]`` or ``[IPv6:2001:db8::1]``."""
        try:
            hop = NextHop(host=domain[1:-1].removeprefix("IPv6:"), port=self._mx_port)
        except ValueError:
            hop = None
        if hop is None or not hop.address:
            raise _NoRoute("5.1.2", f"{domain} is no address")
        return hop

    async def _exchanges(self, name: str) -> list[MailExchange]:
        """The hosts for a domain, by preference and shuffled within; without MX records the domain itself."""
        try:
            records = await self._resolver.mx(name)
        except NameNotFound as cause:
            raise _NoRoute("5.1.2", f"there is no domain {name}") from cause
        except NoData:
            return [MailExchange(0, name)]
        except TemporaryDnsError as cause:
            raise _NoRoute("4.4.3", f"the DNS does not tell now where mail for {name} goes") from cause
        named = [record for record in records if record.host]
        if not named:
            raise _NoRoute("5.1.10", f"{name} takes no mail (null MX)")
        self._rng.shuffle(named)
        return sorted(named, key=lambda record: record.preference)

    def _without_ourselves(self, domain: str, exchanges: list[MailExchange]) -> list[MailExchange]:
        ours = (each.preference for each in exchanges if self._own.has_name(each.host))
        limit = min(ours, default=math.inf)
        left = [each for each in exchanges if each.preference < limit]
        if not left:
            raise _loop(domain)
        return left[:_MAX_HOSTS]

    def _usable(self, domain: str, found: Sequence[Found]) -> tuple[Target, ...]:
        """All targets found but our own addresses, and what is not preferred to them."""
        targets = _each_once(target for each in found for target in each.targets)
        ours = (t.hop.preference for t in targets if self._own.is_at(t.address, t.port))
        limit = min(ours, default=math.inf)
        if left := tuple(target for target in targets if target.hop.preference < limit):
            return left
        if any(each.is_unsure and each.hop.preference < limit for each in found):
            raise _NoRoute("4.4.3", f"the DNS does not tell now the addresses of the hosts for {domain}")
        if targets:
            raise _loop(domain)
        if [each.hop.host for each in found] == [dns_name(domain)]:
            raise _NoRoute("5.1.2", f"{domain} has neither a mail exchanger nor an address")
        raise _NoRoute("5.4.4", f"no mail exchanger of {domain} has an address")


class _NoRoute(Exception):
    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.answer = _answer(status, text)


def _loop(domain: str) -> _NoRoute:
    return _NoRoute("5.4.6", f"mail for {domain} would come back to this host")


def _answer(status: str, text: str) -> Answer:
    return Answer(Phase.LOOKUP, text=text, status=EnhancedStatus.parse(status))


def _hop(exchange: MailExchange, port: int) -> NextHop | None:
    """The next hop that an MX record names; None for an address, which RFC 5321 5.1 forbids, or worse."""
    try:
        hop = NextHop(host=exchange.host, port=port, preference=exchange.preference)
    except ValueError:
        return None
    return None if hop.address else hop


def _each_once(targets: Iterable[Target]) -> list[Target]:
    """The first target at each address: several names may mean the same host."""
    first: dict[tuple[str, int], Target] = {}
    for target in targets:
        first.setdefault(target.place, target)
    return list(first.values())
