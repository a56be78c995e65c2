"""The dialogue with one client: events out of the protocol object, hooks, replies into it.

One coroutine runs it, in the connection's task or where octets arrive (`harakapy.net.pump`). Every command
takes the same three steps: the protocol has checked it against its table, the hook's verdict is folded, and
the outcome is carried out: the reply goes to the protocol object, which moves the state, and the
transaction changes. Replies to a group of commands leave in one write when nothing more has been received.

This module has the loop and what every command needs; the commands are in `commands`, the way of the content
in `receive`. It is long because all of that shares the state of one dialogue.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import trio

from harakapy.hooks import Verdict
from harakapy.inbound.admission import Arrival, speak_for_another, start_tls
from harakapy.inbound.connection import Connection, Hello
from harakapy.inbound.extensions import withheld
from harakapy.inbound.outcomes import NO_WORDS, OUTCOMES, Step, Words
from harakapy.inbound.receive import Framing, Reception
from harakapy.net import Deadline, Pump, SocketStream, current_pump, enter_task
from harakapy.net.tls import TlsHandshakeError
from harakapy.smtp import (
    NEED_DATA,
    ClientClaims,
    Command,
    Event,
    Quit,
    Refused,
    Reply,
    ServerProtocol,
    State,
)

if TYPE_CHECKING:
    from harakapy.inbound.service import Service

MAX_PENDING_OCTETS = 65536
"""Replies are collected up to this size; a client that sends commands without end must read in between."""

COMMAND_OCTETS = 16384
"""What one read takes between commands: a group of hundreds, and little for an idle connection to hold."""

_PROCEED = Step.PROCEED  # a member of an Enum takes longer to look up than a name of the module

TIMEOUT = Reply(421, "Timeout, closing connection", "4.4.2")
TOO_MANY_ERRORS = Reply(421, "Too many errors, closing connection", "4.7.0")
TOO_MANY_MESSAGES = Reply(421, "Too many messages, go on in another connection", "4.7.0")
TOO_MUCH_JUNK = Reply(421, "Too many commands without a message, closing connection", "4.7.0")
SHUTTING_DOWN = Reply(421, "Service shutting down, try again later", "4.3.2")


class SentAway(Exception):
    """The conversation ends here; its farewell says why."""


class Pace(Protocol):
    """How content is read: block by block, each before a deadline that grows with what has come."""

    block_octets: int

    def next_deadline(self) -> float:
        """Until when the next block must have come, in trio's time."""


class Conversation:
    """Drives one connection from its greeting to its end.

    ``farewell`` is the reply that the client is still owed when the conversation ends or is cancelled;
    ``client_has_left`` tells that it said QUIT or closed its side, so that nobody waits for a last word.
    ``successor`` is the client with whom the stream goes on by XCLIENT, None unless it does.
    ``mechanisms`` are the ways to log in that the last EHLO was told of, ``auth_failures`` the logins that
    failed.
    """

    __slots__ = (
        "_arrival", "_commit_deadline", "_deadline", "_is_waiting", "_junk", "_loop_reply", "_protocol",
        "auth_failures", "client_has_left", "connection", "farewell", "hooks", "is_closing", "mechanisms",
        "reception", "service", "stream", "successor", "terms",
    )  # fmt: skip

    def __init__(
        self, service: Service, connection: Connection, arrival: Arrival, deadline: Deadline
    ) -> None:
        self.service = service
        self._arrival = arrival
        self.successor: Arrival | None = None
        self.terms = arrival.terms
        self.hooks = service.hooks
        self.connection = connection
        self.farewell: Reply | None = None
        self.is_closing = False
        self.client_has_left = False
        self.mechanisms: tuple[str, ...] = ()
        self.auth_failures = 0
        self.reception: Reception | None = None
        self.stream = arrival.stream
        self._deadline = deadline
        self._commit_deadline: Deadline | None = None
        self._protocol = ServerProtocol(self.terms.limits, self.extensions)
        if arrival.received:
            self._protocol.receive_data(arrival.received)
        self._loop_reply: Reply | None = None
        self._junk = 0
        self._is_waiting = False

    @property
    def extensions(self) -> frozenset[str]:
        """What the protocol object lets pass. AUTH is refused by us if there should be TLS first."""
        extensions = self.terms.extensions - withheld(self.connection)
        if self.terms.xclient:
            extensions |= {"XCLIENT"}
        return extensions | {"AUTH"} if self.hooks.is_implemented("auth") else extensions

    @property
    def claims(self) -> ClientClaims | None:
        """What a trusted client has said of this one by XCLIENT."""
        return self._arrival.claims

    @property
    def may_speak_for_others(self) -> bool:
        """Whether this client is believed in XCLIENT."""
        return self._arrival.may_speak_for_others

    def hand_over(self, claims: ClientClaims) -> None:
        """Let the stream go on with the client for whom this one speaks; its greeting is the answer."""
        successor = speak_for_another(self._arrival, claims)
        successor.stream, successor.tls = self.stream, self.connection.tls
        successor.received = self._protocol.take_unread()
        self.successor = successor
        self.is_closing = True

    async def run(self, handlers: Mapping[type, Handler]) -> None:
        """Answer events until the client leaves or is sent away.

        Raises trio.BrokenResourceError if the connection breaks.
        """
        pump = current_pump()
        try:
            while not self.is_closing:
                if pump is not None:
                    pump.leave_task()
                event = await self.next_event()
                if self._loop_reply is not None and type(event) is not Quit:
                    self.count_error()
                    self.send(self._loop_reply)
                else:
                    await handlers[type(event)](self, event)
                del event
            await self.flush()
        except SentAway:
            await self.flush()

    async def next_event(self, pace: Pace | None = None) -> Event:
        """The next event; sends what is pending in one write, and reads, when more octets are needed.

        Both happen before one deadline. A command has one, in however many pieces it comes; content has a
        pace of its own.
        """
        # This is where a connection spends its life: what lives here is paid for by every idle one, so there
        # is no function in between, and nothing is held on to.
        protocol = self._protocol
        if protocol.pending_octets > MAX_PENDING_OCTETS:
            await self.flush()
        until = math.inf
        while (event := protocol.next_event()) is NEED_DATA:
            if self.service.is_stopping and self.connection.transaction is None:
                self.send_away(SHUTTING_DOWN)
            if pace is not None:
                self._deadline.at = pace.next_deadline()
            elif until == math.inf:
                until = self._deadline.after(self.terms.command_timeout_s)
            else:
                self._deadline.at = until
            if protocol.pipelined:
                self.connection.pipelining = True
            if protocol.pending_octets:
                await self.stream.send_all(protocol.data_to_send())
            self._is_waiting = True
            received = await self.stream.receive_some(COMMAND_OCTETS if pace is None else pace.block_octets)
            self._is_waiting = False
            self._deadline.never()
            protocol.receive_data(received)
            del received
        return event

    async def flush(self) -> None:
        """Send all pending replies now."""
        if data := self._protocol.data_to_send():
            self._deadline.after(self.terms.command_timeout_s)
            await self.stream.send_all(data)
            self._deadline.never()

    def last_words(self) -> bytes:
        """What is still to be sent when the conversation has ended: replies it owes, and the farewell.

        A reply that was decided comes first, so that no 421 is taken for the answer to a stored message.
        """
        owed = self._protocol.data_to_send()
        return owed if self.farewell is None else owed + self.farewell.encode()

    @property
    def is_idle(self) -> bool:
        """Whether it waits for the client with no transaction under way."""
        return self._is_waiting and self.connection.transaction is None

    def listen_before_greeting(self) -> None:
        """Take what the client has sent without waiting for the greeting, and note that it has."""
        if isinstance(self.stream, SocketStream) and (early := self.stream.receive_nowait()):
            self._protocol.receive_data(early)
        self.connection.early_talker = self._protocol.early_talker

    def send(self, reply: Reply) -> None:
        """Answer the event handed out last; the protocol moves its state by the reply, and 421 closes."""
        if reply.code == 421:
            self.is_closing = True
        transaction = self.connection.transaction
        if transaction is None:
            self._protocol.send(reply)
        else:
            transaction.reply = reply
            # Only who asked for SMTPUTF8 has shown that it reads UTF-8 in replies (RFC 6531 3.7.4.2).
            self._protocol.send(reply, utf8=transaction.mail_params.smtputf8)

    async def start_tls(self) -> None:
        """Shake hands after the 220 to STARTTLS, and forget all that came before it (RFC 3207 4.2).

        Raises trio.BrokenResourceError if there will be no TLS: such a connection is of no use any more.
        """
        await enter_task()
        await self.flush()
        if self._protocol.state is not State.TLS:
            return  # octets came behind the command: the next event refuses that
        try:
            self.stream = stream = await start_tls(self.stream, self.terms)
        except TlsHandshakeError as error:
            self.connection.log.notice("no TLS", reason=error.reason)
            raise trio.BrokenResourceError(error.reason) from error
        self._protocol.reset_for_tls()
        self.mechanisms = ()
        self.connection.hello = Hello()
        self.connection.log_out()
        self.connection.tls = stream.state
        self._protocol.extensions = self.extensions

    def substitute(self, command: Command) -> None:
        """Treat the event handed out last as this command."""
        self._protocol.substitute(command)

    async def settle(self, hook: str, verdict: Verdict, words: Words = NO_WORDS) -> bool:
        """Answer by a hook's verdict and take its next step. Whether the command may proceed.

        ``words`` fill the places in the reply's text.
        """
        outcome = OUTCOMES[hook][verdict.action]
        reply = outcome.reply(verdict, words)
        self.send(reply)
        if outcome.step is _PROCEED:
            return True
        await self._step_back(outcome.step, reply)
        return False

    async def _step_back(self, step: Step, reply: Reply) -> None:
        if step is Step.LOOP:
            self._loop_reply = reply
        if step is Step.CLOSE:
            self.is_closing = True
        if step is not Step.REFUSE:
            await self.reset_transaction()

    def receive(self, framing: Framing) -> Reception:
        """Begin to collect the content of the transaction."""
        self.reception = Reception(self.terms, framing, self.service.now)
        return self.reception

    def begin_commit(self, pump: Pump[Any]) -> None:
        """Let nothing but a deadline of its own cut short what is committed inline, until `end_commit`."""
        if self._commit_deadline is None:
            self._commit_deadline = self.service.watchdog.watch(pump)
        self._commit_deadline.after(self.terms.commit_timeout_s)
        pump.is_shielded = True

    def end_commit(self, pump: Pump[Any]) -> None:
        """The commit is done, or given up."""
        pump.is_shielded = False
        if self._commit_deadline is not None:
            self._commit_deadline.never()

    def close(self) -> None:
        """Give up what others keep for it; it waits for nothing any more."""
        if self._commit_deadline is not None:
            self._commit_deadline.close()

    async def reset_transaction(self) -> None:
        """Drop the transaction, if there is one, after telling the plugins."""
        transaction = self.connection.transaction
        if transaction is None:
            return
        try:
            await self.hooks.reset_transaction(self.connection)
        finally:
            self.service.log_message(self.connection, transaction)
            self.connection.transaction = None
            self._protocol.abandon_transaction()
            transaction.close()
            if self.reception is not None:
                self.reception.discard()
                self.reception = None

    async def break_off(self, event: Event) -> None:
        """Answer what the protocol has refused by itself; the end, if it says so or the client is gone."""
        if isinstance(event, Refused):
            self.count_error()
            shown = self._shown(event.line)
            self.send(event.reply)
            if not event.closes:
                return
            self.connection.log.notice("client out of step", reason=event.reason, line=shown)
        else:
            self.client_has_left = True
        self.is_closing = True

    def _shown(self, line: bytes) -> bytes:
        """A line for the log, unless it may hold a password."""
        is_secret = self._protocol.state is State.AUTH or line[:4].upper() == b"AUTH"
        return b"(not shown)" if is_secret else line

    def send_away(self, farewell: Reply) -> None:
        """End the conversation with a 421. Raises SentAway."""
        self.farewell = farewell
        self.is_closing = True
        raise SentAway

    def count_error(self) -> None:
        """Count something that the client did wrong. Raises SentAway if that was once too often."""
        self.connection.errors += 1
        if 0 < self.terms.max_errors < self.connection.errors:
            self.send_away(TOO_MANY_ERRORS)

    def count_junk(self) -> None:
        """Count a command that brings no message nearer. Raises SentAway if that was once too often."""
        self._junk += 1
        if 0 < self.terms.max_junk_commands < self._junk:
            self.send_away(TOO_MUCH_JUNK)

    def forgive_junk(self) -> None:
        """A message was accepted: junk is counted from zero again."""
        self._junk = 0


Handler = Callable[[Conversation, Any], Awaitable[None]]
"""What answers one kind of event."""
