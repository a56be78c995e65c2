"""A relay that is stopped while it delivers: nothing is left claimed, lost or repeated."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import trio

from tests.outbound.scene import receiving
from tests.process.relay_scene import Receiver, Senders, relaying, stopped


def leases(folder: Path) -> tuple[int, int]:
    """Deliveries that are in the queue on disk, and those of them that somebody has claimed."""
    with closing(sqlite3.connect(folder / "state" / "queue" / "queue.db")) as database:
        found: tuple[int, int] = database.execute(
            "SELECT count(*), count(lease_owner) FROM delivery"
        ).fetchone()
    return found


async def test_what_is_under_way_is_finished_and_the_rest_given_back(tmp_path: Path) -> None:
    receiver, senders = Receiver(pause_s=1.0), Senders(step=2)
    async with receiving(tmp_path, receiver) as hop:
        async with relaying(tmp_path, hop) as served:
            await senders.send(served.port, messages=5)
            await receiver.wait_for(lambda each: each.transactions)
            assert await stopped(served) == 0
        delivered = set(receiver.copies)
        waiting, claimed = leases(tmp_path)
        assert delivered
        assert waiting == len(senders.accepted) - len(delivered) > 0
        assert claimed == 0
        async with relaying(tmp_path, hop) as served:
            await receiver.wait_for(lambda each: set(senders.accepted) <= each.copies.keys())
            assert await stopped(served) == 0
    assert receiver.copies.keys() == set(senders.accepted)
    assert set(receiver.copies.values()) == {1}
    assert leases(tmp_path) == (0, 0)


async def test_a_host_that_takes_too_long_does_not_hold_up_the_end(tmp_path: Path) -> None:
    receiver, senders = Receiver(), Senders(step=2)
    receiver.open = trio.Event()
    async with receiving(tmp_path, receiver) as hop:
        async with relaying(tmp_path, hop) as served:
            await senders.send(served.port, messages=2)
            await receiver.wait_for(lambda each: each.transactions)
            with trio.fail_after(30):
                assert await stopped(served) == 0
        assert leases(tmp_path) == (len(senders.accepted), 0)
        in_flight = receiver.transactions
        receiver.open.set()
        async with relaying(tmp_path, hop) as served:
            await receiver.wait_for(lambda each: set(senders.accepted) <= each.copies.keys())
            assert await stopped(served) == 0
    assert sum(copies - 1 for copies in receiver.copies.values()) <= in_flight
