"""The engine under the hands of operators."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
import trio.testing

from harakapy import Plugin, Server, Verdict, hookimpl
from harakapy.outbound import HMail
from harakapy.outbound.steered import SteeredWorks
from harakapy.outbound.steering import Steering
from harakapy.outbound.steering_request import Operation, SteeringRequest
from harakapy.queue import Selection, State
from tests.outbound.deliveries import request
from tests.outbound.scene import MESSAGE, NOWHERE, Relaying, sending, wall_clock


class Gate(Plugin):
    """Lets no attempt pass until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.tried: list[str] = []
        self.is_open = trio.Event()

    @hookimpl
    async def hook_send_email(self, hmail: HMail) -> Verdict | None:
        self.tried.append(str(hmail.rcpt_to[0]))
        await self.is_open.wait()
        return None


@asynccontextmanager
async def busy(folder: Path, gate: Gate, *, messages: int) -> AsyncIterator[Server]:
    """A server of which one delivery is under way, while others wait for that."""
    limits = {"max_connections_per_destination": 1, "relay_host": NOWHERE, "reports": {"collect": 0}}
    async with sending(folder, gate, outbound=limits) as server:
        for number in range(messages):
            await server.outbound.send("", f"user{number}@example.com", MESSAGE)
        await trio.testing.wait_all_tasks_blocked()
        assert len(gate.tried) == 1
        yield server
        gate.is_open.set()


async def steer(server: Server, **raw: Any) -> dict[str, Any]:
    """Have an operator's request carried out, and the answer read slowly."""

    async def emit(part: dict[str, Any]) -> None:
        await trio.sleep(0.5)

    steering = Steering(await server.outbound.open(), wall_clock, SteeredWorks(lambda: server.outbound.works))
    return await steering.execute(raw, emit)


async def test_all_that_waits_can_be_given_up_while_its_destination_is_busy(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    gate = Gate()
    async with busy(tmp_path, gate, messages=50) as server:
        done = await steer(server, do="bounce", select={"domain": "example.com"})
        assert done["recipients"] == 49
        assert len(gate.tried) == 1


async def test_what_is_held_is_not_tried(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    gate = Gate()
    async with busy(tmp_path, gate, messages=50) as server:
        await steer(server, do="hold", select={"domain": "example.com"})
        gate.is_open.set()
        await trio.sleep(3600)
        assert len(gate.tried) == 1
        store = await server.outbound.open()
        held = await store.count(Selection(states=frozenset({State.HELD})))
        assert held.recipients == 50  # also the one that was under way


async def test_what_was_released_or_rerouted_is_tried_soon(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    gate = Gate()
    async with busy(tmp_path, gate, messages=5) as server:
        await steer(server, do="hold", select={"domain": "example.com"})
        await steer(server, do="reroute", select={"domain": "example.com"}, to="lmtp:///elsewhere/socket")
        await steer(server, do="release", select={"domain": "example.com"})
        gate.is_open.set()
        await trio.sleep(60)
        assert len(gate.tried) > 1


async def test_what_was_withdrawn_is_claimed_again_only_after_a_while(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    gate = Gate()
    async with busy(tmp_path, gate, messages=5) as server:
        store, works = await server.outbound.open(), server.outbound.works
        assert works is not None
        await works.engine.withdraw(Selection())
        await trio.sleep(5)
        assert (await store.stats()).leased == 1
        await trio.sleep(10)
        assert (await store.stats()).leased == 5


async def test_a_flush_gives_hosts_that_failed_another_chance(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    relaying = Relaying(example=NOWHERE)
    async with sending(tmp_path, relaying) as server:
        await server.outbound.send("", "you@example.com", MESSAGE)
        await trio.sleep(1)
        assert len(relaying.deferrals) == 1
        await steer(server, do="flush")
        await trio.sleep(1)
        assert len(relaying.deferrals) == 2


async def test_an_operator_reads_what_holds_up_a_delivery(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    gate = Gate()
    async with busy(tmp_path, gate, messages=2) as server:
        works = server.outbound.works
        steered = SteeredWorks(lambda: works)
        (limit,) = steered.limits(request("example.com"))
        assert limit.endswith("(1 of 1)")
        assert steered.limits(request("idle.example")) == [limit]  # it goes by the same relay host
        gate.is_open.set()
        await trio.sleep(1)
        (limit,) = steered.limits(request("example.com"))
        assert limit.endswith(" s")


async def test_a_server_that_has_stopped_delivers_nothing(tmp_path: Path) -> None:
    steered = SteeredWorks(lambda: None)
    assert steered.limits(request("example.com")) == ["no server is running that would deliver it"]
    await steered.withdraw(Selection())
    steered.wake(SteeringRequest(operation=Operation.FLUSH))
