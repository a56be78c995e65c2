"""Which destinations share hosts, and what these are to bear."""

from __future__ import annotations

from typing import Any

import pytest
import trio.testing

from harakapy import Settings
from harakapy.net import Resolver
from harakapy.outbound import sites as module
from harakapy.outbound.destination import DestinationLimits, Rate
from harakapy.outbound.hop import NextHop, Target
from harakapy.outbound.route import Route, Router
from harakapy.outbound.sites import Sites


@pytest.fixture(autouse=True)
async def _in_trio() -> None:
    """A resolver is made inside trio."""
    await trio.lowlevel.checkpoint()


def sites(**outbound: Any) -> Sites:
    settings = Settings.default(hostname="mail.ours.example", outbound=outbound)
    return Sites(settings.outbound, Router(settings, Resolver()))


def to(*names: str, preference: int = 10) -> Route:
    return Route(
        tuple(Target(NextHop(host=name, preference=preference), name, "192.0.2.1") for name in names)
    )


async def test_a_domain_is_a_site_of_its_own_until_its_hosts_are_known() -> None:
    found = sites()
    assert found.site_of("a.example") == "a.example"
    found.learn("a.example", to("mx2.example", "mx1.example"))
    found.learn("b.example", to("mx1.example", "mx2.example"))
    assert found.site_of("a.example") == found.site_of("b.example") == "mx1.example mx2.example"


async def test_a_domain_that_moves_is_learnt_anew() -> None:
    found = sites()
    found.learn("a.example", to("old.example"))
    found.learn("a.example", to("new.example"))
    assert found.site_of("a.example") == "new.example"


async def test_a_route_without_hosts_teaches_nothing() -> None:
    found = sites()
    found.learn("a.example", Route())
    assert found.site_of("a.example") == "a.example"


async def test_all_that_goes_by_a_relay_host_is_one_site_whatever_its_addresses() -> None:
    found = sites(relay_host="smtp://relay.example")
    site = found.site_of("a.example")
    found.learn("a.example", to("other.example"))
    assert found.site_of("a.example") == found.site_of("b.example") == site


async def test_a_next_hop_of_an_operator_joins_the_site_of_its_hosts() -> None:
    found = sites()
    assert found.site_of("smtp://mx.example") == "smtp://mx.example"
    found.learn("smtp://mx.example", to("mx.example"))
    assert found.site_of("smtp://mx.example") == "mx.example"


async def test_a_site_bears_what_its_route_says_and_else_what_the_server_says() -> None:
    found = sites(
        max_connections_per_destination=7,
        rate="5/1s",
        route=[
            {"domains": ["slow.example"], "connections": 1, "rate": "10/1m"},
            {"domains": ["some.example"], "to": "smtp://relay.example", "connections": 3},
        ],
    )
    assert found.limits_for(found.site_of("a.example")) == DestinationLimits(connections=7, rate=Rate(5, 1))
    assert found.limits_for(found.site_of("slow.example")) == DestinationLimits(
        connections=1, rate=Rate(10, 60)
    )
    assert found.limits_for(found.site_of("some.example")) == DestinationLimits(
        connections=3, rate=Rate(5, 1)
    )


async def test_the_limits_of_a_route_hold_for_the_hosts_that_were_learnt_too() -> None:
    settings = Settings.default(outbound={"route": [{"domains": ["slow.example"], "connections": 1}]})
    router = Router(settings, Resolver())
    found = Sites(settings.outbound, router)
    found.learn("slow.example", Route(to("mx.example").targets, rule=router.rule("slow.example")))
    assert found.limits_for("mx.example").connections == 1


async def test_a_site_in_use_keeps_its_limits_however_many_others_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 10)
    found = sites(route=[{"domains": [".slow.example"], "to": "smtp://relay.example", "connections": 1}])
    found.site_of("first.slow.example")
    for number in range(5):
        found.site_of(f"{number}.other.example")
    site = found.site_of("second.slow.example")
    for number in range(50):
        found.site_of(f"{number}.example")
        assert found.site_of("second.slow.example") == site
        assert found.limits_for(site).connections == 1


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 10)
    found = sites()
    found.learn("a.example", to("mx.example"))
    for number in range(11):
        found.site_of(f"{number}.example")
    assert found.site_of("a.example") == "a.example"  # forgotten, and learnt again by the next delivery
