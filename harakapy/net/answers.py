"""What comes of a question to DNS, good or bad, and the memory of it."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from dns.rdata import Rdata

# A day: a record that changes in spite of a longer TTL should not need a restart of the mail server.
MAX_TTL_S: Final = 86400.0
# RFC 2308 5: one to three hours "have been found to work well" for what does not exist.
MAX_NEGATIVE_TTL_S: Final = 3600.0
# RFC 2308 7 allows five minutes to remember that servers fail. We only mean to spare a dead server, and
# ourselves, a burst of equal questions: the client's next try has a fresh chance.
FAILURE_TTL_S: Final = 5.0
# Answers to remember, and the size in octets above which one is not remembered: some 80 MB at worst, however
# hard somebody tries with records made for that.
MAX_ANSWERS: Final = 10_000
MAX_ANSWER_OCTETS: Final = 8192


class DnsError(Exception):
    """A question that got no records: ``name`` and ``type`` say which, ``reason`` why."""

    def __init__(self, name: str, type_: str, reason: str) -> None:
        super().__init__(f"{name} {type_}: {reason}")
        self.name = name
        self.type = type_
        self.reason = reason


class NameNotFound(DnsError):
    """There is no such name (NXDOMAIN, RFC 2308 2.1), or DNS cannot have one like it."""


class NoData(DnsError):
    """The name exists and has no records of this type (RFC 2308 2.2)."""


class TemporaryDnsError(DnsError):
    """Nobody knows: time ran out, or the servers failed or sent nonsense. Later may be better."""


class Outcome(Struct, frozen=True):
    """Records, or the kind of failure and its reason; and for how many seconds that holds."""

    records: tuple[Rdata, ...] = ()
    failure: type[DnsError] | None = None
    reason: str = ""
    ttl_s: float = 0.0

    def result(self, name: str, type_: str) -> tuple[Rdata, ...]:
        """The records. Raises the failure, a new exception each time: a kept one would gather tracebacks."""
        if self.failure is not None:
            raise self.failure(name, type_, self.reason)
        return self.records

    @property
    def lifetime_s(self) -> float:
        """For how many seconds to remember this."""
        if self.failure is None:
            return min(self.ttl_s, MAX_TTL_S)
        if self.failure is TemporaryDnsError:
            return FAILURE_TTL_S
        return min(self.ttl_s, MAX_NEGATIVE_TTL_S)


class AnswerCache:
    """Outcomes by question, each until its time is over; the least recently used go first when it is full.

    ``now`` is any steady clock in seconds, the same in all calls.
    """

    def __init__(self, max_answers: int = MAX_ANSWERS) -> None:
        self._max_answers = max_answers
        self._outcomes: OrderedDict[tuple[str, str], tuple[float, Outcome]] = OrderedDict()

    def get(self, question: tuple[str, str], now: float) -> Outcome | None:
        """What is known of ``question``, if anything still is."""
        known = self._outcomes.get(question)
        if known is None:
            return None
        if known[0] <= now:
            del self._outcomes[question]
            return None
        self._outcomes.move_to_end(question)
        return known[1]

    def put(self, question: tuple[str, str], outcome: Outcome, now: float) -> None:
        """Remember ``outcome``, unless it is too large or holds for no time."""
        lifetime_s = outcome.lifetime_s
        size_octets = sum(len(record.to_wire() or b"") for record in outcome.records)
        if lifetime_s <= 0 or size_octets > MAX_ANSWER_OCTETS:
            return
        self._outcomes[question] = (now + lifetime_s, outcome)
        self._outcomes.move_to_end(question)
        if len(self._outcomes) > self._max_answers:
            self._outcomes.popitem(last=False)

    def __len__(self) -> int:
        return len(self._outcomes)
