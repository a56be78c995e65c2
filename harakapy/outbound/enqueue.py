"""Mail that is to go out, in the form in which the queue takes it."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from datetime import datetime
from email.message import EmailMessage, Message
from typing import TYPE_CHECKING, TypeAlias

from harakapy.mail import Content
from harakapy.mail.envelope import Envelope, Recipient
from harakapy.mail.trace import date_time
from harakapy.smtp import Address, Body, LineRules, MailParameters
from harakapy.smtp.parameters import NO_MAIL_PARAMETERS, NO_RCPT_PARAMETERS

if TYPE_CHECKING:
    from harakapy.inbound.transaction import Transaction

__all__ = ["Mailbox", "Sendable", "complete", "content_of", "envelope_of", "envelope_to"]

Mailbox: TypeAlias = Address | str
"""An address, or the text of one: ``user@example.com``; ``""`` is the null reverse-path."""

Sendable: TypeAlias = Content | Message | bytes | bytearray | str
"""A message that a program sends, also one of Python's email package: lines of texts and octets may end
with any of CR LF, LF and CR."""


def envelope_of(transaction: Transaction) -> Envelope:
    """The envelope of a message that came by SMTP, with the parameters it came with.

    A recipient that is there twice gets it once.
    """
    params = transaction.rcpt_params
    recipients = tuple(
        Recipient(address, params.get(address, NO_RCPT_PARAMETERS))
        for address in dict.fromkeys(transaction.rcpt_to)
    )
    return Envelope(transaction.mail_from, recipients, transaction.mail_params)


def envelope_to(mail_from: Mailbox, rcpt_to: Mailbox | Iterable[Mailbox], content: Content) -> Envelope:
    """The envelope of a message that a program sends.

    Asks for SMTPUTF8 and 8BITMIME if it needs them (RFC 6531 3.1, RFC 6152 3). A recipient that is there
    twice gets it once. Raises ValueError for what is no address, or if there is no recipient; TypeError for
    what cannot be one.
    """
    sender = _address(mail_from)
    addresses = [rcpt_to] if isinstance(rcpt_to, str | bytes | Address) else rcpt_to
    recipients = tuple(Recipient(each) for each in dict.fromkeys(map(_address, addresses)))
    if not recipients or any(recipient.address.is_null for recipient in recipients):
        raise ValueError("a message needs a recipient, and each needs an address")
    is_utf8 = sender.is_utf8 or any(recipient.address.is_utf8 for recipient in recipients)
    header = content.header_bytes
    if header.isascii() and not is_utf8:
        is_7bit = all(block.isascii() for block in content.blocks())
        return Envelope(sender, recipients, NO_MAIL_PARAMETERS if is_7bit else _EIGHT_BIT)
    return Envelope(sender, recipients, _UTF8)


_EIGHT_BIT = MailParameters(body=Body.EIGHTBITMIME)
_UTF8 = MailParameters(body=Body.EIGHTBITMIME, smtputf8=True)


def _address(mailbox: Mailbox) -> Address:
    if isinstance(mailbox, Address):
        return mailbox
    if isinstance(mailbox, str):  # None is not the null reverse-path: somebody has forgotten the sender
        return Address.parse(mailbox or "<>")
    raise TypeError(f"an address is an Address or a str, not a {type(mailbox).__name__}")


def content_of(message: Sendable) -> Content:
    """The content of a message that a program sends: every line ends with CR LF, also the last one.

    A `Content` is taken as it is. Of a message of Python's email package the Bcc fields stay here: the
    recipients are in the envelope. Raises TypeError for anything else, ValueError for text that is none, or
    has a NUL: programs in C would stop reading there, and RFC 5322 has none.
    """
    if isinstance(message, Content):
        return message
    if isinstance(message, Message):
        raw = _octets_of(message)
    elif isinstance(message, str):
        raw = message.encode()
    elif isinstance(message, bytes | bytearray):
        raw = bytes(message)
    else:
        raise TypeError(f"a {type(message).__name__} is no message")
    rules = LineRules(max_line_octets=0, normalise=True)
    lines = rules.feed(raw) + rules.finish()
    if rules.has_nul:
        raise ValueError("the message has a NUL octet")
    return Content.from_bytes(lines if lines.endswith(b"\r\n") or not lines else lines + b"\r\n")


def _octets_of(message: Message) -> bytes:
    from email import policy  # with its parser of fields: few programs send what Python's email package made

    message = copy(message)  # a shallow one, whose list of fields is its own
    for name in ("Bcc", "Resent-Bcc"):
        del message[name]
    if not isinstance(message, EmailMessage):  # such as MIMEText
        return message.as_bytes(policy=message.policy.clone(linesep="\r\n"))
    has_utf8 = any(
        not str(value).isascii() for name, value in message.items() if name.lower() in _ADDRESS_FIELDS
    )
    return message.as_bytes(policy=policy.SMTPUTF8 if has_utf8 else policy.SMTP)


_ADDRESS_FIELDS = frozenset({"from", "sender", "reply-to", "to", "cc"})


def complete(
    content: Content, unique: str, hostname: str, now: datetime, *, userid: int | None = None
) -> None:
    """Add what a message must have (RFC 5322 3.6) or should, and say that we took it (RFC 5321 4.4).

    ``userid`` is the number of the user of this machine whose it is, if it is one's.
    """
    header = content.header
    if "Date" not in header:
        header.add("Date", date_time(now))
    if "Message-ID" not in header:
        header.add("Message-ID", f"<{unique}@{hostname}>")
    origin = "" if userid is None else f", from userid {userid}"
    content.prepend(
        f"Received: by {hostname} (harakapy{origin}) id {unique};\r\n\t{date_time(now)}\r\n".encode("ascii")
    )
