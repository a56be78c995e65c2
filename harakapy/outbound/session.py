"""A session with one host, over which any number of messages go, one after the other."""

from __future__ import annotations

from typing import Final, Self

from harakapy.mail import Content, Envelope
from harakapy.mail.seven_bit import NotConvertible
from harakapy.mail.status import CONVERSION_NEEDED
from harakapy.net.tls import TlsState
from harakapy.outbound.attempt import Answer, HostFailed, Phase
from harakapy.outbound.facilities import Facilities
from harakapy.outbound.hop import Target
from harakapy.outbound.onward import (
    NO_SMTPUTF8,
    Link,
    Obstacle,
    mail_command,
    needs_utf8,
    obstacle,
    rcpt_command,
)
from harakapy.outbound.opening import open_wire
from harakapy.outbound.rendition import Rendition, render
from harakapy.outbound.terms import Terms
from harakapy.outbound.transaction import Transaction
from harakapy.outbound.wire import Wire
from harakapy.smtp import Mail, Rcpt, State
from harakapy.smtp.capabilities import Capabilities

__all__ = ["MAX_RECIPIENTS", "Session"]

MAX_RECIPIENTS: Final = 100
"""Recipients of one message where the host declares no limit: what each must take (RFC 5321 4.5.3.1.8)."""

_CLOSED: Final = State.CLOSED  # in Python 3.11 a member of an Enum takes ten times as long to look up


class Session:
    """An open connection to a host that has greeted, is encrypted as agreed, and knows who we are.

    Made by `open`. One task at a time uses it. Whoever has it closes it, with `close` or, when there is no
    time to be polite, `abort`.
    """

    __slots__ = ("_facilities", "_is_busy", "_link", "_tls", "_wire", "messages_sent", "target", "terms")

    def __init__(self, wire: Wire, target: Target, terms: Terms, facilities: Facilities) -> None:
        self.target = target
        self.terms = terms
        self.messages_sent = 0
        """Messages whose content was answered, well or badly."""
        self._wire = wire
        self._facilities = facilities
        self._tls = wire.tls
        self._link = Link(
            wire.protocol.capabilities,
            is_verified=self._tls is not None and self._tls.is_verified,
            is_logged_in=bool(target.hop.user),
        )
        # Also stays true if cancelled in the middle of a message.
        self._is_busy = False

    @classmethod
    async def open(cls, target: Target, terms: Terms, facilities: Facilities) -> Self:
        """Connect, and get as far as the first message. Raises HostFailed.

        If cancelled here nothing is left open.
        """
        return cls(await open_wire(target, terms, facilities), target, terms, facilities)

    @property
    def capabilities(self) -> Capabilities:
        """What the host offers."""
        return self._link.capabilities

    @property
    def tls(self) -> TlsState | None:
        """What is known of TLS; None in clear."""
        return self._tls

    @property
    def max_recipients(self) -> int:
        """How many recipients one message may have here (RFC 9422 for what the host declares)."""
        return self._link.capabilities.rcpt_max or MAX_RECIPIENTS

    @property
    def is_usable(self) -> bool:
        """Whether another message can be sent, as far as is known without asking the host."""
        if self._is_busy or self._wire.is_sending_broken or self._wire.protocol.state is _CLOSED:
            return False
        limit = self._link.capabilities.mail_max
        return limit is None or self.messages_sent < limit

    @property
    def is_fresh(self) -> bool:
        """Whether an idle session still stands: the host has neither closed nor said that it will."""
        return self.is_usable and self._wire.is_quiet

    async def deliver(self, envelope: Envelope, content: Content) -> tuple[Answer, ...]:
        """Send one message; one answer for each of ``envelope.rcpt_to``, in their order.

        Whatever the host does, this raises nothing: if the session breaks, recipients without an answer get
        one without a reply, and ``is_usable`` is false. ``envelope.params.by`` is the time that is left now.

        Raises OSError or ValueError if the content cannot be read. If cancelled here the host may have the
        message or not, and the session is of no use but to be closed.
        """
        spool_directory = self._facilities.spool_directory
        try:
            rendition = await render(content, envelope, self._link.capabilities, spool_directory)
        except NotConvertible as error:
            return self._refused(envelope, Obstacle(str(error), CONVERSION_NEEDED))
        self._is_busy = True
        try:
            answers = await self._deliver(envelope, content, rendition)
        finally:
            rendition.close()
        self._is_busy = False
        return answers

    async def _deliver(
        self, envelope: Envelope, content: Content, rendition: Rendition
    ) -> tuple[Answer, ...]:
        link = self._link
        found = obstacle(envelope, link, size=rendition.size)
        if found is not None:
            return self._refused(envelope, found)
        has_utf8 = needs_utf8(envelope, content)
        if has_utf8 and not link.capabilities.smtputf8:
            return self._refused(envelope, NO_SMTPUTF8)
        if link.capabilities.smtputf8 and not has_utf8:
            has_utf8 = not all(recipient.address.user.isascii() for recipient in envelope.rcpt_to)
        mail = mail_command(envelope, link, size=rendition.size, body=rendition.body, has_utf8=has_utf8)
        if isinstance(mail, Obstacle):
            return self._refused(envelope, mail)
        rcpts = [rcpt_command(recipient, link, has_utf8=has_utf8) for recipient in envelope.rcpt_to]
        return await self._hold(mail, rcpts, rendition)

    async def _hold(
        self, mail: Mail, rcpts: list[Rcpt | Obstacle], rendition: Rendition
    ) -> tuple[Answer, ...]:
        """Hold the dialogue for the recipients that can be named to this host."""
        sendable = [rcpt for rcpt in rcpts if isinstance(rcpt, Rcpt)]
        answers: list[Answer] = []
        if sendable:
            transaction = Transaction(self._wire, mail, sendable, rendition)
            try:
                await self._wire.before_deadline(self._facilities.watchdog, transaction.run)
            except HostFailed as failed:
                transaction.fail(failed.answer)
                self._wire.is_sending_broken = True
            self.messages_sent += 1
            answers = transaction.complete()
        if len(sendable) == len(rcpts):
            return tuple(answers)
        rest = iter(answers)
        return tuple(next(rest) if isinstance(rcpt, Rcpt) else self._answer(rcpt) for rcpt in rcpts)

    def _answer(self, found: Obstacle) -> Answer:
        return Answer(Phase.MAIL, None, found.text, found.status, self._wire.host)

    def _refused(self, envelope: Envelope, found: Obstacle) -> tuple[Answer, ...]:
        """The same answer for all; nothing was sent."""
        return (self._answer(found),) * len(envelope.rcpt_to)

    async def close(self) -> None:
        """Say QUIT and close; waits for the answer, but not long. May be called again."""
        if self.is_usable:
            self._is_busy = True
            await self._wire.quit(self._facilities.watchdog)
        self._wire.close()

    def abort(self) -> None:
        """Close at once; an idle session says QUIT and does not wait for the answer. May be called again."""
        if self.is_usable:
            self._wire.stream.try_send(b"QUIT\r\n")
            self._is_busy = True
        self._wire.close()
