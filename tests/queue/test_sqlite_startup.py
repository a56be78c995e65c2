"""Starting on what is damaged, foreign, old or left behind: the healthy is delivered, the rest set aside."""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio
import trio.testing

from harakapy.log import StreamTarget, open_logger, silent_logger
from harakapy.queue import ContentUnreadable, Count, Selection, SqliteStore, State, StoreUnavailable
from harakapy.queue.directory import DirectoryLock, StoreDirectory
from harakapy.queue.sqlite_schema import MIGRATIONS, connect, migrate

from .samples import LARGE, MINE, NOW, SMALL, claim_all, message, put, read

EVERYTHING = Selection()
QUARANTINED = Selection(states=frozenset({State.QUARANTINED}))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "queue"


@pytest.fixture
def log() -> io.BytesIO:
    return io.BytesIO()


async def opened(root: Path, log: io.BytesIO) -> SqliteStore:
    return await SqliteStore.open(root, log=open_logger(target=StreamTarget(log)))


MESSAGES = 602


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed queue: messages F0 to F599, which are small and have the seqs 1 to 600, and two large ones."""

    directory = tmp_path_factory.mktemp("template") / "queue"

    async def fill() -> None:
        async with await SqliteStore.open(directory, log=silent_logger()) as store:
            for number in range(600):
                await put(store, queued=message(f"F{number}"))
            for number in range(2):
                await put(store, queued=message(f"L{number}", size=len(LARGE)), content=LARGE)

    trio.run(fill)
    return directory


@pytest.fixture
def filled(template: Path, root: Path) -> Path:
    """A copy of the queue above, to be damaged."""
    return shutil.copytree(template, root)


def sql(root: Path, statement: str) -> None:
    with closing(sqlite3.connect(root / "queue.db")) as connection, connection:
        connection.execute(statement)


def set_aside(root: Path) -> list[str]:
    """Names of what lies in the quarantine."""
    return sorted(path.name for path in (root / "quarantine").glob("*/*"))


# Files.


async def test_a_missing_content_file_costs_its_own_message_only(root: Path, log: io.BytesIO) -> None:
    async with await opened(root, log) as store:
        (lost,) = await put(store, content=LARGE)
        (good,) = await put(store)
        for path in (root / "content").iterdir():
            path.unlink()
        with pytest.raises(ContentUnreadable, match="its file is not there"):
            await store.open_content(lost.message_id)
        assert await store.count(QUARANTINED) == Count(1, 1)
        assert [each.key for each in await claim_all(store, "example.org")] == [good.key]
        assert b"content is unreadable, and the message quarantined" in log.getvalue()
        assert lost.message_id.encode() in log.getvalue()
        await store.release(QUARANTINED)
        assert [each.key for each in await claim_all(store, "example.org")] == [lost.key]


@pytest.mark.parametrize("size", [0, 1, len(LARGE) - 1, len(LARGE) + 1])
async def test_a_content_file_of_another_size_is_not_delivered(
    root: Path, log: io.BytesIO, size: int
) -> None:
    async with await opened(root, log) as store:
        (delivery,) = await put(store, content=LARGE, lease=MINE)
        for path in (root / "content").iterdir():
            os.truncate(path, size)
        with pytest.raises(ContentUnreadable, match=f"has {size} octets, not {len(LARGE)}"):
            await store.open_content(delivery.message_id)
        page = await store.select(EVERYTHING, limit=1)
        quarantined = page.requests[0].deliveries[0]
        assert (quarantined.state, quarantined.lease) == (State.QUARANTINED, None)
        assert quarantined.diagnostic is not None
        assert f"{size} octets" in quarantined.diagnostic.text


async def test_a_row_may_not_name_a_file_elsewhere(root: Path, log: io.BytesIO) -> None:
    async with await opened(root, log) as store:
        (delivery,) = await put(store, content=LARGE)
        (root / "secret").write_bytes(LARGE)
        sql(root, "UPDATE message SET file = '../secret'")
        with pytest.raises(ContentUnreadable):
            await store.open_content(delivery.message_id)


async def test_files_left_by_a_crash_are_swept_and_foreign_ones_moved(filled: Path, log: io.BytesIO) -> None:
    content = filled / "content"
    kept = {path.name for path in content.iterdir()}
    (content / ("0" * 32)).write_bytes(b"never named")
    (content / ("1" * 32 + ".new")).write_bytes(b"cut sho")
    (content / "README").write_text("who put this here?")
    (content / "empty").touch()
    (content / "lost+found").mkdir()
    async with await opened(filled, log) as store:
        assert {path.name for path in content.iterdir()} == kept | {"lost+found"}
        assert set_aside(filled) == ["README", "empty"]
        assert await store.count(EVERYTHING) == Count(MESSAGES, MESSAGES)
    assert b"files that belong to no message were moved away" in log.getvalue()


async def test_files_being_written_are_not_swept_by_a_second_process(root: Path, log: io.BytesIO) -> None:
    async with await opened(root, log):
        (root / "content" / ("1" * 32 + ".new")).write_bytes(b"half")
        async with await opened(root, log):
            assert len(list((root / "content").iterdir())) == 1


# Rows.


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE message SET mail_from = 'a b@' WHERE id = 'F1'",
        "UPDATE message SET mail_from = x'ff' WHERE id = 'F1'",
        "UPDATE message SET notes = '[1' WHERE id = 'F1'",
        "UPDATE message SET notes = '[]' WHERE id = 'F1'",
        "UPDATE message SET params = 'RET=WHAT' WHERE id = 'F1'",
        "UPDATE message SET size = 'large' WHERE id = 'F1'",
        "DELETE FROM message WHERE id = 'F1'",
        "UPDATE delivery SET recipient = '' WHERE key >> 20 = 2",
        "UPDATE delivery SET params = 'NOTIFY' WHERE key >> 20 = 2",
        "UPDATE delivery SET due = 'soon' WHERE key >> 20 = 2",
        "UPDATE delivery SET attempts = 'many' WHERE key >> 20 = 2",
        "UPDATE delivery SET diagnostic = 'x', status = '9.9.9', host = '' WHERE key >> 20 = 2",
    ],
)
async def test_a_row_that_makes_no_sense_is_quarantined(filled: Path, log: io.BytesIO, damage: str) -> None:
    sql(filled, damage)
    async with await opened(filled, log) as store:
        claimed = await claim_all(store, "example.org")
        assert len(claimed) == MESSAGES - 1
        assert "F1" not in {each.message_id for each in claimed}
        assert await store.due_destinations(NOW, limit=10) == ()
        assert (await store.stats()).states[State.QUARANTINED] == 1
    assert log.getvalue().count(b"a queued recipient is unreadable, and quarantined") == 1


async def test_content_that_is_not_in_its_row_is_missed(filled: Path, log: io.BytesIO) -> None:
    sql(filled, "DELETE FROM content WHERE seq = 1")
    sql(filled, "UPDATE content SET octets = x'00' WHERE seq = 2")
    sql(filled, "UPDATE content SET octets = 'text' WHERE seq = 3")
    async with await opened(filled, log) as store:
        for message_id in ("F0", "F1", "F2"):
            with pytest.raises(ContentUnreadable, match="are not there, or not all"):
                await store.open_content(message_id)
        assert await store.count(QUARANTINED) == Count(3, 3)
        assert await read(store, "F3") == SMALL


# The database.


@pytest.mark.parametrize("octets", [b"", b"SQLite", b"\0" * 5000, b"From mail Mon Jan  1\n" * 500, SMALL])
async def test_a_foreign_database_is_moved_away_with_the_content(
    filled: Path, log: io.BytesIO, octets: bytes
) -> None:
    (filled / "queue.db").write_bytes(octets)
    async with await opened(filled, log) as store:
        assert await store.count(EVERYTHING) == Count()
        await put(store)
        assert list((filled / "content").iterdir()) == []
        assert len(set_aside(filled)) == 2 + bool(octets)
    assert b"moved away" in log.getvalue()


async def test_a_database_of_another_program_is_moved_away(root: Path, log: io.BytesIO) -> None:
    root.mkdir()
    sql(root, "CREATE TABLE bookmarks (url)")
    async with await opened(root, log) as store:
        await put(store)
    assert set_aside(root) == ["queue.db"]
    assert b"made by another program" in log.getvalue()


async def test_a_log_without_its_database_never_meets_another_one(filled: Path, log: io.BytesIO) -> None:
    (filled / "queue.db-wal").write_bytes(os.urandom(8192))
    (filled / "queue.db").unlink()
    async with await opened(filled, log) as store:
        assert await store.count(EVERYTHING) == Count()
    assert "queue.db-wal" in set_aside(filled)


async def test_a_queue_of_a_newer_version_is_left_alone(filled: Path, log: io.BytesIO) -> None:
    sql(filled, "PRAGMA user_version = 99")
    before = (filled / "queue.db").read_bytes()
    with pytest.raises(StoreUnavailable, match="newer version"):
        await opened(filled, log)
    assert (filled / "queue.db").read_bytes() == before
    assert len(list((filled / "content").iterdir())) == 2
    assert set_aside(filled) == []


async def test_a_queue_that_another_version_uses_is_not_opened(filled: Path, log: io.BytesIO) -> None:
    lock = DirectoryLock(filled / "lock")
    lock.share()
    sql(filled, "PRAGMA user_version = 99")
    with pytest.raises(StoreUnavailable, match="in use by another version"):
        await opened(filled, log)
    lock.release()


async def test_who_waited_for_a_process_that_died_prepares_in_its_place(root: Path, log: io.BytesIO) -> None:
    root.mkdir()
    first = DirectoryLock(root / "lock")
    async with trio.open_nursery() as nursery:
        opening: list[SqliteStore] = []

        async def wait() -> None:
            opening.append(await opened(root, log))

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        first.release()
    async with opening[0] as store:
        await put(store)


async def test_a_damaged_queue_of_a_newer_version_is_left_alone(filled: Path, log: io.BytesIO) -> None:
    sql(filled, "PRAGMA user_version = 99")
    overwrite(filled / "queue.db", leaf_pages(filled / "queue.db", "delivery")[1])
    with pytest.raises(StoreUnavailable, match="newer version"):
        await opened(filled, log)
    assert set_aside(filled) == []


def test_an_older_format_is_brought_up_to_date_in_one_step(tmp_path: Path) -> None:
    newer = (*MIGRATIONS, ["ALTER TABLE message ADD COLUMN colour TEXT DEFAULT 'red'"])
    broken = (*newer, ["CREATE TABLE fine (x)", "CREATE TABLE message (x)"])
    with closing(connect(tmp_path / "queue.db")) as connection:
        migrate(connection)
        migrate(connection, newer)
        migrate(connection, newer)
        assert connection.execute("SELECT colour FROM message").fetchall() == []
        with pytest.raises(sqlite3.OperationalError, match="already exists"):
            migrate(connection, broken)
        assert connection.execute("PRAGMA user_version").fetchone() == (len(newer),)
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'fine'").fetchone() == (0,)


async def test_an_index_that_lacks_rows_is_made_anew(filled: Path, log: io.BytesIO) -> None:
    with closing(sqlite3.connect(filled / "queue.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        hidden = connection.execute("SELECT * FROM sqlite_master WHERE name = 'delivery_by_due'").fetchone()
        connection.execute("DELETE FROM sqlite_master WHERE name = 'delivery_by_due'")
    sql(filled, "UPDATE delivery SET destination = 'elsewhere.example'")
    with closing(sqlite3.connect(filled / "queue.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", hidden)
    async with await opened(filled, log) as store:
        assert len(await claim_all(store, "elsewhere.example")) == MESSAGES
    assert set_aside(filled) == []


async def test_an_index_that_is_unreadable_costs_nothing(filled: Path, log: io.BytesIO) -> None:
    with closing(sqlite3.connect(filled / "queue.db")) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'delivery_by_due'"
        ).fetchone()
    overwrite(filled / "queue.db", page)
    async with await opened(filled, log) as store:
        assert len(await claim_all(store, "example.org")) == MESSAGES


@pytest.mark.parametrize("table", ["message", "delivery"])
async def test_a_damaged_page_costs_what_was_on_it(filled: Path, log: io.BytesIO, table: str) -> None:
    leaf = leaf_pages(filled / "queue.db", table)[3]
    overwrite(filled / "queue.db", leaf)
    async with await opened(filled, log) as store:
        claimed = await claim_all(store, "example.org")
        assert 500 < len(claimed) < MESSAGES
        for delivery in claimed:
            assert await read(store, delivery.message_id) in (SMALL, LARGE)
        await put(store, queued=message("new"))
        assert (await claim_all(store, "example.org"))[0].message_id == "new"
    assert b"queue database was damaged, and replaced by what could be read of it" in log.getvalue()
    assert "queue.db" in set_aside(filled)
    async with await opened(filled, log) as store:
        assert len(await claim_all(store, "example.org")) == len(claimed) + 1


async def test_a_damaged_page_of_content_costs_no_more_than_its_messages(
    filled: Path, log: io.BytesIO
) -> None:
    overwrite(filled / "queue.db", leaf_pages(filled / "queue.db", "content")[1])
    unreadable = 0
    async with await opened(filled, log) as store:
        for delivery in await claim_all(store, "example.org"):
            try:
                assert await read(store, delivery.message_id) in (SMALL, LARGE)
            except ContentUnreadable:
                unreadable += 1
        assert 0 < unreadable < 150
        assert await store.count(QUARANTINED) == Count(unreadable, unreadable)


@pytest.mark.parametrize("tenths", range(1, 10))
async def test_a_truncated_database_is_read_as_far_as_it_goes(
    filled: Path, log: io.BytesIO, tenths: int
) -> None:
    size = (filled / "queue.db").stat().st_size
    os.truncate(filled / "queue.db", size * tenths // 10)
    async with await opened(filled, log) as store:
        for delivery in await claim_all(store, "example.org"):
            assert await read(store, delivery.message_id) in (SMALL, LARGE)
        await put(store)
    assert b"reason=" in log.getvalue()
    assert "queue.db" in set_aside(filled)


async def test_a_replacement_that_was_cut_short_is_finished_or_done_again(
    filled: Path, log: io.BytesIO
) -> None:
    directory = StoreDirectory(filled)
    directory.salvaged.write_bytes(b"not finished")
    async with await opened(filled, log) as store:
        assert await store.count(EVERYTHING) == Count(MESSAGES, MESSAGES)
    assert not directory.salvaged.exists()

    directory.database.rename(directory.salvaged)
    async with await opened(filled, log) as store:
        assert await store.count(EVERYTHING) == Count(MESSAGES, MESSAGES)
    assert not directory.salvaged.exists()


def overwrite(database: Path, page: int) -> None:
    """Fill a page with what no page can be."""
    with database.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 4096)


def leaf_pages(database: Path, table: str) -> list[int]:
    """Numbers of the pages at the bottom of a table, in order (sqlite.org/fileformat2.html 1.6)."""
    octets = database.read_bytes()
    with closing(sqlite3.connect(database)) as connection:
        root: int = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)
        ).fetchone()[0]
    return list(_leaves(octets, root))


def _leaves(octets: bytes, number: int) -> list[int]:
    page = octets[(number - 1) * 4096 : number * 4096]
    if page[0] == 13:
        return [number]
    assert page[0] == 5, "an interior page of a table"
    cells = (int.from_bytes(page[12 + 2 * each : 14 + 2 * each]) for each in range(int.from_bytes(page[3:5])))
    children = [*(int.from_bytes(page[at : at + 4]) for at in cells), int.from_bytes(page[8:12])]
    return [leaf for child in children for leaf in _leaves(octets, child)]
