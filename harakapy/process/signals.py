"""Signals for a process without an event loop: they arrive as octets, to be waited for like all else."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["HEEDED", "SignalPipe", "blocked_signals"]

HEEDED = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD})


class SignalPipe:
    """While it is open, signals of `HEEDED` do nothing but make it readable."""

    def __init__(self) -> None:
        """Raises ValueError outside of the main thread."""
        self.socket, self._end = socket.socketpair()
        self.socket.setblocking(False)
        self._end.setblocking(False)
        signal.set_wakeup_fd(self._end.fileno(), warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, _ignore) for number in HEEDED}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEEDED)  # whoever started us by exec has blocked them

    def receive(self) -> list[int]:
        """The numbers of the signals that have come, in their order."""
        try:
            return list(self.socket.recv(4096))
        except BlockingIOError:
            return []

    def leave(self) -> None:
        """Have nothing to do with it any more, in a process that was forked: signals do nothing then."""
        signal.set_wakeup_fd(-1)
        self.socket.close()
        self._end.close()

    def close(self) -> None:
        """Let signals do what they did before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self.leave()


def _ignore(number: int, frame: object) -> None:
    """Nothing: that it came is written to the pipe."""


@contextmanager
def blocked_signals() -> Iterator[None]:
    """Let no signal in between: they come when the block is over, or in the process that exec makes of us."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HEEDED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def describe_exit(status: int) -> str:
    """What ended a process, from its wait status, for people."""
    code = os.waitstatus_to_exitcode(status)
    return f"exit status {code}" if code >= 0 else signal.Signals(-code).name
