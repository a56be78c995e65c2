"""The client's side of SMTP and LMTP with no I/O (RFC 5321, RFC 2033): commands in, octets out, replies back.

How it is driven::

    protocol = ClientProtocol()
    while True:
        event = protocol.next_event()        # first comes the greeting: Replied(Connect(), 220 ...)
        if event is NEED_DATA:
            write(protocol.data_to_send())
            protocol.receive_data(read())    # b"" at end of file
        elif isinstance(event, Closed):
            break
        elif event.reply.is_positive:
            protocol.send(Ehlo("client.example.com"))
        ...

Theory of operation
-------------------

There is one queue of what was sent and not yet answered, one parser of replies, and the server's own table
(`state`). Replies come in the order of commands, so the oldest in the queue is what a reply answers; the
table says whether it can, and where it leads. A server that says what the table does not know is out of
step, and so is one whose reply had come before the command: one reply too many, and each that follows would
be taken for the answer to something else.

A second command may join the queue only if the server offers PIPELINING and the one before it may stand
within a group (RFC 2920 3.1). Whether it may come at all is asked of the state that would be if everything in
the queue were accepted. If that turns out wrong, the server refuses it, and `next_state_of_sender` knows.

Content is stuffed in whole blocks. What was sent collects until the driver fetches it, for one write; a block
that is alone in its write is not copied.

After the content, a server of LMTP answers for each recipient it has accepted. Everything else is the same.

The file is long because what may be sent, what is awaited and which reply answers what are one state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import Enum
from typing import Final

from harakapy.smtp.capabilities import NO_CAPABILITIES, Capabilities
from harakapy.smtp.content import DotStuffer
from harakapy.smtp.errors import LocalProtocolError, RemoteProtocolError
from harakapy.smtp.event import (
    NEED_DATA,
    AuthResponse,
    ChunkEnd,
    Closed,
    Connect,
    ContentEnd,
    NeedData,
    Replied,
    Sent,
)
from harakapy.smtp.reply import Reply, ReplyParser, unreadable_reply
from harakapy.smtp.state import AT_ONCE, LAST, TABLE, State, next_state, next_state_of_sender
from harakapy.smtp.verbs import Bdat, Command, Ehlo, Helo, Lhlo, Mail, Rcpt, Rset

__all__ = ["ClientProtocol", "Dialect"]


class Dialect(Enum):
    """What the server speaks."""

    SMTP = "SMTP"
    LMTP = "LMTP"

    __hash__ = object.__hash__  # identity, as for equality; that of Enum is written in Python and slow


# Looking up a member of an Enum takes ten times as long as a name of the module.
_GREETING, _FRESH, _READY, _RCPT = State.GREETING, State.FRESH, State.READY, State.RCPT
_DATA, _AUTH, _TLS, _CLOSED = State.DATA, State.AUTH, State.TLS, State.CLOSED
_LMTP: Final = Dialect.LMTP

_GROUPED: Final = frozenset({Mail, Rcpt, Rset, Bdat, ContentEnd})
"""What need not end a group (RFC 2920 3.1; RFC 3030 2 for BDAT)."""
_HELLOS: Final = frozenset({Helo, Ehlo, Lhlo})
_OTHER_HELLOS: Final = {Dialect.SMTP: frozenset({Lhlo}), Dialect.LMTP: frozenset({Helo, Ehlo})}
"""What is not said in a dialect (RFC 2033 4.1)."""

_CONTENT_END: Final = ContentEnd()
_AUTH_RESPONSE: Final = AuthResponse(b"")
_OVER: Final = Closed()


class ClientProtocol:
    """One session as its client sees it. The module says how it is driven.

    ``capabilities`` are those of the last answer to EHLO or LHLO; none before it, and after HELO.
    """

    __slots__ = (
        "_accepted", "_ahead", "_dialect", "_is_eof", "_is_misled", "_outgoing", "_parser", "_rcpt_count",
        "_state", "_stuffer", "_waiting", "capabilities",
    )  # fmt: skip

    def __init__(self, dialect: Dialect = Dialect.SMTP) -> None:
        self.capabilities: Capabilities = NO_CAPABILITIES
        self._dialect = dialect
        self._state = _GREETING
        self._ahead = _GREETING  # the state if all that waits is accepted; valid while something waits
        self._waiting: deque[Sent] = deque((Connect(),))
        self._outgoing: list[bytes] = []
        self._stuffer: DotStuffer | None = None  # set while content may be sent
        self._rcpt_count = 0  # of RCPT answered in this transaction
        self._accepted: deque[int] = deque()  # those of them that were accepted, for LMTP
        self._parser = ReplyParser()
        self._is_eof = False
        self._is_misled = False  # the server had spoken before it could know what it answers

    @property
    def state(self) -> State:
        """Where the session stands, by the replies that were taken."""
        return self._state

    @property
    def waiting(self) -> int:
        """How many things were sent and not answered yet, the greeting counted."""
        return len(self._waiting)

    @property
    def has_buffered_input(self) -> bool:
        """Whether octets were received that no event has taken."""
        return self._parser.has_buffered_input

    def send(self, command: Command | Lhlo) -> None:
        """Send a command.

        Raises LocalProtocolError if it may not come now: it is out of order, or must wait for the reply to
        what was sent before it. Nothing is sent then. Chunks are sent by `send_chunk`.
        """
        kind = type(command)
        if kind is Bdat or kind in _OTHER_HELLOS[self._dialect]:
            raise LocalProtocolError(f"{command.verb} is not sent like this in {self._dialect.value}")
        cell = self._permission(kind)
        self._outgoing.append(command.to_bytes() + b"\r\n")
        self._enqueue(command, cell.get(2))

    def send_content(self, block: bytes) -> None:
        """Send a block of the content, as it is: dots are stuffed here.

        Raises LocalProtocolError if DATA was not answered with 354 just now.
        """
        if self._stuffer is None:
            raise LocalProtocolError("content needs a 354 before it")
        self._outgoing.append(self._stuffer.feed(block))

    def end_content(self) -> None:
        """End the content, and its last line if that is open. The next reply is for the whole message.

        Raises LocalProtocolError as `send_content` does.
        """
        if self._stuffer is None:
            raise LocalProtocolError("content needs a 354 before it")
        self._outgoing.append(self._stuffer.finish())
        self._stuffer = None
        self._enqueue(_CONTENT_END, _READY)

    def send_chunk(self, block: bytes, *, is_last: bool) -> None:
        """Send BDAT and its octets, as they are (RFC 3030 2); ``is_last`` ends the message.

        Raises LocalProtocolError as `send` does.
        """
        key = LAST if is_last else AT_ONCE
        following = next_state(self._permission(Bdat)[key], ChunkEnd, 250)
        command = Bdat(len(block), is_last)
        self._outgoing += (command.to_bytes() + b"\r\n", block)
        self._enqueue(command, following)

    def send_auth_response(self, line: bytes) -> None:
        """Send a line of an AUTH exchange, base64 as the mechanism has it, or ``*`` to give it up.

        Raises LocalProtocolError if no 334 asked for it, or it is not one line.
        """
        if self._state is not _AUTH or self._waiting:
            raise LocalProtocolError("nothing asked for a line of AUTH")
        if b"\r" in line or b"\n" in line:
            raise LocalProtocolError("a line of AUTH must be one line")
        self._outgoing.append(line + b"\r\n")
        self._enqueue(_AUTH_RESPONSE, _READY)

    def data_to_send(self) -> bytes:
        """Take all that waits to be sent, for one write; empty if there is nothing."""
        wire = b"".join(self._outgoing)
        self._outgoing.clear()
        return wire

    def receive_data(self, data: bytes) -> None:
        """Add octets from the wire; ``b""`` means that the server has closed its side.

        Raises LocalProtocolError between the 220 to STARTTLS and `reset_for_tls`: those octets are for the
        TLS layer.
        """
        if not data:
            self._is_eof = True
        elif self._state is _TLS:
            raise LocalProtocolError("octets after STARTTLS belong to the TLS handshake")
        elif self._state is not _CLOSED:
            self._parser.receive_data(data)

    def next_event(self) -> Replied | Closed | NeedData:
        """The next reply with what it answers, or `NEED_DATA` if there is none before more octets come.

        A server may refuse content before all of it was sent. That is the answer to it, with ``recipient``
        None, and the end of the session: nobody could tell where the content would end.

        Raises RemoteProtocolError if what came is no reply, or none to anything that was sent. Its ``reply``
        is a 451: an unreadable verdict means "later". The session is over then.
        """
        if self._state is _CLOSED:
            return _OVER
        reply = None
        try:
            if self._state is not _TLS and (reply := self._parser.next_reply()) is not None:
                return self._pair(reply)
        except RemoteProtocolError:
            self._close()
            raise
        if not self._is_eof:
            return NEED_DATA
        self._close()
        return _OVER

    def reset_for_tls(self) -> None:
        """TLS begins: forget what came before it (RFC 3207 4.2). To be called before the handshake.

        Raises LocalProtocolError if STARTTLS was not answered with 220 just now, RemoteProtocolError if
        octets came with that: they were not encrypted, and would be taken for what is (CVE-2011-0411).
        """
        if self._state is not _TLS:
            raise LocalProtocolError("there was no STARTTLS")
        if self._parser.has_buffered_input:
            self._close()
            raise unreadable_reply("octets behind the reply to STARTTLS")
        self._state = _FRESH
        self.capabilities = NO_CAPABILITIES

    def _permission(self, kind: type) -> Mapping[int, State]:
        """The cell of the table for what may be sent now."""
        here = self._state
        if self._waiting:
            if not (self.capabilities.pipelining and type(self._waiting[-1]) in _GROUPED):
                raise LocalProtocolError(f"{kind.__name__} must wait for a reply")
            here = self._ahead
        cell = TABLE[here].get(kind)
        if cell is None or isinstance(cell, Reply):
            why = f"here is {here.value}" if cell is None else cell.text
            raise LocalProtocolError(f"{kind.__name__} may not come now: {why}")
        return cell

    def _enqueue(self, sent: Sent, following: State | None) -> None:
        """Wait for the reply to ``sent``; if accepted it leads to ``following``, None if it ends a group."""
        if not self._waiting:
            self._is_misled = self._parser.has_buffered_input
        if following is not None:
            self._ahead = following
        self._waiting.append(sent)

    def _pair(self, reply: Reply) -> Replied:
        """Give the reply to what it answers, and move the state."""
        if not self._waiting or self._is_misled:
            return self._unasked(reply)
        sent = self._waiting[0]
        kind = type(sent)
        is_end = kind is ContentEnd or (type(sent) is Bdat and sent.is_last)
        following = next_state_of_sender(self._state, kind, reply.code, chunk=LAST if is_end else AT_ONCE)
        if following is None or (following is _DATA and self._dialect is _LMTP and not self._accepted):
            raise unreadable_reply(f"{reply.code} is no reply to {kind.__name__}")
        recipient = self._accepted.popleft() if is_end and self._accepted else None
        if not (recipient is not None and self._accepted) or following is _CLOSED:  # no more for this one
            self._waiting.popleft()
            self._remember(kind, reply, following)
            if following is not self._state:
                self._enter(following)
        return Replied(sent, reply, recipient)

    def _unasked(self, reply: Reply) -> Replied:
        """What may come though nothing waits: 421, and a refusal of content that is still being sent."""
        if reply.code != 421 and (self._state is not _DATA or reply.code < 400):
            raise unreadable_reply(f"nothing was sent that {reply.code} answers")
        self._close()
        return Replied(None if reply.code == 421 else _CONTENT_END, reply)

    def _remember(self, kind: type, reply: Reply, following: State) -> None:
        """Keep what later replies depend on."""
        if kind is Rcpt:
            if reply.is_positive and following is _RCPT and self._dialect is _LMTP:
                self._accepted.append(self._rcpt_count)
            self._rcpt_count += 1
        elif kind in _HELLOS and reply.is_positive:
            self.capabilities = NO_CAPABILITIES if kind is Helo else Capabilities.parse(reply.lines)
        if following is _READY or (kind is Mail and reply.is_positive):
            self._rcpt_count = 0
            self._accepted.clear()

    def _enter(self, state: State) -> None:
        self._state = state
        if state is _DATA:
            self._stuffer = DotStuffer()
        elif state is _FRESH:  # whatever led back to it, the server has forgotten the last EHLO
            self.capabilities = NO_CAPABILITIES
        elif state is _CLOSED:
            self._close()

    def _close(self) -> None:
        """Forget what waits and what came: nothing more can be answered."""
        self._state = _CLOSED
        self._stuffer = None
        self._waiting.clear()
        self._outgoing.clear()
        self._parser = ReplyParser()
