"""Which destinations share hosts, and what these are to bear."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

from harakapy.config import OutboundSettings, RouteSettings
from harakapy.outbound.destination import DestinationLimits, Rate
from harakapy.outbound.route import Route, Router

__all__ = ["Sites"]

_REMEMBERED: Final = 10_000
"""Destinations and sites that are remembered, some 2 MB; what is forgotten is learnt again. Picked."""


class _Site(NamedTuple):
    name: str
    rule: RouteSettings | None
    is_configured: bool
    """Whether the settings say where it is, so that there is nothing to learn."""


class Sites:
    """Names the site of each destination, for the schedule, and gives its limits.

    Where a next hop is configured the destination's site is that. Else it is the domain itself until its
    hosts are known, and then these, so that a provider with a thousand domains is one site.
    """

    def __init__(self, settings: OutboundSettings, router: Router) -> None:
        self._settings = settings
        self._router = router
        # Both with the last used at the end, so that what is in use is not forgotten.
        self._sites: OrderedDict[str, _Site] = OrderedDict()
        self._rules: OrderedDict[str, RouteSettings | None] = OrderedDict()

    def site_of(self, destination: str) -> str:
        """The name of a destination's site."""
        site = self._sites.get(destination)
        if site is None or site.name not in self._rules:
            site = site or self._configured(destination)
            self._remember(destination, site)
        else:  # asked several times for each message
            self._sites.move_to_end(destination)
            self._rules.move_to_end(site.name)
        return site.name

    def learn(self, destination: str, route: Route) -> None:
        """Take note of where mail for a destination went, if it was not configured."""
        known = self._sites.get(destination) or self._configured(destination)
        name = "" if known.is_configured else route.site
        if name and name != known.name:
            self._remember(destination, _Site(name, route.rule, is_configured=False))

    def limits_for(self, site: str) -> DestinationLimits:
        """What a site is to bear: what its route says, or else the server."""
        settings, rule = self._settings, self._rules.get(site)
        rate = rule.rate if rule is not None and rule.rate is not None else settings.rate
        connections = settings.max_connections_per_destination
        if rule is not None and rule.connections is not None:
            connections = rule.connections
        return DestinationLimits(connections=connections, rate=Rate(rate.count, rate.per_s) if rate else None)

    def _configured(self, destination: str) -> _Site:
        if _is_next_hop(destination):
            return _Site(destination, None, is_configured=False)
        site = self._router.site(destination)
        return _Site(site, self._router.rule(destination), is_configured=site != destination)

    def _remember(self, destination: str, site: _Site) -> None:
        self._sites[destination] = site
        self._sites.move_to_end(destination)
        self._rules[site.name] = site.rule
        self._rules.move_to_end(site.name)
        for memory in (self._sites, self._rules):
            if len(memory) > _REMEMBERED:
                memory.popitem(last=False)


def _is_next_hop(destination: str) -> bool:
    """Whether a destination is a next hop that an operator or a plugin named, and not a domain."""
    return "/" in destination
