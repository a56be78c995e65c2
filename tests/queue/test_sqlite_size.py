"""A hundred thousand waiting messages: the store opens soon, in little memory, and work begins at once."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from harakapy.queue.sqlite_schema import connect, migrate

MESSAGES = 100_000
DESTINATIONS = 1_000
OPEN_S = 5.0
MEMORY_KIB = 64 * 1024
"""Beyond what the interpreter has with everything imported."""
ROOT = Path(__file__).parents[2]

FILL = """
    WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < :messages)
"""
SCRIPT = """
import sys, time
from pathlib import Path
import trio
from harakapy.log import silent_logger
from harakapy.queue import Lease, Selection, SqliteStore
from tests.queue.samples import NOW

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])

async def main():
    before, begin = peak(), time.perf_counter()
    async with await SqliteStore.open(Path(sys.argv[1]), log=silent_logger()) as store:
        names = await store.due_destinations(NOW, limit=100)
        (*_, request) = await store.claim(names[-1], lease=Lease("me", NOW + 600), now=NOW, limit=50)
        first_work_s = time.perf_counter() - begin
        (await store.open_content(request.message.id)).close()
        next_due = await store.next_due()
        stats = await store.stats()
        held = await store.hold(Selection(destination=names[0]))
        print(first_work_s, peak() - before, len(names), stats.messages, stats.leased, held.recipients)

trio.run(main)
"""


@pytest.fixture
def full(tmp_path: Path) -> Path:
    directory = tmp_path / "queue"
    directory.mkdir()
    with closing(connect(directory / "queue.db")) as connection:
        migrate(connection)
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        values = {"messages": MESSAGES, "destinations": DESTINATIONS}
        connection.execute(
            f"INSERT INTO message {FILL} SELECT n, hex(randomblob(16)) || '.1', 'sender@example.com', "
            "'BODY=8BITMIME', 1000, 1.7e9 + n, 0, NULL, NULL, '{}', 0, NULL FROM number",
            values,
        )
        connection.execute(f"INSERT INTO content {FILL} SELECT n, zeroblob(1000) FROM number", values)
        connection.execute(
            f"INSERT INTO delivery {FILL} SELECT n << 20, 'user@d.example', '', name, '', name, "
            "0, 0, 1.7e9, 1.7e9, NULL, 3, 1.7e9, 'no route', NULL, '', 0 "
            "FROM (SELECT n, 'd' || (n % :destinations) AS name FROM number)",
            values,
        )
        connection.execute("COMMIT")
    return directory


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads its memory from /proc")
def test_a_hundred_thousand_messages_are_opened_at_once(full: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, full], cwd=ROOT, capture_output=True, text=True, check=True
    )
    first_work_s, memory, names, messages, leased, held = map(float, result.stdout.split())
    assert (names, messages, leased, held) == (100, MESSAGES, 50, MESSAGES / DESTINATIONS)
    assert first_work_s < OPEN_S
    assert memory < MEMORY_KIB
