"""Dead hosts, and ourselves."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harakapy.outbound.hop import NextHop, Target
from harakapy.outbound.hosts import DeadHosts, OwnHost


def target(address: str = "192.0.2.1", port: int = 25) -> Target:
    return Target(NextHop(host=address, port=port), address, address)


ONE, OTHER, THIRD = target(), target(port=26), target("2001:db8::1")


def test_a_host_is_dead_from_its_failure_on_for_a_minute() -> None:
    hosts = DeadHosts()
    assert not hosts.is_dead(ONE, 0)
    assert hosts.failed(ONE, 0) == 60
    assert hosts.dead_until(ONE, 59.9) == 60
    assert hosts.dead_until(ONE, 60) is None


def test_each_further_failure_doubles_the_time_up_to_the_maximum() -> None:
    hosts, now, pauses = DeadHosts(600), 0.0, []
    for _ in range(6):
        until = hosts.failed(ONE, now)
        pauses.append(until - now)
        now = until + 1
    assert pauses == [60, 120, 240, 480, 600, 600]


def test_failures_of_attempts_that_began_before_do_not_count_twice() -> None:
    hosts = DeadHosts()
    assert [hosts.failed(ONE, now) for now in (0, 1, 59)] == [60, 60, 60]


def test_a_host_that_answers_is_alive_and_starts_anew() -> None:
    hosts = DeadHosts()
    hosts.failed(ONE, 0)
    hosts.failed(ONE, 60)
    hosts.answered(ONE)
    hosts.answered(OTHER)
    assert not hosts.is_dead(ONE, 61)
    assert hosts.failed(ONE, 61) == 121


def test_a_host_that_was_left_alone_for_long_starts_anew() -> None:
    hosts = DeadHosts(600)
    hosts.failed(ONE, 0)
    assert hosts.failed(ONE, 60 + 600) == 660 + 60


def test_ports_of_one_address_live_and_die_apart() -> None:
    hosts = DeadHosts()
    hosts.failed(ONE, 0)
    assert (hosts.is_dead(ONE, 1), hosts.is_dead(OTHER, 1), hosts.is_dead(THIRD, 1)) == (True, False, False)


def test_unix_sockets_are_told_apart_by_their_path() -> None:
    one, other = (Target(NextHop.parse(f"unix:/run/{name}"), "", "") for name in "ab")
    hosts = DeadHosts()
    hosts.failed(one, 0)
    assert (hosts.is_dead(one, 1), hosts.is_dead(other, 1)) == (True, False)


def test_dead_hosts_go_behind_the_living_in_their_order() -> None:
    hosts = DeadHosts()
    hosts.failed(ONE, 0)
    assert hosts.living_first([ONE, OTHER, THIRD], 1) == (OTHER, THIRD, ONE)
    hosts.failed(OTHER, 0)
    assert hosts.living_first([OTHER, ONE, THIRD], 1) == (THIRD, OTHER, ONE)
    assert hosts.living_first([ONE, OTHER, THIRD], 60) == (ONE, OTHER, THIRD)


def test_no_host_is_dead_if_that_is_switched_off() -> None:
    hosts = DeadHosts(0)
    assert hosts.failed(ONE, 5) == 5
    assert not hosts.is_dead(ONE, 5)
    assert len(hosts) == 0


def test_a_short_maximum_holds_from_the_first_failure() -> None:
    assert DeadHosts(10).failed(ONE, 0) == 10


def test_only_so_many_are_remembered_and_the_oldest_failure_goes_first() -> None:
    hosts = DeadHosts(max_hosts=2)
    for each in (ONE, OTHER, THIRD):
        hosts.failed(each, 0)
    assert [hosts.is_dead(each, 1) for each in (ONE, OTHER, THIRD)] == [False, True, True]
    assert len(hosts) == 2


@given(st.lists(st.tuples(st.floats(0, 2000), st.booleans()), max_size=30), st.floats(1, 1000))
def test_a_host_is_never_dead_for_longer_than_the_maximum(
    events: list[tuple[float, bool]], max_s: float
) -> None:
    hosts, now = DeadHosts(max_s), 0.0
    for later_s, is_failure in events:
        now += later_s
        if is_failure:
            assert now < hosts.failed(ONE, now) <= now + max_s
        else:
            hosts.answered(ONE)
        assert hosts.is_dead(ONE, now) == is_failure


def test_own_names_are_known_in_any_form() -> None:
    own = OwnHost.of(["Mail.Example.", "bücher.example", "[192.0.2.1]"])
    assert own.has_name("mail.example")
    assert own.has_name("MAIL.example")
    assert own.has_name("xn--bcher-kva.example")
    assert not own.has_name("example")


@pytest.mark.parametrize(
    ("places", "address", "port", "expected"),
    [
        ([("127.0.0.1", 25)], "127.0.0.1", 25, True),
        ([("::ffff:127.0.0.1", 25)], "127.0.0.1", 25, True),
        ([("2001:DB8:0::1", 25)], "2001:db8::1", 25, True),
        ([("127.0.0.1", 25)], "127.0.0.1", 26, False),
        ([("127.0.0.1", 25)], "127.0.0.2", 25, False),
        ([("0.0.0.0", 25)], "127.0.0.1", 25, True),
        ([("0.0.0.0", 25)], "::ffff:127.0.0.1", 25, True),
        ([("::", 25)], "127.0.0.1", 25, False),
        ([("0.0.0.0", 25)], "127.0.0.1", 26, False),
        ([("0.0.0.0", 25)], "192.0.2.1", 25, False),
        ([("", 0), ("localhost", 25)], "127.0.0.1", 25, False),
        ([], "127.0.0.1", 25, False),
    ],
)
def test_own_places_are_where_we_listen(
    places: list[tuple[str, int]], address: str, port: int, expected: bool
) -> None:
    assert OwnHost.of([], places).is_at(address, port) is expected


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_all_addresses_of_this_machine_may_be_ours_with_ipv6_too() -> None:
    assert not OwnHost.of([], [("::", 25)]).is_at("2001:db8::1", 25)
