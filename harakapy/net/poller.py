"""One wait for all sockets that nobody needs to wait for alone.

Theory of operation. `trio.lowlevel.wait_readable` arms the kernel's epoll for one socket, parks the task, and
disarms it when the socket is ready: a system call, two entries of bookkeeping and a trip through the
scheduler for every command of every client. A server with a thousand clients waits for all of them, all the
time. So their sockets stay registered with an epoll of their own, and trio waits only for that one, which is
a file descriptor like any other. What is ready is told in one go, and whoever waits is called at once.

The registration is level-triggered: a reader takes one block and gets its next turn after all others that are
ready, and nothing is forgotten if it leaves something. The price is that a socket which is ready while nobody
reads must be taken out, or it would be told again and again: that is `Poller.forget`, and rare, because
clients of SMTP wait for replies. (A dialogue of four commands and four replies under trio: 200 us of
processor time with wait_readable and trio's streams, 125 with tasks that are woken from here, 85 with
callbacks.)
"""

import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Protocol

import trio
from trio.lowlevel import wait_readable

# Told in one go, before other tasks get their turn: enough to share the cost of the wait, and few enough to
# be over within milliseconds, although each may run a command.
TOLD_AT_ONCE: Final = 64


class Readable(Protocol):
    """Who is told that a socket has something to read, or has ended."""

    def on_readable(self) -> None:
        """Read it, or have the poller forget it; raises nothing."""


class Poller:
    """Tells the owners of sockets when there is something to read. Made anywhere, used within one trio loop.

    ``is_closed``: it has been cancelled, and tells nothing any more.
    """

    def __init__(self) -> None:
        self.is_closed = False
        self._epoll = select.epoll()
        self._owners: dict[int, Readable] = {}

    def watch(self, fd: int, owner: Readable) -> None:
        """Call ``owner.on_readable()`` whenever ``fd`` is readable, until `forget`. Not once it is closed."""
        self._owners[fd] = owner
        self._epoll.register(fd, select.EPOLLIN)

    def forget(self, fd: int) -> None:
        """Tell nothing more of ``fd``, which is still open."""
        del self._owners[fd]
        if not self.is_closed:
            self._epoll.unregister(fd)

    def forget_closing(self, fd: int) -> None:
        """The same for one that is closed next, which the kernel takes out of the epoll by itself."""
        del self._owners[fd]

    async def run(self) -> None:
        """Tell, until cancelled."""
        poll, owners = self._epoll.poll, self._owners
        try:
            while True:
                await wait_readable(self._epoll.fileno())
                for fd, _ in poll(0, TOLD_AT_ONCE):
                    owner = owners.get(fd)
                    if owner is not None:  # else closed by one that was told before
                        owner.on_readable()
        finally:
            self.is_closed = True
            self._epoll.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """`run` beside a block, and to its end: what is shielded there from a cancellation can still wait."""
        shield = trio.CancelScope(shield=True)

        async def run() -> None:
            with shield:
                await self.run()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            try:
                yield
            finally:
                shield.cancel()
