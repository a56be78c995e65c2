"""The database's disk refuses to sync or to write: nothing is promised, nothing stays, and it recovers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import trio

from harakapy.log import silent_logger
from harakapy.queue import Count, Selection, SqliteStore

from .disk import failing_disk

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("how", "error", "recorded"),
    [
        ("sync", "StoreUnavailable", "done"),  # the end of a delivery is synced with what comes next
        ("write", "StoreFull", "StoreFull"),
    ],
)
async def test_a_disk_that_fails_means_later(tmp_path: Path, how: str, error: str, recorded: str) -> None:
    control = tmp_path / "control"
    environment = {**os.environ, "LD_PRELOAD": str(failing_disk(tmp_path)), "FAILING_DISK": str(control)}
    command = [sys.executable, "-m", "tests.queue.failing_process", str(tmp_path / "queue"), how]
    result = await trio.run_process(
        command, cwd=ROOT, env=environment, capture_stdout=True, capture_stderr=True
    )
    assert result.stderr == b""
    assert result.stdout.decode().splitlines() == [
        f"small {error}",
        f"large {error}",
        f"record {recorded}",
        f"hold {recorded}",  # then there is nothing left to hold
        f"group {error}",
        f"group {error}",
        f"group {error}",
        "count done",
        "after done",
        "record done",
    ]
    async with await SqliteStore.open(tmp_path / "queue", log=silent_logger()) as store:
        page = await store.select(Selection(), limit=10)
        assert [request.message.id for request in page.requests] == ["after"]
        assert await store.count(Selection()) == Count(1, 1)
    assert list((tmp_path / "queue" / "content").iterdir()) == []
