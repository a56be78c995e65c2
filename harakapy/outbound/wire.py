"""One connection to a host: commands and content out, replies in, all before one deadline.

Theory of operation. Nothing that a host does raises anything but `HostFailed`: a broken connection, garbage,
an endless reply, a 421, silence. What it says about the attempt is decided where it happens: ``phase`` is
what a failure *now* would mean, so that a connection lost when the whole content is out counts as lost
behind the dot, whichever reply is still being read.

Sending raises nothing. A host may have said why it closes before we noticed that it did, so when a write
fails what has been received is read first; only when there is nothing more comes the failure.

Deadlines hold within `before_deadline`, around several exchanges, of which each only moves the deadline.
When it passes the connection is closed, which ends whatever waits for it, and of a host that is so late
nobody wants to hear again. A cancel scope for each message would cost 8 us more.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio

from harakapy.mail.status import CONNECTION_LOST, EnhancedStatus
from harakapy.net import Deadline, SocketStream, Watchdog
from harakapy.net.tls import TlsState, TlsStream
from harakapy.outbound.attempt import Answer, HostFailed, Phase
from harakapy.outbound.terms import Timeouts
from harakapy.smtp import NEED_DATA, Command, Quit, RemoteProtocolError, Reply
from harakapy.smtp.client import ClientProtocol
from harakapy.smtp.event import Closed, Replied
from harakapy.smtp.verbs import Lhlo

__all__ = ["GARBAGE", "Wire"]

RECEIVE_OCTETS: Final = 8192
"""What one read takes: the replies to a group of a hundred commands. Larger buffers cost time to allocate."""

GARBAGE: Final = EnhancedStatus(4, 5, 0)
"""The host does not speak SMTP; "later" (RFC 5321 4.2 has no word for it)."""

# Names of the module: in Python 3.11 a member of an Enum takes ten times as long to look up.
_CONTENT, _DOT = Phase.CONTENT, Phase.DOT

_Result = TypeVar("_Result")


class Wire:
    """A connection, the protocol on it, and the time that things may take."""

    __slots__ = (
        "_deadline", "_waited_s", "host", "is_sending_broken", "must_reset", "phase", "protocol", "stream",
        "timeouts",
    )  # fmt: skip

    def __init__(
        self, stream: SocketStream | TlsStream, protocol: ClientProtocol, timeouts: Timeouts, host: str
    ) -> None:
        self.stream = stream
        self.protocol = protocol
        self.timeouts = timeouts
        self.host = host
        self.phase = Phase.GREETING
        self._deadline: Deadline | None = None
        self._waited_s = 0.0
        # Whether a write has failed, so that nothing more can be sent.
        self.is_sending_broken = False
        # Whether a transaction was left open, or may have been: RSET goes before the next one.
        self.must_reset = False

    async def before_deadline(self, watchdog: Watchdog, talk: Callable[[], Awaitable[_Result]]) -> _Result:
        """Run a part of the dialogue; whatever it waits for it waits for until the deadline of that moment.

        Raises HostFailed when a deadline passes, and what ``talk`` raises.
        """
        if self._deadline is None:
            self._deadline = watchdog.watch(self)
        try:
            return await talk()
        except trio.ClosedResourceError as error:
            if not self._deadline.is_expired:
                raise
            raise self.failure(f"no answer within {self._waited_s:g} s") from error
        finally:
            self._deadline.never()

    def cancel(self) -> None:
        """The deadline has come: end the connection, and what waits for it."""
        self.stream.close()

    @property
    def tls(self) -> TlsState | None:
        """What is known of TLS on this connection; None in clear."""
        return self.stream.state if isinstance(self.stream, TlsStream) else None

    def failure(self, text: str, status: EnhancedStatus = CONNECTION_LOST) -> HostFailed:
        """The failure that something is in the present phase, to be raised."""
        return HostFailed(Answer(self.phase, None, text, status, self.host))

    async def command(self, command: Command | Lhlo, phase: Phase, timeout_s: float | None = None) -> Reply:
        """Send one command and give the reply to it."""
        self.phase = phase
        self.protocol.send(command)
        await self.flush(self.timeouts.command_s if timeout_s is None else timeout_s)
        return await self.reply(phase, timeout_s)

    async def flush(self, timeout_s: float) -> None:
        """Send what the protocol has to send; if that is not possible, reading will tell why."""
        data = self.protocol.data_to_send()
        if data and not self.is_sending_broken:
            self._arm(timeout_s)
            try:
                await self.stream.send_all(data)
            except trio.BrokenResourceError:
                self.is_sending_broken = True

    async def flush_end_of_content(self) -> None:
        """`flush`, where the end of the content is in it: once it is out the host may have the message."""
        self.phase = _CONTENT
        await self.flush(self.timeouts.block_s)
        if not self.is_sending_broken:
            self.phase = _DOT

    async def reply(self, phase: Phase, timeout_s: float | None = None) -> Reply:
        """The next reply. A 421 raises HostFailed with it, as an answer to ``phase``."""
        return (await self.replied(phase, timeout_s)).reply

    async def replied(self, phase: Phase, timeout_s: float | None = None) -> Replied:
        """The next reply with what it answers, else as `reply`."""
        try:
            event = self.protocol.next_event()
            if event is NEED_DATA:
                self._arm(self.timeouts.command_s if timeout_s is None else timeout_s)
                while event is NEED_DATA:
                    self.protocol.receive_data(await self._receive())
                    event = self.protocol.next_event()
        except RemoteProtocolError as error:
            raise self.failure(f"the host gave no readable answer: {error.reason}", GARBAGE) from error
        if isinstance(event, Closed):
            raise self.failure("the host closed the connection")
        if event.reply.code == 421:
            raise HostFailed(Answer(phase, event.reply, host=self.host))
        return event

    async def _receive(self) -> bytes:
        try:
            return await self.stream.receive_some(RECEIVE_OCTETS)
        except trio.BrokenResourceError as error:
            raise self.failure("the connection broke") from error

    def _arm(self, timeout_s: float) -> None:
        assert self._deadline is not None
        self._waited_s = timeout_s
        self._deadline.after(timeout_s)

    async def quit(self, watchdog: Watchdog) -> None:
        """Say QUIT, hear the answer if it comes soon, and close; the connection is closed in any case."""
        try:
            with contextlib.suppress(HostFailed):
                await self.before_deadline(watchdog, self._say_quit)
        finally:
            self.close()

    async def _say_quit(self) -> None:
        await self.command(Quit(), self.phase, self.timeouts.quit_s)

    def close(self) -> None:
        """Close at once. May be called again."""
        self.stream.close()
        if self._deadline is not None:
            self._deadline.close()

    @property
    def is_quiet(self) -> bool:
        """Whether the host has sent nothing and not closed either, while nothing was asked of it.

        A host that has enough of an idle connection says 421 or closes it; either can be read.
        """
        transport = self.stream.transport if isinstance(self.stream, TlsStream) else self.stream
        assert isinstance(transport, SocketStream)
        try:
            transport.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return not self.protocol.has_buffered_input
        except OSError:
            pass
        return False
