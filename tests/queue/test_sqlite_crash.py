"""Killed without warning, again and again: nothing acknowledged is lost, and nothing is there in part."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import trio

from harakapy.log import silent_logger
from harakapy.queue import Selection, SqliteStore
from harakapy.queue.sqlite_store import INLINE_LIMIT

from .crash_process import COMMITTERS, content_of, number_of
from .samples import NOW, read

ROUNDS = 8
LONGEST_S = 0.6
"""Of a life, after its first commit: some hundreds of groups."""
ROOT = Path(__file__).parents[2]


def live_and_die(directory: Path, run: str, lifetime_s: float) -> list[str]:
    """Start the process, kill it some time after its first commit; the lines it wrote."""
    command = [sys.executable, "-m", "tests.queue.crash_process", str(directory), run]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        try:
            process.wait(lifetime_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        rest = process.stdout.read()
    assert process.returncode == -signal.SIGKILL, "it failed by itself"
    return (first + rest).decode().splitlines()


async def messages_found(directory: Path) -> set[str]:
    """Ids of all messages in the store, each whole; what they are due for is found, too."""
    async with await SqliteStore.open(directory, log=silent_logger()) as store:
        page = await store.select(Selection(), limit=1_000_000)
        for request in page.requests:
            assert len(request.deliveries) == 2
            assert all(each.attempts == 1 and each.lease is None for each in request.deliveries)
        found = {request.message.id for request in page.requests}
        for message_id in random.sample(sorted(found), min(len(found), 200)):
            assert await read(store, message_id) == content_of(message_id)
        large = sum(len(content_of(each)) > INLINE_LIMIT for each in found)
        assert len(list((directory / "content").iterdir())) == large
        destinations = {f"d{number_of(each) % 5}.example" for each in found}
        assert await store.due_destinations(NOW, limit=10) == tuple(sorted(destinations))
    return found


def test_a_process_that_is_killed_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    committed: set[str] = set()
    recorded: set[str] = set()
    for number in range(1, ROUNDS + 1):
        lines = live_and_die(tmp_path / "queue", f"R{number}", random.uniform(0, LONGEST_S))
        committed.update(line for line in lines if not line.startswith("-"))
        recorded.update(line[1:] for line in lines if line.startswith("-"))
        found = trio.run(messages_found, tmp_path / "queue")
        assert not found & recorded
        # Each committer was killed in one step at most: a commit, or the record of a delivery.
        assert len(found - committed) <= COMMITTERS * number
        missing = committed - recorded - found
        assert len(missing) <= COMMITTERS * number
        assert all(number_of(each) % 2 for each in missing), "these were never recorded as delivered"
    assert len(committed) > ROUNDS
