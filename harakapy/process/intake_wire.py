"""The socket for messages of this machine's users as both ends see it: a greeting, a message, an answer.

Whoever connects reads one line of JSON, the terms: our host name, and how large a message may be. It may
leave then, or send one line of JSON, the envelope and how many octets follow, and then these. The number
comes first so that a message of a program that was killed on the way is never taken for a whole one. What
comes back is one line, ``{"done": {"id": ...}}`` or ``{"error": {"problem": ..., "text": ...}}``, which may
come at any time. There is no second message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final, Self

from msgspec import Struct
from msgspec.structs import asdict

from harakapy.config import Settings
from harakapy.mail import Envelope, Recipient
from harakapy.smtp import Address, Body, MailParameters, Notify, RcptParameters, Ret, encode_xtext
from harakapy.smtp.dsn import parse_envelope_id, parse_notify

__all__ = ["MAX_ANSWER", "MAX_LINE", "IntakeProblem", "IntakeRefused", "IntakeTerms", "Submission"]

MAX_LINE: Final = 1 << 20
"""Octets of the line to the server: some ten thousand recipients, each with as long an address as usual."""

MAX_RECIPIENTS: Final = 10_000
"""Of one message. Picked: reading their addresses is 0.1 s in which the server does nothing else."""

MAX_ANSWER: Final = 65536
"""Octets of a line to the client."""


class IntakeProblem(Enum):
    """Why a message was not taken."""

    REFUSED = "refused"
    """It will never be taken: malformed, too large, or going round in a loop."""
    BUSY = "busy"
    STORE = "store"
    """The queue takes no mail now."""
    INTERNAL = "internal"


class IntakeRefused(Exception):
    """A message was not taken; ``problem`` is why, and the text says more."""

    def __init__(self, problem: IntakeProblem, text: str) -> None:
        super().__init__(text)
        self.problem = problem


class IntakeTerms(Struct, frozen=True):
    """What who sends must know of the server: its name, and how many octets it takes."""

    hostname: str
    max_message_size: int
    max_header_size: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The terms under these settings."""
        smtp = settings.smtp
        return cls(settings.hostname, smtp.max_message_size, smtp.max_header_size)

    @classmethod
    def parse(cls, raw: object) -> Self:
        """Read the greeting. Raises ValueError if it is none."""
        terms = raw.get("terms") if isinstance(raw, dict) else None
        match terms:
            case {"hostname": str(name), "max_message_size": int(size), "max_header_size": int(header)}:
                return cls(name, size, header)
        raise ValueError("the greeting is none")

    def to_json(self) -> dict[str, Any]:
        """The greeting."""
        return {"terms": asdict(self)}


class Submission(Struct, frozen=True, kw_only=True):
    """The envelope that a user gives, and how many octets of content follow.

    ``sender`` None is the user's own address.
    """

    sender: Address | None
    recipients: tuple[Address, ...]
    size: int
    notify: frozenset[Notify] | None = None
    ret: Ret | None = None
    envid: str | None = None

    def envelope(self, own_address: Address, *, is_7bit: bool) -> Envelope:
        """What goes into the queue; ``is_7bit`` says whether all octets of the content are ASCII.

        SMTPUTF8 is asked for where an address needs it. A header that is not ASCII alone does not: programs
        have written such for decades, and hosts that do not know SMTPUTF8 have taken it.
        """
        sender = own_address if self.sender is None else self.sender
        params = RcptParameters(notify=self.notify)
        recipients = tuple(Recipient(each, params) for each in dict.fromkeys(self.recipients))
        mail_params = MailParameters(
            body=None if is_7bit else Body.EIGHTBITMIME,
            smtputf8=sender.is_utf8 or any(each.is_utf8 for each in self.recipients),
            ret=self.ret,
            envid=self.envid,
        )
        return Envelope(sender, recipients, mail_params)

    def to_json(self) -> dict[str, Any]:
        """The line to the server, as an object."""
        return {
            "sender": None if self.sender is None else self.sender.address,
            "recipients": [each.address for each in self.recipients],
            "size": self.size,
            "notify": None if self.notify is None else ",".join(sorted(each.value for each in self.notify)),
            "ret": None if self.ret is None else self.ret.value,
            "envid": self.envid,
        }

    @classmethod
    def parse(cls, raw: object) -> Self:
        """Read the line of a client. Raises IntakeRefused if it is malformed."""
        try:
            if not isinstance(raw, dict):
                raise TypeError("it is no object")
            return cls(
                sender=_optional(raw, "sender", lambda text: Address.parse(text or "<>")),
                recipients=_recipients(_of(raw, "recipients", list)),
                size=_size(_of(raw, "size", int)),
                notify=_optional(raw, "notify", parse_notify),
                ret=_optional(raw, "ret", Ret),
                envid=_optional(raw, "envid", lambda text: parse_envelope_id(encode_xtext(text))),
            )
        except (TypeError, ValueError) as error:
            raise IntakeRefused(IntakeProblem.REFUSED, f"the envelope is malformed: {error}") from error


def _of(raw: Mapping[str, Any], key: str, kind: type) -> Any:
    value = raw.get(key)
    if type(value) is not kind:  # a boolean is no number
        raise TypeError(f"{key} is no {kind.__name__}")
    return value


def _optional(raw: Mapping[str, Any], key: str, read: Any) -> Any:
    return None if raw.get(key) is None else read(_of(raw, key, str))


def _size(octets: int) -> int:
    if octets < 0:
        raise ValueError("size is negative")
    return octets


def _recipients(texts: Sequence[object]) -> tuple[Address, ...]:
    if not 0 < len(texts) <= MAX_RECIPIENTS:
        raise ValueError(f"a message has 1 to {MAX_RECIPIENTS} recipients, not {len(texts)}")
    return tuple(map(_recipient, texts))


def _recipient(text: object) -> Address:
    if not isinstance(text, str):
        raise TypeError("a recipient is no text")
    address = Address.parse(text)
    if address.is_null:
        raise ValueError("a recipient has no address")
    return address
