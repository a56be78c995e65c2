"""The bounded buffer between those who log and what the log is written to.

Theory of operation. In a command line program nothing runs beside the code that logs, so each line is written
at once. A service enters `batching(wake)`: from then on lines collect here, `wake` is called when there is a
first one to write, and a task of the service, told so, calls `flush()` in a thread, where it may block:

    with sink.batching(wake):             # wake sets an event of the loop; it is called from any thread
        while True:
            await woken.wait()
            woken = Event()
            await sleep(0.05)             # what comes meanwhile goes out in the same write
            await to_thread(sink.flush)

Two things are never done: waiting for a slow reader in the thread that logs, and growing without bound. A
serious line is tried at once, but only as far as the target takes octets without blocking. When the
buffer is full, lines are dropped and counted, and a line that says how many follows as soon as there is room.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from msgspec import Struct

from harakapy.log.target import Target
from harakapy.log.turns import Turns

__all__ = ["LossLine", "Sink"]

BUFFER_OCTETS = 1 << 20
"""Octets that wait at most: some 5,000 lines, or a second of a busy server."""

URGENT_OCTETS = 65536
"""Room beyond that for serious lines, so that a flood of small talk does not push out what explains it."""

LAST_FLUSH_S = 1.0
"""How long a reader that is stuck may hold up the end of a service."""

RETRY_S = 0.01
"""Pause after a target said that it was ready and then took nothing. Picked."""

LINE_FEED = 0x0A

LossLine = Callable[[int, str], bytes]
"""Renders the line that tells how many lines were lost, and why ("" when the buffer was full)."""


class _Batch(Struct):
    """What is being written: lines (`lost` is None), the report that stands for `lost` of them, or, with 0,
    the end of a line that was torn.
    """

    octets: bytes
    lost: int | None = None
    at: int = 0

    @property
    def is_mid_line(self) -> bool:
        return self.at > 0 and self.octets[self.at - 1] != LINE_FEED

    def next_part(self, limit: int) -> bytes:
        """Up to the last line end within `limit` octets, or that many octets of a longer line."""
        octets, at = self.octets, self.at
        if len(octets) - at > limit:
            return octets[at : octets.rfind(b"\n", at, at + limit) + 1 or at + limit]
        return octets[at:]


class Sink:
    """Takes finished lines from any thread and writes them in order to `target`.

    With `turns`, other processes write to the same target, and each its lines in one go.
    """

    def __init__(
        self, target: Target, *, buffer_octets: int = BUFFER_OCTETS, loss_line: LossLine | None = None
    ) -> None:
        self.target = target
        self.loss_line = loss_line or _plain_loss_line
        self.turns: Turns | None = None
        self._limit = buffer_octets
        self._wake: Callable[[], None] | None = None
        self._guard = threading.Lock()  # of the four below; held for moments only
        self._lines: list[bytes] = []
        self._size = 0  # octets in _lines and still to be written of _batch
        self._lost = 0
        self._reason = ""
        self._writing = threading.Lock()  # of the target and the two below; held while a write blocks
        self._batch: _Batch | None = None
        self._is_torn = False

    @property
    def lost(self) -> int:
        """Lines that were dropped and not yet reported."""
        return self._lost

    @property
    def pending_octets(self) -> int:
        """Octets taken and not yet written."""
        return self._size

    def emit(self, line: bytes, *, urgent: bool = False) -> None:
        """Take one line, its line feed included. Never raises, and never waits while batching."""
        with self._guard:
            if self._size + len(line) > self._limit + (URGENT_OCTETS if urgent else 0):
                self._lost += 1
                return
            is_first = not self._lines
            self._lines.append(line)
            self._size += len(line)
        if self._wake is None:
            self.flush()
        elif urgent:
            self._flush_what_fits()
        elif is_first:
            self._call()

    def flush(self, timeout_s: float | None = None) -> bool:
        """Write all there is, waiting for a slow reader up to `timeout_s` (None: for ever).

        Gives whether everything was written; what was not stays for the next time. Never raises: when the
        target is broken its lines are counted as lost. From an event loop, call it in a thread.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        if not self._writing.acquire(timeout=-1 if timeout_s is None else max(0.0, timeout_s)):
            return False
        try:
            return self._write_all(deadline)
        finally:
            self._writing.release()

    @contextmanager
    def batching(self, wake: Callable[[], None]) -> Iterator[None]:
        """Collect lines within this block; `wake` is called, from the thread that logs, when some wait.

        Afterwards lines are written at once again, beginning with those that still waited.
        """
        self._wake = wake
        try:
            yield
        finally:
            self._wake = None
            self.flush(LAST_FLUSH_S)

    def close(self) -> None:
        """Write what is there, for at most a second, and close the target."""
        self.flush(LAST_FLUSH_S)
        self.target.close()

    def _flush_what_fits(self) -> None:
        if self._writing.acquire(blocking=False):
            try:
                if self._write_all(deadline=0.0):
                    return
            finally:
                self._writing.release()
        self._call()

    def _call(self) -> None:
        if wake := self._wake:
            try:
                wake()
            except Exception:  # noqa: BLE001 - the loop that was to be woken is gone, so nobody else will write
                self._wake = None
                self.flush(LAST_FLUSH_S)

    def _write_all(self, deadline: float | None) -> bool:
        while batch := self._batch or self._take():
            self._batch = batch
            try:
                if not self._write(batch, deadline):
                    return False
            except OSError as error:
                self._lose(batch, error)
                return False
            finally:
                if batch.at == len(batch.octets):
                    self._batch = None
                    if self.turns is not None:
                        self.turns.end()
        return True

    def _take(self) -> _Batch | None:
        """All lines that wait; when there are none, the report of those that were lost."""
        if self._is_torn:
            self._is_torn = False
            return self._counted(_Batch(b"\n", lost=0))
        with self._guard:
            lines, self._lines = self._lines, []
        if lines:
            return _Batch(b"".join(lines))
        with self._guard:
            lost, self._lost = self._lost, 0
            reason, self._reason = self._reason, ""
        return self._counted(_Batch(self.loss_line(lost, reason), lost)) if lost else None

    def _counted(self, batch: _Batch) -> _Batch:
        with self._guard:
            self._size += len(batch.octets)
        return batch

    def _write(self, batch: _Batch, deadline: float | None) -> bool:
        """Write as long as the target takes octets; gives whether that was all of them. Raises OSError."""
        target = self.target
        if self.turns is not None and not self.turns.take(deadline):
            return False
        while batch.at < len(batch.octets):
            if not target.wait_ready(None if deadline is None else deadline - time.monotonic()):
                return False
            try:
                taken = target.write(batch.next_part(target.write_octets))
            except BlockingIOError:
                if deadline is not None and time.monotonic() >= deadline:
                    return False
                time.sleep(RETRY_S)
                continue
            batch.at += taken
            with self._guard:
                self._size -= taken
        return True

    def _lose(self, batch: _Batch, error: OSError) -> None:
        """Count what was not written. A line that was cut in two is ended before the next one."""
        self._is_torn = batch.is_mid_line or batch.lost == 0
        # A line that lacks nothing but its end will be whole once that is written.
        gone_from = batch.at + (batch.is_mid_line and batch.octets[batch.at] == LINE_FEED)
        lost = batch.octets.count(b"\n", gone_from)
        if lost and batch.lost is not None:
            lost = batch.lost
        with self._guard:
            self._size -= len(batch.octets) - batch.at
            self._lost += lost
            self._reason = error.strerror or str(error)
        batch.at = len(batch.octets)


def _plain_loss_line(lost: int, reason: str) -> bytes:
    return f"{lost} log lines lost{': ' + reason if reason else ''}\n".encode("ascii", "backslashreplace")
