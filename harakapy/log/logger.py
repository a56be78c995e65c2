"""The logger that everything here is given: structlog's bound context with Haraka's ten levels.

structlog is used without its global configuration, so that two servers in one process do not disturb each
other: what a logger is bound to travels with it.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import structlog
from structlog.typing import Processor

from harakapy.log.escape import plain_text
from harakapy.log.level import Level
from harakapy.log.output import SILENT, Output
from harakapy.log.record import LogRecord
from harakapy.log.render import renderer
from harakapy.log.sink import Sink
from harakapy.log.target import Descriptor, LogFile, Nowhere, Target

__all__ = ["Logger", "make_logger", "open_logger", "silent_logger"]

STANDARD_ERROR = 2


class Logger(structlog.BoundLoggerBase):
    """Logs records with the fields it is bound to; immutable, and made by `make_logger` or `bind`.

    `log.info("message accepted", size=4096)`: the event says what happened in words that do not vary, the
    fields say the rest. `bind(uuid=..., plugin=...)` gives a logger that adds these fields to each record;
    `unbind` and `new` are structlog's. `exc_info=exception` (or True for the one being handled) shows a
    traceback. No call raises because of what it is to show, and a call below the level costs 0.2 us, so
    values need no formatting beforehand: give them as they are.
    """

    @property
    def output(self) -> Output:
        """Where the records go; shared by all loggers bound from the same one."""
        return cast(Output, self._logger)

    def is_enabled(self, level: Level) -> bool:
        """Whether a record of this level would be written; for fields that are costly to find out."""
        return bool(self._logger.level >= level)

    def log(self, level: Level, event: str, /, **fields: object) -> None:
        """Log at a level that is known only when running."""
        if self._logger.level >= level:
            self._write(level, event, fields)

    def data(self, event: str, /, **fields: object) -> None:
        """Content as it passes."""
        if self._logger.level >= 9:
            self._write(Level.DATA, event, fields)

    def protocol(self, event: str, /, **fields: object) -> None:
        """Each command and reply."""
        if self._logger.level >= 8:
            self._write(Level.PROTOCOL, event, fields)

    def debug(self, event: str, /, **fields: object) -> None:
        """What helps to find a fault in the program."""
        if self._logger.level >= 7:
            self._write(Level.DEBUG, event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        """What is normal: connections, messages, decisions."""
        if self._logger.level >= 6:
            self._write(Level.INFO, event, fields)

    def notice(self, event: str, /, **fields: object) -> None:
        """What is normal and worth remarking: start, stop, a reload."""
        if self._logger.level >= 5:
            self._write(Level.NOTICE, event, fields)

    def warn(self, event: str, /, **fields: object) -> None:
        """What may become a fault, or looks like a mistake of the operator's."""
        if self._logger.level >= 4:
            self._write(Level.WARN, event, fields)

    def error(self, event: str, /, **fields: object) -> None:
        """Something could not be done."""
        if self._logger.level >= 3:
            self._write(Level.ERROR, event, fields)

    def crit(self, event: str, /, **fields: object) -> None:
        """A part is broken: a plugin raised, a file is damaged."""
        if self._logger.level >= 2:
            self._write(Level.CRIT, event, fields)

    def alert(self, event: str, /, **fields: object) -> None:
        """Somebody must act now."""
        if self._logger.level >= 1:
            self._write(Level.ALERT, event, fields)

    def emerg(self, event: str, /, **fields: object) -> None:
        """The server cannot go on."""
        if self._logger.level >= 0:
            self._write(Level.EMERG, event, fields)

    def _write(self, level: Level, event: str, fields: dict[str, object]) -> None:
        entry = {**self._context, **fields}
        if self._processors:
            kept = self._processed(level, event, entry)
            if kept is None:
                return
            event, entry = kept
        uuid = entry.pop("uuid", "")
        exception = _exception(entry.pop("exc_info")) if "exc_info" in entry else None
        output = self.output
        output.write(LogRecord(level, _text(event), entry, output.now(), _text(uuid), exception))

    def _processed(
        self, level: Level, event: str, entry: dict[str, object]
    ) -> tuple[str, dict[str, object]] | None:
        """What structlog's processors make of the entry; None if they drop it."""
        changed: Any = {**entry, "event": event}
        try:
            for processor in self._processors:
                changed = processor(self._logger, level.name.lower(), changed)
            return changed.pop("event"), changed
        except structlog.DropEvent:
            return None
        except Exception as error:  # noqa: BLE001 - a processor that fails may not cost the record
            return event, {**entry, "processor_error": plain_text(error)}


def make_logger(output: Output, *, processors: Sequence[Processor] = (), **context: object) -> Logger:
    """A logger to `output`, bound to `context`.

    `processors` are structlog's: each is called with (output, level name, fields and "event" as one dict) and
    returns such a dict, or raises structlog.DropEvent.
    """
    return Logger(output, processors, context)


def open_logger(
    level: Level = Level.INFO,
    *,
    format_name: str = "text",
    timestamps: bool = True,
    file: Path | None = None,
    target: Target | None = None,
) -> Logger:
    """A logger with an output of its own: to `target`, else appending to `file`, else to standard error.

    Raises OSError if the file cannot be opened, ValueError for an unknown format. Whoever opens it ends with
    `logger.output.sink.close()`.
    """
    line_of = renderer(format_name, timestamps=timestamps)
    if target is None:
        target = LogFile(file) if file else Descriptor(STANDARD_ERROR)
    return make_logger(Output(Sink(target), line_of, level=level))


def silent_logger() -> Logger:
    """A logger that writes nothing, for code that is used without a log."""
    return make_logger(Output(Sink(Nowhere()), renderer("text"), level=SILENT))


def _exception(exc_info: object) -> BaseException | None:
    """The exception in an `exc_info`: itself, the current one for True, or that of the triple."""
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return next((part for part in exc_info if isinstance(part, BaseException)), None)
    return sys.exception() if exc_info else None


def _text(value: object) -> str:
    return value if type(value) is str else plain_text(value)
