"""How many reports go out: to all together, and to each addressee, in an hour.

Who forges senders makes others get the reports. The limit for each addressee keeps one of them from being
flooded, and from using up what the others may have; the limit for all is for a flood to many.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from typing import Final

from harakapy.outbound.allowance import Allowance
from harakapy.smtp.address import Address

__all__ = ["ReportLimits"]

HOUR_S: Final = 3600.0

HORIZON_S: Final = 86_400.0
"""How far ahead turns are given at most, so that a clock that was set back keeps nobody waiting. Picked."""

MAX_ADDRESSEES: Final = 10_000
"""Addressees that are remembered; some 5 MB. Picked: with a limit for all that is lower, none is forgotten
before it may have all it could have again."""


class ReportLimits:
    """Both limits, in reports an hour; 0 is none. Times are seconds of any clock, given."""

    def __init__(self, total: int, to_each: int) -> None:
        self._total = Allowance(total, HOUR_S)
        self._to_each = to_each
        self._addressees: OrderedDict[Address, _Addressee] = OrderedDict()
        self._last_turn = 0.0

    def room(self, now: float) -> int:
        """How many reports may go out now, to whomever."""
        return self._total.available(now)

    def next_at(self, now: float) -> float:
        """When one may go out; ``now`` if that is now."""
        return self._total.next_at(now)

    def has_room_for(self, to: Address, now: float) -> bool:
        """Whether this addressee may get one more, as far as its own limit goes."""
        addressee = self._addressees.get(to)
        return addressee is None or addressee.allowance.available(now) > 0

    def take(self, to: Address, now: float) -> None:
        """A report goes out."""
        self._total.take(now)
        if self._to_each:
            self._addressee(to, now).allowance.take(now)

    def turn_of(self, to: Address, now: float) -> float:
        """When the next of those that wait for this addressee has its turn: each call gives a later time.

        So thousands that wait do not all come back each time one of them may go.
        """
        addressee = self._addressee(to, now)
        after = addressee.last_turn + HOUR_S / self._to_each
        addressee.last_turn = min(max(after, addressee.allowance.next_at(now)), now + HORIZON_S)
        self._last_turn = max(self._last_turn, addressee.last_turn)
        return addressee.last_turn

    def is_anybody_waiting(self, now: float) -> bool:
        """Whether some turn that was given is still to come."""
        return self._last_turn > now

    def _addressee(self, to: Address, now: float) -> _Addressee:
        addressee = self._addressees.get(to)
        if addressee is None:
            self._forget_some(now)
            addressee = self._addressees[to] = _Addressee(self._to_each)
        self._addressees.move_to_end(to)
        return addressee

    def _forget_some(self, now: float) -> None:
        """Of who was seen longest ago forget whoever may have all again, and others if there are too many."""
        for to, oldest in list(islice(self._addressees.items(), 2)):  # two, as one comes with each call
            is_whole = oldest.allowance.available(now) == self._to_each and oldest.last_turn <= now
            if is_whole or len(self._addressees) >= MAX_ADDRESSEES:
                del self._addressees[to]


class _Addressee:
    """What one may get, and until when turns were given."""

    __slots__ = ("allowance", "last_turn")

    def __init__(self, count: int) -> None:
        self.allowance = Allowance(count, HOUR_S)
        self.last_turn = 0.0
