"""The byte stream of one connection: a raw non-blocking socket, and a wait for it.

Theory of operation. `trio.SocketStream` behaves as if every call had blocked: it tries the system call,
makes up for the missing wait by a trip through the scheduler, and does so inside several layers of
coroutines and context managers. A server in a dialogue knows better. When it wants to receive, nothing
has come yet: so wait first, then read, and the wait is the checkpoint. When it sends a reply, the
kernel's buffer has room: so write at once, and wait only for the rest. (Server's CPU time for one
100-octet exchange over loopback, user and kernel together: a third less than with trio.SocketStream.)

Where there is a `Poller` the wait is shared with all other sockets of the server, and a coroutine that a
`Pump` runs may go on without its task.
"""

import socket
from collections.abc import Callable
from functools import partial
from operator import index
from typing import Final, NamedTuple

import trio
from trio.lowlevel import (
    Abort,
    RaiseCancelT,
    current_task,
    notify_closing,
    reschedule,
    wait_readable,
    wait_task_rescheduled,
    wait_writable,
)

from . import pump as pumps
from .poller import Poller
from .pump import enter_task

# One read takes what a fast peer has sent since the last one; more only costs memory. (The kernel hands out
# about 64 KiB a wake-up on loopback.)
RECEIVE_OCTETS: Final = 65536
# A send up to this size is a reply or a command, and waits for nothing; a larger one is content and must let
# the other tasks run, however fast the peer reads.
UNYIELDING_SEND_OCTETS: Final = 16384


MAPPED = "::ffff:"


class SocketAddress(NamedTuple):
    """One end of a connection: numeric address and port; ("", 0) for a unix socket."""

    host: str
    port: int

    @classmethod
    def of(cls, raw: object) -> "SocketAddress":
        """Take what `socket.accept`, `getpeername` or `getsockname` gave.

        A socket that somebody else has opened may take IPv4 in IPv6 clothes, which are taken off.
        """
        if not isinstance(raw, tuple):
            return cls("", 0)
        host = raw[0].removeprefix(MAPPED) if raw[0].startswith(MAPPED) and "." in raw[0] else raw[0]
        return cls(host, raw[1])


class SocketStream(trio.abc.HalfCloseableStream):
    """A connected stream socket, TCP or unix, as a trio stream; owns the socket.

    It may be used wherever a `trio.abc.HalfCloseableStream` may, with one difference from the letter of that
    contract: `send_all` of at most UNYIELDING_SEND_OCTETS that need not wait is no checkpoint. Every
    receive is one. One task may receive while another sends; two at the same end raise
    trio.BusyResourceError.

    *Error handling*: the world's OSError become trio.BrokenResourceError (the cause is kept), use after
    closing becomes trio.ClosedResourceError.
    """

    __slots__ = (
        "_fd", "_is_watched", "_poller", "_reader", "_remote", "_send_fault", "_socket",
    )  # fmt: skip

    def __init__(
        self,
        connected: socket.socket,
        remote: SocketAddress | None = None,
        poller: Poller | None = None,
    ) -> None:
        """Take over a connected socket, make it non-blocking; a known ``remote`` saves a system call.

        ``poller`` must run for as long as the stream is used.
        """
        connected.setblocking(False)
        self._socket = connected
        self._fd = connected.fileno()
        self._remote = remote
        self._poller = poller
        self._is_watched = False  # by the poller
        self._reader: Callable[[], None] | None = None  # called when there is something to read
        # Why nothing may be sent now: None when it may. One slot, so that the common case is one test.
        self._send_fault: type[Exception] | None = None

    @property
    def socket(self) -> socket.socket:
        """The socket itself, for its options; reading from or writing to it breaks the stream."""
        return self._socket

    @property
    def remote(self) -> SocketAddress:
        """The other end. Raises trio.BrokenResourceError when it went before anybody asked."""
        if self._remote is None:
            try:
                self._remote = SocketAddress.of(self._socket.getpeername())
            except OSError as cause:
                raise self._failure(cause) from cause
        return self._remote

    @property
    def local(self) -> SocketAddress:
        """Our end, as this connection sees it: with a listener on every address, the one that was called."""
        try:
            return SocketAddress.of(self._socket.getsockname())
        except OSError as cause:
            raise self._failure(cause) from cause

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes and return them, at most ``max_bytes`` (None: RECEIVE_OCTETS); b"" is the end."""
        if max_bytes is None:
            max_bytes = RECEIVE_OCTETS
        elif index(max_bytes) < 1:  # refuses 1.5 before the wait, not after
            raise ValueError("max_bytes must be at least 1")
        if self._fd < 0:
            raise trio.ClosedResourceError("this stream was closed")
        pump = pumps.running
        while True:
            try:
                # An idle connection spends its life here, and pays for each coroutine that is on the way.
                if pump is not None and not pump.is_in_task and self._may_wait_with_others():
                    self._reader = pump.go_on
                    try:
                        await pump.wait_octets()
                    finally:
                        self._reader = None
                else:
                    await self._wait_in_task()
                return self._socket.recv(max_bytes)
            except BlockingIOError:  # woken for nothing: rare, but epoll may
                continue
            except OSError as cause:
                raise self._failure(cause) from cause

    def _may_wait_with_others(self) -> bool:
        """Have the poller watch the socket; false if there is none. Raises trio.BusyResourceError."""
        poller = self._poller
        if poller is None or poller.is_closed:
            return False
        if self._reader is not None:
            raise trio.BusyResourceError("another task receives from this stream")
        if not self._is_watched:
            poller.watch(self._fd, self)
            self._is_watched = True
        return True

    async def _wait_in_task(self) -> None:
        await enter_task()
        if not self._may_wait_with_others():
            await wait_readable(self._fd)
            return
        self._reader = partial(reschedule, current_task())
        try:
            await wait_task_rescheduled(self._stop_waiting)
        finally:
            self._reader = None

    def _stop_waiting(self, _: RaiseCancelT) -> Abort:
        self._reader = None
        return Abort.SUCCEEDED

    def on_readable(self) -> None:
        """Let who waits go on; called by the poller."""
        reader = self._reader
        if reader is not None:
            self._reader = None
            reader()
        elif self._poller is not None:  # nobody will read before the next wait
            self._is_watched = False
            self._poller.forget(self._fd)

    def receive_nowait(self, max_bytes: int = RECEIVE_OCTETS) -> bytes:
        """What has come already, without waiting; b"" if nothing has, or never will."""
        try:
            return self._socket.recv(max_bytes)
        except OSError:  # nothing has come; or the connection broke, which the next receive tells
            return b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of ``data``; waits only for what the kernel does not take at once.

        If cancelled while waiting, an unknown part has been sent and the stream is of no use but to be
        closed.
        """
        if self._send_fault is not None:
            raise self._send_fault
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as cause:
            raise self._failure(cause) from cause
        size = len(data)
        if sent < size:
            await self._send_rest(memoryview(data)[sent:])
        elif size > UNYIELDING_SEND_OCTETS:
            await enter_task()
            await trio.lowlevel.checkpoint()

    async def _send_rest(self, rest: memoryview) -> None:
        await enter_task()
        self._send_fault = trio.BusyResourceError
        try:
            while rest:
                await wait_writable(self._fd)
                try:
                    rest = rest[self._socket.send(rest) :]
                except BlockingIOError:  # woken for nothing, as above
                    continue
        except OSError as cause:
            raise self._failure(cause) from cause
        finally:
            self._send_fault = None

    def try_send(self, data: bytes) -> bool:
        """Send what the kernel takes at once, without waiting; whether it took all.

        For the last words to a peer that may be gone or may not read: it never waits and never fails.
        """
        if self._send_fault is not None:
            return False
        try:
            return self._socket.send(data) == len(data)
        except OSError:
            return False

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the kernel has room to send."""
        if self._fd < 0:
            raise trio.ClosedResourceError("this stream was closed")
        if self._send_fault is not None:
            raise self._send_fault
        self._send_fault = trio.BusyResourceError
        try:
            await wait_writable(self._fd)
        except OSError as cause:
            raise self._failure(cause) from cause
        finally:
            self._send_fault = None

    async def send_eof(self) -> None:
        """Tell the peer that nothing more will come; receiving goes on. May be called again."""
        if self._fd < 0:
            raise trio.ClosedResourceError("this stream was closed")
        if self._send_fault is trio.BusyResourceError:
            raise self._send_fault
        await trio.lowlevel.checkpoint()
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as cause:
            raise self._failure(cause) from cause
        self._send_fault = trio.ClosedResourceError

    def close(self) -> None:
        """Close now; whoever waits on this stream gets trio.ClosedResourceError. May be called again.

        What was sent still goes out, nobody waits for it. What came and was not received makes the kernel
        reset the connection, which may destroy words that are still on their way: a peer that is still
        sending must be read to its end (or to a deadline) after `send_eof` if it is to see them.
        """
        if self._fd >= 0:
            notify_closing(self._fd)
            if self._is_watched and self._poller is not None:
                self._poller.forget_closing(self._fd)
            self._fd = -1
            self._socket.close()
            if self._reader is not None:
                self.on_readable()

    async def aclose(self) -> None:
        """`close`, as a checkpoint; if cancelled, the stream is closed nevertheless."""
        self.close()
        await trio.lowlevel.checkpoint()

    def _failure(self, cause: OSError) -> Exception:
        if self._fd < 0:
            return trio.ClosedResourceError("this stream was closed")
        return trio.BrokenResourceError(f"the connection broke: {cause.strerror}")
