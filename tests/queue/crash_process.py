"""A process that commits under load until it is killed; run by ``test_sqlite_crash.py``.

Arguments: the directory of the store, and a name for this run. Each id is written to standard output, a line
at a time, when its commit has returned: from then on its message may not be lost. Half of the messages are
worked off at once, and told with a minus in front when that is recorded.
"""

from __future__ import annotations

import os
import sys
from itertools import count
from pathlib import Path

import trio

from harakapy.log import silent_logger
from harakapy.mail import Content
from harakapy.queue import Delivered, Lease, SqliteStore, deliveries_to
from tests.queue.samples import NOW, OK, message, recipient

COMMITTERS = 20


def number_of(message_id: str) -> int:
    """The number at the end of an id: odd ones are worked off."""
    return int(message_id.rpartition(".")[2])


def content_of(message_id: str) -> bytes:
    """Content that tells whose it is; of every seventh message too large for the database."""
    size = 140_000 if number_of(message_id) % 7 == 0 else 4096
    return (f"Subject: {message_id}\r\n\r\n" + "x" * size).encode()


async def main(directory: Path, run: str) -> None:
    numbers = count()

    async def commit_for_ever() -> None:
        for number in numbers:
            message_id = f"{run}.{number}"
            content = Content.from_bytes(content_of(message_id))
            queued = message(message_id, size=content.size)
            deliveries = deliveries_to(
                message_id,
                [recipient(f"{each}@d{number % 5}.example") for each in "ab"],
                due=NOW,
                local_domain="x",
                lease=Lease("crash", NOW + 600),
            )
            await store.commit(queued, deliveries, content)
            os.write(1, f"{message_id}\n".encode())
            if number % 2:
                await store.record([Delivered(each.key, OK) for each in deliveries], owner="crash")
                os.write(1, f"-{message_id}\n".encode())

    async with (
        await SqliteStore.open(directory, log=silent_logger()) as store,
        trio.open_nursery() as nursery,
    ):
        for _ in range(COMMITTERS):
            nursery.start_soon(commit_for_ever)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), sys.argv[2])
