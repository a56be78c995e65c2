"""Values as rows of the tables, and back.

What comes back was written by us, perhaps by an older version, and perhaps damaged since: reading checks it
as it would a stranger's, and `UnreadableRow` is the only thing it raises.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from harakapy.mail.envelope import Recipient
from harakapy.mail.status import EnhancedStatus
from harakapy.queue.delivery import Delivery, Diagnostic, Lease, State
from harakapy.queue.message import QueuedMessage, Told, encode_notes
from harakapy.queue.sqlite_schema import KEY_BITS
from harakapy.smtp.address import PLAIN_MAILBOX, Address, plain_address
from harakapy.smtp.errors import ProtocolError
from harakapy.smtp.parameters import NO_MAIL_PARAMETERS, NO_RCPT_PARAMETERS, MailParameters, RcptParameters

__all__ = [
    "DELIVERY_COLUMNS",
    "FINAL_CODE",
    "HELD_CODE",
    "MESSAGE_COLUMNS",
    "QUARANTINED_CODE",
    "STATE_CODES",
    "WAITING_CODE",
    "UnreadableRow",
    "delivery_row",
    "diagnostic_columns",
    "message_row",
    "read_delivery",
    "read_message",
    "state_of",
]

Row = Sequence[Any]

WAITING_CODE: Final = 0  # the index `delivery_by_due` has those
HELD_CODE: Final = 1
QUARANTINED_CODE: Final = 2
FINAL_CODE: Final = 3
"""This and those above are final; the index `delivery_by_report` has them."""

STATE_CODES: Final[Mapping[State, int]] = {
    State.WAITING: WAITING_CODE,
    State.HELD: HELD_CODE,
    State.QUARANTINED: QUARANTINED_CODE,
    State.DELIVERED: FINAL_CODE,
    State.FAILED: FINAL_CODE + 1,
}
_STATES: Final = {code: state for state, code in STATE_CODES.items()}

MESSAGE_COLUMNS: Final = (
    "id, mail_from, params, size, arrived, priority, deliver_by, hold_until, notes, is_delay_reported"
)
"""The columns of `message_row`, in its order. The last one is a number of `Told`."""

DELIVERY_COLUMNS: Final = (
    "recipient, params, domain, next_hop, destination, urgency, state, due, ready, lease_owner, attempts, "
    "last_attempt, diagnostic, status, host, is_reply"
)
"""The columns of `delivery_row`, in its order."""

_PLAIN_MAILBOX: Final = re.compile(PLAIN_MAILBOX)

# Parameters are kept as they stand on the line. Reading them back permits what was permitted then.
_KNOWN_EXTENSIONS: Final = frozenset(
    {
        "8BITMIME",
        "AUTH",
        "BINARYMIME",
        "DELIVERBY",
        "DSN",
        "FUTURERELEASE",
        "MT-PRIORITY",
        "REQUIRETLS",
        "SIZE",
        "SMTPUTF8",
    }
)


class UnreadableRow(Exception):
    """A row that makes no sense; the message says why."""


def message_row(message: QueuedMessage) -> tuple[Any, ...]:
    """The columns of a message. Raises ValueError if its notes are no JSON."""
    return (
        message.id,
        message.mail_from.original,
        "" if message.params is NO_MAIL_PARAMETERS else str(message.params),
        message.size,
        message.arrived,
        message.priority,
        message.deliver_by,
        message.hold_until,
        encode_notes(message.notes),
        int(message.told),
    )


def read_message(row: Row) -> QueuedMessage:
    """The message of a row with `MESSAGE_COLUMNS`."""
    try:
        return QueuedMessage(
            id=_text(row[0]),
            mail_from=_sender(row[1]),
            params=_mail_parameters(row[2]),
            size=int(row[3]),
            arrived=float(row[4]),
            priority=int(row[5]),
            deliver_by=_time(row[6]),
            hold_until=_time(row[7]),
            notes=_notes(row[8]),
            told=Told(row[9]),
        )
    except (ValueError, TypeError, ProtocolError, RecursionError) as error:
        raise UnreadableRow(f"message {row[0]!r}: {error}") from error


def delivery_row(delivery: Delivery, urgency: int) -> tuple[Any, ...]:
    """The columns of a delivery but ``key``."""
    return (
        delivery.recipient.address.original,
        "" if delivery.recipient.params is NO_RCPT_PARAMETERS else str(delivery.recipient.params),
        delivery.domain,
        delivery.next_hop,
        delivery.destination,
        urgency,
        STATE_CODES[delivery.state],
        delivery.due,
        delivery.ready,
        delivery.lease.owner if delivery.lease else None,
        delivery.attempts,
        delivery.last_attempt,
        *diagnostic_columns(delivery.diagnostic),
    )


def diagnostic_columns(diagnostic: Diagnostic | None) -> tuple[Any, ...]:
    """The columns diagnostic, status, host and is_reply."""
    if diagnostic is None:
        return (None, None, None, None)
    status = str(diagnostic.status) if diagnostic.status else None
    return (diagnostic.text, status, diagnostic.host, int(diagnostic.is_reply))


def read_delivery(message_id: str, key: int, row: Row) -> Delivery:
    """The delivery of a row with `DELIVERY_COLUMNS`."""
    try:
        lease = None if row[9] is None else Lease(_text(row[9]), float(row[8]))
        return Delivery(
            message_id=message_id,
            number=key & (1 << KEY_BITS) - 1,
            recipient=Recipient(_forward_path(row[0]), _rcpt_parameters(row[1])),
            domain=_text(row[2]),
            next_hop=_text(row[3]),
            state=state_of(row[6]),
            due=float(row[7]),
            lease=lease,
            attempts=int(row[10]),
            last_attempt=_time(row[11]),
            diagnostic=None if row[12] is None else _diagnostic(*row[12:16]),
        )
    except (ValueError, TypeError, ProtocolError) as error:
        raise UnreadableRow(f"recipient {row[0]!r} of message {message_id!r}: {error}") from error


def state_of(code: object) -> State:
    """The state for its code. Raises ValueError if there is none."""
    state = _STATES.get(code) if isinstance(code, int) else None
    if state is None:
        raise ValueError(f"there is no state {code!r}")
    return state


@lru_cache(maxsize=1024)  # hosts say the same again and again
def _diagnostic(text: object, status: str | None, host: object, is_reply: object) -> Diagnostic:
    parsed = EnhancedStatus.parse(status) if status is not None else None
    return Diagnostic(_text(text), parsed, _text(host), bool(is_reply))


@lru_cache(maxsize=1024)  # senders write again and again
def _sender(value: object) -> Address:
    return _address(value)


def _address(value: object) -> Address:
    text = _text(value)
    if plain := _PLAIN_MAILBOX.fullmatch(text.encode("utf-8", "replace")):
        return plain_address(plain[1], plain[2]) or Address.parse(text)
    return Address.parse(f"<{text}>")


def _forward_path(value: object) -> Address:
    address = _address(value)
    if address.is_null:
        raise ValueError("a recipient is never null")
    return address


def _mail_parameters(value: object) -> MailParameters:
    text = _text(value)
    if not text:
        return NO_MAIL_PARAMETERS
    return MailParameters.parse(text, extensions=_extensions(text), utf8=True)


def _rcpt_parameters(value: object) -> RcptParameters:
    text = _text(value)
    if not text:
        return NO_RCPT_PARAMETERS
    return RcptParameters.parse(text, extensions=_extensions(text), utf8=True)


def _extensions(text: str) -> frozenset[str]:
    return _KNOWN_EXTENSIONS.union(word.partition("=")[0].upper() for word in text.split())


def _notes(value: object) -> dict[str, Any]:
    if value == "{}":  # nearly always, at a tenth of the price
        return {}
    notes = json.loads(_text(value))
    if not isinstance(notes, dict):
        raise TypeError("the notes are no object")
    return notes


def _time(value: Any) -> float | None:
    return None if value is None else float(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
