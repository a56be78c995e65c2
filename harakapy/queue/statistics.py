"""What is in the queue, in numbers."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from harakapy.queue.delivery import State

__all__ = ["DestinationStats", "QueueStats"]


class DestinationStats(Struct, frozen=True):
    """One destination: how many recipients are in which state there."""

    name: str
    recipients: int
    """Not counting those that only wait to be reported."""
    states: Mapping[State, int]
    leased: int
    """How many of them are being worked on, or were when their owner died."""
    next_due: float | None
    """When the first of those waiting is to be tried; None if none waits."""


class QueueStats(Struct, frozen=True):
    """The whole queue."""

    messages: int
    recipients: int
    """Of all states, also those that only wait to be reported."""
    octets: int
    """Of content."""
    oldest: float | None
    """When the oldest message arrived, in seconds of the wall clock; None if there is none."""
    states: Mapping[State, int]
    leased: int
    destinations: tuple[DestinationStats, ...]
    """Those with the most recipients, the fullest first."""
