"""The log of a server, where its settings say."""

from __future__ import annotations

from harakapy.config import Settings
from harakapy.log import Level, Logger, open_logger
from harakapy.process.privileges import Identity, acting_as

__all__ = ["logger_of"]


def logger_of(settings: Settings, identity: Identity | None = None) -> Logger:
    """A logger with an output of its own, as the settings want it; its file is opened as ``identity``.

    Raises OSError if the file fails.
    """
    log, file = settings.log, settings.log_file
    with acting_as(identity):
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
        return open_logger(
            Level.parse(log.level), format_name=log.format, timestamps=log.timestamps, file=file
        )
