"""How many deliveries a site bears at a time, learnt from how they end.

Theory of operation, after Postfix's queue manager (SCHEDULER_README) and TCP. A window says how many may run
at once. It starts small. Below a threshold each success adds one, above it each window of successes does, up
to the limit; and only while the window is used, because what was never tried is not known. A site that is
busy loses one, and the threshold comes down with it.

One failure says little: a host that turns away the twenty-first connection is well. So a site is blocked, for
a pause, when a whole cohort has failed, as many in a row as the window had room for, with no success between
them; at once when none of its hosts can be reached. After the pause one delivery goes as a probe. If that
fails too the next pause is twice as long; if it succeeds all is as in the beginning.

Deliveries that began before the latest news do not know it. What fails although the site was well since it
began cannot mean that nobody is there; what fails although the site was blocked since it began says nothing
new, or twenty connections that break together would count as twenty pauses.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Final

__all__ = ["Concurrency", "Feedback"]

_LEAST_COHORT: Final = 3
"""Failures in a row that block a site, at least; else one 4xx would be enough at a window of one. Picked."""

_MAX_DOUBLINGS: Final = 20  # of the pause, so that the power stays a sensible number


class Feedback(Enum):
    """What the end of a delivery says about the site, whatever became of the message."""

    HEALTHY = "healthy"
    """It works: it took the message, or refused it for the message's or the recipient's sake."""
    BUSY = "busy"
    """It asks for patience: 421, or 4xx for want of something on its side."""
    DEAD = "dead"
    """None of its hosts could be talked to."""
    NOTHING = "nothing"
    """Nothing is known: the delivery was given up on our side."""


class Concurrency:
    """The window of one site. Times are seconds of the scheduler's clock.

    ``limit`` is what the window never exceeds, ``initial`` where it starts, ``pause_s`` and ``max_pause_s``
    how long the first and the longest pause are.
    """

    __slots__ = (
        "_cohort",
        "_failures",
        "_threshold",
        "_window",
        "blocked_until",
        "initial",
        "limit",
        "max_pause_s",
        "news",
        "pause_s",
        "pauses",
    )

    def __init__(self, *, limit: int, initial: int, pause_s: float, max_pause_s: float) -> None:
        self.limit = limit
        self.initial = min(initial, limit)
        self.pause_s = pause_s
        self.max_pause_s = max_pause_s
        self.blocked_until = -math.inf
        self.pauses = 0  # in a row, without a success between them
        self.news = 0  # counts successes and blocks: what a delivery has missed since it began
        self._window = float(self.initial)
        self._threshold = float(limit)
        self._failures = 0  # in a row
        self._cohort = 0  # how many block it; set by the first of them

    @property
    def window(self) -> int:
        """How many deliveries may run at once, 1 or more; whether any may, `is_blocked` says."""
        return min(int(self._window), self.limit)

    def is_blocked(self, now: float) -> bool:
        """Whether nothing may be tried now."""
        return now < self.blocked_until

    def healthy(self, running: int) -> None:
        """Take in a success; ``running`` deliveries are under way, this one included."""
        self.news += 1
        self._failures = 0
        self.pauses = 0
        self.blocked_until = -math.inf
        if self._window < self.limit and self._window < running + self.initial:
            self._window += 1 if self._window < self._threshold else 1 / self._window

    def busy(self, now: float, *, news: int) -> None:
        """Take in that it is busy, from a delivery that began when `news` was ``news``."""
        if self.pauses and news != self.news:
            return
        if not self._failures:
            self._cohort = max(_LEAST_COHORT, self.window)
        self._failures += 1
        if self.pauses or self._failures >= self._cohort:
            self._block(now, now)
        else:
            self._window = self._threshold = max(1.0, min(self._window, self.limit) - 1)

    def dead(self, now: float, until: float, *, news: int) -> None:
        """Take in that no host was reached, and is not to be tried before ``until``; ``news`` as above."""
        if news != self.news:
            self.busy(now, news=news)
        else:
            self._block(now, until)

    def unblock(self) -> None:
        """End the pause now: the next delivery is a probe."""
        self.blocked_until = -math.inf

    def _block(self, now: float, until: float) -> None:
        pause = min(self.pause_s * 2 ** min(self.pauses, _MAX_DOUBLINGS), self.max_pause_s)
        self.blocked_until = max(now + pause, until)
        self.pauses += 1
        self.news += 1
        self._failures = 0
        self._threshold = max(self._threshold if self.pauses > 1 else self._window / 2, 1.0)
        self._window = 1.0
