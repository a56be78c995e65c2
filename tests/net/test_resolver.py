from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from harakapy.net import (
    DnsError,
    MailExchange,
    NameNotFound,
    NoData,
    Resolver,
    TemporaryDnsError,
)
from harakapy.net.answers import FAILURE_TTL_S, MAX_TTL_S
from harakapy.net.resolver import TIMEOUT_S
from harakapy.net.stub import MAX_RECORDS
from harakapy.testing import FakeDns


@pytest.fixture
async def server(nursery: trio.Nursery) -> FakeDns:
    server = FakeDns()
    await nursery.start(server.serve)
    return server


@pytest.fixture
def resolver(server: FakeDns) -> Resolver:
    return Resolver([server.address])


async def test_addresses_are_found(server: FakeDns, resolver: Resolver) -> None:
    server.records["mail.example", "A"] = ["192.0.2.1", "192.0.2.2"]
    server.records["mail.example", "AAAA"] = ["2001:db8::1"]
    assert sorted(await resolver.a("mail.example")) == ["192.0.2.1", "192.0.2.2"]
    assert await resolver.aaaa("mail.example") == ("2001:db8::1",)


async def test_mail_exchangers_come_by_preference(server: FakeDns, resolver: Resolver) -> None:
    server.records["example.org", "MX"] = ["20 b.example.org.", "10 a.example.org.", "30 c.example.org."]
    assert await resolver.mx("example.org") == (
        MailExchange(10, "a.example.org"),
        MailExchange(20, "b.example.org"),
        MailExchange(30, "c.example.org"),
    )


async def test_the_host_of_a_null_mx_is_empty(server: FakeDns, resolver: Resolver) -> None:
    server.records["nomail.example", "MX"] = ["0 ."]
    assert await resolver.mx("nomail.example") == (MailExchange(0, ""),)


async def test_the_strings_of_a_text_record_are_joined_as_bytes(server: FakeDns, resolver: Resolver) -> None:
    server.records["example.org", "TXT"] = [r'"v=spf1 " "-all\255"']
    assert await resolver.txt("example.org") == (b"v=spf1 -all\xff",)


@pytest.mark.parametrize(
    ("address", "reverse"),
    [
        ("192.0.2.7", "7.2.0.192.in-addr.arpa"),
        ("::ffff:192.0.2.7", "7.2.0.192.in-addr.arpa"),
        ("fe80::1%eth0", "1." + "0." * 28 + "8.e.f.ip6.arpa"),
    ],
)
async def test_an_address_is_asked_for_by_its_reverse_name(
    server: FakeDns, resolver: Resolver, address: str, reverse: str
) -> None:
    server.records[reverse, "PTR"] = ["One.example.", "two.example."]
    assert sorted(await resolver.ptr(address)) == ["One.example", "two.example"]


async def test_what_is_no_address_has_no_reverse_name(resolver: Resolver) -> None:
    with pytest.raises(ValueError):
        await resolver.ptr("mail.example")


async def test_names_in_answers_are_escaped(server: FakeDns, resolver: Resolver) -> None:
    server.records["7.2.0.192.in-addr.arpa", "PTR"] = [r"a\013\010b\027.example."]
    assert await resolver.ptr("192.0.2.7") == (r"a\013\010b\027.example",)


async def test_other_types_are_asked_for_by_their_name(server: FakeDns, resolver: Resolver) -> None:
    server.records["_25._tcp.mx.example", "TLSA"] = ["3 1 0 00ff"]
    (record,) = await resolver.query("_25._tcp.mx.example", "tlsa")
    assert record.to_text() == "3 1 0 00ff"


async def test_aliases_are_followed(server: FakeDns, resolver: Resolver) -> None:
    server.records["www.example", "CNAME"] = ["host.example."]
    server.records["host.example", "A"] = ["192.0.2.3"]
    assert await resolver.a("www.example") == ("192.0.2.3",)


async def test_a_name_in_unicode_is_asked_for_in_ascii(server: FakeDns, resolver: Resolver) -> None:
    server.records["xn--bcher-kva.example", "A"] = ["192.0.2.4"]
    assert await resolver.a("Bücher.example") == ("192.0.2.4",)


async def test_names_differ_neither_by_case_nor_by_a_final_dot(server: FakeDns, resolver: Resolver) -> None:
    server.records["mail.example", "A"] = ["192.0.2.1"]
    for name in ("mail.example", "MAIL.example", "mail.example."):
        assert await resolver.a(name) == ("192.0.2.1",)
    assert server.queries.total() == 1


async def test_a_missing_name_and_missing_records_are_told_apart(server: FakeDns, resolver: Resolver) -> None:
    server.records["mail.example", "A"] = ["192.0.2.1"]
    with pytest.raises(NameNotFound, match=r"other\.example A: no such name"):
        await resolver.a("other.example")
    with pytest.raises(NoData) as caught:
        await resolver.mx("mail.example")
    assert (caught.value.name, caught.value.type) == ("mail.example", "MX")


@pytest.mark.parametrize(
    "name", ["a..b", "x" * 64 + ".example", "a." * 128 + "b", "\\300.example", "é\ud800"]
)
async def test_what_cannot_be_a_name_is_not_found_and_not_asked_for(
    server: FakeDns, resolver: Resolver, name: str
) -> None:
    with pytest.raises(NameNotFound):
        await resolver.a(name)
    assert not server.queries


async def test_a_failing_server_is_a_temporary_error(server: FakeDns, resolver: Resolver) -> None:
    server.failing.add("mail.example")
    with pytest.raises(TemporaryDnsError, match="SERVFAIL"):
        await resolver.a("mail.example")


async def test_nonsense_is_a_temporary_error(
    server: FakeDns, resolver: Resolver, autojump_clock: MockClock
) -> None:
    server.nonsense.add("mail.example")
    with pytest.raises(TemporaryDnsError):
        await resolver.a("mail.example")


async def test_silence_is_a_temporary_error_at_the_timeout(
    server: FakeDns, resolver: Resolver, autojump_clock: MockClock
) -> None:
    server.silent.add("mail.example")
    started = trio.current_time()
    with pytest.raises(TemporaryDnsError, match="no answer within 10 s"):
        await resolver.a("mail.example")
    assert trio.current_time() - started == pytest.approx(TIMEOUT_S)
    assert server.queries["mail.example", "A", "udp"] > 1


async def test_no_server_at_all_is_a_temporary_error(autojump_clock: MockClock) -> None:
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as unused:
        await unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(TemporaryDnsError):
            await Resolver([address], timeout_s=1).a("mail.example")


async def test_a_truncated_answer_is_asked_for_again_over_tcp(server: FakeDns, resolver: Resolver) -> None:
    server.records["mail.example", "A"] = ["192.0.2.1"]
    server.truncating.add("mail.example")
    assert await resolver.a("mail.example") == ("192.0.2.1",)
    assert server.queries["mail.example", "A", "tcp"] == 1


async def test_more_records_than_anyone_needs_are_cut_off(server: FakeDns, resolver: Resolver) -> None:
    server.records["many.example", "A"] = [f"192.0.{n // 250}.{n % 250}" for n in range(3 * MAX_RECORDS)]
    assert len(await resolver.a("many.example")) == MAX_RECORDS


async def test_an_answer_is_remembered_for_its_time_to_live(
    server: FakeDns, resolver: Resolver, autojump_clock: MockClock
) -> None:
    server.records["mail.example", "A"] = ["192.0.2.1"]
    await resolver.a("mail.example")
    server.records["mail.example", "A"] = ["192.0.2.2"]
    autojump_clock.jump(server.ttl_s - 1)
    assert await resolver.a("mail.example") == ("192.0.2.1",)
    autojump_clock.jump(1)
    assert await resolver.a("mail.example") == ("192.0.2.2",)
    assert server.queries["mail.example", "A", "udp"] == 2


async def test_what_is_remembered_can_be_told_before_asking(
    server: FakeDns, resolver: Resolver, autojump_clock: MockClock
) -> None:
    server.records["mail.example", "A"] = ["192.0.2.1"]
    assert not resolver.remembers("mail.example", "A")
    await resolver.a("mail.example")
    assert resolver.remembers("MAIL.example.", "a")
    assert not resolver.remembers("mail.example", "AAAA")
    assert resolver.remembers("localhost", "MX")
    autojump_clock.jump(server.ttl_s)
    assert not resolver.remembers("mail.example", "A")


async def test_no_answer_is_remembered_for_longer_than_a_day(
    server: FakeDns, resolver: Resolver, autojump_clock: MockClock
) -> None:
    server.records["mail.example", "A"] = ["192.0.2.1"]
    server.ttl_s = 10 * int(MAX_TTL_S)
    for _ in range(2):
        await resolver.a("mail.example")
        autojump_clock.jump(MAX_TTL_S)
    assert server.queries["mail.example", "A", "udp"] == 2


async def test_an_answer_that_holds_for_no_time_is_asked_for_each_time(
    server: FakeDns, resolver: Resolver
) -> None:
    server.records["mail.example", "A"] = ["192.0.2.1"]
    server.ttl_s = 0
    for _ in range(3):
        await resolver.a("mail.example")
    assert server.queries["mail.example", "A", "udp"] == 3


async def test_an_answer_too_large_is_given_and_forgotten(server: FakeDns, resolver: Resolver) -> None:
    server.records["big.example", "TXT"] = [f'"{n}{"x" * 200}"' for n in range(60)]
    for _ in range(2):
        assert len(await resolver.txt("big.example")) == 60
    assert server.queries["big.example", "TXT", "udp"] == 2


@pytest.mark.parametrize("name", ["missing.example", "mail.example"])
@pytest.mark.parametrize("ttl_s", [60, None])
async def test_what_is_not_there_is_remembered_by_the_rules_of_its_zone(
    server: FakeDns, resolver: Resolver, autojump_clock: MockClock, name: str, ttl_s: int | None
) -> None:
    server.records["mail.example", "A"] = ["192.0.2.1"]
    server.negative_ttl_s = ttl_s
    for _ in range(5):
        with pytest.raises((NameNotFound, NoData)):
            await resolver.mx(name)
    assert server.queries[name, "MX", "udp"] == 1
    autojump_clock.jump(ttl_s or 3600)
    with pytest.raises((NameNotFound, NoData)):
        await resolver.mx(name)
    assert server.queries[name, "MX", "udp"] == 2


async def test_a_failure_is_remembered_for_a_moment_only(
    server: FakeDns, resolver: Resolver, autojump_clock: MockClock
) -> None:
    server.failing.add("mail.example")
    for _ in range(5):
        with pytest.raises(TemporaryDnsError):
            await resolver.a("mail.example")
    assert server.queries["mail.example", "A", "udp"] == 1
    server.failing.clear()
    server.records["mail.example", "A"] = ["192.0.2.1"]
    autojump_clock.jump(FAILURE_TTL_S)
    assert await resolver.a("mail.example") == ("192.0.2.1",)


async def test_each_caller_gets_an_exception_of_its_own(server: FakeDns, resolver: Resolver) -> None:
    errors = [await _failure(lambda: resolver.a("missing.example")) for _ in range(2)]
    assert errors[0] is not errors[1]


async def _failure(lookup: Callable[[], Awaitable[object]]) -> DnsError:
    with pytest.raises(DnsError) as caught:
        await lookup()
    return caught.value


async def test_equal_questions_at_the_same_time_share_one_query(server: FakeDns, resolver: Resolver) -> None:
    server.records["mail.example", "A"] = ["192.0.2.1"]
    server.ttl_s = 0  # what they share is the query, not the memory of it
    server.held["mail.example"] = trio.Event()
    answers: list[tuple[str, ...]] = []

    async def ask() -> None:
        answers.append(await resolver.a("mail.example"))

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(ask)
        await _arrival(server, "mail.example")
        server.held["mail.example"].set()
    assert answers == [("192.0.2.1",)] * 10
    assert server.queries["mail.example", "A", "udp"] == 1


async def test_who_is_cancelled_takes_nothing_from_those_who_wait_with_it(
    server: FakeDns, resolver: Resolver
) -> None:
    server.records["mail.example", "A"] = ["192.0.2.1"]
    server.held["mail.example"] = trio.Event()
    answers: list[tuple[str, ...]] = []
    first, third = trio.CancelScope(), trio.CancelScope()

    async def ask(scope: trio.CancelScope) -> None:
        with scope:
            answers.append(await resolver.a("mail.example"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, first)
        await _arrival(server, "mail.example")
        nursery.start_soon(ask, trio.CancelScope())
        nursery.start_soon(ask, third)
        nursery.start_soon(ask, trio.CancelScope())
        await trio.testing.wait_all_tasks_blocked()
        first.cancel()
        third.cancel()
        await _arrival(server, "mail.example", count=2)
        server.held["mail.example"].set()
    assert first.cancelled_caught
    assert third.cancelled_caught
    assert answers == [("192.0.2.1",)] * 2
    assert server.queries["mail.example", "A", "udp"] == 2


async def _arrival(server: FakeDns, name: str, count: int = 1) -> None:
    with trio.fail_after(10):
        while server.queries[name, "A", "udp"] < count:
            await trio.testing.wait_all_tasks_blocked(0.001)


async def test_no_more_queries_are_open_than_allowed(server: FakeDns) -> None:
    resolver = Resolver([server.address], max_queries=2)
    names = [f"{n}.example" for n in range(6)]
    server.held = {name: trio.Event() for name in names}
    server.records = {(name, "A"): ["192.0.2.1"] for name in names}
    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(resolver.a, name)
        for finished in range(len(names)):
            await trio.testing.wait_all_tasks_blocked(0.01)
            asked = {name for name, _, _ in server.queries}
            assert len(asked) == min(finished + 2, len(names))
            next(event for name in asked if not (event := server.held[name]).is_set()).set()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"])
async def test_loopback_addresses_are_localhost_without_dns(
    server: FakeDns, resolver: Resolver, address: str
) -> None:
    assert await resolver.ptr(address) == ("localhost",)
    assert not server.queries


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST.", "db.localhost"])
async def test_localhost_is_this_machine_without_dns(server: FakeDns, resolver: Resolver, name: str) -> None:
    assert await resolver.a(name) == ("127.0.0.1",)
    assert await resolver.aaaa(name) == ("::1",)
    with pytest.raises(NoData):
        await resolver.mx(name)
    assert not server.queries


async def test_a_name_that_merely_ends_like_localhost_is_asked_for(
    server: FakeDns, resolver: Resolver
) -> None:
    with pytest.raises(NameNotFound):
        await resolver.a("notlocalhost")
    assert server.queries["notlocalhost", "A", "udp"] == 1


async def test_a_type_that_does_not_exist_is_our_own_mistake(resolver: Resolver) -> None:
    with pytest.raises(ValueError, match="is not a type of DNS records"):
        await resolver.query("mail.example", "MAIL-EXCHANGE")


@pytest.mark.parametrize("text", ["ns.example", "127.0.0.1:dns", "127.0.0.1:99999", "unix:/run/dns", ""])
def test_a_name_server_is_given_by_its_address(text: str) -> None:
    with pytest.raises(ValueError, match="is not the address of a name server"):
        Resolver([text])


@pytest.mark.parametrize("nameservers", [[], ["127.0.0.1"], ["::1"], ["127.0.0.1:5300", "[::1]:5300"]])
def test_name_servers_are_addresses_with_or_without_a_port(nameservers: list[str]) -> None:
    Resolver(nameservers)
