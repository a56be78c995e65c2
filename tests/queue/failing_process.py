"""A process whose disk fails on demand: ``failing_disk.c``, preloaded by ``test_sqlite_failing_disk.py``.

Arguments: the directory of the store, and how the disk is to fail. Prints what became of each step.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable
from pathlib import Path

import trio

from harakapy.log import silent_logger
from harakapy.queue import Delivered, Selection, SqliteStore, StoreError
from tests.queue.samples import LARGE, MINE, OK, message, put


async def main(directory: Path, how: str) -> None:
    control = Path(os.environ["FAILING_DISK"])
    store = await SqliteStore.open(directory, log=silent_logger())

    async def step(name: str, awaitable: Awaitable[object]) -> None:
        try:
            await awaitable
            outcome = "done"
        except StoreError as error:
            outcome = type(error).__name__
        os.write(1, f"{name} {outcome}\n".encode())

    async with store:
        (worked,) = await put(store, queued=message("before"), lease=MINE)
        control.write_text(how)
        await step("small", put(store, queued=message("small")))
        await step("large", put(store, queued=message("large", size=len(LARGE)), content=LARGE))
        await step("record", store.record([Delivered(worked.key, OK)], owner="me"))
        await step("hold", store.hold(Selection()))
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(step, "group", put(store, queued=message(f"group{number}")))
        await step("count", store.count(Selection()))
        control.unlink()
        await step("after", put(store, queued=message("after")))
        await step("record", store.record([Delivered(worked.key, OK)], owner="me"))


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), sys.argv[2])
