"""The store on disk: the contract, and what is its own."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest
import trio

from harakapy.log import silent_logger
from harakapy.queue import (
    ContentUnreadable,
    Count,
    Delivered,
    Floor,
    FreeSpace,
    Selection,
    SqliteStore,
    StoreFull,
    StoreUnavailable,
    deliveries_to,
)
from harakapy.queue.group_commit import GroupCommit
from harakapy.queue.sqlite_commits import PAGES_GIVEN_BACK
from harakapy.queue.sqlite_schema import connect
from harakapy.queue.sqlite_store import INLINE_LIMIT

from .conformance import StoreConformance
from .disk import CALLS, FailingFileSystem
from .samples import LARGE, MINE, NOW, OK, SMALL, YOURS, claim_all, message, put, read, recipient, spooled

EVERYTHING = Selection()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "queue"


@pytest.fixture
def disk() -> FailingFileSystem:
    return FailingFileSystem()


async def open_store(
    root: Path, disk: FailingFileSystem | None = None, floor: Floor | None = None
) -> SqliteStore:
    return await SqliteStore.open(root, log=silent_logger(), file_system=disk, floor=floor)


@pytest.fixture
async def store(root: Path, disk: FailingFileSystem) -> AsyncIterator[SqliteStore]:
    async with await open_store(root, disk) as store:
        yield store


def content_files(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "content").iterdir())


class TestSqliteStore(StoreConformance):
    """On disk."""


# Contents by one look.


async def test_what_is_in_the_database_is_had_by_one_look_if_it_is_whole(
    store: SqliteStore, root: Path
) -> None:
    octets = {"A": SMALL, "B": LARGE, "C": SMALL}
    for name, each in octets.items():
        await put(store, queued=message(name, size=len(each)), content=each)
    assert set(await store.contents(octets)) == {"A", "C"}, "B is in a file"
    with closing(connect(root / "queue.db")) as connection:
        connection.execute("UPDATE content SET octets = x'00' WHERE seq = 1")
    assert set(await store.contents(octets)) == {"C"}
    with pytest.raises(ContentUnreadable):
        await store.open_content("A")


# Rows that cannot be read.


async def test_a_claim_gives_no_request_without_recipients(store: SqliteStore, root: Path) -> None:
    await put(store, "a@example.org", "b@example.org", queued=message("A"))
    await put(store, queued=message("B"))
    with closing(connect(root / "queue.db")) as connection:
        connection.execute("UPDATE delivery SET recipient = 'no@@address' WHERE key & 1048575 = 0")
    (request,) = await store.claim("example.org", lease=MINE, now=NOW, limit=9)
    assert request.message.id == "A"
    assert [each.number for each in request.deliveries] == [1]


# Opening again.


async def test_everything_is_there_after_the_store_was_opened_again(store: SqliteStore, root: Path) -> None:
    (small,) = await put(store)
    (large,) = await put(store, content=LARGE)
    await store.aclose()
    async with await open_store(root) as again:
        assert await claim_all(again, "example.org") == [
            each.claimed(MINE, now=NOW) for each in (small, large)
        ]
        assert await read(again, small.message_id) == SMALL
        assert await read(again, large.message_id) == LARGE


async def test_leases_of_processes_that_are_gone_end_at_the_start(store: SqliteStore, root: Path) -> None:
    await put(store, lease=MINE)
    await store.aclose()
    async with await open_store(root) as again:
        (delivery,) = await claim_all(again, "example.org", YOURS)
        assert delivery.attempts == 2


async def test_two_have_the_store_open_and_share_the_work(store: SqliteStore, root: Path) -> None:
    await put(store, "a@one.example", "b@two.example", content=LARGE)
    await claim_all(store, "one.example")
    async with await open_store(root) as other:
        assert await claim_all(other, "one.example", YOURS) == []
        (delivery,) = await claim_all(other, "two.example", YOURS)
        assert await read(other, delivery.message_id) == LARGE
        await other.record([Delivered(delivery.key, OK)], owner="you")
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(
                    lambda where, each: put(where, queued=message(each)),
                    (store, other)[number % 2],
                    f"B{number}",
                )
    assert await store.count(EVERYTHING) == Count(51, 51)


async def test_a_directory_that_cannot_be_made_is_said_to_be_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreUnavailable, match="Not a directory"):
        await open_store(tmp_path / "file" / "queue")


async def test_only_we_can_read_what_is_stored(store: SqliteStore, root: Path) -> None:
    await put(store, content=LARGE)
    assert {path.stat().st_mode & 0o077 for path in [root, *(root / "content").iterdir()]} == {0}


# Content files.


async def test_only_large_content_is_in_files_and_these_go_with_it(store: SqliteStore, root: Path) -> None:
    await put(store, content=b"x" * INLINE_LIMIT)
    assert content_files(root) == []
    one, two = await put(
        store, "a@example.org", "b@example.org", content=b"x" * (INLINE_LIMIT + 1), lease=MINE
    )
    assert len(content_files(root)) == 1
    await store.record([Delivered(one.key, OK)], owner="me")
    assert len(content_files(root)) == 1
    await store.record([Delivered(two.key, OK)], owner="me")
    assert content_files(root) == []


async def test_a_file_goes_once_it_is_synced_that_its_row_is_gone(
    store: SqliteStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[int] = []
    sync = GroupCommit.sync

    async def watched(writer: GroupCommit, *, then: Callable[[], None]) -> None:
        found.append(len(content_files(root)))
        await sync(writer, then=lambda: found.append(len(content_files(root))))
        await sync(writer, then=then)

    monkeypatch.setattr(GroupCommit, "sync", watched)
    (delivery,) = await put(store, content=LARGE, lease=MINE)
    await store.record([Delivered(delivery.key, OK)], owner="me")
    assert found == [1, 1]
    assert content_files(root) == []


@pytest.mark.parametrize(("error", "left"), [(StoreFull, 0), (StoreUnavailable, 1)])
async def test_a_file_goes_without_a_sync_only_for_lack_of_room(
    store: SqliteStore, root: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception], left: int
) -> None:
    async def failing(_writer: GroupCommit, *, then: Callable[[], None]) -> None:
        raise error("as told")

    (delivery,) = await put(store, content=LARGE, lease=MINE)
    with monkeypatch.context() as patch:
        patch.setattr(GroupCommit, "sync", failing)
        await store.record([Delivered(delivery.key, OK)], owner="me")
    assert len(content_files(root)) == left
    await store.aclose()
    async with await open_store(root) as again:
        assert content_files(root) == []
        assert await again.count(EVERYTHING) == Count()


async def test_a_file_is_on_disk_before_a_row_names_it(store: SqliteStore, disk: FailingFileSystem) -> None:
    await put(store, content=LARGE)
    assert [call for n, call in enumerate(disk.calls) if call not in disk.calls[:n]] == list(CALLS)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("error", "expected"),
    [(errno.EIO, StoreUnavailable), (errno.ENOSPC, StoreFull), (errno.EDQUOT, StoreFull)],
)
async def test_whatever_fails_nothing_is_left(
    store: SqliteStore, disk: FailingFileSystem, root: Path, call: str, error: int, expected: type[Exception]
) -> None:
    disk.failing, disk.error = call, error
    with pytest.raises(expected, match=f"{call} failed as told"):
        await put(store, content=LARGE)
    assert content_files(root) == []
    assert await store.count(EVERYTHING) == Count()
    await put(store)  # what needs no file still works
    disk.failing = ""
    await put(store, content=LARGE)
    assert await store.count(EVERYTHING) == Count(2, 2)


async def test_a_file_without_a_row_is_removed(store: SqliteStore, root: Path) -> None:
    await put(store, queued=message("A", size=len(LARGE)), content=LARGE)
    with pytest.raises(ValueError, match="already"):
        await put(store, queued=message("A", size=len(LARGE)), content=LARGE)
    assert len(content_files(root)) == 1


async def test_a_file_that_cannot_be_removed_goes_at_the_next_start(
    store: SqliteStore, disk: FailingFileSystem, root: Path
) -> None:
    (delivery,) = await put(store, content=LARGE, lease=MINE)
    disk.failing = "remove"
    await store.record([Delivered(delivery.key, OK)], owner="me")
    assert len(content_files(root)) == 1
    await store.aclose()
    async with await open_store(root):
        assert content_files(root) == []


async def test_content_that_cannot_be_read_is_not_stored(store: SqliteStore, root: Path) -> None:
    content = spooled(LARGE, root)
    content.close()
    queued = message(size=len(LARGE))
    deliveries = deliveries_to(queued.id, [recipient("a@b.c")], due=NOW, local_domain="x")
    with pytest.raises(ValueError, match="closed"):
        await store.commit(queued, deliveries, content)
    assert content_files(root) == []


# Room.


async def test_new_mail_is_refused_below_the_floor_and_work_goes_on(
    root: Path, disk: FailingFileSystem
) -> None:
    floor = Floor(octets=1_000_000, inodes=100)
    async with await open_store(root, disk, floor) as store:
        disk.free = FreeSpace(1_000_000 + len(SMALL), 100)
        (delivery,) = await put(store)
        for free in (FreeSpace(999_999 + len(SMALL), 100), FreeSpace(1 << 40, 99)):
            disk.free = free
            with pytest.raises(StoreFull, match="are to be left"):
                await put(store)
        assert await claim_all(store, "example.org") == [delivery.claimed(MINE, now=NOW)]
        assert await store.record([Delivered(delivery.key, OK)], owner="me") == frozenset()


async def test_a_large_message_is_refused_before_the_small_ones(root: Path, disk: FailingFileSystem) -> None:
    async with await open_store(root, disk, Floor(octets=1000)) as store:
        disk.free = FreeSpace(100_000, None)
        with pytest.raises(StoreFull):
            await put(store, content=LARGE)
        await put(store)
    assert "create" not in disk.calls


async def test_a_file_system_without_inodes_has_enough_of_them(root: Path, disk: FailingFileSystem) -> None:
    async with await open_store(root, disk, Floor(octets=0, inodes=1 << 40)) as store:
        disk.free = FreeSpace(1 << 40, None)
        await put(store)


# The database.


async def test_a_seq_is_never_used_twice(store: SqliteStore, root: Path) -> None:
    for _ in range(3):
        (delivery,) = await put(store, lease=MINE)
        with closing(sqlite3.connect(root / "queue.db")) as connection:
            seqs = connection.execute("SELECT seq FROM message").fetchall()
        await store.record([Delivered(delivery.key, OK)], owner="me")
    assert seqs == [(3,)]


async def test_nothing_of_a_finished_message_stays(store: SqliteStore, root: Path) -> None:
    (delivery,) = await put(store, lease=MINE)
    await store.record([Delivered(delivery.key, OK)], owner="me")
    with closing(sqlite3.connect(root / "queue.db")) as connection:
        for table in ("message", "content", "delivery"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


async def test_the_database_shrinks_when_the_queue_does(store: SqliteStore, root: Path) -> None:
    with closing(connect(root / "queue.db")) as connection:
        connection.execute(f"INSERT INTO content VALUES (1 << 40, zeroblob({40 << 20}))")
        connection.execute("DELETE FROM content WHERE seq = 1 << 40")
        free: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
        for expected in (free - 2 * PAGES_GIVEN_BACK, free - 4 * PAGES_GIVEN_BACK):
            for _ in range(2):
                (delivery,) = await put(store, lease=MINE)
                await store.record([Delivered(delivery.key, OK)], owner="me")
            assert connection.execute("PRAGMA freelist_count").fetchone() == (expected,)


async def test_commits_are_synced(store: SqliteStore) -> None:
    settings = await store._writer.run(
        lambda each: [
            each.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
        ]
    )
    assert settings == ["wal", 2]  # 2 is FULL
