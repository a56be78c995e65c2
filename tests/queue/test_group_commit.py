"""The writing thread: who shares a transaction, who pays for whose error, and what a cancellation does."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from harakapy.net import Pump, inline_pump
from harakapy.queue import StoreFull, StoreUnavailable
from harakapy.queue.group_commit import LAG_S, MAX_GROUP, GroupCommit, Joint
from harakapy.queue.sqlite_schema import connect


class Database:
    """A database with one table of names, that counts its commits and the connections made to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.commits = 0
        self.connections = 0
        self.is_broken = False
        self.levels: list[str] = []  # to which `synchronous` was set after the start
        self.synced = threading.Event()  # a commit after the first level that is FULL again
        with closing(connect(path)) as connection:
            connection.execute("CREATE TABLE entry (name TEXT UNIQUE)")
            connection.execute("CREATE TABLE message (seq INTEGER PRIMARY KEY AUTOINCREMENT)")
            connection.execute("INSERT INTO message DEFAULT VALUES")

    def connect(self) -> sqlite3.Connection:
        if self.is_broken:
            raise sqlite3.OperationalError("disk I/O error")
        self.connections += 1
        connection = connect(self.path)
        connection.set_trace_callback(self._trace)
        return connection

    def names(self) -> list[str]:
        with closing(connect(self.path)) as connection:
            return [name for (name,) in connection.execute("SELECT name FROM entry ORDER BY rowid")]

    def log_size(self) -> int:
        return self.path.with_name(self.path.name + "-wal").stat().st_size

    def _trace(self, statement: str) -> None:
        self.commits += statement == "COMMIT"
        if statement.startswith("PRAGMA synchronous"):
            self.levels.append(statement.rpartition(" ")[2])
        if statement == "COMMIT" and self.levels[-1:] == ["FULL"]:
            self.synced.set()


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "names.db")


@pytest.fixture
async def writer(database: Database) -> AsyncIterator[GroupCommit]:
    writer = GroupCommit(database.connect)
    yield writer
    await writer.aclose()


def insert(name: str) -> Callable[[sqlite3.Connection], str]:
    def job(connection: sqlite3.Connection) -> str:
        connection.execute("INSERT INTO entry VALUES (?)", (name,))
        return name

    return job


class Gate:
    """A job that keeps the writing thread busy until it is opened."""

    def __init__(self) -> None:
        self._entered = threading.Event()
        self._opened = threading.Event()

    def __call__(self, connection: sqlite3.Connection) -> None:
        self._entered.set()
        assert self._opened.wait(10)

    async def wait_entered(self) -> None:
        assert await trio.to_thread.run_sync(self._entered.wait, 10)

    def open(self) -> None:
        self._opened.set()


class Inline:
    """A pump that awaits the work inline; it ``got`` whether it still was inline then, and what came."""

    def __init__(self, work: Callable[[], Awaitable[Any]]) -> None:
        self.pump = Pump[None](self._do(work))
        self.scope = trio.CancelScope()
        self.got: list[Any] = []

    async def run(self) -> None:
        with self.scope:
            await self.pump.run()

    async def _do(self, work: Callable[[], Awaitable[Any]]) -> None:
        self.pump.leave_task()
        await self.pump.wait_octets()
        try:
            result = await work()
        except (ValueError, trio.TooSlowError) as error:
            result = error
        self.got += [inline_pump() is self.pump, result]


async def begun(nursery: trio.Nursery, work: Callable[[], Awaitable[Any]]) -> Inline:
    """A pump that has done inline what can be done of the work without waiting."""
    inline = Inline(work)
    nursery.start_soon(inline.run)
    await trio.testing.wait_all_tasks_blocked()
    inline.pump.go_on()
    return inline


def dawdle() -> None:
    """Take time within a step of the event loop, enough for the writing thread to begin what it has."""
    time.sleep(0.005)


async def test_a_job_gives_its_result_and_is_committed(writer: GroupCommit, database: Database) -> None:
    assert await writer.run(insert("one")) == "one"
    assert database.names() == ["one"]


async def test_what_lines_up_while_one_is_written_shares_the_next_transaction(
    writer: GroupCommit, database: Database
) -> None:
    gate = Gate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run, gate)
        await gate.wait_entered()
        for number in range(MAX_GROUP + 5):
            nursery.start_soon(writer.run, insert(f"n{number:03}"))
        await trio.testing.wait_all_tasks_blocked()
        gate.open()
    assert len(database.names()) == MAX_GROUP + 5
    assert database.commits == 3  # the gate's, a full group, and the rest


async def test_jobs_that_come_in_one_step_share_a_transaction_with_a_writer_that_is_idle(
    writer: GroupCommit, database: Database
) -> None:
    async def run(name: str) -> None:
        dawdle()
        await writer.run(insert(name))

    async with trio.open_nursery() as nursery:
        for name in "abcde":
            nursery.start_soon(run, name)
    assert sorted(database.names()) == list("abcde")
    assert database.commits == 1


async def test_jobs_that_pumps_bring_in_one_step_share_a_transaction(
    writer: GroupCommit, database: Database
) -> None:
    inlines = [Inline(partial(writer.run, insert(name))) for name in "abc"]
    async with trio.open_nursery() as nursery:
        for inline in inlines:
            nursery.start_soon(inline.run)
        await trio.testing.wait_all_tasks_blocked()
        for inline in inlines:
            inline.pump.go_on()
            dawdle()
    assert [inline.got for inline in inlines] == [[True, "a"], [True, "b"], [True, "c"]]
    assert database.names() == ["a", "b", "c"]
    assert database.commits == 1


async def test_an_error_is_its_own_jobs_alone(writer: GroupCommit, database: Database) -> None:
    gate = Gate()
    failed: list[Exception] = []

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO entry VALUES ('half done')")
        raise ValueError("mine")

    async def run(job: Callable[[sqlite3.Connection], object]) -> None:
        try:
            await writer.run(job)
        except (ValueError, StoreUnavailable) as error:
            failed.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run, gate)
        await gate.wait_entered()
        for job in (insert("a"), fail, insert("b"), insert("a"), insert("c")):
            nursery.start_soon(run, job)
        await trio.testing.wait_all_tasks_blocked()
        gate.open()
    assert sorted(database.names()) == ["a", "b", "c"]
    assert sorted(map(type, failed), key=repr) == [ValueError, StoreUnavailable]


async def test_an_error_of_the_database_leaves_the_connection(
    writer: GroupCommit, database: Database
) -> None:
    with pytest.raises(StoreUnavailable, match="no such table: missing"):
        await writer.run(lambda each: each.execute("SELECT * FROM missing"))
    await writer.run(insert("after"))
    assert (database.names(), database.connections) == (["after"], 1)


async def test_a_connection_that_cannot_begin_is_made_anew(writer: GroupCommit, database: Database) -> None:
    with pytest.raises(StoreUnavailable, match="closed"):
        await writer.run(lambda each: each.close())
    database.is_broken = True
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await writer.run(insert("lost"))
    database.is_broken = False
    await writer.run(insert("found"))
    assert (database.names(), database.connections) == (["found"], 2)


async def test_another_process_that_writes_too_long_is_waited_for_next_time(
    writer: GroupCommit, database: Database
) -> None:
    await writer.run(lambda each: each.execute("PRAGMA busy_timeout = 0"))
    with closing(connect(database.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            await writer.run(insert("lost"))
        other.execute("COMMIT")
    await writer.run(insert("found"))
    assert (database.names(), database.connections) == (["found"], 1)


async def test_a_full_database_is_told_apart(writer: GroupCommit, database: Database) -> None:
    await writer.run(lambda each: each.execute("PRAGMA max_page_count = 4"))
    with pytest.raises(StoreFull, match="full"):
        await writer.run(insert("x" * 100_000))
    assert database.names() == []


async def test_an_error_that_is_no_sqlite_error_keeps_the_connection(
    writer: GroupCommit, database: Database
) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        insert("x")(connection)
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreFull, match="No space left"):
        await writer.run(fail)
    assert (database.names(), database.connections) == ([], 1)


async def test_what_follows_a_job_sees_it_committed(writer: GroupCommit, database: Database) -> None:
    seen: list[tuple[str, list[str]]] = []
    await writer.run(insert("x"), then=lambda name: seen.append((name, database.names())))
    assert seen == [("x", ["x"])]


async def test_an_error_after_the_commit_undoes_nothing(writer: GroupCommit, database: Database) -> None:
    def fail(name: str) -> None:
        raise OSError(5, "Input/output error")

    with pytest.raises(StoreUnavailable, match="Input/output error"):
        await writer.run(insert("x"), then=fail)
    await writer.run(insert("y"))
    assert database.names() == ["x", "y"]


async def test_a_job_cancelled_in_line_is_not_run(writer: GroupCommit, database: Database) -> None:
    gate = Gate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run, gate)
        await gate.wait_entered()
        with trio.move_on_after(0):
            await writer.run(insert("cancelled"))
        nursery.start_soon(writer.run, insert("kept"))
        await trio.testing.wait_all_tasks_blocked()
        gate.open()
    assert database.names() == ["kept"]


async def test_a_job_cancelled_while_it_runs_is_finished_and_returns(
    writer: GroupCommit, database: Database
) -> None:
    gate = Gate()
    returned: list[str] = []

    async def run(scope: trio.CancelScope) -> None:
        def job(connection: sqlite3.Connection) -> str:
            gate(connection)
            return insert("x")(connection)

        with scope:
            returned.append(await writer.run(job))
            await trio.lowlevel.checkpoint()
            returned.append("went on")

    scope = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, scope)
        await gate.wait_entered()
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        gate.open()
    assert (returned, database.names()) == (["x"], ["x"])


async def test_a_pump_gets_the_result_inline(writer: GroupCommit, database: Database) -> None:
    async with trio.open_nursery() as nursery:
        inline = await begun(nursery, partial(writer.run, insert("x")))
        assert inline.got == []
    assert inline.got == [True, "x"]
    assert database.names() == ["x"]


async def test_a_pump_gets_the_error_of_its_job_inline(writer: GroupCommit) -> None:
    error = ValueError("mine")

    def fail(_: sqlite3.Connection) -> None:
        raise error

    async with trio.open_nursery() as nursery:
        inline = await begun(nursery, partial(writer.run, fail))
    assert inline.got == [True, error]


async def test_a_job_of_a_pump_that_is_cancelled_in_line_is_not_run(
    writer: GroupCommit, database: Database
) -> None:
    gate = Gate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run, gate)
        await gate.wait_entered()
        cancelled = await begun(nursery, partial(writer.run, insert("cancelled")))
        kept = await begun(nursery, partial(writer.run, insert("kept")))
        too_slow = await begun(nursery, partial(writer.run, insert("too slow")))
        await trio.testing.wait_all_tasks_blocked()
        cancelled.scope.cancel()
        too_slow.pump.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert cancelled.scope.cancelled_caught
        gate.open()
    assert (cancelled.got, kept.got) == ([], [True, "kept"])
    assert [type(each) for each in too_slow.got] == [bool, trio.TooSlowError]
    assert database.names() == ["kept"]


async def test_a_job_of_a_pump_that_is_cancelled_while_it_runs_is_finished_and_returns(
    writer: GroupCommit, database: Database
) -> None:
    gate = Gate()

    def job(connection: sqlite3.Connection) -> str:
        gate(connection)
        return insert("x")(connection)

    async with trio.open_nursery() as nursery:
        inline = await begun(nursery, partial(writer.run, job))
        await gate.wait_entered()
        inline.pump.cancel()
        inline.scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert inline.got == []
        gate.open()
    assert inline.got == [True, "x"]
    assert database.names() == ["x"]


async def test_jobs_in_line_are_finished_before_it_closes(writer: GroupCommit, database: Database) -> None:
    gate = Gate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run, gate)
        await gate.wait_entered()
        nursery.start_soon(writer.run, insert("last"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(writer.aclose)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(StoreUnavailable, match="closed"):
            await writer.run(insert("too late"))
        gate.open()
    assert database.names() == ["last"]


async def test_jobs_of_one_kind_are_done_together_and_each_gets_its_own_result(
    database: Database, writer: GroupCommit
) -> None:
    calls: list[list[str]] = []

    def work(connection: sqlite3.Connection, names: Sequence[str]) -> list[str]:
        calls.append(list(names))
        connection.executemany("INSERT INTO entry VALUES (?)", [(name,) for name in names])
        return [name.upper() for name in names]

    results: dict[str, str] = {}

    async def put(name: str) -> None:
        results[name] = await writer.run(Joint(work, name))

    gate = Gate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run, gate)
        await gate.wait_entered()
        for name in "abc":
            nursery.start_soon(put, name)
            await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(writer.run, insert("z"))
        await trio.testing.wait_all_tasks_blocked()
        gate.open()
    assert calls == [["a", "b", "c"]]
    assert results == {"a": "A", "b": "B", "c": "C"}
    assert database.names() == ["a", "b", "c", "z"]


async def test_a_joint_job_that_fails_takes_no_other_with_it(database: Database, writer: GroupCommit) -> None:
    def work(connection: sqlite3.Connection, names: Sequence[str]) -> list[None]:
        connection.executemany("INSERT INTO entry VALUES (?)", [(name,) for name in names])
        return [None] * len(names)

    failed: list[str] = []

    async def put(name: str) -> None:
        try:
            await writer.run(Joint(work, name))
        except StoreUnavailable:
            failed.append(name)

    await put("taken")
    gate = Gate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run, gate)
        await gate.wait_entered()
        for name in ("one", "taken", "two"):
            nursery.start_soon(put, name)
        await trio.testing.wait_all_tasks_blocked()
        gate.open()
    assert failed == ["taken"]
    assert sorted(database.names()) == ["one", "taken", "two"]


async def test_what_may_lag_is_seen_by_others_at_once_and_synced_a_moment_later(
    database: Database, writer: GroupCommit
) -> None:
    await writer.run(insert("lags"), may_lag=True)
    assert database.names() == ["lags"]
    assert database.commits == 1
    with trio.fail_after(10):
        await trio.to_thread.run_sync(database.synced.wait)  # of its own, since nothing else comes
    assert database.levels == ["NORMAL", "FULL"]


async def test_what_may_lag_is_synced_with_the_group_it_is_in(
    database: Database, writer: GroupCommit
) -> None:
    gate = Gate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run, gate)
        await gate.wait_entered()
        nursery.start_soon(partial(writer.run, insert("a"), may_lag=True))
        nursery.start_soon(writer.run, insert("b"))
        await trio.testing.wait_all_tasks_blocked()
        gate.open()
    assert sorted(database.names()) == ["a", "b"]
    assert database.levels == []


@pytest.mark.parametrize("may_lag", [False, True])
async def test_to_sync_is_a_commit_at_the_full_level_and_then_what_follows_in_the_writing_thread(
    database: Database, writer: GroupCommit, may_lag: bool
) -> None:
    seen: list[tuple[str, list[str], bool]] = []
    await writer.run(insert("x"), may_lag=may_lag)
    commits = database.commits
    await writer.sync(
        then=lambda: seen.append(
            (threading.current_thread().name, database.levels[-1:], database.commits > commits)
        )
    )
    level = ["FULL"] if may_lag else []  # where nothing lagged the first level still holds, which is FULL
    assert seen == [("harakapy-store", level, True)]


async def wait_grown(database: Database, size: int) -> None:
    with trio.fail_after(20 * LAG_S):
        while database.log_size() == size:  # noqa: ASYNC110  # nobody tells
            await trio.sleep(LAG_S / 10)


async def test_to_sync_makes_the_log_grow(database: Database, writer: GroupCommit) -> None:
    await writer.run(insert("lags"), may_lag=True)
    size, sizes = database.log_size(), list[int]()
    await writer.sync(then=lambda: sizes.append(database.log_size()))
    assert sizes[0] > size  # SQLite syncs what it has written, and else nothing


async def test_what_lags_is_synced_by_a_log_that_grows(database: Database, writer: GroupCommit) -> None:
    await writer.run(insert("lags"), may_lag=True)
    await wait_grown(database, database.log_size())


async def test_what_lags_is_synced_also_if_the_next_job_changes_nothing(
    database: Database, writer: GroupCommit
) -> None:
    await writer.run(insert("lags"), may_lag=True)
    size = database.log_size()
    await writer.run(lambda each: each.execute("SELECT name FROM entry").fetchall())
    await wait_grown(database, size)
