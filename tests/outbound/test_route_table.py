"""Ways that the configuration or a plugin names."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from harakapy.config import Settings
from harakapy.outbound.hop import NextHop, Protocol, TlsLevel
from harakapy.outbound.hosts import OwnHost
from harakapy.outbound.route import Router
from harakapy.testing import FakeDns


@pytest.fixture
async def dns() -> AsyncIterator[FakeDns]:
    async with FakeDns().running() as dns:
        dns.add("a.example", "A", "192.0.2.1").add("relay.example", "A", "192.0.2.2")
        yield dns.add("relay.example", "AAAA", "2001:db8::2")


def router(dns: FakeDns, *routes: dict[str, Any], **outbound: Any) -> Router:
    settings = Settings.default(hostname="ours.example", outbound={**outbound, "route": list(routes)})
    return Router(settings, dns.resolver(), own=OwnHost.of(["ours.example"], [("127.0.0.1", 25)]))


async def places(finder: Router, domain: str, **keywords: Any) -> list[str]:
    return [str(target) for target in (await finder.route(domain, now=0, **keywords)).targets]


@pytest.mark.parametrize(
    ("domain", "rule"),
    [
        ("a.example", "exact"),
        ("A.Example", "exact"),
        ("b.a.example", "below a"),
        ("c.b.a.example", "below b"),
        ("b.example", "below example"),
        ("example", "rest"),
        ("bücher.test", "unicode"),
        ("xn--bcher-kva.test", "unicode"),
        ("[192.0.2.9]", "literal"),
        ("[IPv6:2001:db8::9]", "literal"),
        ("[192.0.2.8]", "rest"),
    ],
)
def test_the_most_exact_route_counts(domain: str, rule: str) -> None:
    patterns = {
        "rest": ["*"],
        "below example": [".example"],
        "exact": ["a.example"],
        "below a": [".a.example"],
        "below b": [".b.a.example"],
        "unicode": ["Bücher.test"],
        "literal": ["[192.0.2.9]", "[IPv6:2001:db8::9]"],
    }
    routes = [
        {"domains": domains, "helo": f"{name.replace(' ', '-')}.test"} for name, domains in patterns.items()
    ]
    found = router(FakeDns(address="127.0.0.1:1"), *routes).rule(domain)
    assert found is not None
    assert found.helo == f"{rule.replace(' ', '-')}.test"


def test_without_a_route_for_it_a_domain_has_none() -> None:
    finder = router(FakeDns(address="127.0.0.1:1"), {"domains": [".a.example"]})
    assert finder.rule("a.example") is None
    assert finder.rule("xa.example") is None


async def test_all_mail_goes_to_the_relay_host(dns: FakeDns) -> None:
    finder = router(dns, relay_host="smtp://me:secret@relay.example:587")
    expected = ["relay.example[2001:db8::2]:587", "relay.example[192.0.2.2]:587"]
    assert await places(finder, "a.example") == expected
    assert await places(finder, "no..domain") == expected
    assert (await finder.route("x", now=0)).targets[0].hop.password == "secret"
    assert not any(type_ == "MX" for _, type_, _ in dns.queries)


async def test_a_route_goes_before_the_relay_host(dns: FakeDns) -> None:
    finder = router(
        dns,
        {"domains": ["a.example"], "to": ["lmtp:///run/lmtp", "[192.0.2.3]:26"]},
        {"domains": ["b.example"], "tls": "verify"},
        {"domains": [".a.example"], "to": []},
        relay_host="[192.0.2.4]",
    )
    assert await places(finder, "a.example") == ["/run/lmtp", "[192.0.2.3]:26"]
    assert await places(finder, "b.example") == ["[192.0.2.4]"]
    assert await places(finder, "c.example") == ["[192.0.2.4]"]
    dns.add("b.a.example", "A", "192.0.2.5")
    assert await places(finder, "b.a.example") == ["b.a.example[192.0.2.5]"]


async def test_what_a_plugin_names_goes_before_all_else(dns: FakeDns) -> None:
    finder = router(dns, {"domains": ["a.example"], "to": "[192.0.2.3]"}, relay_host="[192.0.2.4]")
    hops = [
        NextHop.parse(text)
        for text in ("[192.0.2.7]?preference=20", "[192.0.2.6]", "[192.0.2.5]", "[192.0.2.8]?preference=10")
    ]
    assert await places(finder, "a.example", hops=hops) == [
        "[192.0.2.6]",
        "[192.0.2.5]",
        "[192.0.2.8]",
        "[192.0.2.7]",
    ]


async def test_a_next_hop_that_is_missing_is_temporary(dns: FakeDns) -> None:
    finder = router(dns, relay_host="gone.example")
    failure = (await finder.route("a.example", now=0)).failure
    assert failure is not None
    assert (str(failure.status), failure.text) == ("4.4.4", "the DNS has no address of gone.example")
    dns.failing.add("down.example")
    failure = (await finder.route("a.example", hops=[NextHop.parse("down.example")], now=0)).failure
    assert failure is not None
    assert str(failure.status) == "4.4.3"


async def test_a_next_hop_that_was_named_may_be_this_machine(dns: FakeDns) -> None:
    assert await places(router(dns, relay_host="smtp://127.0.0.1:25"), "a.example") == ["[127.0.0.1]"]


async def test_next_hops_are_completed_by_route_and_server(dns: FakeDns) -> None:
    finder = router(
        dns,
        {
            "domains": ["a.example"],
            "to": "relay.example",
            "tls": "verify",
            "helo": "h.example",
            "bind": ["::9"],
        },
        {"domains": ["b.example"], "to": "relay.example?tls=none&helo=own.example&bind=192.0.2.200"},
        {"domains": ["c.example"], "to": "relay.example"},
        tls="encrypt",
        helo="server.example",
        bind=["192.0.2.100", "2001:db8::100"],
    )

    async def said(domain: str) -> list[tuple[TlsLevel | None, str, str]]:
        targets = (await finder.route(domain, now=0)).targets
        return [(target.hop.tls, target.hop.helo, target.hop.bind) for target in targets]

    verify, none, encrypt = TlsLevel.VERIFY, TlsLevel.NONE, TlsLevel.ENCRYPT
    assert await said("a.example") == [
        (verify, "h.example", "::9"),
        (verify, "h.example", "192.0.2.100"),
    ]
    assert await said("b.example") == [
        (none, "own.example", "2001:db8::100"),
        (none, "own.example", "192.0.2.200"),
    ]
    assert await said("c.example") == [
        (encrypt, "server.example", "2001:db8::100"),
        (encrypt, "server.example", "192.0.2.100"),
    ]


async def test_hosts_named_by_the_dns_get_the_policy_of_the_route_and_no_login(dns: FakeDns) -> None:
    finder = router(dns, {"domains": ["a.example"], "tls": "verify"})
    (target,) = (await finder.route("a.example", now=0)).targets
    assert (target.hop.tls, target.hop.helo, target.hop.bind) == (TlsLevel.VERIFY, "ours.example", "")
    assert target.hop.user == ""


@pytest.mark.parametrize(
    ("url", "tls", "level"),
    [
        ("unix:/run/lmtp", "verify", TlsLevel.NONE),
        ("smtps://[192.0.2.1]", "may", TlsLevel.ENCRYPT),
        ("smtps://[192.0.2.1]", "none", TlsLevel.ENCRYPT),
        ("smtps://[192.0.2.1]", "verify", TlsLevel.VERIFY),
        ("lmtp://[192.0.2.1]", "may", TlsLevel.MAY),
    ],
)
async def test_tls_fits_the_protocol(url: str, tls: str, level: TlsLevel) -> None:
    finder = router(FakeDns(address="127.0.0.1:1"), relay_host=url, tls=tls)
    (target,) = (await finder.route("a.example", now=0)).targets
    assert target.hop.tls is level


async def test_the_login_of_a_route_is_for_hosts_without_one(dns: FakeDns) -> None:
    finder = router(
        dns,
        {
            "domains": ["a.example"],
            "to": ["smtp://[192.0.2.1]", "smtp://other:word@[192.0.2.2]"],
            "user": "me",
            "password": "secret",
            "token_command": ["token"],
            "token_file": "/token",
            "auth_without_tls": True,
        },
    )
    one, other = [target.hop for target in (await finder.route("a.example", now=0)).targets]
    assert (one.user, one.password, one.token_command, one.token_file) == (
        "me",
        "secret",
        ("token",),
        Path("/token"),
    )
    assert one.auth_without_tls
    assert (other.user, other.password, other.token_file, other.auth_without_tls) == (
        "other",
        "word",
        None,
        False,
    )


async def test_the_route_that_was_used_is_told_for_its_limits(dns: FakeDns) -> None:
    finder = router(dns, {"domains": ["a.example"], "connections": 3})
    route = await finder.route("a.example", now=0)
    assert route.rule is not None
    assert route.rule.connections == 3
    assert (await finder.route("gone.example", now=0)).rule is None


def test_domains_with_one_next_hop_share_a_site() -> None:
    routes: list[dict[str, Any]] = [
        {"domains": ["a.example", "b.example"], "to": "smtp://me:secret@relay.example:587"},
        {"domains": ["c.example"], "to": ["lmtp:///run/lmtp", "relay.example"]},
    ]
    finder = router(FakeDns(address="127.0.0.1:1"), *routes)
    assert finder.site("a.example") == finder.site("b.example") == "smtp://me@relay.example:587"
    assert finder.site("c.example") == "lmtp:///run/lmtp smtp://relay.example"
    assert finder.site("Other.Example.") == "other.example"
    assert finder.site("[192.0.2.1]") == "[192.0.2.1]"


def test_a_wrong_next_hop_in_the_settings_is_an_error_of_ours() -> None:
    with pytest.raises(ValueError, match="begins with http://"):
        router(FakeDns(address="127.0.0.1:1"), relay_host="http://relay.example")


async def test_the_site_of_a_unix_socket_is_its_path() -> None:
    finder = router(FakeDns(address="127.0.0.1:1"), relay_host="unix:/run/lmtp")
    route = await finder.route("a.example", now=0)
    assert route.site == "/run/lmtp"
    assert route.targets[0].hop.protocol is Protocol.LMTP
