"""So many of something in a time, spread evenly after the first burst."""

from __future__ import annotations

__all__ = ["Allowance"]


class Allowance:
    """A bucket that ``count`` tokens fit into, and that fills within ``period_s``; full at first.

    A ``count`` of 0 means no limit. Time is given, in seconds of any clock; if that was set back, nothing is
    gained until it comes to where it was, but nothing is lost either.
    """

    __slots__ = ("_count", "_level", "_period_s", "_seen")

    def __init__(self, count: int, period_s: float) -> None:
        self._count = count
        self._period_s = period_s
        self._level = float(count)
        self._seen: float | None = None

    def available(self, now: float) -> int:
        """How many may be taken now."""
        if not self._count:
            return _UNLIMITED
        self._fill(now)
        return int(self._level + _ROUNDING)

    def take(self, now: float) -> None:
        """Take one, which must be available."""
        if self._count:
            self._fill(now)
            self._level -= 1

    def next_at(self, now: float) -> float:
        """When one is available; ``now`` if that is now."""
        if self.available(now):
            return now
        return now + (1 - self._level) * self._period_s / self._count

    def _fill(self, now: float) -> None:
        if self._seen is not None and now > self._seen:
            gained = (now - self._seen) * self._count / self._period_s
            self._level = min(float(self._count), self._level + gained)
        self._seen = now


_UNLIMITED = 1 << 30
_ROUNDING = 1e-3  # of a token: a time near 2e9 s is known to 2e-7 s, and `next_at` must keep its word
