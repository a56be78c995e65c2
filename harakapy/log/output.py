"""The way of a record out: past the tap, through the renderer, into the sink."""

import threading
import time
from collections.abc import Callable

from harakapy.log.level import Level
from harakapy.log.record import LogRecord
from harakapy.log.render import Renderer
from harakapy.log.sink import Sink

__all__ = ["SILENT", "Output", "Tap"]

SILENT = -1
"""The level of an output that writes nothing at all."""

_WARN = Level.WARN  # looked up for each record: a member of an Enum takes longer than a name of the module

Tap = Callable[[LogRecord], bool]
"""Sees each record before it is written; True keeps it from being written (the log hook answers so)."""

FAULT_INTERVAL_S = 60.0
"""A tap that fails is reported once in this time: it may fail on every line. Picked."""


class Output:
    """What all loggers of one server share; each attribute can be replaced while they are in use.

    `level` is the least serious level that is written, or `SILENT`. `worker` names this process, if it is one
    of several of a server: it becomes a field of every record.
    """

    __slots__ = ("_last_fault", "_tapping", "level", "now", "renderer", "sink", "tap", "worker")

    def __init__(
        self,
        sink: Sink,
        renderer: Renderer,
        *,
        level: int = Level.INFO,
        tap: Tap | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.sink = sink
        self.renderer = renderer
        self.level = level
        self.tap = tap
        self.now = now
        self.worker = ""
        self._tapping: set[int] = set()  # threads that are inside the tap
        self._last_fault = float("-inf")
        sink.loss_line = self._loss_line

    def write(self, record: LogRecord) -> None:
        """Show the record to the tap, and write it unless the tap keeps it. Never raises an Exception."""
        if self.worker:
            record = record._replace(fields={"worker": self.worker, **record.fields})
        if self.tap is not None and self._is_kept_by(self.tap, record):
            return
        self.sink.emit(self._line(record), urgent=record.level <= _WARN)

    def _is_kept_by(self, tap: Tap, record: LogRecord) -> bool:
        thread = threading.get_ident()
        if thread in self._tapping:  # logged by the tap itself: it must not see that again
            return False
        self._tapping.add(thread)
        try:
            return bool(tap(record))
        except Exception as error:  # noqa: BLE001 - whatever a plugin does, the log goes on
            self._report_fault(record.time, error)
            return False
        finally:
            self._tapping.discard(thread)

    def _report_fault(self, at: float, error: Exception) -> None:
        if at - self._last_fault >= FAULT_INTERVAL_S:
            self._last_fault = at
            fault = LogRecord(Level.ERROR, "log tap failed", {}, at, "", error)
            self.sink.emit(self._line(fault), urgent=True)

    def _line(self, record: LogRecord) -> bytes:
        try:
            return self.renderer(record)
        except Exception as error:  # noqa: BLE001 - a value of a kind that nobody thought of
            fields = {"unrenderable": type(error).__name__}
            return self.renderer(record._replace(fields=fields, exception=None))

    def _loss_line(self, lost: int, reason: str) -> bytes:
        fields = {"lines": lost, "reason": reason or "the reader of the log is too slow"}
        return self._line(LogRecord(Level.ERROR, "log lines lost", fields, self.now(), ""))
