"""When a delivery is tried again, and when it is given up.

All times are seconds of the wall clock; the lifetimes and intervals are seconds.
"""

from __future__ import annotations

import math
from random import Random
from typing import Final

from msgspec import Struct

from harakapy.mail.safe_text import neutralise
from harakapy.mail.status import EXPIRED, EnhancedStatus
from harakapy.queue.delivery import Diagnostic
from harakapy.queue.message import QueuedMessage, Told

__all__ = ["Lifetime", "RetrySchedule"]

_TIME_LIMIT_OVER: Final = EnhancedStatus(5, 4, 7)  # RFC 2852 4.1.4: reported as failed for good


class RetrySchedule(Struct, frozen=True):
    """How long to wait after each attempt that failed; the last of the ``intervals`` repeats.

    ``jitter`` is the part of an interval by which it is made longer or shorter at random: what failed
    together must not come back together. Raises ValueError if there are no intervals, one is not above 0,
    or the jitter is not from 0 to below 1.
    """

    intervals: tuple[float, ...]
    jitter: float = 0.1

    def __post_init__(self) -> None:
        if not self.intervals or not all(0 < each < math.inf for each in self.intervals):
            raise ValueError(f"the intervals {self.intervals} are none, or not all above 0")
        if not 0 <= self.jitter < 1:
            raise ValueError(f"a jitter of {self.jitter} is not from 0 to below 1")

    def next_due(self, attempts: int, now: float, rng: Random) -> float:
        """When to try again after an attempt that failed ``now``; ``attempts`` counts it too."""
        interval = self.intervals[min(max(attempts, 1), len(self.intervals)) - 1]
        return now + interval * (1 + rng.uniform(-self.jitter, self.jitter))


class Lifetime(Struct, frozen=True):
    """How long a message is worth trying, and when its sender hears that it takes long.

    A message counts from when it may be tried first: from its arrival, or when the sender let it go
    (RFC 4865). Reports, which have the null reverse-path, get ``report_max_age``: nobody waits for them long,
    and a queue full of them is what a forged sender leaves behind. A ``delay_warning`` of 0 means none.
    """

    max_age: float
    report_max_age: float
    delay_warning: float = 0.0

    def expires_at(self, message: QueuedMessage) -> float:
        """From when on a failed attempt is the last one: age, or the time limit of DELIVERBY with R."""
        age = self.report_max_age if message.mail_from.is_null else self.max_age
        expiry = message.first_due + age
        return min(expiry, message.deliver_by) if _returns(message) and message.deliver_by else expiry

    def is_expired(self, message: QueuedMessage, now: float) -> bool:
        """Whether an attempt that failed now was the last one."""
        return now >= self.expires_at(message)

    def is_too_late(self, message: QueuedMessage, now: float) -> bool:
        """Whether it must not even be tried: the sender wants it in time or not at all (RFC 2852 4.1.4)."""
        return _returns(message) and message.deliver_by is not None and now >= message.deliver_by

    def within(self, message: QueuedMessage, due: float, now: float) -> float | None:
        """When to try again if that should be at ``due``; None if it is to be given up.

        No later than it expires, so that there is a last attempt and its report is in time; and no later
        than a time limit after which the sender wants to hear of it (DELIVERBY with N).
        """
        expiry = self.expires_at(message)
        if now >= expiry:
            return None
        if message.deliver_by is not None and now < message.deliver_by:
            expiry = min(expiry, message.deliver_by)
        return min(due, expiry)

    def delay_report_at(self, message: QueuedMessage) -> float | None:
        """From when on the sender is to be told of the delay; None for never, or never again.

        It hears once that mail takes long, and once that a time limit is over, if that is later. Who of the
        recipients it is told about depends on their NOTIFY as well (RFC 3461 4.1).
        """
        if message.mail_from.is_null:
            return None
        times = []
        if self.delay_warning and message.told < Told.DELAY:
            times.append(message.first_due + self.delay_warning)
        if message.deliver_by is not None and message.told < Told.TIME_LIMIT and not _returns(message):
            times.append(message.deliver_by)
        return min(times, default=None)

    def is_delay_report_due(self, message: QueuedMessage, now: float) -> bool:
        """Whether the sender is to be told of the delay now."""
        at = self.delay_report_at(message)
        return at is not None and now >= at

    def last_word(self, message: QueuedMessage, last: Diagnostic | None, now: float) -> Diagnostic:
        """What a delivery that has expired failed of; ``last`` is what was heard in its last attempt.

        That is the best reason there is, and stands with its own status (4.y.z, as RFC 3463 3.5 has it for
        a message that expired), unless the sender's own time limit is over, which is 5.4.7.
        """
        if self.is_too_late(message, now):
            heard = f"; the last attempt ended so: {last.text}" if last else ""
            text = neutralise(f"the time that the sender set for delivery is over{heard}")
            return Diagnostic(text, _TIME_LIMIT_OVER, last.host if last else "")
        return last or Diagnostic("it could not be delivered in time", EXPIRED)


def _returns(message: QueuedMessage) -> bool:
    """Whether the sender wants it back when the time limit is over."""
    return message.params.by is not None and message.params.by.mode == "R"
