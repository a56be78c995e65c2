"""The part of a report that people read, made from a template that an operator may replace.

A template begins with the line ``Subject: ...`` and an empty line; the rest is the text. Placeholders are
``$name``; a ``$`` of its own is written ``$$``. See `PLACEHOLDERS` for what there is.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from string import Template
from typing import Final, Self

from msgspec import Struct

from harakapy.mail.envelope import Recipient
from harakapy.mail.safe_text import neutralise
from harakapy.mail.status import EnhancedStatus
from harakapy.mail.trace import date_time

__all__ = ["BUILT_IN", "PLACEHOLDERS", "Action", "Fate", "ReportText"]

_MAX_TEXT: Final = 2000  # characters of a diagnostic, as in the part for programs
_WIDTH: Final = 76


class Action(Enum):
    """What happened to a recipient's copy (RFC 3464 2.3.3), the worst first."""

    FAILED = "failed"
    DELAYED = "delayed"
    RELAYED = "relayed"
    """Handed to a host that sends no reports itself."""
    DELIVERED = "delivered"


class Fate(Struct, frozen=True, kw_only=True):
    """What became of the message for one recipient. Times know their zone."""

    recipient: Recipient
    action: Action
    status: EnhancedStatus | None = None
    text: str = ""
    """The last reply with its code, or what happened instead."""
    is_reply: bool = False
    """Whether ``text`` is a reply of SMTP."""
    host: str = ""
    """Who said it, such as ``mx.example.com[192.0.2.1]``; ``""`` if nobody did."""
    last_attempt: datetime | None = None
    retry_until: datetime | None = None
    """For what is delayed: until when it is tried."""


PLACEHOLDERS: Final = {
    "subject": "what happened, in a few words",
    "summary": "what happened, in a sentence",
    "recipients": "the recipients with what was said about each, in several lines",
    "hostname": "our name",
    "sender": "the sender of the message",
    "arrived": "when the message came to us",
    "message_id": "our name for the message, as in the log",
    "original_subject": "the subject of the message",
}
"""What a template may say, and what each means."""

_SUBJECTS: Final = {
    Action.FAILED: "Your message could not be delivered",
    Action.DELAYED: "Your message is delayed",
    Action.RELAYED: "Your message was passed on",
    Action.DELIVERED: "Your message was delivered",
}
_SUMMARIES: Final = {
    Action.FAILED: "Your message could not be delivered to those listed as not delivered below, and is not "
    "tried again for them.",
    Action.DELAYED: "Your message could not be delivered yet to those listed below. You need not do "
    "anything: it is tried again until the time given, and you are told if that fails.",
    Action.RELAYED: "Your message was passed on to other hosts, which may not report what becomes of it.",
    Action.DELIVERED: "Your message was delivered, as you asked to be told.",
}
FOR_POSTMASTER: Final = {
    "subject": "A message that has no sender could not be delivered",
    "summary": "A report or another message without a sender could not be delivered to the recipients below. "
    "Nobody but you is told.",
}
"""Values for a report to an operator, on a message that nobody else can be told about."""

_HEADINGS: Final = {
    Action.FAILED: "Not delivered:",
    Action.DELAYED: "Not delivered yet:",
    Action.RELAYED: "Passed on:",
    Action.DELIVERED: "Delivered:",
}

_BUILT_IN_TEMPLATE: Final = """\
Subject: $subject

This is the mail system at $hostname.

$summary

$recipients

Your message came to us on $arrived.
If you ask us about it, please name it as $message_id.
"""


class ReportText(Struct, frozen=True):
    """A template that is known to be good."""

    subject: Template
    body: Template

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a template. Raises ValueError, with a text for the operator, if it is none."""
        head, _, body = text.replace("\r\n", "\n").partition("\n\n")
        name, _, subject = head.partition(":")
        if name.lower() != "subject" or "\n" in head or not body.strip():
            raise ValueError("a template begins with a line 'Subject: ...', an empty line, and then the text")
        template = cls(Template(subject.strip()), Template(body.rstrip("\n") + "\n"))
        for each in (template.subject, template.body):
            _check(each)
        return template

    def render(self, fates: Sequence[Fate], values: Mapping[str, str]) -> tuple[str, str]:
        """The subject, and the text with lines ending in ``\\n``, none of them wider than it must be.

        ``values`` are those of `PLACEHOLDERS` that are not made of ``fates``, and others instead of these.
        """
        present = {fate.action for fate in fates}
        worst = next(action for action in Action if action in present)
        known = {"subject": _SUBJECTS[worst], "summary": _SUMMARIES[worst]}
        known |= {name: neutralise(value) for name, value in values.items()}
        known["summary"] = textwrap.fill(known["summary"], _WIDTH)
        known["recipients"] = "\n\n".join(_sections(fates))
        subject = " ".join(self.subject.substitute(known).split())
        return subject, _narrow(self.body.substitute(known))


def _check(template: Template) -> None:
    if not template.is_valid():
        raise ValueError("a '$' in the template begins no placeholder; one for itself is written '$$'")
    for name in template.get_identifiers():
        if name not in PLACEHOLDERS:
            raise ValueError(f"the template has ${name}, which is none of {', '.join(PLACEHOLDERS)}")


def _narrow(text: str) -> str:
    """The text with what is too long for a line of mail broken (RFC 5322 2.1.1)."""
    lines = (
        textwrap.wrap(line, 200, drop_whitespace=False) if len(line) > 200 else [line]
        for line in text.split("\n")
    )
    return "\n".join(part.rstrip() for parts in lines for part in parts)


def _sections(fates: Sequence[Fate]) -> Iterator[str]:
    for action in Action:
        entries = [_entry(fate) for fate in fates if fate.action is action]
        if entries:
            yield "\n".join([_HEADINGS[action], *entries])


def _entry(fate: Fate) -> str:
    lines = [f"  <{neutralise(str(fate.recipient))}>"]
    if fate.text:
        who = f"{fate.host} answered: " if fate.is_reply and fate.host else ""
        where = f" ({fate.host})" if fate.host and not fate.is_reply else ""
        lines += _wrapped(f"{who}{fate.text[:_MAX_TEXT]}{where}")
    if fate.status is not None and not fate.status.is_success:
        lines += _wrapped(f"That means: {fate.status.meaning} ({fate.status}).")
    if fate.retry_until is not None:
        lines += _wrapped(f"It is tried until {date_time(fate.retry_until)}.")
    return "\n".join(lines)


def _wrapped(text: str) -> list[str]:
    safe = neutralise(" ".join(text.split()))
    return textwrap.wrap(safe, _WIDTH, initial_indent="      ", subsequent_indent="      ")


BUILT_IN: Final = ReportText.parse(_BUILT_IN_TEMPLATE)
