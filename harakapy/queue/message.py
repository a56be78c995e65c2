"""A message in the queue: what all its recipients share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from enum import IntEnum
from typing import Any, Self

from msgspec import Struct, field

from harakapy.mail.envelope import Envelope
from harakapy.smtp.address import Address
from harakapy.smtp.parameters import NO_MAIL_PARAMETERS, MailParameters

__all__ = ["QueuedMessage", "Told", "durable_notes", "encode_notes"]


class Told(IntEnum):
    """What the sender of a message was told about its being late; each says more than those before it."""

    NOTHING = 0
    DELAY = 1
    """It takes long."""
    TIME_LIMIT = 2
    """The time is over that the sender has set, and it is tried further (DELIVERBY with N)."""


class QueuedMessage(Struct, frozen=True, kw_only=True):
    """One message as the store keeps it, without its content, which is fetched when it is needed.

    All times are seconds of a wall clock since the epoch.
    """

    id: str
    """Chosen by whoever accepted the message, unique for ever: what logs, the 250 and operators call it."""
    mail_from: Address
    """The reverse-path; the null path for reports."""
    size: int
    """Octets of the content, as it leaves."""
    arrived: float
    """When it was accepted: its age counts from here."""
    params: MailParameters = NO_MAIL_PARAMETERS
    """What MAIL asked for: RET, ENVID, BODY, SMTPUTF8, REQUIRETLS ..."""
    priority: int = 0
    """-9 to 9, higher goes first within a destination (RFC 6710)."""
    deliver_by: float | None = None
    """When the time limit of DELIVERBY is over; what happens then is in ``params.by`` (RFC 2852)."""
    hold_until: float | None = None
    """Until when the sender asked to hold it back (RFC 4865); its deliveries are due no earlier."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Notes of plugins; JSON values, see `durable_notes`."""
    told: Told = Told.NOTHING
    """What the sender has heard of its being late."""

    @classmethod
    def from_envelope(
        cls,
        message_id: str,
        envelope: Envelope,
        *,
        size: int,
        now: float,
        notes: Mapping[str, Any] | None = None,
    ) -> Self:
        """A message accepted now, with what its parameters say of priority and time made absolute.

        Of the notes those are kept that `durable_notes` gives. Its deliveries are due when it was accepted or
        at ``hold_until``: see `first_due`.
        """
        params = envelope.params
        hold_until = params.hold_until.timestamp() if params.hold_until else None
        return cls(
            id=message_id,
            mail_from=envelope.mail_from,
            size=size,
            arrived=now,
            params=params,
            priority=params.mt_priority or 0,
            deliver_by=now + params.by.seconds if params.by else None,
            hold_until=now + params.hold_for if params.hold_for else hold_until,
            notes=durable_notes(notes or {}),
        )

    @property
    def first_due(self) -> float:
        """When its deliveries are due first."""
        return self.arrived if self.hold_until is None else max(self.arrived, self.hold_until)


def encode_notes(notes: Mapping[str, Any]) -> str:
    """Notes as JSON. Raises ValueError if they are none: if they are not what `durable_notes` gives."""
    try:
        return json.dumps(notes, allow_nan=False) if notes else "{}"
    except (TypeError, RecursionError) as error:
        raise ValueError(f"the notes are no JSON: {error}") from error


def durable_notes(notes: Mapping[str, Any]) -> dict[str, Any]:
    """Those notes that can be kept on disk: JSON values all the way down, as JSON gives them back.

    What is left out (a socket, an object of a plugin) was of use only while the message was received. Numbers
    that JSON does not have (NaN, infinities) are left out too.
    """
    kept = {}
    for key, value in notes.items():
        with suppress(TypeError, ValueError, RecursionError):
            kept[str(key)] = json.loads(json.dumps(value, allow_nan=False))
    return kept
