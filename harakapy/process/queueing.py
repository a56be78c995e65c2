"""The queue of a server, where the settings say it is."""

from __future__ import annotations

from harakapy.config import Settings
from harakapy.log import Logger
from harakapy.queue import Floor, SqliteStore

__all__ = ["open_queue"]


async def open_queue(settings: Settings, log: Logger) -> SqliteStore:
    """Open the queue, making it if it is not there. Raises StoreUnavailable, StoreFull."""
    floor = Floor(settings.queue.min_free_space, settings.queue.min_free_inodes)
    return await SqliteStore.open(settings.queue_dir, log=log, floor=floor)
