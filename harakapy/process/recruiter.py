"""Forking workers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NoReturn
from uuid import uuid4

from harakapy.config import Settings
from harakapy.net import CountBoard
from harakapy.process.channel import Channel
from harakapy.process.crew import Crew, Worker
from harakapy.process.handover import Handover
from harakapy.process.part import Part, Post, Role
from harakapy.process.server import Server
from harakapy.process.signals import HEEDED, blocked_signals
from harakapy.process.sockets import Sockets
from harakapy.process.worker import work

__all__ = ["Recruiter"]


class Recruiter:
    """Gives workers their parts, and what they share: sockets, counts, and the pipe of announcements.

    ``dead_owners`` are owners of leases in the queue whose processes are dead.
    """

    def __init__(
        self, server: Server, load: Callable[[], Settings], crew: Crew, handover: Handover | None
    ) -> None:
        """Take over what there is from before exec. Raises OSError."""
        self._server, self._load, self._crew = server, load, crew
        self.board = _open_board(server.settings, crew, handover)
        self.wakes = tuple(handover.wakes) if handover else _announcements()
        self.sockets = Sockets.restored(handover.sockets) if handover else Sockets((), ())
        self.dead_owners = list(handover.dead_owners) if handover else []

    def recruit(self, post: Post, leave: Callable[[], None]) -> Worker:
        """Fork a worker, which calls ``leave`` to let go of what is the supervisor's. Raises OSError."""
        column = self._crew.free_column(self.board.columns)
        part = self._part(post, column)
        ours, theirs = Channel.pair()
        with blocked_signals():
            pid = os.fork()
            if pid == 0:
                ours.close()
                self._be_worker(part, theirs, leave)
        theirs.close()
        return Worker(pid, post, ours, column, part.owner, time.monotonic(), heir_of=part.heir_of)

    def bury(self, worker: Worker, *, has_failed: bool) -> None:
        """Forget what a dead worker has counted; what it had claimed is for another to give back."""
        if worker.column >= 0:
            self.board.clear(worker.column)
        if has_failed:
            self.dead_owners.append(worker.owner)

    def has_inherited(self, worker: Worker) -> None:
        """Forget the dead of whom a worker that is ready was told: it has ended their leases."""
        self.dead_owners = [each for each in self.dead_owners if each not in worker.heir_of]

    def handover(self) -> Handover:
        """All that a new supervisor needs in this process."""
        return Handover(
            sockets=self.sockets.described(),
            workers=[worker.described() for worker in self._crew],
            board=(self.board.fd, self.board.columns, self.board.connections),
            wakes=self.wakes,
            dead_owners=self.dead_owners,
        )

    def _part(self, post: Post, column: int) -> Part:
        is_inbound = post.role is Role.INBOUND
        return Part(
            post=post,
            column=self.board.column(column),
            listeners=self.sockets.share_of(post.number, self._crew.inbound) if is_inbound else (),
            owner=f"{self._server.settings.hostname}:{os.getpid()}:{uuid4().hex[:8]}",
            heir_of=tuple(self.dead_owners),
            announce=partial(_announce, self.wakes[1]) if is_inbound else None,
        )

    def _be_worker(self, part: Part, channel: Channel, leave: Callable[[], None]) -> NoReturn:
        """Go on as a worker, which ends by os._exit: what is above on the stack is not its own."""
        status = 1
        try:
            leave()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HEEDED)
            for worker in self._crew:
                worker.channel.close()  # so that the others see our supervisor die
            self.sockets.forget_but(part.listeners)
            wakes = self.wakes[0] if part.delivers else None
            status = work(self._server, part, channel, self._load, wakes=wakes)
        except BaseException as error:  # noqa: BLE001  # it must not come out in the supervisor's code
            self._server.log.crit("worker failed", exc_info=error)
        finally:
            os._exit(status)


def _open_board(settings: Settings, crew: Crew, handover: Handover | None) -> CountBoard:
    """A count board, the old one if its shape is the same; else old workers count among themselves."""
    # In a rolling restart, old and new workers count side by side; after one that failed, three.
    shape = [3 * len(crew.posts), settings.smtp.max_connections]
    if handover is not None:
        if handover.board[1:] == shape:
            return CountBoard(handover.board[0], *shape)
        os.close(handover.board[0])
        for worker in crew:
            worker.column = -1
    return CountBoard.create(*shape)


def _announcements() -> Sequence[int]:
    """A pipe, both ends of which never block: what is written while it is full needs no further octet."""
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends


def _announce(pipe: int) -> None:
    with suppress(BlockingIOError):  # full of announcements that nobody has heeded yet
        os.write(pipe, b"\0")
