"""Where log octets go: a descriptor, a file that is rotated, a stream in memory, or nowhere.

A target does one write at a time and says whether it could take one now. What cannot be written stays with
the sink.
"""

import os
import select
import stat
from pathlib import Path
from typing import BinaryIO, Protocol

__all__ = ["Descriptor", "LogFile", "Nowhere", "StreamTarget", "Target"]

FILE_WRITE_OCTETS = 262144
"""One write to a regular file. Picked: large enough that system calls do not count."""


class Target(Protocol):
    """What a sink writes to."""

    @property
    def write_octets(self) -> int:
        """The most that one `write` should be given."""

    def wait_ready(self, timeout_s: float | None) -> bool:
        """Whether a write would not block, after waiting for that at most `timeout_s` (None: for ever)."""

    def write(self, data: bytes) -> int:
        """Write the start of `data`; gives how many octets were taken.

        Raises OSError if the target is broken, BlockingIOError if it can take nothing now.
        """

    def close(self) -> None:
        """Give up what the target itself has opened."""


class Descriptor:
    """An open file descriptor, such as standard error; it is not closed here.

    To anything but a regular file (a pipe to a log collector, a terminal, a socket) go at most PIPE_BUF
    octets at a time, after asking whether they fit. So a reader that stopped reading blocks nobody who does
    not want to wait, and the lines of several processes on one pipe do not mix, as a pipe takes that much
    in one piece (POSIX write).
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._is_file = stat.S_ISREG(os.fstat(fd).st_mode)
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    @property
    def write_octets(self) -> int:
        return FILE_WRITE_OCTETS if self._is_file else select.PIPE_BUF

    def wait_ready(self, timeout_s: float | None) -> bool:
        if self._is_file:
            return True
        return bool(self._poll.poll(None if timeout_s is None else max(0.0, timeout_s * 1000)))

    def write(self, data: bytes) -> int:
        return os.write(self._fd, data)

    def close(self) -> None:
        """Nothing: whoever opened the descriptor closes it."""


class LogFile(Descriptor):
    """A file that is appended to; made with mode 0640 if it is not there. Raises OSError if that fails."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(self._open())

    def reopen(self) -> None:
        """Go on in the file that has the name now, after the old one was rotated away.

        Raises OSError, and goes on in the old file, if it cannot be opened.
        """
        fresh = self._open()
        try:
            # Replaces the file behind the number at once: no other thread ever sees it closed.
            os.dup2(fresh, self._fd, inheritable=False)
        finally:
            os.close(fresh)

    def close(self) -> None:
        """Close the file; not to be called twice."""
        os.close(self._fd)

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


class StreamTarget:
    """A binary stream that never blocks for long, such as io.BytesIO; for tests and embedding programs."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    @property
    def write_octets(self) -> int:
        return FILE_WRITE_OCTETS

    def wait_ready(self, timeout_s: float | None) -> bool:
        return True

    def write(self, data: bytes) -> int:
        try:
            self._stream.write(data)
            self._stream.flush()
        except ValueError as error:  # what a closed stream raises
            raise OSError(str(error)) from error
        return len(data)

    def close(self) -> None:
        """Nothing: whoever made the stream closes it."""


class Nowhere:
    """Takes everything and keeps nothing."""

    write_octets = FILE_WRITE_OCTETS

    def wait_ready(self, timeout_s: float | None) -> bool:
        return True

    def write(self, data: bytes) -> int:
        return len(data)

    def close(self) -> None:
        """Nothing to close."""
