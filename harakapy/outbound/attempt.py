"""What one host said to one recipient's delivery, or what happened instead of an answer."""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import Struct

from harakapy.mail.status import EnhancedStatus
from harakapy.smtp import Reply

__all__ = ["BAD_TLS", "NO_TLS", "Answer", "HostFailed", "Phase"]

NO_TLS: Final = EnhancedStatus(4, 7, 4)
"""Security features not supported (RFC 3463 3.8): the host offers no TLS where there must be some."""
BAD_TLS: Final = EnhancedStatus(4, 7, 5)
"""Cryptographic failure (RFC 3463 3.8): there is no TLS in common, or a certificate is not good."""


class Phase(Enum):
    """How far an attempt had come when it got its answer, in the order of the dialogue."""

    LOOKUP = "looking up where to go"
    CONNECT = "connecting"
    TLS = "starting TLS"
    GREETING = "waiting for the greeting"
    HELLO = "saying EHLO"
    AUTH = "logging in"
    MAIL = "giving the sender"
    RCPT = "giving the recipient"
    DATA = "asking to send the content"
    CONTENT = "sending the content"
    DOT = "waiting for the answer to the content"

    __hash__ = object.__hash__  # identity, as for equality; that of Enum is written in Python and slow


class Answer(Struct, frozen=True):
    """The end of an attempt for one recipient at one host.

    ``reply`` is the host's, None if it gave none; then ``text`` tells what happened, in words that are safe
    to print, and ``status`` what is known about it: its class says whether that is permanent. ``host`` names
    who answered: its name and address, such as ``mx.example.com[192.0.2.1]``; ``""`` if nobody did.
    ``is_dsn_passed_on`` says that the host took over the duty to report (RFC 3461 5.2.2), and
    ``is_time_passed_on`` the time limit of DELIVERBY (RFC 2852 4).
    """

    phase: Phase
    reply: Reply | None = None
    text: str = ""
    status: EnhancedStatus | None = None
    host: str = ""
    is_dsn_passed_on: bool = False
    is_time_passed_on: bool = False

    @property
    def is_delivered(self) -> bool:
        """Whether the host has taken the message for this recipient."""
        return self.phase is Phase.DOT and self.reply is not None and self.reply.is_positive


class HostFailed(Exception):
    """A session with a host could not be had, which is no recipient's fault: ``answer`` tells why."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.text or str(answer.reply))
        self.answer = answer
