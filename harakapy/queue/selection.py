"""Which deliveries an operator means."""

from __future__ import annotations

import re

from msgspec import Struct

from harakapy.queue.delivery import Delivery, State
from harakapy.queue.message import QueuedMessage

__all__ = ["Count", "Selection"]


class Count(Struct, frozen=True):
    """How many messages, and how many recipients of them."""

    messages: int = 0
    recipients: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.messages + other.messages, self.recipients + other.recipients)


class Selection(Struct, frozen=True, kw_only=True):
    """Deliveries that meet every condition given; without any, all there are.

    In texts ``*`` stands for any characters, also none, and the case of ASCII letters does not count.
    """

    message_ids: frozenset[str] | None = None
    """Exact ids, in their case."""
    mail_from: str | None = None
    """The reverse-path without angle brackets; ``""`` for the null one: ``*@example.com``."""
    recipient: str | None = None
    """The forward-path without angle brackets."""
    domain: str | None = None
    """Where the recipient is, in the form for DNS."""
    destination: str | None = None
    """The queue it stands in: the domain in the form for DNS, or the next hop where one is set."""
    states: frozenset[State] | None = None
    arrived_before: float | None = None
    """Seconds of the wall clock, as in the next."""
    arrived_after: float | None = None
    error: str | None = None
    """Text of the last reply or error, anywhere in it."""

    def matches(self, message: QueuedMessage, delivery: Delivery) -> bool:
        """Whether this delivery is meant: the definition that stores follow, however they search."""
        diagnostic = delivery.diagnostic.text if delivery.diagnostic else None
        return (
            (self.message_ids is None or message.id in self.message_ids)
            and (self.states is None or delivery.state in self.states)
            and (self.arrived_before is None or message.arrived < self.arrived_before)
            and (self.arrived_after is None or message.arrived > self.arrived_after)
            and _fits(self.mail_from, message.mail_from.original)
            and _fits(self.recipient, delivery.recipient.address.original)
            and _fits(self.domain, delivery.domain)
            and _fits(self.destination, delivery.destination)
            and (self.error is None or (diagnostic is not None and _fits(f"*{self.error}*", diagnostic)))
        )


def _fits(pattern: str | None, text: str) -> bool:
    if pattern is None:
        return True
    expression = ".*".join(map(re.escape, pattern.split("*")))
    return re.fullmatch(expression, text, re.ASCII | re.IGNORECASE | re.DOTALL) is not None
