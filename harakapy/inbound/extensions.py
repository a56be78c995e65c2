"""The extensions of SMTP: which ones a client is offered now, and whether it gets what it asks for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from harakapy.hooks import Verdict
from harakapy.inbound.connection import Connection
from harakapy.smtp import MailParameters, Reply

if TYPE_CHECKING:
    from harakapy.inbound.terms import Terms

_IN_CLEAR_ONLY: Final = frozenset({"STARTTLS"})
_UNDER_TLS_ONLY: Final = frozenset({"REQUIRETLS"})  # RFC 8689 2

TOO_BIG = Reply(552, "Message too big!", "5.3.4")
HELD_TOO_LONG = Reply(501, "The message would be held longer than is offered", "5.5.4")
RETURNED_WHILE_HELD = Reply(501, "The message would be returned before it is released", "5.5.4")
TOO_SOON = Reply(555, "Delivery within that time cannot be promised", "5.5.4")
PRIORITY_LOWERED = "2.3.6 sender <{address}> OK, with priority 0"  # RFC 6710 6


def withheld(connection: Connection) -> frozenset[str]:
    """What is not offered to this client as things stand now; none of it has parameters."""
    return _UNDER_TLS_ONLY if connection.tls is None else _IN_CLEAR_ONLY


def offered_lines(terms: Terms, connection: Connection) -> list[str]:
    """The lines of the reply to EHLO, those about AUTH aside."""
    not_now = withheld(connection)
    lines = [line for line in terms.capabilities if line not in not_now]
    if terms.max_hold_s:
        until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=terms.max_hold_s)
        lines.append(f"FUTURERELEASE {terms.max_hold_s} {until:%Y-%m-%dT%H:%M:%SZ}")  # RFC 4865 4
    return lines


def refusal(params: MailParameters, terms: Terms) -> Reply | None:
    """Why a message with these parameters cannot be taken; None if it can."""
    if params.size is not None and 0 < terms.max_message_octets < params.size:
        return TOO_BIG
    by = params.by if params.by is not None and params.by.mode == "R" else None
    if by is not None and by.seconds < terms.min_deliver_by_s:  # RFC 2852 4
        return TOO_SOON
    hold_s = _hold_s(params)
    if hold_s > terms.max_hold_s:  # RFC 4865 4
        return HELD_TOO_LONG
    return RETURNED_WHILE_HELD if by is not None and 0 < by.seconds <= hold_s else None


def _hold_s(params: MailParameters) -> float:
    """How long the message is to be held back; a time that is over means not at all."""
    if params.hold_until is not None:
        return (params.hold_until - datetime.now(UTC)).total_seconds()
    return params.hold_for or 0


def lower_priority(connection: Connection, verdict: Verdict) -> Verdict:
    """Take from a client that may not relay the priority above the usual one (RFC 6710 5.1).

    It gets a reply that says so, unless a plugin has a text of its own. Who is known when MAIL has been
    answered counts: that a recipient's domain is one to relay for makes its sender no less a stranger.
    """
    transaction = connection.transaction
    assert transaction is not None, "asked at MAIL"
    params = transaction.mail_params
    if verdict.is_denial or connection.relaying or (params.mt_priority or 0) <= 0:
        return verdict
    transaction.mail_params = replace(params, mt_priority=0)
    return (
        verdict if verdict.text else verdict(PRIORITY_LOWERED.format(address=transaction.mail_from.address))
    )
