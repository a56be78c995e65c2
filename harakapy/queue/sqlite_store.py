"""The embedded store: SQLite with group commit, large content in files beside it.

Theory of operation. Everything that writes is a job for one thread (`group_commit`). Everything that only
reads runs in other threads on connections of their own: in WAL mode readers and the writer do not wait for
each other. Content of more than `INLINE_LIMIT` is written to a file by a thread of its own before the job
that names it, so that a message of 20 MB does not delay the small ones.

Any number of processes may open the same directory. It must be on a local disk: SQLite's log and our lock do
not work over a network.

The file is long because it has every method of the contract; what they do in SQL is in modules of their own.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Self, TypeVar

import trio

from harakapy.log import Logger
from harakapy.mail.content import Content
from harakapy.net import enter_task
from harakapy.queue import sqlite_claims, sqlite_commits, sqlite_queries, sqlite_steering
from harakapy.queue.clock_set import ClockSet
from harakapy.queue.delivery import Delivery, DeliveryKey, DeliveryRequest, Diagnostic, Lease
from harakapy.queue.directory import DirectoryLock, StoreDirectory
from harakapy.queue.errors import (
    ContentUnreadable,
    MessageNotFound,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from harakapy.queue.files import ContentFiles, FileSystem, Floor
from harakapy.queue.group_commit import GroupCommit, Job, Joint
from harakapy.queue.message import QueuedMessage
from harakapy.queue.outcome import Outcome, Settlement
from harakapy.queue.selection import Count, Selection
from harakapy.queue.sqlite_content import open_content, quarantine_message, small_contents
from harakapy.queue.sqlite_errors import translated
from harakapy.queue.sqlite_queries import matching_keys
from harakapy.queue.sqlite_readers import Readers
from harakapy.queue.sqlite_rows import delivery_row, message_row
from harakapy.queue.sqlite_schema import KEY_BITS, connect
from harakapy.queue.sqlite_startup import Incident, prepare, require_prepared
from harakapy.queue.statistics import QueueStats
from harakapy.queue.store import Page, Store, check_commit

__all__ = ["INLINE_LIMIT", "SqliteStore"]

T = TypeVar("T")

_Part = Callable[[sqlite3.Connection, Sequence[int]], sqlite_steering.Changed]

INLINE_LIMIT: Final = 131072
"""Octets of content that still go into the database. Above, writing it twice (to the log, then to the
database) costs more than the two syncs of a file. Picked to start with."""

FILE_WRITERS: Final = 8
"""Threads that write content files at once: enough that one slow sync does not hold up the rest. Picked."""


class SqliteStore(Store):
    """The contract of `Store`, on disk. Made by `open`."""

    def __init__(
        self,
        directory: StoreDirectory,
        lock: DirectoryLock,
        files: ContentFiles,
        readers: Readers,
        log: Logger,
    ) -> None:
        """For `open` only: takes over the lock, the files and the readers."""
        self._lock = lock
        self._files = files
        self._readers = readers
        self._log = log
        self._file_writers = trio.CapacityLimiter(FILE_WRITERS)
        self._writer = GroupCommit(lambda: connect(directory.database))

    @classmethod
    async def open(
        cls,
        directory: Path,
        *,
        log: Logger,
        floor: Floor | None = None,
        file_system: FileSystem | None = None,
    ) -> Self:
        """Open the store in a directory of its own, making it if need be; in a task of a trio loop.

        If no other process has it open, it is checked first, repaired as far as possible, and brought to the
        current format; what comes of that is logged. Leases of earlier processes end then.

        Raises StoreUnavailable, StoreFull.
        """
        paths = StoreDirectory(directory)
        files = ContentFiles(paths.content, file_system or FileSystem(), floor or Floor())
        lock, incidents = await trio.to_thread.run_sync(_enter, paths, files)
        for incident in incidents:
            log.alert(incident.event, **incident.fields)
        try:
            return cls(paths, lock, files, Readers(paths.database), log)
        except (sqlite3.Error, OSError) as error:
            lock.release()
            raise translated(error) from error

    async def commit(
        self,
        message: QueuedMessage,
        deliveries: Sequence[Delivery],
        content: Content,
        *,
        settles: Settlement | None = None,
    ) -> None:
        check_commit(message, deliveries, content, settles)
        row = message_row(message)
        rows = [(each.number, delivery_row(each, -message.priority)) for each in deliveries]
        octets, file = await self._keep(content)
        new = sqlite_commits.NewMessage(row, rows, octets, file)
        job: Job[Sequence[str]] = Joint(sqlite_commits.insert, new)
        if settles is not None:
            job = partial(_replace, new, settles)
        is_committed = False
        try:
            await self._writer.run(job, then=self._discard)
            is_committed = True
        finally:
            if file is not None and not is_committed:
                self._files.discard(file)

    def commits_outside_of_tasks(self, content: Content) -> bool:
        return not content.is_spooled and content.output_size <= INLINE_LIMIT

    async def settle(self, settlement: Settlement) -> None:
        await self._writer.run(lambda each: sqlite_commits.settle(each, settlement), then=self._discard)

    async def due_destinations(self, now: float, *, limit: int, after: str = "") -> tuple[str, ...]:
        return await self._readers.run(lambda each: sqlite_queries.due_destinations(each, now, limit, after))

    async def next_due(self, *, after: float = -math.inf) -> float | None:
        return await self._readers.run(lambda each: sqlite_queries.next_due(each, after))

    async def claim(
        self, destination: str, *, lease: Lease, now: float, limit: int
    ) -> tuple[DeliveryRequest, ...]:
        found = await self._writer.run(
            lambda each: sqlite_claims.claim(each, destination, lease, now, limit), may_lag=True
        )
        return self._readable(found)

    async def claim_reports(self, *, lease: Lease, now: float, limit: int) -> tuple[DeliveryRequest, ...]:
        return self._readable(
            await self._writer.run(lambda each: sqlite_claims.claim_reports(each, lease, now, limit))
        )

    async def renew(self, keys: Collection[DeliveryKey], lease: Lease) -> frozenset[DeliveryKey]:
        return await self._writer.run(lambda each: sqlite_claims.renew(each, keys, lease), may_lag=True)

    async def unclaim(self, keys: Collection[DeliveryKey], *, owner: str, due: float) -> None:
        await self._writer.run(lambda each: sqlite_claims.unclaim(each, keys, owner, due), may_lag=True)

    async def release_leases(self, owner: str) -> int:
        return await self._writer.run(lambda each: sqlite_claims.release_leases(each, owner), may_lag=True)

    async def record(self, outcomes: Collection[Outcome], *, owner: str) -> frozenset[DeliveryKey]:
        late, files = await self._writer.run(Joint(sqlite_commits.record, (outcomes, owner)), may_lag=True)
        if files:
            await self._discard_once_synced(files)
        return late

    async def open_content(self, message_id: str) -> Content:
        try:
            return await self._readers.run(lambda each: open_content(each, self._files, message_id))
        except ContentUnreadable as error:
            reason = str(error)
            if not await self._writer.run(lambda each: quarantine_message(each, message_id, reason)):
                raise MessageNotFound(message_id) from error  # it was finished between two looks
            self._log.error(
                "content is unreadable, and the message quarantined", uuid=message_id, reason=error.reason
            )
            raise

    async def contents(self, message_ids: Collection[str]) -> dict[str, Content]:
        return await self._readers.run(lambda each: small_contents(each, message_ids))

    async def select(self, selection: Selection, *, limit: int, after: str = "") -> Page:
        return await self._readers.run(lambda each: sqlite_queries.select(each, selection, limit, after))

    async def count(self, selection: Selection) -> Count:
        return await self._readers.run(lambda each: sqlite_queries.count(each, selection))

    async def stats(self, *, destinations: int = 100) -> QueueStats:
        return await self._readers.run(lambda each: sqlite_queries.stats(each, destinations))

    async def hold(self, selection: Selection) -> Count:
        return await self._change(selection, sqlite_steering.hold())

    async def release(self, selection: Selection) -> Count:
        return await self._change(selection, sqlite_steering.release())

    async def flush(self, selection: Selection, *, now: float) -> Count:
        return await self._change(selection, sqlite_steering.flush(now))

    async def reroute(self, selection: Selection, next_hop: str) -> Count:
        return await self._change(selection, sqlite_steering.reroute(next_hop))

    async def bounce(self, selection: Selection, diagnostic: Diagnostic, *, now: float) -> Count:
        return await self._change(selection, sqlite_steering.bounce(diagnostic, now))

    async def remove(self, selection: Selection) -> Count:
        return await self._steer(selection, sqlite_steering.remove)

    async def shift_times(self, change: ClockSet) -> None:
        await self._writer.run(lambda each: sqlite_steering.shift_times(each, change))

    async def aclose(self) -> None:
        with trio.CancelScope(shield=True):
            await self._readers.aclose()
            await self._writer.aclose()
            self._lock.release()

    async def _keep(self, content: Content) -> tuple[bytes | None, str | None]:
        """Content as octets for the database, or the name of the file that has it now."""
        try:
            size = content.output_size
            self._files.require_room(size)
            if size > INLINE_LIMIT:
                return None, await self._in_thread(self._files.store, content)
            if content.is_spooled:
                return await self._in_thread(Content.to_bytes, content), None
            return content.to_bytes(), None
        except OSError as error:
            raise translated(error) from error

    async def _in_thread(self, function: Callable[[Content], T], content: Content) -> T:
        await enter_task()
        return await trio.to_thread.run_sync(function, content, limiter=self._file_writers)

    async def _change(self, selection: Selection, change: sqlite_steering.Change) -> Count:
        return await self._steer(selection, lambda each, keys: sqlite_steering.apply(each, change, keys))

    async def _steer(self, selection: Selection, part: _Part) -> Count:
        """Change what is selected, part by part: found in a reader's thread, changed in the writer's."""
        seqs: set[int] = set()
        recipients = after = 0
        while keys := await self._selected(selection, after):
            changed = await self._change_part(part, keys)
            seqs.update(key >> KEY_BITS for key in changed)
            recipients += len(changed)
            after = keys[-1]
        return Count(len(seqs), recipients)

    async def _change_part(self, part: _Part, keys: Sequence[int]) -> list[int]:
        changed, _ = await self._writer.run(
            lambda each: part(each, keys), then=lambda result: self._discard(result[1])
        )
        return changed

    async def _selected(self, selection: Selection, after: int) -> list[int]:
        return await self._readers.run(
            lambda each: matching_keys(each, selection, after, sqlite_steering.PART)
        )

    def _readable(self, found: sqlite_claims.Found) -> tuple[DeliveryRequest, ...]:
        requests, unreadable = found
        for reason in unreadable.values():
            self._log.error("a queued recipient is unreadable, and quarantined", reason=reason)
        return requests

    async def _discard_once_synced(self, files: Sequence[str]) -> None:
        """Remove files whose rows are gone for now, as soon as no power failure can bring those back.

        If there is no room even to see to that, the files go all the same: that makes room. If the disk fails
        otherwise they stay, without rows, until the store is opened the next time.
        """
        try:
            await self._writer.sync(then=lambda: self._discard(files))
        except StoreFull:
            await enter_task()
            await trio.to_thread.run_sync(self._discard, files)
        except StoreUnavailable as error:
            self._log.error("content of a finished message is left on disk", problem=str(error))

    def _discard(self, files: Sequence[str]) -> None:
        for file in files:
            self._files.discard(file)


def _replace(
    new: sqlite_commits.NewMessage, settles: Settlement, connection: sqlite3.Connection
) -> Sequence[str]:
    sqlite_commits.insert(connection, [new])
    return sqlite_commits.settle(connection, settles)


def _enter(directory: StoreDirectory, files: ContentFiles) -> tuple[DirectoryLock, list[Incident]]:
    """Lock the directory, and prepare it if nobody else has it; what was found on the way.

    Raises StoreUnavailable, StoreFull.
    """
    lock: DirectoryLock | None = None
    try:
        directory.make()
        lock = DirectoryLock(directory.lock)
        if not lock.is_alone:
            require_prepared(directory)
            return lock, []
        incidents = prepare(directory, files)
        lock.share()
    except (sqlite3.Error, OSError, StoreError) as error:
        if lock is not None:
            lock.release()
        raise translated(error) from error
    return lock, incidents
