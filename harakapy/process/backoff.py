"""When a worker that died is started again."""

from __future__ import annotations

from typing import Final

__all__ = ["Backoff"]

FIRST_S: Final = 1.0
LONGEST_S: Final = 60.0
"""The pauses double from one to the other; picked. What dies at once costs a second of work each time."""

HEALTHY_S: Final = 60.0
"""Who lived as long died of something else than how it starts, and is started again at once. Picked."""


class Backoff:
    """The pauses for one post. Times are of one monotonic clock, in seconds."""

    def __init__(self) -> None:
        self.due = float("-inf")
        self._pause_s = 0.0

    def died(self, now: float, *, lived_s: float) -> float:
        """Note a death; the pause until `due`: none after a long life, then ever longer ones."""
        if lived_s >= HEALTHY_S:
            self._pause_s = 0.0
        pause_s = self._pause_s
        self._pause_s = min(max(FIRST_S, 2 * pause_s), LONGEST_S)
        self.due = now + pause_s
        return pause_s
