"""Messages as they enter the queue: what the envelope asks for becomes times, and notes become JSON."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from harakapy.mail import Envelope
from harakapy.queue import QueuedMessage, durable_notes
from harakapy.smtp.address import Address
from harakapy.smtp.parameters import DeliverBy, MailParameters

from .samples import NOW, recipient

SENDER = Address.parse("a@example.com")


def accepted(params: MailParameters) -> QueuedMessage:
    envelope = Envelope(SENDER, (recipient("b@example.org"),), params)
    return QueuedMessage.from_envelope("A.1", envelope, size=7, now=NOW)


def test_a_plain_message_is_due_when_it_arrives() -> None:
    message = accepted(MailParameters())
    assert (message.id, message.mail_from, message.size, message.arrived) == ("A.1", SENDER, 7, NOW)
    assert (message.priority, message.deliver_by, message.hold_until) == (0, None, None)
    assert message.first_due == NOW


def test_a_time_limit_and_a_priority_are_taken_from_the_parameters() -> None:
    message = accepted(MailParameters(by=DeliverBy(120, "R"), mt_priority=-4))
    assert (message.deliver_by, message.priority) == (NOW + 120, -4)


@pytest.mark.parametrize(
    ("params", "due"),
    [
        (MailParameters(hold_for=60), NOW + 60),
        (MailParameters(hold_until=datetime.fromtimestamp(NOW + 90, UTC)), NOW + 90),
        (MailParameters(hold_until=datetime.fromtimestamp(NOW - 90, UTC)), NOW),
    ],
)
def test_a_message_to_be_held_back_is_due_when_its_sender_says(params: MailParameters, due: float) -> None:
    assert accepted(params).first_due == due


def test_notes_that_are_no_json_stay_behind() -> None:
    notes = {
        "kept": {"list": [1, 2.5, None, True, "text"], "tuple": (1, 2)},
        "socket": object(),
        "deep": [[{"set": {1}}]],
        "nan": float("nan"),
        "octets": b"x",
        "unicode": "\ud800",
    }
    notes["self"] = notes
    assert durable_notes(notes) == {
        "kept": {"list": [1, 2.5, None, True, "text"], "tuple": [1, 2]},
        "unicode": "\ud800",
    }
