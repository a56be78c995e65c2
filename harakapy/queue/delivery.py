"""A delivery: one recipient of a queued message, and how far it has come."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from typing import NamedTuple, Self

from msgspec import Struct
from msgspec.structs import replace

from harakapy.mail.domain import to_ascii
from harakapy.mail.envelope import Envelope, Recipient
from harakapy.mail.status import EnhancedStatus
from harakapy.queue.message import QueuedMessage

__all__ = [
    "MAX_DELIVERIES",
    "Delivery",
    "DeliveryKey",
    "DeliveryRequest",
    "Diagnostic",
    "Lease",
    "State",
    "deliveries_to",
    "destinations_of",
]

MAX_DELIVERIES = 1 << 20
"""Recipients of one message at most: a thousand times what SMTP servers take, and room for it in one key."""


class State(Enum):
    """What becomes of a delivery next."""

    WAITING = "waiting"
    """It is tried when it is due."""
    HELD = "held"
    """Nothing, until an operator releases it."""
    QUARANTINED = "quarantined"
    """Nothing: something stored is unreadable; an operator may repair it and release it, or remove it."""
    DELIVERED = "delivered"
    """It is done, and only kept until that is reported."""
    FAILED = "failed"
    """It is given up, and only kept until that is reported."""

    __hash__ = object.__hash__  # identity, as for equality; that of Enum is written in Python and slow

    @property
    def is_final(self) -> bool:
        """Whether nothing but a report is left to do."""
        return self in _FINAL


_FINAL = frozenset({State.DELIVERED, State.FAILED})


class DeliveryKey(NamedTuple):
    """Names one delivery: its message, and the number of the recipient in it, from 0."""

    message_id: str
    number: int


class Lease(Struct, frozen=True):
    """The right to work on a delivery: whose, and until when (seconds of the wall clock).

    An owner is a scheduler, named so that no other one has its name while it lives.
    """

    owner: str
    until: float


class Diagnostic(Struct, frozen=True):
    """What was last heard about a delivery (RFC 3464 2.3.4 to 2.3.6), already safe to print."""

    text: str
    """The reply of the next hop with its code, or what happened instead."""
    status: EnhancedStatus | None = None
    host: str = ""
    """Who said it; ``""`` if no host did."""
    is_reply: bool = False
    """Whether ``text`` is an SMTP reply: then a report calls it one."""


class Delivery(Struct, frozen=True, kw_only=True):
    """One recipient of a message. All times are seconds of a wall clock since the epoch."""

    message_id: str
    number: int
    """Which recipient of the message, from 0, below `MAX_DELIVERIES`."""
    recipient: Recipient
    """The forward-path and its parameters."""
    domain: str
    """Where it is to go, in the form for DNS; see `deliveries_to`."""
    due: float
    """When it is to be tried next; when its report is, in a final state."""
    next_hop: str = ""
    """Where to send it instead of asking DNS for ``domain``; ``""`` for no such thing."""
    state: State = State.WAITING
    attempts: int = 0
    """Attempts begun so far: each is counted before it is made."""
    last_attempt: float | None = None
    diagnostic: Diagnostic | None = None
    lease: Lease | None = None

    @property
    def key(self) -> DeliveryKey:
        """What names it towards the store."""
        return DeliveryKey(self.message_id, self.number)

    @property
    def destination(self) -> str:
        """The queue it stands in: its next hop if it has one, else its domain."""
        return self.next_hop or self.domain

    @property
    def ready(self) -> float:
        """When it can be claimed: when it is due, or, under a lease, when that ends."""
        return self.due if self.lease is None else self.lease.until

    def claimed(self, lease: Lease, *, now: float) -> Self:
        """The same under a lease, with the attempt counted that is made under it."""
        return replace(self, lease=lease, attempts=self.attempts + 1, last_attempt=now)


class DeliveryRequest(Struct, frozen=True):
    """Some deliveries of one message, all to one destination when claimed: what one transaction can carry."""

    message: QueuedMessage
    deliveries: tuple[Delivery, ...]

    @property
    def envelope(self) -> Envelope:
        """The envelope to send: with these recipients only."""
        recipients = tuple([delivery.recipient for delivery in self.deliveries])
        return Envelope(self.message.mail_from, recipients, self.message.params)


def destinations_of(recipients: Iterable[Recipient], *, local_domain: str) -> frozenset[str]:
    """The destinations that `deliveries_to` gives to deliveries to these recipients."""
    return frozenset([_comparable(each.address.host or local_domain) for each in recipients])


def deliveries_to(
    message_id: str,
    recipients: Iterable[Recipient],
    *,
    due: float,
    local_domain: str,
    next_hop: str = "",
    lease: Lease | None = None,
) -> tuple[Delivery, ...]:
    """The deliveries of a new message, in the order of its recipients. ``local_domain`` is bare postmaster's.

    ``next_hop`` is for all of them. With a lease they are claimed by its owner from the start, as
    `Delivery.claimed` does, ``due`` being now.

    The domain is lower-case with A-labels, so that all spellings of it meet in one queue; a literal stays
    one.
    """
    return tuple(
        Delivery(
            message_id=message_id,
            number=number,
            recipient=recipient,
            domain=_comparable(recipient.address.host or local_domain),
            due=due,
            next_hop=next_hop,
            lease=lease,
            attempts=0 if lease is None else 1,
            last_attempt=None if lease is None else due,
        )
        for number, recipient in enumerate(recipients)
    )


@lru_cache(maxsize=1024)  # a busy server sends to the same domains again and again
def _comparable(host: str) -> str:
    try:
        return to_ascii(host)
    except ValueError:  # a literal, or a label that passes in SMTP and not in IDNA: DNS will say what it is
        return host.lower()
