"""Delivery reports: what became of a message, for people and for programs (RFC 3464, RFC 6522, RFC 6533).

A report is composed from values alone. It holds what strangers said (replies of hosts, the header of the
message) and is read by software of others, so all of that is neutralised here and bounded. It is 7-bit clean,
unless UTF-8 is allowed and something in it needs it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from harakapy.mail.encoded_word import encode_whole
from harakapy.mail.envelope import Recipient
from harakapy.mail.field import fold, format_field
from harakapy.mail.report_text import BUILT_IN, FOR_POSTMASTER, Action, Fate, ReportText
from harakapy.mail.returned import NOTHING, Returned, quoted_printable
from harakapy.mail.safe_text import neutralise
from harakapy.mail.status import DEFERRED, FAILED, SUCCESS, EnhancedStatus
from harakapy.mail.trace import date_field, date_time, message_id_field
from harakapy.smtp.address import Address
from harakapy.smtp.dsn import OriginalRecipient

__all__ = ["Action", "Fate", "Report", "compose"]

MAX_VALUE: Final = 2000
"""Characters of a diagnostic that a report repeats: several times the longest reply that says something, and
a bound, for a thousand recipients may come with 64 KiB each. Picked."""

_MAX_WORD: Final = 240  # characters; up to four octets each stay below the 998 of a line
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,500}>")
_HOST = re.compile(r"([^\[\s]*)(?:\[([^\]]*)\])?")  # mx.example.com[192.0.2.1], as `Diagnostic.host` has it
_NOT_IN_HOST = re.compile(r"[^A-Za-z0-9._:/-]")
_WORD = re.compile(r"[ \t]*[^ \t]+")
_ATOMS = re.compile(r"[A-Za-z0-9 !#$%&'*+/=?^_`{|}~-]+")  # RFC 5322 3.2.3


class Report(Struct, frozen=True, kw_only=True):
    """What a report tells, to whom, and in whose name. Times know their zone."""

    id: str
    """Ours for the report itself; it becomes its Message-ID."""
    to: Address
    hostname: str
    """Who reports: our name in DNS."""
    from_address: Address
    when: datetime
    fates: Sequence[Fate]
    """One for each recipient it is about."""
    arrived: datetime
    """When the message came to us."""
    message_id: str
    """Our name for the message, so that its way can be found in the log."""
    sender: Address
    """The reverse-path of the message; another one than ``to`` if an operator gets the report."""
    from_name: str = "Mail Delivery System"
    envid: str | None = None
    """The sender's name for the envelope (RFC 3461 4.4)."""
    returned: Returned = NOTHING
    """What goes back of the message."""
    is_utf8_allowed: bool = False
    """Whether whoever gets it takes UTF-8 in header and addresses (RFC 6531)."""


def compose(report: Report, text: ReportText = BUILT_IN) -> bytes:
    """The report as content to send, lines ending with CRLF.

    It has octets above 127 only if UTF-8 is allowed; then it needs 8BITMIME and SMTPUTF8 to be sent.
    Raises ValueError if it is about nobody.
    """
    if not report.fates:
        raise ValueError("a report is about one recipient at least")
    subject, notification = text.render(report.fates, _values(report))
    parts = [_notification(notification), _status(report)]
    if report.returned.octets:
        parts.append(_returned(report.returned))
    boundary = _boundary(report.id, parts)
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    is_ascii = all(map(bytes.isascii, parts))
    head = _head(report, subject, boundary, encoding="7bit" if is_ascii else "8bit")
    return (
        head + b"\r\nThis is a delivery report in MIME format.\r\n\r\n" + body + b"--" + boundary + b"--\r\n"
    )


def _values(report: Report) -> dict[str, str]:
    """What the text may speak of besides the recipients."""
    values = {
        "hostname": report.hostname,
        "sender": report.sender.address or "<>",
        "arrived": date_time(report.arrived),
        "message_id": report.message_id,
        "original_subject": (report.returned.header.get_decoded("Subject") or "")[:_MAX_WORD],
    }
    return values if report.to == report.sender else values | FOR_POSTMASTER


def _head(report: Report, subject: str, boundary: bytes, *, encoding: str) -> bytes:
    utf8 = report.is_utf8_allowed
    related = report.returned.header.get("Message-ID") or ""
    fields = [
        date_field(report.when),
        format_field("From", _mailbox(report.from_name, report.from_address), utf8=utf8),
        format_field("To", f"<{report.to.address}>", utf8=utf8),
        message_id_field(report.id, report.hostname),
        format_field("Subject", subject),
        b"Auto-Submitted: auto-replied\r\n",  # RFC 3834 5: so that nobody's program answers it
    ]
    if _MESSAGE_ID.fullmatch(related):
        fields += [f"{name}: {related}\r\n".encode() for name in ("In-Reply-To", "References")]
    fields += [
        b"MIME-Version: 1.0\r\n",
        f"Content-Transfer-Encoding: {encoding}\r\n".encode(),
        b'Content-Type: multipart/report; report-type=delivery-status;\r\n boundary="' + boundary + b'"\r\n',
    ]
    return b"".join(fields)


def _mailbox(name: str, address: Address) -> str:
    if not name:
        return f"<{address.address}>"
    if not name.isascii():
        name = encode_whole(name)
    elif not _ATOMS.fullmatch(name):
        name = '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
    return f"{name} <{address.address}>"


def _boundary(unique: str, parts: Sequence[bytes]) -> bytes:
    """A boundary that occurs in no part: whoever wrote the message may know how we make it."""
    number = 0
    while True:
        boundary = f"=_{re.sub('[^A-Za-z0-9.]', '', unique)[:40]}_{number}".encode()
        if not any(boundary in part for part in parts):
            return boundary
        number += 1


def _notification(text: str) -> bytes:
    octets = text.replace("\n", "\r\n").encode()
    if octets.isascii():
        return (
            b"Content-Description: Notification\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
            + octets
        )
    return (
        b"Content-Description: Notification\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + quoted_printable(octets)
    )


def _returned(returned: Returned) -> bytes:
    octets = returned.octets if returned.octets.endswith(b"\r\n") else returned.octets + b"\r\n"
    head = f"Content-Type: {returned.media_type}\r\nContent-Transfer-Encoding: {returned.encoding}\r\n\r\n"
    return f"Content-Description: {returned.description}\r\n{head}".encode() + octets


def _status(report: Report) -> bytes:
    """The part for programs: a group of fields about the message, then one for each recipient (RFC 3464)."""
    utf8 = report.is_utf8_allowed
    groups = [_message_fields(report), *(_recipient_fields(fate, utf8=utf8) for fate in report.fates)]
    octets = b"\r\n".join(b"".join(_field(name, value, utf8=utf8) for name, value in each) for each in groups)
    head = b"Content-Description: Delivery report\r\nContent-Type: message/"
    if octets.isascii():
        return head + b"delivery-status\r\n\r\n" + octets
    return head + b"global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + octets


def _message_fields(report: Report) -> list[tuple[str, str]]:
    fields = [
        ("Reporting-MTA", f"dns; {_NOT_IN_HOST.sub('?', report.hostname)}"),
        ("X-Harakapy-Message", report.message_id),
        ("Arrival-Date", date_time(report.arrived)),
    ]
    return [("Original-Envelope-Id", report.envid), *fields] if report.envid else fields


def _recipient_fields(fate: Fate, *, utf8: bool) -> list[tuple[str, str]]:
    fields = [
        ("Original-Recipient", _typed(fate.recipient.original, utf8=utf8)),
        ("Final-Recipient", _final(fate.recipient, utf8=utf8)),
        ("Action", fate.action.value),
        ("Status", str(_fitting(fate))),
        ("Remote-MTA", _remote(fate.host)),
        ("Diagnostic-Code", f"{'smtp' if fate.is_reply else 'x-harakapy'}; {fate.text}" if fate.text else ""),
        ("Last-Attempt-Date", date_time(fate.last_attempt) if fate.last_attempt else ""),
        ("Will-Retry-Until", date_time(fate.retry_until) if fate.retry_until else ""),
    ]
    return [(name, value) for name, value in fields if value]


def _final(recipient: Recipient, *, utf8: bool) -> str:
    address = recipient.address
    return _typed(OriginalRecipient("utf-8" if address.is_utf8 else "rfc822", address.address), utf8=utf8)


def _typed(recipient: OriginalRecipient | None, *, utf8: bool) -> str:
    """An address with its type (RFC 3464 2.1.2); one of type utf-8 in the form that fits (RFC 6533 3)."""
    if recipient is None:
        return ""
    if recipient.addr_type == "utf-8" and not utf8:
        return str(recipient).replace(";", "; ", 1)
    return f"{recipient.addr_type}; {recipient.address}"


_ACTION_STATUS: Final = {
    Action.FAILED: ((5, 4), FAILED),  # RFC 3464 2.3.4: given up after temporary failures keeps their class
    Action.DELAYED: ((4,), DEFERRED),
    Action.DELIVERED: ((2,), SUCCESS),
    Action.RELAYED: ((2,), SUCCESS),
}


def _fitting(fate: Fate) -> EnhancedStatus:
    """The status, which must not contradict the action."""
    classes, otherwise = _ACTION_STATUS[fate.action]
    return fate.status if fate.status is not None and fate.status.category in classes else otherwise


def _remote(host: str) -> str:
    """Who said it, as RFC 3464 2.3.5 wants it: its type and name; its address as a comment."""
    found = _HOST.match(host)
    name, address = (_NOT_IN_HOST.sub("?", part or "") for part in (found.groups() if found else ("", "")))
    if name.startswith("/"):
        return f"x-unix; {name}"
    if not name:
        return f"dns; [{address}]" if address else ""
    return f"dns; {name} ([{address}])" if address else f"dns; {name}"


def _field(name: str, value: str, *, utf8: bool) -> bytes:
    """A field of the status part: bounded, folded, and nothing in it that could begin another one."""
    text = neutralise(value)
    if not utf8:
        text = text.encode("ascii", "backslashreplace").decode("ascii")
    if len(text) > MAX_VALUE:
        text = text[:MAX_VALUE] + " ..."
    return fold(name, [piece for word in _WORD.findall(" " + text.strip()) for piece in _pieces(word)])


def _pieces(word: str) -> list[str]:
    """A word, or what is left of it when it is too long for a line."""
    if len(word.encode()) <= 900:
        return [word]
    stripped = word.strip()
    return [" " + stripped[at : at + _MAX_WORD] for at in range(0, len(stripped), _MAX_WORD)]
