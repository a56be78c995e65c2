import ipaddress
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harakapy.net import ConnectionLimits, Refusal

HOSTS = st.sampled_from(
    ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "127.0.0.1", ""]
)


def test_one_more_than_the_total_is_refused() -> None:
    limits = ConnectionLimits(total=3, per_address=10)
    assert [limits.acquire(f"192.0.2.{n}") for n in range(4)] == [None, None, None, Refusal.TOTAL]
    limits.release("192.0.2.1")
    assert limits.acquire("192.0.2.9") is None


def test_one_more_than_allowed_from_an_address_is_refused_and_others_are_not() -> None:
    limits = ConnectionLimits(total=100, per_address=2)
    assert [limits.acquire("192.0.2.1") for _ in range(3)] == [None, None, Refusal.ADDRESS]
    assert limits.acquire("192.0.2.2") is None
    limits.release("192.0.2.1")
    assert limits.acquire("192.0.2.1") is None


def test_who_is_refused_is_not_counted() -> None:
    limits = ConnectionLimits(total=100, per_address=1)
    limits.acquire("192.0.2.1")
    limits.acquire("192.0.2.1")
    assert (limits.open, limits.open_from("192.0.2.1")) == (1, 1)
    limits.release("192.0.2.1")
    assert (limits.open, limits.open_from("192.0.2.1")) == (0, 0)


def test_an_ipv6_site_counts_as_one_address() -> None:
    limits = ConnectionLimits(total=100, per_address=2)
    assert limits.acquire("2001:db8:1:2::1") is None
    assert limits.acquire("2001:db8:1:2:ffff::9") is None
    assert limits.acquire("2001:db8:1:2:3:4:5:6") is Refusal.ADDRESS
    assert limits.acquire("2001:db8:1:3::1") is None
    assert limits.open_from("2001:db8:1:2:aaaa::") == 2


@pytest.mark.parametrize(("one", "same"), [("::ffff:192.0.2.1", "192.0.2.1"), ("fe80::1%eth0", "fe80::1")])
def test_an_address_counts_the_same_however_the_socket_writes_it(one: str, same: str) -> None:
    limits = ConnectionLimits(total=100, per_address=1)
    limits.acquire(one)
    assert limits.acquire(same) is Refusal.ADDRESS


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.255.0.1", "::1", "10.1.2.3", "2001:db8::5", "::ffff:127.0.0.1", ""]
)
def test_an_unlimited_address_has_no_limit_of_its_own(host: str) -> None:
    networks = ["127.0.0.0/8", "::1/128", ipaddress.ip_network("10.0.0.0/8"), "2001:db8::/32"]
    limits = ConnectionLimits(total=3, per_address=1, unlimited=networks)
    assert [limits.acquire(host) for _ in range(4)] == [None, None, None, Refusal.TOTAL]


@pytest.mark.parametrize("host", ["128.0.0.1", "11.0.0.0", "::2", "127::1", "::127.0.0.1"])
def test_an_address_beside_an_unlimited_network_is_limited(host: str) -> None:
    limits = ConnectionLimits(total=10, per_address=1, unlimited=["127.0.0.0/8", "10.0.0.0/8", "::1/128"])
    limits.acquire(host)
    assert limits.acquire(host) is Refusal.ADDRESS


def test_no_network_contains_all_addresses_of_one_version_only() -> None:
    limits = ConnectionLimits(total=10, per_address=1, unlimited=["0.0.0.0/0"])
    assert [limits.acquire("192.0.2.1") for _ in range(3)] == [None] * 3
    limits.acquire("2001:db8::1")
    assert limits.acquire("2001:db8::1") is Refusal.ADDRESS


def test_changed_limits_hold_for_connections_to_come() -> None:
    limits = ConnectionLimits(total=10, per_address=3, unlimited=["192.0.2.0/24"])
    for _ in range(5):
        limits.acquire("192.0.2.1")
    limits.change(total=10, per_address=5)
    assert limits.acquire("192.0.2.1") is Refusal.ADDRESS
    for _ in range(5):
        limits.release("192.0.2.1")
    assert limits.open == 0


@pytest.mark.parametrize(("total", "per_address"), [(0, 1), (1, 0), (-1, 5)])
def test_a_limit_below_one_is_refused(total: int, per_address: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        ConnectionLimits(total, per_address)


def test_a_network_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        ConnectionLimits(1, 1, unlimited=["localhost"])


@pytest.mark.parametrize("host", ["localhost", "1.2.3", "::zz", "192.0.2.1.example"])
def test_a_host_that_is_no_address_is_our_own_mistake(host: str) -> None:
    with pytest.raises(ValueError, match="is not a numeric address"):
        ConnectionLimits(1, 1).acquire(host)


def test_a_release_too_many_is_our_own_mistake() -> None:
    with pytest.raises(KeyError):
        ConnectionLimits(1, 1).release("192.0.2.1")


@given(st.lists(st.tuples(st.booleans(), HOSTS)))
def test_the_counts_are_those_of_a_plain_list(steps: list[tuple[bool, str]]) -> None:
    limits = ConnectionLimits(total=8, per_address=2, unlimited=["127.0.0.0/8"])
    open_hosts: list[str] = []
    for is_release, host in steps:
        if is_release and host in open_hosts:
            limits.release(host)
            open_hosts.remove(host)
        elif not is_release:
            refusal = limits.acquire(host)
            assert refusal is _expected(open_hosts, host)
            if refusal is None:
                open_hosts.append(host)
        assert limits.open == len(open_hosts)
        assert limits.open_from(host) == Counter(map(_site, open_hosts))[_site(host)]


def _expected(open_hosts: list[str], host: str) -> Refusal | None:
    if len(open_hosts) >= 8:
        return Refusal.TOTAL
    is_full = sum(_site(other) == _site(host) for other in open_hosts) >= 2
    return Refusal.ADDRESS if is_full and host not in ("", "127.0.0.1") else None


def _site(host: str) -> str:
    return str(ipaddress.ip_network(f"{host}/64", strict=False)) if ":" in host else host
