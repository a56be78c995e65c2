"""A relay whose disk is full, or fails: it says later, loses nothing, repeats nothing, and recovers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.outbound.scene import receiving
from tests.process.relay_scene import Receiver, Senders, left, relaying, stopped
from tests.queue.disk import failing_disk

AT_ONCE = 3
"""Clients, each of which sends some messages, to one recipient or two."""


def living(recipients: list[str]) -> set[str]:
    """Those whose mail can be delivered."""
    return {each for each in recipients if not each.endswith("@dead.test")}


@pytest.mark.parametrize(("how", "reply"), [("write", "452 4.3.1"), ("sync", "451 4.3.0")])
async def test_a_disk_that_fails_under_a_relay_means_later_and_nothing_is_lost_or_repeated(
    tmp_path: Path, how: str, reply: str
) -> None:
    control, receiver, senders = tmp_path / "control", Receiver(pause_s=0.3), Senders()
    preloaded = {"LD_PRELOAD": str(failing_disk(tmp_path)), "FAILING_DISK": str(control)}
    async with receiving(tmp_path, receiver) as hop, relaying(tmp_path, hop, **preloaded) as served:
        await senders.send(served.port, clients=AT_ONCE, messages=4)
        accepted = list(senders.accepted)
        assert len(accepted) >= 12
        await receiver.wait_for(lambda each: each.transactions)
        control.write_text(how)  # while deliveries are under way: how they end cannot be recorded
        await senders.send(served.port, clients=AT_ONCE, messages=4)
        assert dict(senders.refusals) == {reply: 12}
        await receiver.wait_for(lambda each: each.copies)
        if how == "write":  # the end of a delivery waits for no sync
            served.wait_for_log("the queue does not take what became of mail")
        control.unlink()
        await senders.send(served.port, clients=AT_ONCE, messages=4)
        assert dict(senders.refusals) == {reply: 12}
        await receiver.wait_for(lambda each: living(senders.accepted) <= each.copies.keys())
        assert await stopped(served) == 0
    assert receiver.copies.keys() == living(senders.accepted)
    assert set(receiver.copies.values()) == {1}
    assert not receiver.damaged
    assert set(await left(tmp_path)) == set(senders.accepted) - receiver.copies.keys()


async def test_a_relay_whose_disk_fails_can_be_stopped_and_goes_on_afterwards(tmp_path: Path) -> None:
    control, receiver, senders = tmp_path / "control", Receiver(pause_s=0.3), Senders()
    preloaded = {"LD_PRELOAD": str(failing_disk(tmp_path)), "FAILING_DISK": str(control)}
    async with receiving(tmp_path, receiver) as hop:
        async with relaying(tmp_path, hop, **preloaded) as served:
            await senders.send(served.port, clients=AT_ONCE, messages=4)
            await receiver.wait_for(lambda each: each.transactions)
            control.write_text("write")
            await receiver.wait_for(lambda each: each.copies)
            with trio.fail_after(30):
                assert await stopped(served) == 0
            in_flight = sum(receiver.copies.values())
            control.unlink()
        async with relaying(tmp_path, hop) as served:
            await receiver.wait_for(lambda each: living(senders.accepted) <= each.copies.keys())
            assert await stopped(served) == 0
    assert receiver.copies.keys() == living(senders.accepted)
    assert sum(copies - 1 for copies in receiver.copies.values()) <= in_flight


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder whose ``state`` is on a file system of 80 MiB."""
    state = tmp_path / "state"
    state.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(state)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    yield tmp_path
    subprocess.run(["umount", "-l", str(state)], check=True)


async def test_a_disk_that_mail_has_filled_is_emptied_by_delivering_it(small_disk: Path) -> None:
    receiver, senders = Receiver(), Senders(step=25)
    receiver.open = trio.Event()
    async with (
        receiving(small_disk, receiver) as hop,
        relaying(small_disk, hop, min_free_space='"40 MiB"') as served,
    ):
        while not senders.refusals:
            await senders.send(served.port, clients=AT_ONCE, messages=50)
        await senders.send(served.port, clients=AT_ONCE, messages=10)
        assert set(senders.refusals) == {"452 4.3.1"}
        receiver.open.set()
        await receiver.wait_for(lambda each: set(senders.accepted) <= each.copies.keys())
        before = len(senders.accepted)
        await senders.send(served.port, clients=AT_ONCE, messages=10)
        assert len(senders.accepted) == before + 3 * 15
        await receiver.wait_for(lambda each: set(senders.accepted) <= each.copies.keys())
        assert await stopped(served) == 0
    assert receiver.copies.keys() == set(senders.accepted)
    assert set(receiver.copies.values()) == {1}
    assert not receiver.damaged
    assert await left(small_disk) == []
