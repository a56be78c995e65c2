"""The envelope: what the sender asked for, with the defaults of the RFCs."""

from __future__ import annotations

import pytest

from harakapy.mail import Envelope, Recipient
from harakapy.smtp.address import NULL_PATH, Address
from harakapy.smtp.parameters import Body, MailParameters, Notify, OriginalRecipient, RcptParameters, Ret

RECIPIENT = Recipient(Address.parse("a@example.com"))


def test_an_envelope_without_parameters_has_the_defaults() -> None:
    envelope = Envelope(NULL_PATH, (RECIPIENT,))
    assert envelope.body is Body.SEVENBIT
    assert (envelope.ret, envelope.envid) == (None, None)
    assert not envelope.is_smtputf8
    assert not envelope.is_tls_required
    assert RECIPIENT.notify == {Notify.FAILURE, Notify.DELAY}
    assert RECIPIENT.original is None
    assert str(RECIPIENT) == "a@example.com"


def test_parameters_are_readable() -> None:
    params = MailParameters(body=Body.BINARYMIME, smtputf8=True, requiretls=True, ret=Ret.HDRS, envid="x")
    envelope = Envelope(NULL_PATH, (RECIPIENT,), params)
    assert envelope.body is Body.BINARYMIME
    assert (envelope.ret, envelope.envid) == (Ret.HDRS, "x")
    assert envelope.is_smtputf8
    assert envelope.is_tls_required


def test_a_recipient_knows_what_is_to_be_reported() -> None:
    original = OriginalRecipient("rfc822", "b@example.com")
    params = RcptParameters(notify=frozenset({Notify.NEVER}), orcpt=original)
    recipient = Recipient(RECIPIENT.address, params)
    assert recipient.notify == {Notify.NEVER}
    assert recipient.original == original


def test_a_part_of_the_recipients_keeps_the_rest() -> None:
    other = Recipient(Address.parse("b@example.com"))
    envelope = Envelope(NULL_PATH, (RECIPIENT, other), MailParameters(envid="x"))
    part = envelope.with_recipients((other,))
    assert part.rcpt_to == (other,)
    assert part.envid == "x"
    assert envelope.rcpt_to == (RECIPIENT, other)


def test_envelopes_do_not_change() -> None:
    with pytest.raises(AttributeError):
        RECIPIENT.address = NULL_PATH  # type: ignore[misc]  # that is the point
