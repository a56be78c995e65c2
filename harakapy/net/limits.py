"""How many connections at once, in total and from one address."""

import ipaddress
from collections.abc import Iterable
from enum import Enum
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final

# One customer holds a whole /64 (RFC 6177 2), so that an address of it says nothing.
IPV6_SITE_OCTETS: Final = 8
IPV4_MAPPED_PREFIX: Final = bytes(10) + b"\xff\xff"

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class Refusal(Enum):
    """Why one more connection is refused."""

    TOTAL = "too many connections in total"
    ADDRESS = "too many connections from this address"


class ConnectionLimits:
    """Counts open connections by remote address; IPv6 addresses count by their /64.

    Addresses in ``unlimited`` networks, and unix sockets (address ""), have no limit of their own but
    count in the total: that one protects the process.
    """

    def __init__(self, total: int, per_address: int, unlimited: Iterable[str | IPNetwork] = ()) -> None:
        """Raises ValueError for a limit below 1 or for text that is no network."""
        self.change(total, per_address, unlimited)
        self._open = 0
        self._by_site: dict[bytes, int] = {}

    def change(self, total: int, per_address: int, unlimited: Iterable[str | IPNetwork] = ()) -> None:
        """Set other limits for connections to come; those that are open stay, and stay counted."""
        if total < 1 or per_address < 1:
            raise ValueError("a limit on connections must be at least 1")
        self._unlimited = [_network(ipaddress.ip_network(network)) for network in unlimited]
        self._total = total
        self._per_address = per_address

    @property
    def open(self) -> int:
        """How many connections are open."""
        return self._open

    def open_from(self, host: str) -> int:
        """How many connections are open from the address (or the /64) of ``host``."""
        return self._by_site.get(site_of(host), 0)

    def acquire(self, host: str) -> Refusal | None:
        """Count one more connection from ``host``, or say why it is refused (then it is not counted).

        ``host`` is numeric, as the socket gives it, or "" for a unix socket. Raises ValueError for other
        text.
        """
        if self._open >= self._total:
            return Refusal.TOTAL
        packed = _packed(host)
        site = packed[:IPV6_SITE_OCTETS]
        count = self._by_site.get(site, 0)
        if count >= self._per_address and not self._is_unlimited(packed):
            return Refusal.ADDRESS
        self._by_site[site] = count + 1
        self._open += 1
        return None

    def release(self, host: str) -> None:
        """Count one connection less from ``host``; once for each successful `acquire` of the same ``host``.

        Raises KeyError when none from there is open.
        """
        site = site_of(host)
        count = self._by_site.pop(site)
        if count > 1:
            self._by_site[site] = count - 1
        self._open -= 1

    def is_unlimited(self, host: str) -> bool:
        """Whether ``host`` has no limit of its own."""
        return self._is_unlimited(_packed(host))

    def _is_unlimited(self, packed: bytes) -> bool:
        return not packed or any(
            len(packed) == size and int.from_bytes(packed) >> shift == prefix
            for size, shift, prefix in self._unlimited
        )


def site_of(host: str) -> bytes:
    """What ``host`` is counted by: its address, the first half of it with IPv6, or b"" for a unix socket.

    Raises ValueError for text that is no numeric address.
    """
    return _packed(host)[:IPV6_SITE_OCTETS]


def _packed(host: str) -> bytes:
    if not host:
        return b""
    try:
        if ":" not in host:
            return inet_pton(AF_INET, host)
        packed = inet_pton(
            AF_INET6, host.partition("%")[0]
        )  # the zone of a link-local address is ours, not theirs
    except OSError as cause:
        raise ValueError(f"{host!r} is not a numeric address") from cause
    return packed.removeprefix(IPV4_MAPPED_PREFIX)


def _network(network: IPNetwork) -> tuple[int, int, int]:
    """Octets of its addresses, bits of their host part, the network's own bits: for a test by one shift."""
    shift = network.max_prefixlen - network.prefixlen
    return network.max_prefixlen // 8, shift, int(network.network_address) >> shift
