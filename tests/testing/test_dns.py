"""The name server that harakapy.testing has for authors of tests."""

import pytest
from trio.testing import MockClock

from harakapy.net import MailExchange, NameNotFound, NoData, TemporaryDnsError
from harakapy.testing import FakeDns


async def test_records_are_served_as_they_were_added() -> None:
    table = FakeDns().add("Example.com.", "MX", "10 mx.example.com", "0 first.example.com.")
    async with table.add("mx.example.com", "AAAA", "2001:db8::1").running() as fake_dns:
        resolver = fake_dns.resolver()
        assert await resolver.mx("example.com") == (
            MailExchange(0, "first.example.com"),
            MailExchange(10, "mx.example.com"),
        )
        assert await resolver.aaaa("mx.example.com") == ("2001:db8::1",)
        assert fake_dns.queries["example.com", "MX", "udp"] == 1


async def test_what_is_not_there_is_told_apart() -> None:
    async with FakeDns().add("a.example", "A", "192.0.2.1").running() as fake_dns:
        with pytest.raises(NameNotFound):
            await fake_dns.resolver().a("b.example")
        with pytest.raises(NoData):
            await fake_dns.resolver().aaaa("a.example")


async def test_one_type_of_records_may_fail_alone() -> None:
    table = FakeDns(failing={("a.example", "AAAA")}).add("a.example", "A", "192.0.2.1")
    async with table.running() as fake_dns:
        assert await fake_dns.resolver().a("a.example") == ("192.0.2.1",)
        with pytest.raises(TemporaryDnsError):
            await fake_dns.resolver().aaaa("a.example")


async def test_silence_is_as_long_as_a_timeout(autojump_clock: MockClock) -> None:
    async with FakeDns(silent={"a.example"}).running() as fake_dns:
        with pytest.raises(TemporaryDnsError, match="no answer within"):
            await fake_dns.resolver().a("a.example")


async def test_aliases_lead_to_other_names() -> None:
    table = FakeDns().add("a.example", "CNAME", "b.example").add("b.example", "CNAME", "c.example.")
    async with table.add("c.example", "A", "192.0.2.1").running() as fake_dns:
        assert await fake_dns.resolver().a("a.example") == ("192.0.2.1",)
        with pytest.raises(NoData):
            await fake_dns.resolver().mx("a.example")


def test_a_resolver_needs_a_server_that_runs() -> None:
    with pytest.raises(AssertionError, match="does not run yet"):
        FakeDns().resolver()
