"""The loop that accepts connections from a listening socket, whatever accept(2) says."""

import errno
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn, Protocol

import trio
from trio.lowlevel import wait_readable

from .listener import Listener
from .poller import Poller
from .stream import SocketAddress, SocketStream

# Accepted in one go, before the connections that are open get their turn again.
ACCEPTS_AT_ONCE: Final = 32
# As trio.serve_listeners has it: long enough not to be busy, short enough for nobody to notice.
BACKOFF_S: Final = 0.1

# The socket is not one that listens: only our own code can have done that.
OUR_FAULTS: Final = {errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EFAULT}
# The connection broke before it was ours: Linux reports here whatever happened to it (accept(2), "Error
# handling"), and EPERM for one that the firewall refused. The next one may be well.
THEIR_FAULTS: Final = {
    errno.ECONNABORTED,
    errno.ECONNRESET,
    errno.EPROTO,
    errno.EPERM,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENOPROTOOPT,
    errno.EOPNOTSUPP,
    errno.ETIMEDOUT,
}
# All others (EMFILE, ENFILE, ENOMEM, ENOBUFS and what nobody has thought of): the system is in want of
# something, and it helps to wait.

Handler = Callable[[SocketStream], Awaitable[object]]


class AcceptLog(Protocol):
    """What `serve` needs of a logger."""

    def error(self, event: str, /, **fields: object) -> object:
        """Log that connections have to wait."""

    def notice(self, event: str, /, **fields: object) -> object:
        """Log that they need not any more."""


async def serve(
    listener: Listener,
    handler: Handler,
    nursery: trio.Nursery,
    log: AcceptLog,
    poller: Poller | None = None,
    *,
    at_once: int = ACCEPTS_AT_ONCE,
) -> NoReturn:
    """Accept connections until cancelled; ``handler(stream)`` starts in ``nursery`` for each of them.

    The handler owns its stream. What ``handler`` raises ends ``nursery``: it must care for its own errors.
    Out of descriptors or memory the loop waits and tries again, while connections queue up in the kernel; a
    line is logged when that begins and one when the queue has been worked off. Does not close ``listener``.
    ``poller`` is that of the streams. ``at_once`` bounds how many are accepted in one go: 1, where other
    processes accept from the same socket, so that a burst is shared among them.
    """
    accept = listener.socket.accept
    name = f"connection at {listener.endpoint}"  # not given, trio would make a new text for each task
    want = _Want(listener, log)
    while True:
        await wait_readable(listener.socket)
        try:
            for _ in range(at_once):
                connected, remote = accept()
                stream = SocketStream(connected, SocketAddress.of(remote), poller)
                nursery.start_soon(handler, stream, name=name)
        except BlockingIOError:  # that was the last of them
            want.end()
        except OSError as failure:
            if failure.errno in OUR_FAULTS:
                raise
            if failure.errno not in THEIR_FAULTS:
                want.begin(failure)
                await trio.sleep(BACKOFF_S)


class _Want:
    """Whether the system lacks what a new connection needs; said once at its begin and once at its end."""

    def __init__(self, listener: Listener, log: AcceptLog) -> None:
        self._listener = str(listener.endpoint)
        self._log = log
        self._since: float | None = None

    def begin(self, failure: OSError) -> None:
        if self._since is None:
            self._since = trio.current_time()
            error = f"{errno.errorcode.get(failure.errno or 0, failure.errno)}: {failure.strerror}"
            self._log.error(
                "cannot accept connections", listener=self._listener, error=error, retry_s=BACKOFF_S
            )

    def end(self) -> None:
        if self._since is not None:
            lasted = trio.current_time() - self._since
            self._since = None
            self._log.notice("accepting connections again", listener=self._listener, after_s=round(lasted, 1))
