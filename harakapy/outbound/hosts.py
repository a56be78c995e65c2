"""What is known about hosts before they are called: which are dead, and which are ourselves.

A host that did not answer costs each message that is tried there the whole timeout of connecting. So it is
remembered as dead, for a minute at first and twice as long after each further failure, and others are tried
before it. One connection that stands brings it back to life.
"""

from __future__ import annotations

import ipaddress
import socket
from collections import OrderedDict
from collections.abc import Collection, Iterable
from typing import Final

from msgspec import Struct

from harakapy.mail.domain import to_ascii
from harakapy.outbound.hop import Target

__all__ = ["DeadHosts", "OwnHost"]

_FIRST_S: Final = 60.0
"""How long after its first failure a host is left alone. Picked: what is only restarted is back by then."""
_MAX_HOSTS: Final = 10_000
"""Dead hosts remembered, some 3 MB; the ones that failed longest ago go first. Picked."""


class _Grave(Struct):
    until: float
    pause_s: float


class DeadHosts:
    """Addresses, with their ports, that did not answer, each until some time.

    ``now`` is any clock in seconds, the same in all calls. ``max_s`` is the longest time for which a host is
    dead; with 0 none ever is.
    """

    def __init__(self, max_s: float = 600.0, *, max_hosts: int = _MAX_HOSTS) -> None:
        self._max_s = max_s
        self._max_hosts = max_hosts
        self._graves: OrderedDict[tuple[str, int], _Grave] = OrderedDict()

    def failed(self, target: Target, now: float) -> float:
        """Take note that a connection to ``target`` could not be had; until when it is dead now.

        Failures while it is dead already are those of attempts that began before, and change nothing.
        """
        grave = self._graves.get(target.place)
        if grave is not None and now < grave.until:
            return grave.until
        # A host that was left alone for long after it was dead starts anew: what is known of it is old.
        is_known = grave is not None and now < grave.until + self._max_s
        pause_s = min(2 * grave.pause_s if grave and is_known else _FIRST_S, self._max_s)
        if pause_s <= 0:
            return now
        self._graves[target.place] = _Grave(now + pause_s, pause_s)
        self._graves.move_to_end(target.place)
        if len(self._graves) > self._max_hosts:
            self._graves.popitem(last=False)
        return now + pause_s

    def answered(self, target: Target) -> None:
        """Take note that a connection to ``target`` stood."""
        self._graves.pop(target.place, None)

    def forget(self) -> None:
        """Let every host have another chance: somebody knows better."""
        self._graves.clear()

    def is_dead(self, target: Target, now: float) -> bool:
        """Whether it is better not to try ``target`` now."""
        return self.dead_until(target, now) is not None

    def dead_until(self, target: Target, now: float) -> float | None:
        """Until when ``target`` is dead; None if it is not."""
        grave = self._graves.get(target.place)
        return grave.until if grave is not None and now < grave.until else None

    def living_first(self, targets: Iterable[Target], now: float) -> tuple[Target, ...]:
        """The targets with the dead ones behind all others; else in their order."""
        return tuple(sorted(targets, key=lambda target: self.is_dead(target, now)))

    def __len__(self) -> int:
        return len(self._graves)


class OwnHost(Struct, frozen=True):
    """This host, as the DNS may name it: mail that would go from here to here goes in a loop (RFC 5321 5.1).

    ``names`` are in lower case and A-labels; ``places`` the addresses and ports where we listen, ``0.0.0.0``
    and ``::`` being all IPv4 and all IPv6 addresses of this machine. Use `of` for what people wrote.
    """

    names: frozenset[str] = frozenset()
    places: frozenset[tuple[str, int]] = frozenset()

    @classmethod
    def of(cls, names: Iterable[str], places: Collection[tuple[str, int]] = ()) -> OwnHost:
        """From names in any form, address literals passed over, and places as (address, port)."""
        own = frozenset(to_ascii(name) for name in names if not name.startswith("["))
        return cls(own, frozenset((_plain(address), port) for address, port in places))

    def has_name(self, name: str) -> bool:
        """Whether that host name is ours."""
        return name.lower() in self.names

    def is_at(self, address: str, port: int) -> bool:
        """Whether who connects there reaches us."""
        address = _plain(address)
        if (address, port) in self.places:
            return True
        every = "::" if ":" in address else "0.0.0.0"
        return (every, port) in self.places and _is_of_this_machine(address)


def _plain(address: str) -> str:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address  # a name where we listen, or "" for a unix socket: nobody is sent there by DNS
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return str(mapped or ip)


def _is_of_this_machine(address: str) -> bool:
    """Whether an address is one of ours: then the system would use it to talk to itself. Sends nothing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            return bool(probe.getsockname()[0] == address)
    except OSError:  # no way there, so it is not here
        return False
