"""What of an envelope is passed on to a host, and what keeps a message from it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from harakapy.mail.status import EnhancedStatus
from harakapy.outbound.attempt import Phase
from harakapy.outbound.onward import Link, mail_command
from harakapy.smtp import (
    Address,
    Body,
    DeliverBy,
    Mail,
    MailParameters,
    Notify,
    OriginalRecipient,
    RcptParameters,
    Ret,
)
from harakapy.smtp.capabilities import Capabilities
from tests.outbound.hosts import HELLO, deliver, envelope, session

REFUSED = "S: 550 no\n"
EIGHT_BIT = "Subject: hello\r\n\r\nÄ\r\n".encode()
DSN = MailParameters(ret=Ret.HDRS, envid="x+y")
RCPT_DSN = RcptParameters(
    notify=frozenset({Notify.SUCCESS, Notify.DELAY}), orcpt=OriginalRecipient("rfc822", "a@b.example")
)


def offering(*keywords: str) -> str:
    """A host with these extensions, PIPELINING not among them."""
    lines = ["mx.example.org", *keywords]
    return HELLO + "".join(f"S: 250-{line}\n" for line in lines[:-1]) + f"S: 250 {lines[-1]}\n"


@pytest.mark.parametrize(
    ("keywords", "params", "sent"),
    [
        (["SIZE"], MailParameters(size=99999), " SIZE=24"),
        (["SIZE 1000"], MailParameters(), " SIZE=24"),
        ([], MailParameters(size=24, body=Body.EIGHTBITMIME), ""),
        (["8BITMIME"], MailParameters(body=Body.EIGHTBITMIME), " BODY=8BITMIME"),
        (["8BITMIME"], MailParameters(), ""),
        (["DSN"], DSN, " RET=HDRS ENVID=x+2By"),
        ([], DSN, ""),
        (["MT-PRIORITY MIXER"], MailParameters(mt_priority=4), " MT-PRIORITY=4"),
        ([], MailParameters(mt_priority=4), ""),
        (["DELIVERBY"], MailParameters(by=DeliverBy(60, "R")), " BY=60;R"),
        (["DELIVERBY 60"], MailParameters(by=DeliverBy(60, "R", trace=True)), " BY=60;RT"),
        (["DELIVERBY 61"], MailParameters(by=DeliverBy(-5, "N")), " BY=-5;N"),
        ([], MailParameters(by=DeliverBy(60, "N")), ""),
        (["FUTURERELEASE 9 x"], MailParameters(hold_for=5), ""),
        (["FUTURERELEASE 9 x"], MailParameters(hold_until=datetime.now(UTC)), ""),
        (["AUTH PLAIN"], MailParameters(auth=Address("a", "b.example")), ""),
        (["SMTPUTF8"], MailParameters(smtputf8=True), ""),
        (["X-OURS"], MailParameters(extra=(("X-OURS", "1"),)), ""),
    ],
)
async def test_a_parameter_goes_on_only_to_a_host_that_offers_its_extension(
    keywords: list[str], params: MailParameters, sent: str
) -> None:
    async with session(offering(*keywords) + f"C: MAIL FROM:<me@example.com>{sent}\n" + REFUSED) as opened:
        (answer,) = await deliver(opened, envelope(params=params))
        assert answer.reply is not None


@pytest.mark.parametrize(
    ("keywords", "sent"), [(["DSN"], " NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a@b.example"), ([], "")]
)
async def test_what_is_to_be_reported_goes_on_with_dsn_and_is_told(keywords: list[str], sent: str) -> None:
    script = offering(*keywords) + f"C: MAIL*\nS: 250 ok\nC: RCPT TO:<you@example.org>{sent}\nS: 250 ok\n"
    async with session(script + "C: DATA\nS: 354 go\nCONTENT\nS: 250 ok\n") as opened:
        (answer,) = await deliver(opened, envelope(rcpt_params=RCPT_DSN))
        assert answer.is_dsn_passed_on is bool(keywords)


async def test_whom_we_logged_in_as_says_nothing_about_the_sender() -> None:
    params = MailParameters(auth=Address("a", "b.example"))
    command = mail_command(
        envelope(params=params), Link(Capabilities(), is_logged_in=True), size=1, body=None, has_utf8=False
    )
    assert isinstance(command, Mail)
    assert command.to_bytes() == b"MAIL FROM:<me@example.com> AUTH=<>"


@pytest.mark.parametrize(
    ("keywords", "params", "status"),
    [
        (["SIZE 23"], MailParameters(), EnhancedStatus(5, 3, 4)),
        ([], MailParameters(by=DeliverBy(60, "R")), EnhancedStatus(5, 4, 7)),
        (["DELIVERBY 61"], MailParameters(by=DeliverBy(60, "R")), EnhancedStatus(5, 4, 7)),
        (["REQUIRETLS"], MailParameters(requiretls=True), EnhancedStatus(5, 7, 30)),
    ],
)
async def test_a_message_that_does_not_fit_a_host_is_not_sent(
    keywords: list[str], params: MailParameters, status: EnhancedStatus
) -> None:
    async with session(offering(*keywords)) as opened:
        answers = await deliver(opened, envelope("a@b.example", "c@d.example", params=params))
        assert [(answer.phase, answer.reply, answer.status) for answer in answers] == [
            (Phase.MAIL, None, status)
        ] * 2
        assert opened.is_usable


async def test_eight_bit_content_is_declared_although_the_sender_did_not() -> None:
    script = offering("8BITMIME") + "C: MAIL FROM:<me@example.com> BODY=8BITMIME\n" + REFUSED
    async with session(script) as opened:
        await deliver(opened, content=EIGHT_BIT)


async def test_eight_bit_content_is_converted_for_a_host_that_takes_seven() -> None:
    content = (
        b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: 8bit\r\n\r\nmostly ASCII: \xc3\x84\r\n"
    )
    script = offering("SIZE") + "C: MAIL*\nS: 250 ok\nC: RCPT*\nS: 250 ok\nC: DATA\nS: 354 go\n"
    script += "C: MIME-Version: 1.0\nC: Content-Type: text/plain; charset=utf-8\n"
    script += "C: Content-Transfer-Encoding: quoted-printable\nC:\nC: mostly ASCII: =C3=84\nC: .\nS: 250 ok\n"
    async with session(script) as opened:
        (answer,) = await deliver(opened, content=content)
        assert answer.is_delivered


async def test_content_that_cannot_be_converted_is_not_sent() -> None:
    content = (
        b"MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=x\r\n\r\n--x\r\n"
        b"Content-Transfer-Encoding: 8bit\r\n\r\n\xc3\x84\r\n--x\r\n\r\n\r\n--x--\r\n"
    )
    async with session(offering("SIZE")) as opened:
        (answer,) = await deliver(opened, content=content)
        assert (answer.reply, answer.status) == (None, EnhancedStatus(5, 6, 3))
        assert opened.is_usable


async def test_a_domain_goes_as_a_labels_without_smtputf8() -> None:
    script = offering() + "C: MAIL FROM:<me@xn--bcher-kva.example>\nS: 250 ok\n"
    script += "C: RCPT TO:<you@xn--bcher-kva.example>\n" + REFUSED
    async with session(script) as opened:
        to = envelope("you@bücher.example", sender="me@bücher.example", params=MailParameters(smtputf8=True))
        (answer,) = await deliver(opened, to)
        assert answer.reply is not None


@pytest.mark.parametrize("recipient", ["jörg@example.org", "you@example.org"])
async def test_smtputf8_is_asked_for_where_it_is_needed(recipient: str) -> None:
    sender = "me@example.com" if not recipient.isascii() else "mé@example.com"
    script = offering("SMTPUTF8") + f"C: MAIL FROM:<{sender}> SMTPUTF8\nS: 250 ok\n"
    async with session(script + f"C: RCPT TO:<{recipient}>\n" + REFUSED) as opened:
        (answer,) = await deliver(opened, envelope(recipient, sender=sender))
        assert answer.reply is not None


@pytest.mark.parametrize(
    ("sender", "content"),
    [("mé@example.com", b"\r\n"), ("me@example.com", "Subject: hellö\r\n\r\n".encode())],
)
async def test_a_message_that_needs_smtputf8_is_not_sent_without(sender: str, content: bytes) -> None:
    async with session(offering("8BITMIME")) as opened:
        to = envelope(sender=sender, params=MailParameters(smtputf8=True))
        (answer,) = await deliver(opened, to, content)
        assert (answer.reply, answer.status) == (None, EnhancedStatus(5, 6, 7))


async def test_one_recipient_who_needs_smtputf8_does_not_stop_the_others() -> None:
    script = offering() + "C: MAIL*\nS: 250 ok\nC: RCPT TO:<you@example.org>\nS: 250 ok\n"
    async with session(script + "C: DATA\nS: 354 go\nCONTENT\nS: 250 ok\n") as opened:
        no, yes = await deliver(opened, envelope("jörg@example.org", "you@example.org"))
        assert (no.reply, no.status) == (None, EnhancedStatus(5, 6, 7))
        assert yes.is_delivered


async def test_eight_bit_octets_in_the_header_of_a_message_without_smtputf8_travel_as_ever() -> None:
    async with session(offering("8BITMIME") + "C: MAIL*\n" + REFUSED) as opened:
        (answer,) = await deliver(opened, content=b"Subject: hell\xf6\r\n\r\n")
        assert answer.reply is not None
