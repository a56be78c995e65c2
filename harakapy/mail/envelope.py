"""The envelope: from whom, to whom, and what the sender asked for (RFC 5321 2.3.1, RFC 3461).

Values that do not change: what SMTP took in, what the queue keeps, and what a delivery gets of it.
"""

from __future__ import annotations

from typing import Final, Self

from msgspec import Struct
from msgspec.structs import replace

from harakapy.smtp.address import Address
from harakapy.smtp.parameters import (
    NO_MAIL_PARAMETERS,
    NO_RCPT_PARAMETERS,
    Body,
    MailParameters,
    Notify,
    OriginalRecipient,
    RcptParameters,
    Ret,
)

__all__ = ["Envelope", "Recipient"]

_NOTIFY_BY_DEFAULT: Final = frozenset({Notify.FAILURE, Notify.DELAY})  # RFC 3461 4.1 leaves DELAY to us


class Recipient(Struct, frozen=True):
    """One forward-path with the parameters it was given with."""

    address: Address
    params: RcptParameters = NO_RCPT_PARAMETERS

    @property
    def notify(self) -> frozenset[Notify]:
        """What the sender wants to be told about this recipient; failure and delay if it did not say."""
        return _NOTIFY_BY_DEFAULT if self.params.notify is None else self.params.notify

    @property
    def original(self) -> OriginalRecipient | None:
        """The recipient as the sender knew it, if it said (ORCPT)."""
        return self.params.orcpt

    def __str__(self) -> str:
        return str(self.address)


class Envelope(Struct, frozen=True):
    """Reverse-path, recipients in the order they were given, and the parameters of MAIL."""

    mail_from: Address
    rcpt_to: tuple[Recipient, ...]
    params: MailParameters = NO_MAIL_PARAMETERS

    @property
    def body(self) -> Body:
        """What the content may hold; without a BODY parameter 7-bit lines (RFC 6152)."""
        return Body.SEVENBIT if self.params.body is None else self.params.body

    @property
    def is_smtputf8(self) -> bool:
        """Whether addresses and header may hold UTF-8, which not every host takes (RFC 6531)."""
        return self.params.smtputf8

    @property
    def is_tls_required(self) -> bool:
        """Whether every hop must be encrypted (RFC 8689)."""
        return self.params.requiretls

    @property
    def ret(self) -> Ret | None:
        """How much of the message a failure report returns; None if the sender did not say."""
        return self.params.ret

    @property
    def envid(self) -> str | None:
        """The sender's name for this envelope, given back in reports (RFC 3461 4.4)."""
        return self.params.envid

    def with_recipients(self, rcpt_to: tuple[Recipient, ...]) -> Self:
        """The same for other recipients: one delivery's part of them, or after aliases were resolved."""
        return replace(self, rcpt_to=rcpt_to)
