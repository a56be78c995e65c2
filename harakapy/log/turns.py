"""Taking turns at one log, for processes that share it.

A pipe takes PIPE_BUF octets in one piece, and a file any number; but a traceback, or a long line of JSON,
goes into a pipe in several pieces, and lines of another process would come between them. So a process writes
what it has collected in one turn. A lock of the kernel's (fcntl(2), by process) says whose turn it is: it
costs two system calls for each batch of lines, and if its holder is killed it is free.
"""

import fcntl
import time

__all__ = ["Turns"]

RETRY_S = 0.005
"""Pause until it is tried again: a turn takes much less, unless the reader of the log is slow. Picked."""


class Turns:
    """The lock of a file that all processes have open; each process has an object of its own."""

    def __init__(self, fd: int) -> None:
        """``fd`` stays the caller's. Closing any descriptor of that file gives up the process's turn."""
        self._fd = fd
        self._is_ours = False

    def take(self, deadline: float | None) -> bool:
        """Whether it is our turn now, or has become that until ``deadline`` (time.monotonic; None: wait on).

        Raises OSError.
        """
        while not self._is_ours:
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
                self._is_ours = True
            except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, says POSIX
                if deadline is not None and time.monotonic() >= deadline:
                    return False
                time.sleep(RETRY_S)
        return True

    def end(self) -> None:
        """Let others write; nothing if it is not our turn."""
        if self._is_ours:
            self._is_ours = False
            fcntl.lockf(self._fd, fcntl.LOCK_UN, 1)
