"""Limits on connections that hold for all processes of a server together."""

from collections.abc import Iterable
from typing import Final

from .count_board import Column
from .limits import IPV6_SITE_OCTETS, ConnectionLimits, IPNetwork, Refusal, site_of

# No client has a multicast address (RFC 4291 2.7), so these keys are free for others.
IPV4_KEYS: Final = 0xFFFFFFFF << 32
LOW_SITE_KEY: Final = 0xFFFFFFFE << 32  # ::/64, whose own number says that a slot is free


class SharedLimits(ConnectionLimits):
    """As ConnectionLimits, for one process of several: those that others have accepted count, too."""

    def __init__(
        self, total: int, per_address: int, unlimited: Iterable[str | IPNetwork] = (), *, column: Column
    ) -> None:
        """``column`` is where this process counts, and no other. Raises ValueError as ConnectionLimits."""
        super().__init__(total, per_address, unlimited)
        self._column = column

    def acquire(self, host: str) -> Refusal | None:
        """Count one more connection from ``host``, or say why it is refused; see ConnectionLimits."""
        refusal = super().acquire(host)
        if refusal is Refusal.ADDRESS and self._column.board.total() >= self._total:
            return Refusal.TOTAL  # the reason that one process alone would give
        if refusal is None:
            self._tell(host)
            refusal = self._refusal_with_others(host)
            if refusal is not None:
                self.release(host)
        return refusal

    def release(self, host: str) -> None:
        """Count one connection less from ``host``; see ConnectionLimits."""
        super().release(host)
        self._tell(host)

    def _tell(self, host: str) -> None:
        self._column.set_total(self.open)
        if key := _key(host):
            self._column.set(key, self.open_from(host))

    def _refusal_with_others(self, host: str) -> Refusal | None:
        board = self._column.board
        if board.total() > self._total:
            return Refusal.TOTAL
        if (key := _key(host)) and board.count(key) > self._per_address and not self.is_unlimited(host):
            return Refusal.ADDRESS
        return None


def _key(host: str) -> int:
    """The number of a site; 0 for a unix socket, which has no limit of its own."""
    site = site_of(host)
    if len(site) == IPV6_SITE_OCTETS:
        return int.from_bytes(site) or LOW_SITE_KEY
    return IPV4_KEYS | int.from_bytes(site) if site else 0
