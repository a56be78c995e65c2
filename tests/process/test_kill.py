"""A relay under load that is killed without warning, again and again, on the same queue.

Twenty times take some two minutes each: ``pytest -m live -s tests/process/test_kill.py`` prints the numbers.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest
import trio

from tests.outbound.scene import receiving
from tests.process.relay_scene import Receiver, Senders, left, relaying, stopped

IN_FLIGHT = 20 * 2
"""Copies under way at a time at most: by twenty connections to the one next hop, to two recipients each."""


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("kills", "longest_s"),
    [
        pytest.param(4, 1.5, id="four times"),
        pytest.param(20, 5.0, id="twenty times", marks=[pytest.mark.live, pytest.mark.timeout(900)]),
    ],
)
async def test_who_is_killed_loses_nothing_and_repeats_only_what_was_in_flight(
    tmp_path: Path, kills: int, longest_s: float, workers: str
) -> None:
    receiver, senders, dice = Receiver(refuses=0.03), Senders(), Random()
    in_flight: list[list[str]] = []
    async with receiving(tmp_path, receiver, smtp={"max_connections_per_address": 100}) as hop:
        for _ in range(kills):
            before = receiver.copies.copy()
            async with relaying(tmp_path, hop, workers=workers) as served:
                with trio.move_on_after(dice.uniform(0.2, longest_s)):
                    await senders.send(served.port)
                    raise AssertionError("it died by itself")
            await receiver.wait_for(lambda each: not each.connections)
            owed = await left(tmp_path)
            in_flight.append([each for each in owed if receiver.copies[each] > before[each]])
        waiting = [each for each in senders.accepted if each.endswith("@dead.test")]
        delivered = set(senders.accepted).difference(waiting)
        # What was in flight has a copy already, and is in the queue until another one has been taken.
        before = receiver.copies.copy()
        owed = [each for each in owed if not each.endswith("@dead.test")]
        async with relaying(tmp_path, hop, workers=workers) as served:
            await receiver.wait_for(
                lambda each: all(each.copies[name] > before[name] for name in owed), within_s=200
            )
            assert await stopped(served) == 0
    assert delivered <= receiver.copies.keys()
    remaining = await left(tmp_path)
    assert set(waiting) <= set(remaining)
    assert all(each.endswith("@dead.test") for each in remaining)
    assert not any(receiver.copies[each] for each in remaining)
    assert not receiver.damaged
    assert max(map(len, in_flight)) <= IN_FLIGHT
    allowed = Counter(each for copies in in_flight for each in copies)
    repeated = {each: copies - 1 for each, copies in receiver.copies.items() if copies > 1}
    assert all(copies <= allowed[each] for each, copies in repeated.items())
    print(  # noqa: T201  # what the long run is made for
        f"{kills} kills, workers = {workers}: {len(senders.accepted)} copies accepted, none lost, "
        f"{len(waiting)} of them waiting; "
        f"{sum(repeated.values())} repeated, {allowed.total()} in flight when it was killed"
    )
