"""Threads that read from SQLite beside the writer, each query on a state of its own that does not change."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import trio

from harakapy.net import enter_task
from harakapy.queue.errors import StoreUnavailable
from harakapy.queue.sqlite_errors import translated
from harakapy.queue.sqlite_schema import connect

__all__ = ["Readers"]

T = TypeVar("T")

MAX_READERS: Final = 4
"""Queries at once: one that looks through everything leaves room for those that fetch content."""

CACHE_KIB: Final = 1024
"""Pages in memory per connection: the system has the rest in its own cache."""


class Readers:
    """Connections that only read, lent to one query at a time."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._idle: list[sqlite3.Connection] = []
        self._limiter = trio.CapacityLimiter(MAX_READERS)
        self._is_closed = False

    async def run(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """The result of a query, which runs in a thread.

        Raises what the query raises; StoreUnavailable if the database fails.
        """
        await enter_task()
        return await trio.to_thread.run_sync(self._run, query, limiter=self._limiter)

    async def aclose(self) -> None:
        """Wait for the queries that run, then close the connections. May be called again."""
        self._is_closed = True
        lent = [object() for _ in range(MAX_READERS)]
        for each in lent:
            await self._limiter.acquire_on_behalf_of(each)
        while self._idle:
            self._idle.pop().close()
        for each in lent:
            self._limiter.release_on_behalf_of(each)

    def _run(self, query: Callable[[sqlite3.Connection], T]) -> T:
        if self._is_closed:
            raise StoreUnavailable("the store is closed")
        try:
            connection = self._idle.pop() if self._idle else self._connect()
        except sqlite3.Error as error:
            raise translated(error) from error
        try:
            connection.execute("BEGIN")
            result = query(connection)
            connection.execute("COMMIT")
        except Exception as error:
            with suppress(sqlite3.Error):
                connection.close()
            raise translated(error) from error
        self._idle.append(connection)
        return result

    def _connect(self) -> sqlite3.Connection:
        connection = connect(self._database)
        connection.execute("PRAGMA query_only = ON")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        return connection
