"""How fast the store on disk commits, with real syncs: ``python -m tests.queue.benchmark_commits [PLACE]``

Messages of 4 KiB with one recipient. "relay" is commit and, as soon as that returns, the record of the
delivery. The time of the loop's thread is what is missing elsewhere in the server; that of the other threads
may pass beside it.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

import trio

from harakapy.log import silent_logger
from harakapy.mail import Content
from harakapy.queue import Delivered, SqliteStore, deliveries_to
from harakapy.queue.group_commit import GroupCommit
from harakapy.queue.sqlite_schema import connect

from .samples import MINE, NOW, OK, message, recipient

CONTENT = b"Subject: benchmark\r\n\r\n" + bytes(range(32, 127)) * 43
ROUNDS = (("commit", 1, 3_000), ("commit", 20, 20_000), ("commit", 100, 20_000), ("relay", 20, 10_000))


async def measure(directory: Path, what: str, committers: int, number: int) -> str:
    left = number

    async def commit() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            queued = message(size=len(CONTENT))
            to = [recipient("user@example.org")]
            deliveries = deliveries_to(queued.id, to, due=NOW, local_domain="x", lease=MINE)
            begin = time.perf_counter()
            await store.commit(queued, deliveries, Content.from_bytes(CONTENT))
            waits.append(time.perf_counter() - begin)
            if what == "relay":
                await store.record([Delivered(deliveries[0].key, OK)], owner="me")

    waits: list[float] = []
    async with await SqliteStore.open(directory, log=silent_logger()) as store:
        begin, process, loop = time.perf_counter(), time.process_time(), time.thread_time()
        async with trio.open_nursery() as nursery:
            for _ in range(committers):
                nursery.start_soon(commit)
        elapsed, loop = time.perf_counter() - begin, time.thread_time() - loop
        process = time.process_time() - process - loop
    waits.sort()
    half, most = waits[number // 2] * 1e3, waits[number * 99 // 100] * 1e3
    return (
        f"{what:6} {committers:3} at once: {number / elapsed:6.0f}/s, half within {half:.2f} ms, "
        f"99% within {most:.1f} ms; us each in the loop {loop / number * 1e6:.0f}, "
        f"in other threads {process / number * 1e6:.0f}"
    )


async def measure_hop(directory: Path, number: int = 5_000) -> str:
    """The way to the writing thread and back, with a transaction that does nothing, and to one of trio's."""
    writer = GroupCommit(lambda: connect(directory / "hop.db"))
    begin = time.perf_counter()
    for _ in range(number):
        await writer.run(lambda _: None)
    ours, begin = time.perf_counter() - begin, time.perf_counter()
    for _ in range(number):
        await trio.to_thread.run_sync(int)
    theirs = time.perf_counter() - begin
    await writer.aclose()
    return f"hop and nothing written {ours / number * 1e6:.0f} us, to_thread {theirs / number * 1e6:.0f} us"


def main() -> None:
    root = Path(tempfile.mkdtemp(dir=sys.argv[1] if len(sys.argv) > 1 else None))
    try:
        sys.stdout.write(trio.run(measure_hop, root) + "\n")
        for place, (what, committers, number) in enumerate(ROUNDS):
            sys.stdout.write(trio.run(measure, root / str(place), what, committers, number) + "\n")
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
