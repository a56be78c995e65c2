"""A server that starts on a queue in which something is wrong: the healthy mail leaves, new mail, too."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import trio

from harakapy import Server
from harakapy.log import silent_logger
from harakapy.queue import Selection, SqliteStore, State
from harakapy.queue.sqlite_rows import QUARANTINED_CODE
from tests.outbound.scene import EPOCH, MESSAGE, Mailbox, receiving, sending
from tests.queue.samples import LARGE, message, put

BAD = "key >> 20 = (SELECT seq FROM message WHERE id = 'bad')"
ROWS = {
    "a recipient that is no address": f"UPDATE delivery SET recipient = 'no@@address' WHERE {BAD}",
    "a recipient that is not even text": f"UPDATE delivery SET recipient = x'ff00' WHERE {BAD}",
    "parameters that are rubbish": f"UPDATE delivery SET params = '[{{' WHERE {BAD}",
    "a number of attempts that is none": f"UPDATE delivery SET attempts = 'many' WHERE {BAD}",
    "a status that is none": f"UPDATE delivery SET diagnostic = 'x', status = 'bad' WHERE {BAD}",
    "a time of no time": f"UPDATE delivery SET last_attempt = 'noon' WHERE {BAD}",
    "a sender that is no address": "UPDATE message SET mail_from = 'no@@address' WHERE id = 'bad'",
    "a message whose parameters are rubbish": "UPDATE message SET params = '{\"x\"' WHERE id = 'bad'",
    "a size that is none": "UPDATE message SET size = 'large' WHERE id = 'bad'",
    "a size that is another one": "UPDATE message SET size = 7 WHERE id = 'bad'",
    "an arrival at no time": "UPDATE message SET arrived = 'noon' WHERE id = 'bad'",
    "notes that are no JSON": "UPDATE message SET notes = '{' WHERE id = 'bad'",
    "a recipient without a message": "DELETE FROM message WHERE id = 'bad'",
    "content that is not there": "DELETE FROM content WHERE seq = (SELECT seq FROM message WHERE id = 'bad')",
    "content that was cut off": "UPDATE content SET octets = substr(octets, 1, 9) "
    "WHERE seq = (SELECT seq FROM message WHERE id = 'bad')",
    "content that is no octets": "UPDATE content SET octets = 'text' "
    "WHERE seq = (SELECT seq FROM message WHERE id = 'bad')",
    "a content file that is not ours": "UPDATE message SET file = '../../etc/passwd' WHERE id = 'bad'",
}


async def make_queue(folder: Path) -> Path:
    """A queue with four messages: good and bad ones, small and large ones."""
    directory = folder / "queue"
    async with await SqliteStore.open(directory, log=silent_logger()) as store:
        for name in ("bad", "good"):
            await put(store, f"{name}@example.org", queued=message(name), due=EPOCH)
        for name in ("large-bad", "large-good"):
            large = message(name, size=len(LARGE))
            await put(store, f"{name}@example.org", queued=large, content=LARGE, due=EPOCH)
    return directory


@asynccontextmanager
async def started(folder: Path, mailbox: Mailbox) -> AsyncIterator[Server]:
    """A server on the queue, which sends to the mailbox; it still takes new mail."""
    store = await SqliteStore.open(folder / "queue", log=silent_logger())
    async with (
        receiving(folder, mailbox) as hop,
        sending(folder, store=store, outbound={"relay_host": hop}) as server,
    ):
        await server.outbound.open()
        yield server
        await server.outbound.send("me@sender.test", "new@example.org", MESSAGE)
        with trio.fail_after(20):
            while "new@example.org" not in arrived(mailbox):  # noqa: ASYNC110  # it comes at once
                await trio.sleep(0.01)


def arrived(mailbox: Mailbox) -> list[str]:
    """Recipients of what has arrived."""
    return sorted(recipient for mail in mailbox.mails for recipient in mail.recipients)


async def until_idle(server: Server) -> None:
    """Wait until nothing waits any more."""
    store = await server.outbound.open()
    with trio.fail_after(20):
        while (await store.count(Selection(states=frozenset({State.WAITING})))).recipients:  # noqa: ASYNC110
            await trio.sleep(0.01)


def left(directory: Path) -> list[int]:
    """The states of all that is still in the queue."""
    with closing(sqlite3.connect(directory / "queue.db")) as database:
        return [state for (state,) in database.execute("SELECT state FROM delivery")]


@pytest.mark.parametrize("damage", ROWS)
async def test_a_damaged_row_costs_its_own_message_only(tmp_path: Path, damage: str) -> None:
    directory, mailbox = await make_queue(tmp_path), Mailbox()
    with closing(sqlite3.connect(directory / "queue.db")) as database, database:
        assert database.execute(ROWS[damage]).rowcount == 1
    async with started(tmp_path, mailbox) as server:
        await mailbox.wait_for(3)
        await until_idle(server)
    assert arrived(mailbox) == [f"{name}@example.org" for name in ("good", "large-bad", "large-good", "new")]
    assert left(directory) == [QUARANTINED_CODE]


def cut(file: Path) -> None:
    """Leave half of a file."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize("damage", [cut, Path.unlink], ids=["cut off", "gone"])
async def test_a_damaged_content_file_costs_its_own_message_only(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    directory, mailbox = await make_queue(tmp_path), Mailbox()
    with closing(sqlite3.connect(directory / "queue.db")) as database:
        (name,) = database.execute("SELECT file FROM message WHERE id = 'large-bad'").fetchone()
    damage(directory / "content" / name)
    async with started(tmp_path, mailbox) as server:
        await mailbox.wait_for(3)
        await until_idle(server)
    assert left(directory) == [QUARANTINED_CODE]
    assert arrived(mailbox) == [f"{name}@example.org" for name in ("bad", "good", "large-good", "new")]


async def test_foreign_files_in_the_queue_do_not_matter(tmp_path: Path) -> None:
    directory, mailbox = await make_queue(tmp_path), Mailbox()
    for name in ("README", "queue.db.bak", "content/core", "content/" + "0" * 32, "content/.hidden"):
        (directory / name).write_bytes(b"not ours")
    (directory / "content" / "folder").mkdir()
    async with started(tmp_path, mailbox):
        await mailbox.wait_for(4)
    assert len(arrived(mailbox)) == 5


async def test_what_can_be_read_of_a_damaged_database_is_delivered(tmp_path: Path) -> None:
    directory, mailbox = await make_queue(tmp_path), Mailbox()
    database = directory / "queue.db"
    octets = bytearray(database.read_bytes())
    at = octets.index(b"bad@example.org")
    octets[at - 40 : at + 200] = b"\xff" * 240
    database.write_bytes(octets)
    async with started(tmp_path, mailbox):
        pass
    assert "new@example.org" in arrived(mailbox)


@pytest.mark.parametrize("octets", [b"", b"SQLite format 3\0", b"something else" * 1000])
async def test_a_database_that_is_none_is_set_aside(tmp_path: Path, octets: bytes) -> None:
    directory, mailbox = await make_queue(tmp_path), Mailbox()
    (directory / "queue.db").write_bytes(octets)
    async with started(tmp_path, mailbox):
        pass
    assert arrived(mailbox) == ["new@example.org"]
    kept = [path for path in directory.rglob("*") if path.is_file() and path.stat().st_size > len(LARGE) // 2]
    assert len(kept) == 2, "the large contents are still there"
