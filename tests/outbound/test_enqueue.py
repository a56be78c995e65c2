"""Mail in the form in which the queue takes it."""

from __future__ import annotations

from datetime import UTC, datetime
from email.header import Header
from email.message import EmailMessage, Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any

import pytest

from harakapy.mail import Content
from harakapy.outbound.enqueue import Mailbox, complete, content_of, envelope_to
from harakapy.smtp import Address, Body

WHEN = datetime(2027, 1, 15, 8, tzinfo=UTC)
PLAIN = b"Subject: hello\r\n\r\nworld\r\n"


def octets(content: Content) -> bytes:
    return b"".join(content.blocks())


@pytest.mark.parametrize("newline", ["\r\n", "\n", "\r"])
@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize("kind", [str, bytes, bytearray])
def test_every_line_ends_as_it_must_whatever_it_ended_with(newline: str, end: bool, kind: Any) -> None:
    text = newline.join(["Subject: hello", "", "world"]) + (newline if end else "")
    given = text if kind is str else kind(text.encode())
    assert octets(content_of(given)) == PLAIN


def test_content_is_taken_as_it_is() -> None:
    content = Content.from_bytes(b"whatever\n")
    assert content_of(content) is content


def written() -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "grüße"
    message["To"] = "you@example.com"
    message["Bcc"] = "secret@example.com"
    message["Resent-Bcc"] = "secret@example.com"
    message.set_content("x\n")
    return message


def multipart() -> Message:
    message = MIMEMultipart()
    message["Subject"] = Header("grüße", "utf-8").encode()
    message["bcc"] = "secret@example.com"
    message.attach(MIMEText("From here\ngrüße", "plain", "utf-8"))
    return message


@pytest.mark.parametrize("make", [written, multipart])
def test_a_message_of_the_email_package_leaves_without_the_names_of_blind_recipients(make: Any) -> None:
    message = make()
    sent = octets(content_of(message))
    assert b"secret" not in sent
    assert message["Bcc"], "the program's own message is as it was"
    assert sent.isascii()
    assert sent.count(b"\n") == sent.count(b"\r\n")
    assert b"\r\n\r\n" in sent


def test_an_address_in_utf8_makes_the_header_utf8_and_asks_for_it() -> None:
    message = EmailMessage()
    message["to"] = "jürgen@example.com"
    message.set_content("x\n")
    content = content_of(message)
    assert "jürgen@example.com" in content.header_bytes.decode()
    envelope = envelope_to("me@example.org", "you@example.com", content)
    assert envelope.params.smtputf8
    assert envelope.params.body is Body.EIGHTBITMIME


@pytest.mark.parametrize(
    ("sender", "recipient", "raw", "smtputf8", "body"),
    [
        ("me@example.org", "you@example.com", PLAIN, False, None),
        ("me@example.org", "you@example.com", PLAIN + "grüße\r\n".encode(), False, Body.EIGHTBITMIME),
        ("me@example.org", "jürgen@example.com", PLAIN, True, Body.EIGHTBITMIME),
        ("jürgen@example.org", "you@example.com", PLAIN, True, Body.EIGHTBITMIME),
        ("", "you@example.com", PLAIN, False, None),
    ],
)
def test_a_message_asks_for_what_it_needs(
    sender: str, recipient: str, raw: bytes, smtputf8: bool, body: Body | None
) -> None:
    envelope = envelope_to(sender, recipient, Content.from_bytes(raw))
    assert (envelope.params.smtputf8, envelope.params.body) == (smtputf8, body)
    assert envelope.mail_from.is_null == (not sender)


def test_a_recipient_that_is_there_twice_gets_it_once() -> None:
    twice: list[Mailbox] = ["you@example.com", Address.parse("you@EXAMPLE.com"), "her@example.com"]
    envelope = envelope_to("me@example.org", twice, Content.from_bytes(PLAIN))
    assert [str(each.address) for each in envelope.rcpt_to] == ["you@example.com", "her@example.com"]


@pytest.mark.parametrize("recipients", [[], "", [""], ["you@example.com", ""], "a@a.example, b@b.example"])
def test_without_a_recipient_that_is_one_nothing_is_sent(recipients: Any) -> None:
    with pytest.raises(ValueError, match=r"address|recipient|domain"):
        envelope_to("me@example.org", recipients, Content.from_bytes(PLAIN))


@pytest.mark.parametrize(
    ("sender", "recipients"),
    [
        (None, "you@example.com"),
        (b"me@example.org", "you@example.com"),
        ("me@example.org", b"you@example.com"),
        ("me@example.org", [None]),
        ("me@example.org", [5]),
        ("me@example.org", None),
    ],
)
def test_what_cannot_be_an_address_is_not_taken_for_one(sender: Any, recipients: Any) -> None:
    with pytest.raises(TypeError):
        envelope_to(sender, recipients, Content.from_bytes(PLAIN))


@pytest.mark.parametrize("given", [None, 5, ["Subject: hello"], object()])
def test_what_cannot_be_a_message_is_not_taken_for_one(given: Any) -> None:
    with pytest.raises(TypeError, match="is no message"):
        content_of(given)


def test_a_message_with_a_nul_is_none() -> None:
    with pytest.raises(ValueError, match="NUL"):
        content_of(b"Subject: hello\r\n\r\nwor\0ld\r\n")


def test_a_message_is_given_what_it_must_have() -> None:
    content = content_of(PLAIN)
    complete(content, "A1", "sender.test", WHEN)
    assert octets(content) == (
        b"Received: by sender.test (harakapy) id A1;\r\n\tFri, 15 Jan 2027 08:00:00 +0000\r\n"
        b"Subject: hello\r\nDate: Fri, 15 Jan 2027 08:00:00 +0000\r\n"
        b"Message-ID: <A1@sender.test>\r\n\r\nworld\r\n"
    )


def test_what_a_message_has_is_left_alone() -> None:
    fields = b"date: yesterday\r\nMESSAGE-ID: <own@example.org>\r\n\r\n"
    content = content_of(fields)
    complete(content, "A1", "sender.test", WHEN)
    assert octets(content).endswith(b"+0000\r\n" + fields)
