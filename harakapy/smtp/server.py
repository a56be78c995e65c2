"""The server's side of SMTP with no I/O (RFC 5321): octets in, events out, replies in, octets out.

How it is driven::

    protocol = ServerProtocol(ServerLimits(), {"PIPELINING", "8BITMIME"})
    protocol.send(Reply(220, "mx.example.com ESMTP"))
    while True:
        event = protocol.next_event()
        if event is NEED_DATA:
            write(protocol.data_to_send())
            protocol.receive_data(read())    # b"" at end of file
        elif ...:
            protocol.send(reply)

Theory of operation
-------------------

There is one buffer (`buffer`), one table (`state`), and at most one event that waits for its answer.
`next_event` takes the next command or block of content out of the buffer and asks the table whether it may
come now. If so, it is handed out; if not, a `Refused` is, with the reply that the table gives. `send` answers
the event handed out last and moves the state, again by the table. So a client that sends a group of commands
at once (RFC 2920) is served like one that waits each time: what else the buffer holds changes nothing, and
the replies collect until the driver fetches them, in order, for one write.

A `Bdat` is the one command that need not be answered: its octets follow whatever is said. The next event is
its first block, and the answer is given at `ChunkEnd`, as RFC 3030 wants it. Whoever answers the `Bdat`
itself refuses it, and its octets are swallowed.

A client that is out of step ends the session (``Refused.closes``, `refusal`): a bare LF in a command, a line
without end, a BDAT of no readable size, anything sent behind a command after which the client must wait
(DATA, STARTTLS), a TLS handshake or HTTP in place of SMTP. Other mistakes are refused and forgotten. All this
is the same at any split of the octets, except that whether a client has waited depends on when they come.

Nothing grows without a bound: a line by `ServerLimits`, unread input by ``_MAX_UNREAD``, replies because the
driver writes them before it reads.

The file is long because all its methods move the one state of a session.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from msgspec import Struct

from harakapy.smtp import refusal
from harakapy.smtp.buffer import ReceiveBuffer
from harakapy.smtp.command import parse_command
from harakapy.smtp.content import ChunkDecoder, DataDecoder, DiscardedChunk
from harakapy.smtp.errors import LocalProtocolError, RemoteProtocolError
from harakapy.smtp.event import (
    NEED_DATA,
    Abandon,
    AuthResponse,
    ChunkEnd,
    Connect,
    ContentChunk,
    ContentEnd,
    EndOfFile,
    NeedData,
    Refused,
)
from harakapy.smtp.parameters import NO_MAIL_PARAMETERS, Body
from harakapy.smtp.reply import Reply
from harakapy.smtp.state import AT_ONCE, LAST, NEXT, TABLE, Cell, State
from harakapy.smtp.verbs import Bdat, Command, Data, Mail, Unrecognized

__all__ = ["Event", "ServerLimits", "ServerProtocol"]

Event = Command | Refused | ContentChunk | ContentEnd | ChunkEnd | AuthResponse | EndOfFile
"""Everything that `ServerProtocol.next_event` hands out, `NEED_DATA` aside."""

_MAX_UNREAD: Final = 65536
"""Octets that may wait unread before more is refused: a client must not fill memory while a hook runs."""
_SHOWN_OCTETS: Final = 80  # of what was not a line, in a log

# A member of an Enum takes 70 ns to look up in Python 3.11, a name of the module 7; a message takes dozens.
_GREETING, _FRESH, _DATA = State.GREETING, State.FRESH, State.DATA
_AUTH, _TLS, _CLOSED = State.AUTH, State.TLS, State.CLOSED
_CHANGES_MORE: Final = frozenset({_DATA, _TLS, _CLOSED})  # than the state, when it is entered
_BINARY: Final = Body.BINARYMIME
_MUST_WAIT: Final = refusal.MUST_WAIT
_CONTENT_END: Final = ContentEnd()


class ServerLimits(Struct, frozen=True):
    """Bounds of a line, CRLF included, and how its paths must look.

    A longer command is refused if it ends within ``max_auth_octets``, or else ends the session.
    """

    max_command_octets: int = 2048
    """RFC 5321 4.5.3.1.4 asks for 512, extensions for some hundreds more each."""
    max_auth_octets: int = 12288
    """For AUTH and the lines of its exchange (RFC 4954 4)."""
    strict_addresses: bool = False
    """Whether a path must stand in angle brackets (RFC 5321 4.1.2)."""


class ServerProtocol:
    """One session as its server sees it. The module says how it is driven.

    ``pipelined``: the client has sent something without waiting for the reply before it. ``early_talker``:
    it has sent something before the greeting; that was kept. ``pending_octets``: of replies not yet sent.
    """

    __slots__ = (
        "_bound", "_buffer", "_content", "_content_end", "_extensions", "_is_eof", "_is_strict", "_limit",
        "_mail_params", "_outgoing", "_refusal", "_state", "_unanswered", "early_talker", "pending_octets",
        "pipelined",
    )  # fmt: skip

    def __init__(self, limits: ServerLimits, extensions: Iterable[str]) -> None:
        """``extensions`` are the keywords offered; see `extensions`."""
        self.early_talker = False
        self.extensions = frozenset(extensions)
        self.pending_octets = 0
        self.pipelined = False
        self._limit = limits.max_command_octets - len(b"\r\n")
        self._is_strict = limits.strict_addresses
        self._bound = max(limits.max_command_octets, limits.max_auth_octets)
        self._buffer = ReceiveBuffer()
        self._state = _GREETING
        self._unanswered: Event | Connect | None = Connect()
        self._refusal: Refused | None = None  # the last event; what else comes is dropped
        self._content: DataDecoder | ChunkDecoder | None = None  # set while the buffer holds no lines
        self._content_end: ContentEnd | ChunkEnd | Refused | None = None  # what to hand out behind it
        self._mail_params = NO_MAIL_PARAMETERS  # of the last MAIL
        self._outgoing: list[bytes] = []
        self._is_eof = False

    @property
    def state(self) -> State:
        """Where the session stands."""
        return self._state

    @property
    def extensions(self) -> frozenset[str]:
        """Upper-case keywords offered to the client; may be replaced at any time.

        Parameters of others are refused; AUTH, BDAT and STARTTLS without theirs are `Unrecognized`.
        """
        return self._extensions

    @extensions.setter
    def extensions(self, keywords: Iterable[str]) -> None:
        self._extensions = _in_upper_case(frozenset(keywords))

    @property
    def has_buffered_input(self) -> bool:
        """Whether octets were received that no event has taken."""
        return not self._buffer.is_empty

    def receive_data(self, data: bytes | bytearray) -> None:
        """Add octets from the wire; ``b""`` means that the client has closed its side.

        To be called after `NEED_DATA`. One may read ahead, while an event waits for its answer or before the
        greeting; once more than 64 KiB wait, the session ends with a refusal. Raises LocalProtocolError
        between the 220 to STARTTLS and `reset_for_tls`: those octets are for the TLS layer.
        """
        if not data:
            self._is_eof = True
        elif self._state is _TLS:
            raise LocalProtocolError("octets after STARTTLS belong to the TLS handshake")
        elif not self._buffer.is_empty and len(self._buffer) > _MAX_UNREAD:
            self._end_with(refusal.FLOOD)
        elif self._refusal is None and self._state is not _CLOSED:
            self._buffer.append(data if type(data) is bytes else bytes(data))
            if self._state is _GREETING:
                self.early_talker = True

    def next_event(self) -> Event | NeedData:
        """The next event, or `NEED_DATA` if there is none before more octets are received.

        Raises LocalProtocolError if the event before this one must be answered first.
        """
        if self._unanswered is not None:
            self._leave_unanswered(self._unanswered)
        if (content := self._content) is not None:
            return self._next_content(content)
        if self._buffer.is_empty and self._refusal is None and not self._is_eof:
            return NEED_DATA  # nearly always, once a command has been answered
        line = None
        try:
            line = self._buffer.take_line(self._bound)
            if line is None:
                return self._starve()
            event = AuthResponse(line) if self._state is _AUTH else self._judge(self._parse(line), line)
        except RemoteProtocolError as error:
            event = self._unreadable(error, line)
        if (content := self._content) is not None:  # a refused chunk, which comes before the refusal
            return self._next_content(content)
        self._unanswered = event
        return event

    def send(self, reply: Reply, *, utf8: bool = False) -> None:
        """Answer the event handed out last; before the first one, greet.

        A 421 needs no event and ends the session at any time. ``utf8``: the client can read UTF-8 in replies
        (RFC 6531 3.7.4.2). Raises LocalProtocolError if there is nothing to answer, or the reply is none to
        this event, such as 250 to DATA.
        """
        event, here = self._unanswered, self._state
        if reply.code == 421:
            state = _CLOSED
        elif type(event) is Refused:
            state = _CLOSED if event.closes else here
        elif (following := NEXT.get((here, type(event), reply.code // 100))) is not None:
            state = following
        else:
            raise LocalProtocolError(f"{reply} is no answer to {event}")
        self._unanswered = None
        if state is not here:
            if state not in _CHANGES_MORE and type(event) is not Bdat:
                self._state = state
            elif not self._enter(state, event):
                return
        wire = reply.encode(utf8=utf8)
        self._outgoing.append(wire)
        self.pending_octets += len(wire)

    def data_to_send(self) -> bytes:
        """Take all replies that wait to be sent, for one write; empty if there are none."""
        wire = b"".join(self._outgoing)
        self._outgoing.clear()
        self.pending_octets = 0
        return wire

    def substitute(self, command: Command) -> None:
        """Put ``command`` in the place of the `Unrecognized` one handed out last, which is to be answered.

        Raises LocalProtocolError if there is no such event, or the command may not come now.
        """
        if not isinstance(self._unanswered, Unrecognized):
            raise LocalProtocolError(f"{self._unanswered} cannot be made {command}")
        if self._judge(command, b"") is not command:
            raise LocalProtocolError(f"{command} may not come now")
        self._unanswered = command

    def abandon_transaction(self) -> None:
        """Forget the transaction between two commands, as after RSET; nothing if there is none."""
        cell = TABLE[self._state].get(Abandon)
        if cell is not None:
            self._state = _at_once(cell)

    def reset_for_tls(self) -> None:
        """The handshake that STARTTLS announced is done: forget what came before it (RFC 3207 4.2).

        Raises LocalProtocolError if STARTTLS was not answered with 220 just now.
        """
        if self._state is not _TLS:
            raise LocalProtocolError("there was no STARTTLS")
        self._state = _FRESH

    def take_unread(self) -> bytes:
        """What has been received and no event has taken, for whoever goes on with the octets."""
        unread = self._buffer.peek(len(self._buffer))
        self._buffer.clear()
        return unread

    def _parse(self, line: bytes) -> Command:
        if len(line) > self._limit and line[:5].upper() != b"AUTH ":
            raise refusal.long_line(line)
        return parse_command(
            line,
            extensions=self._extensions,
            utf8_allowed=self._mail_params.smtputf8,
            strict_addresses=self._is_strict,
        )

    def _judge(self, command: Command, line: bytes) -> Event:
        """The command, if the table and the few rules that are not in it let it pass."""
        kind = type(command)
        if not self._buffer.is_empty:
            self.pipelined = True
            if kind in _MUST_WAIT:
                return _MUST_WAIT[kind]
        cell = TABLE[self._state][kind]
        if isinstance(cell, Reply):
            refused = Refused(cell, line, f"{command.verb} out of order")
            if isinstance(command, Bdat):  # handed out behind its octets (RFC 3030 2)
                self._content, self._content_end = DiscardedChunk(command.size), refused
            return refused
        if type(command) is Mail:
            self._mail_params = command.params
        elif kind is Data and self._mail_params.body is _BINARY:
            return refusal.BINARY_NEEDS_BDAT
        elif type(command) is Unrecognized and self._state is _FRESH:
            return refusal.http(command, line) or command
        return command

    def _unreadable(self, error: RemoteProtocolError, line: bytes | None) -> Refused:
        if line is None:  # it is still in the buffer
            line = self._buffer.peek(_SHOWN_OCTETS).partition(b"\n")[0]
        if self._state is _FRESH and line.startswith(refusal.TLS_HANDSHAKE):
            return refusal.TLS_REFUSED
        return refusal.unreadable(error, line, has_chunks="CHUNKING" in self._extensions)

    def _starve(self) -> Event | NeedData:
        """No line or block is complete."""
        last = self._refusal
        if self._state is _FRESH and self._buffer.startswith(refusal.TLS_HANDSHAKE):
            last = refusal.TLS_REFUSED
        if last is not None:
            self._unanswered = last
            return last
        return EndOfFile() if self._is_eof else NEED_DATA

    def _next_content(self, content: DataDecoder | ChunkDecoder) -> Event | NeedData:
        if not content.finished:
            block = self._buffer.take_block(content)
            if block:
                return ContentChunk(block)
            if not content.finished:
                return self._starve()
        self._content = None
        self._unanswered, self._content_end = self._content_end, None
        return self.next_event() if self._unanswered is None else self._unanswered

    def _leave_unanswered(self, event: Event | Connect) -> None:
        """Go on without an answer: that is how the octets of a BDAT are asked for."""
        if not isinstance(event, Bdat):
            raise LocalProtocolError(f"answer this first: {event}")
        self._unanswered = None
        self._state = _at_once(TABLE[self._state][Bdat], LAST if event.is_last else AT_ONCE)
        self._content = ChunkDecoder(event.size)
        self._content_end = ChunkEnd(event.is_last)

    def _enter(self, state: State, event: Event | Connect | None) -> bool:
        """Change the state behind ``event``; False if the client has not waited for that."""
        if (state is _DATA or state is _TLS) and not self._buffer.is_empty:
            self._end_with(_MUST_WAIT[type(event)])
            return False
        self._state = state
        if state is _DATA:
            self._content = DataDecoder()
            self._content_end = _CONTENT_END
        elif state is _CLOSED:
            self._content = self._refusal = None
            self._buffer.clear()
        elif type(event) is Bdat:
            self._content = DiscardedChunk(event.size)
        return True

    def _end_with(self, last: Refused) -> None:
        """Let this be the last event: forget what was received, and receive nothing more."""
        self._refusal = last
        self._buffer.clear()


@lru_cache(maxsize=64)  # the same few sets for all clients of a server, who share them: each is a kilobyte
def _in_upper_case(keywords: frozenset[str]) -> frozenset[str]:
    return frozenset(keyword.upper() for keyword in keywords)


def _at_once(cell: Cell, key: int = AT_ONCE) -> State:
    assert not isinstance(cell, Reply), "what the table refuses leads nowhere"
    return cell[key]
