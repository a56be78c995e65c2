"""What the configuration says about ways: which route is for a domain, its next hops, and how to go there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from harakapy.config import RouteSettings, Settings
from harakapy.mail.domain import to_ascii
from harakapy.outbound.hop import NextHop, Protocol, Target, TlsLevel

__all__ = ["RouteTable", "dns_name"]

_MAX_COMPLETED: Final = 10_000
"""Complete next hops remembered, some 5 MB; they are only kept to spare the making. Picked."""


class RouteTable:
    """The routes of the configuration and its relay host.

    Raises ValueError if a next hop in the settings is none; settings that were loaded have been checked.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._outbound = settings.outbound
        self._rules = {pattern: rule for rule in self._outbound.route for pattern in rule.domains}
        # By identity: settings are compared by value, which takes long.
        self._hops = {id(rule): _hops_of(rule) for rule in self._outbound.route if rule.to is not None}
        relay_host = self._outbound.relay_host
        self._relay = (NextHop.parse(relay_host.get_secret_value()),) if relay_host else ()
        self._completed: dict[tuple[NextHop, int, int], NextHop] = {}
        self._targets = {id(rule): self._known_targets(rule) for rule in (None, *self._outbound.route)}

    def rule(self, domain: str) -> RouteSettings | None:
        """The route that names ``domain``, or else most of its end, or all domains."""
        if not self._rules:
            return None
        name = dns_name(domain) or domain.lower()
        if found := self._rules.get(name):
            return found
        while name := name.partition(".")[2]:
            if found := self._rules.get(f".{name}"):
                return found
        return self._rules.get("*")

    def hops(self, rule: RouteSettings | None) -> tuple[NextHop, ...]:
        """The next hops of a route, or else the relay host; none if the DNS is to say."""
        return self._hops.get(id(rule), self._relay)

    def targets(self, rule: RouteSettings | None) -> tuple[Target, ...]:
        """The complete targets of a route, if all its next hops can be reached without asking the DNS."""
        return self._targets[id(rule)]

    def _known_targets(self, rule: RouteSettings | None) -> tuple[Target, ...]:
        hops = sorted(self.hops(rule), key=lambda hop: hop.preference)
        if not all(hop.is_unix or hop.address for hop in hops):
            return ()
        return tuple(self.complete(Target(hop, hop.host, hop.address), rule) for hop in hops)

    def complete(self, target: Target, rule: RouteSettings | None) -> Target:
        """The target with all said that its next hop left open: level of TLS, our name, our address."""
        version = 0 if target.hop.is_unix else _version(target.address)
        key = (target.hop, version, id(rule))
        hop = self._completed.get(key)
        if hop is None:
            if len(self._completed) >= _MAX_COMPLETED:
                self._completed.clear()
            helo = (rule and rule.helo) or self._outbound.helo or self._settings.hostname
            hop = self._completed[key] = replace(
                target.hop,
                tls=self._level(target.hop, rule),
                helo=target.hop.helo or helo,
                bind=next(
                    (ours for ours in self._sources(target.hop, rule) if _version(ours) == version), ""
                ),
            )
        return Target(hop, target.name, target.address)

    def _level(self, hop: NextHop, rule: RouteSettings | None) -> TlsLevel:
        if hop.is_unix:
            return TlsLevel.NONE  # nobody is between us and a socket of this machine
        level = hop.tls or TlsLevel((rule and rule.tls) or self._outbound.tls)
        if hop.protocol is Protocol.SMTPS and level in (TlsLevel.NONE, TlsLevel.MAY):
            return TlsLevel.ENCRYPT  # the more special word counts
        return level

    def _sources(self, hop: NextHop, rule: RouteSettings | None) -> Iterator[str]:
        if hop.bind:
            yield hop.bind
        yield from rule.bind if rule else ()
        yield from self._outbound.bind


def dns_name(domain: str) -> str | None:
    """A domain as the DNS has it; None if it has no such."""
    try:
        return to_ascii(domain)
    except ValueError:
        return None


def _version(address: str) -> int:
    return 6 if ":" in address else 4


def _hops_of(rule: RouteSettings) -> tuple[NextHop, ...]:
    hops = (NextHop.parse(url.get_secret_value()) for url in rule.to or ())
    return tuple(hop if hop.user or not rule.user else _with_login(hop, rule) for hop in hops)


def _with_login(hop: NextHop, rule: RouteSettings) -> NextHop:
    return replace(
        hop,
        user=rule.user,
        password=rule.password.get_secret_value(),
        token_command=rule.token_command,
        token_file=rule.token_file,
        auth_without_tls=hop.auth_without_tls or rule.auth_without_tls,
    )
