"""One thread that writes to SQLite for all tasks, and syncs once for all that came while it synced before.

Theory of operation. A task puts its job (what to do with the connection) in line and sleeps. The thread takes
all jobs that stand in line, runs them in one transaction, commits it, and wakes their tasks with one call
into the event loop. While it syncs, the next jobs line up: the slower the disk, the larger the groups.

If anything goes wrong, in a job or at the commit, the transaction is rolled back and each job runs again in
one of its own, so that a job fails for its own fault or the disk's, never for its neighbour's. Hence jobs may
run twice, and do nothing but read and write the database; what else is to be done waits for the commit
(``then``).

What only tells how far the work has come may lag (``may_lag``): a group of nothing else is in the log, where
it survives the end of the process, and is synced with the next group, or `LAG_S` later if none comes. So the
end of a delivery does not keep mail that comes in waiting for a sync of its own. If the power fails within
that time the last deliveries are made again, as with servers that remove a queue file without a sync.

Jobs of one kind can be done together (`Joint`): twenty messages in a few statements instead of sixty. That
matters more than it seems, since around each statement the thread gives Python's lock away and must get it
back from a busy event loop.

Measured on two cores, against running each group by ``trio.to_thread.run_sync``: the way to the thread and
back takes 70 us instead of 100 us. A group pays it once, a single committer every time (of some 400 us, a
sync included); twenty committers of 4 KiB gain a fifth.

The file is long because the line, the thread and what each failure means for both are one mechanism.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, Generic, TypeVar

import trio
from msgspec import Struct
from trio.lowlevel import Abort, Task, current_task, reschedule, wait_task_rescheduled

from harakapy.net import inline_pump
from harakapy.queue.errors import StoreUnavailable
from harakapy.queue.sqlite_errors import is_busy, translated

__all__ = ["GroupCommit", "Job", "Joint"]

T = TypeVar("T")

Job = Callable[[sqlite3.Connection], T]
"""Reads and writes in a transaction that is open; raises what its caller is to get."""

Item = TypeVar("Item")


class Joint(Struct, Generic[Item, T], frozen=True):
    """A job that is done together with all others of the same ``work`` that stand in line.

    ``work`` gets the items in the order in which they came, and gives a result for each.
    """

    work: Callable[[sqlite3.Connection, Sequence[Item]], Sequence[T]]
    item: Item

    def __call__(self, connection: sqlite3.Connection) -> T:
        return self.work(connection, [self.item])[0]


MAX_GROUP: Final = 100
"""Jobs in one transaction, twice that at the most: at 4 KiB a message the gain is used up, and the wait of
the first one stays bounded."""


LAG_S: Final = 0.1
"""How long what may lag is not synced, if nothing else is: nothing for the disk, and little mail. Picked."""


class GroupCommit:
    """Runs jobs in transactions, each on disk when its result is there. Made in a task of a trio loop."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        """``connect`` opens the database in autocommit mode, usable from any thread; again after an error.

        Raises what ``connect`` raises.
        """
        self._connect = connect
        self._connection: sqlite3.Connection | None = connect()
        self._syncs = True  # as `connect` sets it
        self._lags = False  # something is in the log and not synced
        self._token = trio.lowlevel.current_trio_token()
        self._line: queue.SimpleQueue[Sequence[_Ticket[Any]]] = queue.SimpleQueue()  # an empty one ends it
        self._coming: list[_Ticket[Any]] = []  # those that came in this step of the event loop
        self._resting_usher: Task | None = None
        self._is_closed = False
        self._thread = threading.Thread(target=self._serve, name="harakapy-store", daemon=True)
        self._thread.start()
        trio.lowlevel.spawn_system_task(self._usher)

    async def run(self, job: Job[T], *, then: Callable[[T], None] | None = None, may_lag: bool = False) -> T:
        """Run a job; its result, once it is durable. ``then`` gets the result first, in the writing thread.

        With ``may_lag`` the result is durable for other processes and later ones, yet the machine may forget
        it for `LAG_S` more.

        Cancelled in line, the job is not run; once taken out of line, it is finished and its result returned.
        May be awaited outside of a task, in the coroutine of a `harakapy.net.Pump`.
        Raises what the job raises; StoreUnavailable or StoreFull if the database fails.
        """
        if self._is_closed:
            raise StoreUnavailable("the store is closed")
        pump = inline_pump()
        if pump is None:
            ticket = _Ticket(job, then, may_lag, partial(reschedule, current_task()))
            self._come(ticket)
            await wait_task_rescheduled(ticket.withdraw)
        else:
            ticket = _Ticket(job, then, may_lag, pump.go_on)
            self._come(ticket)
            await pump.wait_for(ticket.take)
        return ticket.result()

    async def sync(self, *, then: Callable[[], None]) -> None:
        """Return once all that was committed before is synced, and ``then`` was called in the writing thread.

        Raises what ``then`` raises; StoreUnavailable or StoreFull if the database fails.
        """
        await self.run(_touch, then=lambda _: then())

    async def aclose(self) -> None:
        """Finish the jobs in line, then close the connection. May be called again."""
        if not self._is_closed:
            self._is_closed = True
            self._line_up()
            self._line.put(())
            self._wake_usher()
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._thread.join)

    def _serve(self) -> None:
        is_open = True
        while is_open:
            group, is_open = self._next_group()
            if group:
                self._run_group(group)
                self._token.run_sync_soon(_wake, group)  # the loop runs: these tasks wait, whatever happens
        self._disconnect()

    def _come(self, ticket: _Ticket[Any]) -> None:
        self._coming.append(ticket)
        self._wake_usher()

    def _wake_usher(self) -> None:
        if self._resting_usher is not None:
            usher, self._resting_usher = self._resting_usher, None
            reschedule(usher)

    async def _usher(self) -> None:
        """Let jobs stand in line, all that came while tasks had their turns at once.

        To wake the thread for each would make small groups, and a fight for Python's lock at every one.
        """

        def rest_no_more(_raise_cancel: object) -> Abort:
            self._resting_usher = None
            return Abort.SUCCEEDED

        while not self._is_closed:
            self._line_up()
            self._resting_usher = current_task()
            await wait_task_rescheduled(rest_no_more)

    def _line_up(self) -> None:
        for start in range(0, len(self._coming), MAX_GROUP):
            self._line.put(self._coming[start : start + MAX_GROUP])
        self._coming = []

    def _next_group(self) -> tuple[list[_Ticket[Any]], bool]:
        """Wait for jobs; the group, and whether more can follow."""
        came = self._first_in_line()
        line = list(came)
        with suppress(queue.Empty):
            while came and len(line) < MAX_GROUP:
                came = self._line.get_nowait()
                line += came
        return [ticket for ticket in line if ticket.take()], bool(came)

    def _first_in_line(self) -> Sequence[_Ticket[Any]]:
        """Wait for jobs; none are the end. What lags is synced if none come soon."""
        if self._lags:
            try:
                return self._line.get(timeout=LAG_S)
            except queue.Empty:
                self._catch_up()
        return self._line.get()

    def _catch_up(self) -> None:
        """Sync what lags. If that fails the next group will see to it."""
        with suppress(sqlite3.Error):
            connection = self._begin(syncs=True)
            try:
                _touch(connection)
                connection.execute("COMMIT")
            except sqlite3.Error:
                self._roll_back(connection)
                raise
            self._lags = False

    def _run_group(self, group: Sequence[_Ticket[Any]]) -> None:
        try:
            self._transact(group)
        except Exception as error:  # noqa: BLE001 - a job may raise anything, and its caller gets it
            if len(group) == 1:
                group[0].error = translated(error)
            else:
                for ticket in group:
                    self._run_group([ticket])

    def _transact(self, group: Sequence[_Ticket[Any]]) -> None:
        syncs = not all(ticket.may_lag for ticket in group)
        connection = self._begin(syncs=syncs)
        try:
            _do_all(connection, group)
            if syncs and self._lags:  # the jobs may have changed nothing
                _touch(connection)
            connection.execute("COMMIT")
        except Exception:
            self._roll_back(connection)
            raise
        self._lags = not syncs
        for ticket in group:
            ticket.follow_up()

    def _begin(self, *, syncs: bool) -> sqlite3.Connection:
        """Open a transaction, on a new connection if the old one cannot."""
        if self._connection is None:
            self._connection = self._connect()
            self._syncs = True
        connection = self._connection
        try:
            if syncs is not self._syncs:
                connection.execute(f"PRAGMA synchronous = {'FULL' if syncs else 'NORMAL'}")
                self._syncs = syncs
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if not is_busy(error):
                self._disconnect()
            raise
        return connection

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        """End the transaction, with the connection only if that fails.

        Not at any error: a commit whose sync failed is in the log, whole, where this connection will write
        over it; but one that is made anew reads the log, takes that for a commit, and mail that was refused
        is back.
        """
        with suppress(sqlite3.Error):
            connection.rollback()
        if connection.in_transaction:
            self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with suppress(sqlite3.Error):
                connection.close()


class _Ticket(Generic[T]):
    """A job in line, and how to wake who waits for it."""

    __slots__ = ("_taken", "_then", "error", "job", "may_lag", "value", "wake")

    def __init__(
        self, job: Job[T], then: Callable[[T], None] | None, may_lag: bool, wake: Callable[[], None]
    ) -> None:
        self.job = job
        self.may_lag = may_lag
        self.value: T
        self.error: Exception | None = None
        self._then = then
        self.wake = wake
        self._taken = threading.Lock()

    def take(self) -> bool:
        """Decide once and for all that the job runs; false if it was withdrawn."""
        return self._taken.acquire(blocking=False)

    def withdraw(self, _raise_cancel: object) -> Abort:
        """Take the job out of line for a cancelled task, unless it was taken."""
        return Abort.SUCCEEDED if self.take() else Abort.FAILED

    def follow_up(self) -> None:
        """Do what was to be done after the commit. Nothing it raises may undo that, nor stop the thread."""
        if self._then is not None:
            try:
                self._then(self.value)
            except Exception as error:  # noqa: BLE001 - its caller gets it
                self.error = translated(error)

    def result(self) -> T:
        if self.error is not None:
            raise self.error
        return self.value


def _touch(connection: sqlite3.Connection) -> None:
    """Write a page and change nothing, so that the commit syncs what came before.

    A row that is written as it was would not do: SQLite writes no page for it, and so syncs nothing.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {version}")


def _do_all(connection: sqlite3.Connection, group: Sequence[_Ticket[Any]]) -> None:
    """Do the jobs in their order, those that can be joined with the first of their kind."""
    joint: dict[object, list[_Ticket[Any]]] = {}
    for ticket in group:
        kind = ticket.job.work if isinstance(ticket.job, Joint) else ticket
        joint.setdefault(kind, []).append(ticket)
    for tickets in joint.values():
        first = tickets[0]
        if isinstance(first.job, Joint):
            items = [ticket.job.item for ticket in tickets if isinstance(ticket.job, Joint)]
            values = first.job.work(connection, items)
            for ticket, value in zip(tickets, values, strict=True):
                ticket.value = value
        else:
            first.value = first.job(connection)


def _wake(group: Sequence[_Ticket[Any]]) -> None:
    for ticket in group:
        ticket.wake()
