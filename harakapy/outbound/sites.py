"""Which destinations share hosts, and what these are to bear."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, TypeVar

from harakapy.config import OutboundSettings, RouteSettings
from harakapy.outbound.destination import DestinationLimits, Rate
from harakapy.outbound.route import Route, Router

__all__ = ["Sites"]

_Value = TypeVar("_Value")

_REMEMBERED: Final = 10_000
"""Destinations and sites that are remembered, some 2 MB; what is forgotten is learnt again. Picked."""


class Sites:
    """Names the site of each destination, for the schedule, and gives its limits.

    Where a next hop is configured the destination's site is that. Else it is the domain itself until its
    hosts are known, and then these, so that a provider with a thousand domains is one site.
    """

    def __init__(self, settings: OutboundSettings, router: Router) -> None:
        self._settings = settings
        self._router = router
        self._learnt: OrderedDict[str, str] = OrderedDict()
        self._rules: OrderedDict[str, RouteSettings | None] = OrderedDict()

    def site_of(self, destination: str) -> str:
        """The name of a destination's site."""
        site = self._learnt.get(destination)
        if site is not None:
            return site
        site = self._configured(destination)
        if site not in self._rules:
            rule = None if _is_next_hop(destination) else self._router.rule(destination)
            _remember(self._rules, site, rule)
        return site

    def learn(self, destination: str, route: Route) -> None:
        """Take note of where mail for a destination went, if it was not configured."""
        if route.site and self._configured(destination) == destination:
            _remember(self._learnt, destination, route.site)
            _remember(self._rules, route.site, route.rule)

    def limits_for(self, site: str) -> DestinationLimits:
        """What a site is to bear: what its route says, or else the server."""
        settings, rule = self._settings, self._rules.get(site)
        rate = rule.rate if rule is not None and rule.rate is not None else settings.rate
        connections = settings.max_connections_per_destination
        if rule is not None and rule.connections is not None:
            connections = rule.connections
        return DestinationLimits(connections=connections, rate=Rate(rate.count, rate.per_s) if rate else None)

    def _configured(self, destination: str) -> str:
        return destination if _is_next_hop(destination) else self._router.site(destination)


def _is_next_hop(destination: str) -> bool:
    """Whether a destination is a next hop that an operator or a plugin named, and not a domain."""
    return "/" in destination


def _remember(memory: OrderedDict[str, _Value], key: str, value: _Value) -> None:
    memory[key] = value
    if len(memory) > _REMEMBERED:
        memory.popitem(last=False)
