"""What plugins see of mail that goes out: the message, and how a delivery of it ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from copy import deepcopy

from msgspec import Struct

from harakapy.hooks import Notes, Subject
from harakapy.mail import Content, Header
from harakapy.mail.envelope import Envelope
from harakapy.mail.status import EnhancedStatus
from harakapy.net import enter_task
from harakapy.net.tls import TlsState
from harakapy.queue import DeliveryRequest
from harakapy.smtp import Address, MailParameters, RcptParameters, Reply

__all__ = ["Bounce", "Deferral", "HMail", "Handover"]


class HMail(Subject):
    """A message on its way out, with those of its recipients that one attempt is for. Named as in Haraka.

    ``uuid`` is the message's id in the queue, that of the transaction it came with. ``domain`` is where the
    recipients are, in the form for DNS; ``""`` before the message is stored, when there may be several.
    ``attempts`` counts this attempt too. ``queued_at`` is when the message was accepted, in seconds since
    the epoch. ``notes`` begin as those of the transaction, as far as they are JSON; what is written later
    lives as long as the attempt.
    """

    __slots__ = (
        "_content", "_envelope", "_open_content", "attempts", "domain", "queued_at", "uuid",
    )  # fmt: skip

    def __init__(
        self,
        uuid: str,
        envelope: Envelope,
        *,
        domain: str = "",
        attempts: int = 0,
        queued_at: float = 0.0,
        content: Content | None = None,
        open_content: Callable[[str], Awaitable[Content]] | None = None,
    ) -> None:
        """``content`` is there before the message is stored, ``open_content`` fetches it afterwards."""
        super().__init__()
        self.uuid = uuid
        self.domain = domain
        self.attempts = attempts
        self.queued_at = queued_at
        self._content = content
        self._envelope = envelope
        self._open_content = open_content

    @classmethod
    def of(cls, request: DeliveryRequest, open_content: Callable[[str], Awaitable[Content]]) -> HMail:
        """What an attempt is made for."""
        first, message = request.deliveries[0], request.message
        hmail = cls(
            message.id,
            request.envelope,
            domain=first.domain,
            attempts=first.attempts,
            queued_at=message.arrived,
            open_content=open_content,
        )
        if message.notes:
            hmail._notes = Notes(deepcopy(message.notes))  # of other attempts, too
        return hmail

    async def enter_task(self) -> None:
        """Have what follows run in a task, as hooks must that wait. Called by the core."""
        await enter_task()

    @property
    def mail_from(self) -> Address:
        """The reverse-path."""
        return self._envelope.mail_from

    @property
    def mail_params(self) -> MailParameters:
        """What MAIL asked for."""
        return self._envelope.params

    @property
    def rcpt_to(self) -> tuple[Address, ...]:
        """The recipients."""
        return tuple(recipient.address for recipient in self._envelope.rcpt_to)

    @property
    def rcpt_params(self) -> dict[Address, RcptParameters]:
        """What RCPT asked for, for each recipient."""
        return {recipient.address: recipient.params for recipient in self._envelope.rcpt_to}

    @property
    def content(self) -> Content:
        """The content, to read and to change, in hook_pre_send_trans_email. Raises RuntimeError later."""
        if self._content is None:
            raise RuntimeError("the message is stored: await hmail.open_content() to read it")
        return self._content

    @property
    def header(self) -> Header:
        """The header, to read and to change, in hook_pre_send_trans_email. Raises RuntimeError later."""
        return self.content.header

    async def open_content(self) -> Content:
        """The content as it leaves, to read at any time; whoever opens it closes it.

        Raises RuntimeError before the message is stored, and what `harakapy.queue.Store.open_content` raises.
        """
        if self._open_content is None:
            raise RuntimeError("the message is not stored yet: its content is in hmail.content")
        return await self._open_content(self.uuid)


class Handover(Struct, frozen=True):
    """Recipients that a host has taken over."""

    host: str
    """Its name, the path of its socket, or its address if it has no name."""
    address: str
    """Its numeric address; ``""`` for a unix socket."""
    port: int
    reply: Reply
    """What it said to the content."""
    delay_s: float
    """How long the message was with us."""
    rcpt_to: tuple[Address, ...]
    tls: TlsState | None
    """The TLS session, None without one."""
    user: str
    """Who we logged in as; ``""`` if we did not."""


class Deferral(Struct, frozen=True):
    """Recipients that could not be delivered now."""

    delay_s: float
    """In how many seconds the next attempt is planned."""
    error: str
    """The last reply, or what happened instead; safe to print."""
    status: EnhancedStatus | None
    rcpt_to: tuple[Address, ...]
    host: str
    """Who said so; ``""`` if nobody did."""


class Bounce(Struct, frozen=True):
    """Recipients that are given up."""

    error: str
    """The last reply, or what happened instead; safe to print."""
    status: EnhancedStatus | None
    rcpt_to: tuple[Address, ...]
    host: str
    """Who said so; ``""`` if nobody did."""
