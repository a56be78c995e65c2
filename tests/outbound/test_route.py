"""The way for a domain by the DNS: RFC 5321 5.1, RFC 7505."""

import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from harakapy.config import Settings
from harakapy.net import Resolver
from harakapy.outbound.attempt import Phase
from harakapy.outbound.hop import NextHop
from harakapy.outbound.hosts import DeadHosts, OwnHost
from harakapy.outbound.route import Route, Router
from harakapy.testing import FakeDns

OURSELVES = "mail.ours.example"


@pytest.fixture
async def dns() -> AsyncIterator[FakeDns]:
    async with FakeDns().running() as dns:
        yield dns


def router(dns: FakeDns, **keywords: Any) -> Router:
    outbound = keywords.pop("outbound", {})
    settings = Settings.default(hostname=OURSELVES, outbound=outbound)
    return Router(settings, dns.resolver(), rng=random.Random(1), **keywords)


def hosts_of(route: Route) -> list[str]:
    return [str(target) for target in route.targets]


def failure_of(route: Route) -> tuple[str, str]:
    assert route.targets == ()
    assert route.failure is not None
    assert route.failure.phase is Phase.LOOKUP
    assert route.failure.reply is None
    return str(route.failure.status), route.failure.text


def add_hosts(dns: FakeDns, **addresses: str) -> None:
    for name, address in addresses.items():
        dns.add(f"{name}.example", "AAAA" if ":" in address else "A", address)


async def test_hosts_come_by_preference(dns: FakeDns) -> None:
    dns.add("a.example", "MX", "30 three.example", "10 one.example", "20 two.example")
    add_hosts(dns, one="192.0.2.1", two="192.0.2.2", three="192.0.2.3")
    route = await router(dns).route("a.example", now=0)
    assert hosts_of(route) == ["one.example[192.0.2.1]", "two.example[192.0.2.2]", "three.example[192.0.2.3]"]
    assert [target.hop.preference for target in route.targets] == [10, 20, 30]
    assert {target.port for target in route.targets} == {25}
    assert route.site == "one.example"


async def test_hosts_of_equal_preference_get_equal_shares(dns: FakeDns) -> None:
    dns.add("a.example", "MX", "10 one.example", "10 two.example", "10 three.example", "20 four.example")
    add_hosts(dns, one="192.0.2.1", two="192.0.2.2", three="192.0.2.3", four="192.0.2.4")
    finder = router(dns)
    orders = Counter(
        [tuple(t.name[:2] for t in (await finder.route("a.example", now=0)).targets) for _ in range(600)]
    )
    assert len(orders) == 6
    assert all(60 < count < 140 for count in orders.values())
    assert {order[3] for order in orders} == {"fo"}


async def test_addresses_of_both_versions_take_turns(dns: FakeDns) -> None:
    dns.add("a.example", "MX", "0 one.example")
    dns.add("one.example", "A", "192.0.2.1", "192.0.2.2", "192.0.2.3").add(
        "one.example", "AAAA", "2001:db8::1"
    )
    addresses = [target.address for target in (await router(dns).route("a.example", now=0)).targets]
    assert addresses[0] == "2001:db8::1"
    assert sorted(addresses[1:]) == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]


async def test_addresses_of_one_host_get_equal_shares(dns: FakeDns) -> None:
    dns.add("a.example", "A", "192.0.2.1", "192.0.2.2")
    finder = router(dns)
    first = Counter([(await finder.route("a.example", now=0)).targets[0].address for _ in range(200)])
    assert set(first) == {"192.0.2.1", "192.0.2.2"}
    assert min(first.values()) > 60


@pytest.mark.parametrize(("version", "address"), [("4", "192.0.2.1"), ("6", "2001:db8::1")])
async def test_one_version_of_addresses_may_be_enough(dns: FakeDns, version: str, address: str) -> None:
    dns.add("a.example", "A", "192.0.2.1").add("a.example", "AAAA", "2001:db8::1")
    route = await router(dns, outbound={"ip_version": version}).route("a.example", now=0)
    assert [target.address for target in route.targets] == [address]
    assert len(dns.queries) == 2


async def test_a_domain_without_mail_exchangers_is_its_own_host(dns: FakeDns) -> None:
    dns.add("a.example", "A", "192.0.2.1")
    assert hosts_of(await router(dns).route("A.Example", now=0)) == ["a.example[192.0.2.1]"]


async def test_a_null_mx_takes_no_mail_at_once(dns: FakeDns) -> None:
    dns.add("a.example", "MX", "0 .").add("a.example", "A", "192.0.2.1")
    assert failure_of(await router(dns).route("a.example", now=0)) == (
        "5.1.10",
        "a.example takes no mail (null MX)",
    )


async def test_a_null_mx_beside_others_does_not_count(dns: FakeDns) -> None:
    dns.add("a.example", "MX", "0 .", "10 one.example")
    add_hosts(dns, one="192.0.2.1")
    assert hosts_of(await router(dns).route("a.example", now=0)) == ["one.example[192.0.2.1]"]


async def test_a_domain_that_does_not_exist_is_permanent(dns: FakeDns) -> None:
    assert failure_of(await router(dns).route("a.example", now=0)) == (
        "5.1.2",
        "there is no domain a.example",
    )


@pytest.mark.parametrize("domain", ["a..b", "x" * 64 + ".example", "[1.2.3]", "[a.example]", "[]", ""])
async def test_what_is_no_domain_is_permanent(dns: FakeDns, domain: str) -> None:
    assert failure_of(await router(dns).route(domain, now=0))[0] == "5.1.2"
    assert not dns.queries


async def test_a_domain_with_neither_mail_exchanger_nor_address_is_permanent(dns: FakeDns) -> None:
    dns.add("a.example", "TXT", '"x"')
    assert failure_of(await router(dns).route("a.example", now=0))[0] == "5.1.2"


async def test_mail_exchangers_without_addresses_are_permanent(dns: FakeDns) -> None:
    dns.add("a.example", "MX", "10 gone.example", "20 empty.example", "30 192.0.2.7", r"40 a\010b.example")
    dns.add("empty.example", "TXT", '"x"').add("192.0.2.7", "A", "192.0.2.7")
    assert failure_of(await router(dns).route("a.example", now=0)) == (
        "5.4.4",
        "no mail exchanger of a.example has an address",
    )


@pytest.mark.parametrize("name", [("a.example", "MX"), ("one.example", "A"), ("one.example", "AAAA")])
@pytest.mark.parametrize("way", ["failing", "nonsense", "silent"])
async def test_what_the_dns_does_not_tell_is_temporary(
    dns: FakeDns, name: tuple[str, str], way: str, autojump_clock: MockClock
) -> None:
    dns.add("a.example", "MX", "10 one.example", "20 gone.example").add("one.example", "TXT", '"x"')
    getattr(dns, way).add(name)
    assert failure_of(await router(dns).route("a.example", now=0))[0] == "4.4.3"


async def test_a_temporary_failure_after_no_mx_is_not_permanent(dns: FakeDns) -> None:
    dns.add("a.example", "TXT", '"x"').failing.add(("a.example", "AAAA"))
    assert failure_of(await router(dns).route("a.example", now=0))[0] == "4.4.3"


async def test_no_name_server_at_all_is_temporary(autojump_clock: MockClock) -> None:
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as unused:
        await unused.bind(("127.0.0.1", 0))
        resolver = Resolver([f"127.0.0.1:{unused.getsockname()[1]}"], timeout_s=1)
        route = await Router(Settings.default(), resolver).route("a.example", now=0)
    assert failure_of(route)[0] == "4.4.3"


@pytest.mark.parametrize("trouble", ["failing", "missing"])
async def test_trouble_with_one_host_is_none_while_others_have_addresses(dns: FakeDns, trouble: str) -> None:
    dns.add("a.example", "MX", "10 one.example", "20 two.example")
    add_hosts(dns, two="192.0.2.2")
    if trouble == "failing":
        dns.failing.add("one.example")
    assert hosts_of(await router(dns).route("a.example", now=0)) == ["two.example[192.0.2.2]"]


async def test_one_version_of_addresses_is_enough_when_the_other_fails(dns: FakeDns) -> None:
    dns.add("a.example", "A", "192.0.2.1").failing.add(("a.example", "AAAA"))
    assert hosts_of(await router(dns).route("a.example", now=0)) == ["a.example[192.0.2.1]"]


async def test_addresses_that_nobody_has_are_left_out(dns: FakeDns) -> None:
    dns.add("a.example", "A", "0.0.0.0", "224.0.0.1").add("a.example", "AAAA", "::", "ff02::1")
    assert failure_of(await router(dns).route("a.example", now=0))[0] == "5.1.2"


@pytest.mark.parametrize("name", ["mail.ours.example", "MAIL.ours.example"])
async def test_ourselves_and_what_is_not_preferred_to_us_is_cut_off(dns: FakeDns, name: str) -> None:
    dns.add("a.example", "MX", "10 one.example", f"20 {name}", "20 two.example", "30 three.example")
    add_hosts(dns, one="192.0.2.1", two="192.0.2.2", three="192.0.2.3")
    assert hosts_of(await router(dns).route("a.example", now=0)) == ["one.example[192.0.2.1]"]


async def test_our_address_is_ours_under_any_name(dns: FakeDns) -> None:
    dns.add("a.example", "MX", "10 one.example", "20 alias.example", "30 three.example")
    add_hosts(dns, one="192.0.2.1", alias="198.51.100.1", three="192.0.2.3")
    own = OwnHost.of([OURSELVES], [("198.51.100.1", 25)])
    assert hosts_of(await router(dns, own=own).route("a.example", now=0)) == ["one.example[192.0.2.1]"]
    elsewhere = OwnHost.of([OURSELVES], [("198.51.100.1", 2525)])
    assert len((await router(dns, own=elsewhere).route("a.example", now=0)).targets) == 3


@pytest.mark.parametrize("domain", [OURSELVES, "a.example", "alias.example", "[198.51.100.1]"])
async def test_mail_that_would_come_back_is_permanent(dns: FakeDns, domain: str) -> None:
    dns.add("a.example", "MX", f"10 {OURSELVES}", "20 other.example").add(OURSELVES, "A", "198.51.100.1")
    add_hosts(dns, alias="198.51.100.1", other="192.0.2.1")
    own = OwnHost.of([OURSELVES], [("198.51.100.1", 25)])
    assert failure_of(await router(dns, own=own).route(domain, now=0)) == (
        "5.4.6",
        f"mail for {domain} would come back to this host",
    )


async def test_a_better_host_that_the_dns_does_not_tell_is_waited_for(dns: FakeDns) -> None:
    dns.add("a.example", "MX", "10 better.example", "20 alias.example").failing.add("better.example")
    add_hosts(dns, alias="198.51.100.1")
    own = OwnHost.of([OURSELVES], [("198.51.100.1", 25)])
    assert failure_of(await router(dns, own=own).route("a.example", now=0))[0] == "4.4.3"


async def test_a_worse_host_that_the_dns_does_not_tell_is_not_waited_for(dns: FakeDns) -> None:
    dns.add("a.example", "MX", "10 alias.example", "20 worse.example").failing.add("worse.example")
    add_hosts(dns, alias="198.51.100.1")
    own = OwnHost.of([OURSELVES], [("198.51.100.1", 25)])
    assert failure_of(await router(dns, own=own).route("a.example", now=0))[0] == "5.4.6"


@pytest.mark.parametrize(
    ("domain", "address"), [("[192.0.2.1]", "192.0.2.1"), ("[IPv6:2001:db8::1]", "2001:db8::1")]
)
async def test_a_literal_is_its_own_host(dns: FakeDns, domain: str, address: str) -> None:
    assert hosts_of(await router(dns).route(domain, now=0)) == [f"[{address}]"]
    assert not dns.queries


async def test_a_domain_in_unicode_is_looked_up_in_ascii(dns: FakeDns) -> None:
    dns.add("xn--bcher-kva.example", "A", "192.0.2.1")
    assert hosts_of(await router(dns).route("bücher.example", now=0)) == ["xn--bcher-kva.example[192.0.2.1]"]


async def test_no_more_targets_than_an_attempt_can_try(dns: FakeDns) -> None:
    for number in range(30):
        dns.add("a.example", "MX", f"{number} h{number}.example")
        dns.add(f"h{number}.example", "A", *(f"192.0.{number}.{last}" for last in range(1, 30)))
    route = await router(dns).route("a.example", now=0)
    assert [target.name for target in route.targets] == ["h0.example"] * 8 + ["h1.example"] * 8 + [
        "h2.example"
    ] * 4


async def test_one_address_is_tried_once(dns: FakeDns) -> None:
    dns.add("a.example", "MX", "10 one.example", "20 two.example")
    add_hosts(dns, one="192.0.2.1", two="192.0.2.1")
    assert hosts_of(await router(dns).route("a.example", now=0)) == ["one.example[192.0.2.1]"]


async def test_dead_hosts_are_tried_last(dns: FakeDns) -> None:
    dns.add("a.example", "MX", "10 one.example", "20 two.example")
    add_hosts(dns, one="192.0.2.1", two="192.0.2.2")
    dead = DeadHosts()
    finder = router(dns, dead_hosts=dead)
    first, second = (await finder.route("a.example", now=0)).targets
    dead.failed(first, 0)
    assert (await finder.route("a.example", now=1)).targets == (second, first)
    assert (await finder.route("a.example", now=60)).targets == (first, second)


async def test_when_all_hosts_are_dead_mail_waits_for_the_first_of_them(dns: FakeDns) -> None:
    dns.add("a.example", "MX", "10 one.example", "20 two.example")
    add_hosts(dns, one="192.0.2.1", two="192.0.2.2")
    dead = DeadHosts()
    finder = router(dns, dead_hosts=dead)
    first, second = (await finder.route("a.example", now=0)).targets
    dead.failed(first, 10)
    dead.failed(second, 0)
    route = await finder.route("a.example", now=30)
    assert failure_of(route) == (
        "4.4.1",
        "did not answer a while ago, and is not tried again yet: "
        "one.example[192.0.2.1], two.example[192.0.2.2]",
    )
    assert route.retry_at == 60
    assert len((await finder.route("a.example", now=30, try_dead=True)).targets) == 2
    assert (await finder.route("a.example", now=60)).targets == (second, first)


async def test_equal_routes_have_the_same_next_hop_objects(dns: FakeDns) -> None:
    dns.add("a.example", "A", "192.0.2.1").add("a.example", "AAAA", "2001:db8::1")
    finder = router(dns)
    one, other = [await finder.route("a.example", now=0) for _ in range(2)]
    assert one == other
    assert [a.hop is b.hop for a, b in zip(one.targets, other.targets, strict=True)] == [True, True]


async def test_domains_with_the_same_best_hosts_share_a_site(dns: FakeDns) -> None:
    dns.add("a.example", "MX", "10 one.example", "10 two.example", "20 three.example")
    dns.add("b.example", "MX", "5 two.example", "5 one.example")
    add_hosts(dns, one="192.0.2.1", two="192.0.2.2", three="192.0.2.3")
    finder = router(dns)
    sites = {(await finder.route(domain, now=0)).site for domain in ("a.example", "b.example")}
    assert sites == {"one.example two.example"}
    assert Route().site == ""


async def test_where_hosts_take_mail_can_be_set_for_tests(dns: FakeDns) -> None:
    dns.add("a.example", "A", "127.0.0.1")
    (target,) = (await router(dns, mx_port=2525).route("a.example", now=0)).targets
    assert target.hop.port == 2525
    assert isinstance(target.hop, NextHop)
