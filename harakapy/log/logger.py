"""The logger that everything here is given: fields that it is bound to, and Haraka's ten levels.

Nothing is configured for the whole process, so that two servers in one do not disturb each other: what a
logger is bound to travels with it. It is called as structlog's loggers are and is none: of that library only
the dict of fields was in use, and importing it took a tenth of the time that the server needed to start.
"""

import sys
from pathlib import Path
from typing import Self

from harakapy.log.escape import plain_text
from harakapy.log.level import Level
from harakapy.log.output import SILENT, Output
from harakapy.log.record import LogRecord
from harakapy.log.render import renderer
from harakapy.log.sink import Sink
from harakapy.log.target import Descriptor, LogFile, Nowhere, Target

__all__ = ["Logger", "make_logger", "open_logger", "silent_logger"]

STANDARD_ERROR = 2

# A member of an Enum takes 70 ns to look up in Python 3.11, a name of the module 7.
_EMERG, _ALERT, _CRIT, _ERROR, _WARN, _NOTICE, _INFO, _DEBUG, _PROTOCOL, _DATA = Level


class Logger:
    """Logs records with the fields it is bound to; immutable, and made by `make_logger` or `bind`.

    `log.info("message accepted", size=4096)`: the event says what happened in words that do not vary, the
    fields say the rest. `bind(uuid=..., plugin=...)` gives a logger that adds these fields to each record;
    `unbind` and `new` give one without some of them, or with others only. `exc_info=exception` (or True for
    the one being handled) shows a traceback. No call raises because of what it is to show, and a call below
    the level costs 0.2 us, so values need no formatting beforehand: give them as they are.
    """

    __slots__ = ("_context", "output")

    output: Output
    """Where the records go; shared by all loggers bound from the same one."""

    def __init__(self, output: Output, context: dict[str, object]) -> None:
        self.output = output
        self._context = context

    def bind(self, **fields: object) -> Self:
        """A logger that adds these fields, too, to each record."""
        return type(self)(self.output, {**self._context, **fields})

    def unbind(self, *names: str) -> Self:
        """A logger without these fields. Raises KeyError if it is not bound to one of them."""
        context = dict(self._context)
        for name in names:
            del context[name]
        return type(self)(self.output, context)

    def new(self, **fields: object) -> Self:
        """A logger that is bound to these fields and no others."""
        return type(self)(self.output, fields)

    def is_enabled(self, level: Level) -> bool:
        """Whether a record of this level would be written; for fields that are costly to find out."""
        return bool(self.output.level >= level)

    def log(self, level: Level, event: str, /, **fields: object) -> None:
        """Log at a level that is known only when running."""
        if self.output.level >= level:
            self._write(level, event, fields)

    def data(self, event: str, /, **fields: object) -> None:
        """Content as it passes."""
        if self.output.level >= 9:
            self._write(_DATA, event, fields)

    def protocol(self, event: str, /, **fields: object) -> None:
        """Each command and reply."""
        if self.output.level >= 8:
            self._write(_PROTOCOL, event, fields)

    def debug(self, event: str, /, **fields: object) -> None:
        """What helps to find a fault in the program."""
        if self.output.level >= 7:
            self._write(_DEBUG, event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        """What is normal: connections, messages, decisions."""
        if self.output.level >= 6:
            self._write(_INFO, event, fields)

    def notice(self, event: str, /, **fields: object) -> None:
        """What is normal and worth remarking: start, stop, a reload."""
        if self.output.level >= 5:
            self._write(_NOTICE, event, fields)

    def warn(self, event: str, /, **fields: object) -> None:
        """What may become a fault, or looks like a mistake of the operator's."""
        if self.output.level >= 4:
            self._write(_WARN, event, fields)

    def error(self, event: str, /, **fields: object) -> None:
        """Something could not be done."""
        if self.output.level >= 3:
            self._write(_ERROR, event, fields)

    def crit(self, event: str, /, **fields: object) -> None:
        """A part is broken: a plugin raised, a file is damaged."""
        if self.output.level >= 2:
            self._write(_CRIT, event, fields)

    def alert(self, event: str, /, **fields: object) -> None:
        """Somebody must act now."""
        if self.output.level >= 1:
            self._write(_ALERT, event, fields)

    def emerg(self, event: str, /, **fields: object) -> None:
        """The server cannot go on."""
        if self.output.level >= 0:
            self._write(_EMERG, event, fields)

    def _write(self, level: Level, event: str, fields: dict[str, object]) -> None:
        entry = {**self._context, **fields} if self._context else fields  # which are this call's own
        uuid = entry.pop("uuid", "")
        exception = _exception(entry.pop("exc_info")) if "exc_info" in entry else None
        output = self.output
        output.write(LogRecord(level, _text(event), entry, output.now(), _text(uuid), exception))


def make_logger(output: Output, **context: object) -> Logger:
    """A logger to `output`, bound to `context`."""
    return Logger(output, context)


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
