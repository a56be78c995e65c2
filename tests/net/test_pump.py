"""A coroutine that runs inline and in its task: where it is, what it sees, and how it ends."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextvars import ContextVar
from typing import Any

import pytest
import trio
import trio.testing

from harakapy.net import Poller, Pump, SocketStream

WORD: ContextVar[str] = ContextVar("WORD", default="nothing")

Script = Callable[["Scene"], Coroutine[Any, Any, Any]]


class Scene:
    """A pump that runs a script over one end of a connection; ``send`` gives it octets from the other."""

    def __init__(self, script: Script, poller: Poller) -> None:
        ours, self.theirs = socket.socketpair()
        self.stream = SocketStream(ours, poller=poller)
        self.pump = Pump[Any](script(self))
        self.task: trio.lowlevel.Task | None = None
        self.seen: list[Any] = []

    async def run(self) -> Any:
        self.task = trio.lowlevel.current_task()
        try:
            return await self.pump.run()
        finally:
            self.stream.close()
            self.theirs.close()

    @property
    def is_inline(self) -> bool:
        return trio.lowlevel.current_task() is not self.task

    async def send(self, *blocks: bytes) -> None:
        for block in blocks:
            await trio.testing.wait_all_tasks_blocked()
            self.theirs.send(block)
        await trio.testing.wait_all_tasks_blocked()


@pytest.fixture
async def poller() -> AsyncIterator[Poller]:
    poller = Poller()
    async with poller.running():
        yield poller


async def played(script: Script, poller: Poller, *blocks: bytes) -> Scene:
    """A scene that has run to its end, what it returned last in ``seen``."""
    scene = Scene(script, poller)

    async def run() -> None:
        scene.seen.append(await scene.run())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await scene.send(*blocks)
    return scene


async def test_it_runs_inline_between_two_waits_and_in_its_task_when_it_says_so(poller: Poller) -> None:
    async def script(scene: Scene) -> str:
        scene.seen.append(scene.is_inline)
        scene.pump.leave_task()
        await scene.stream.receive_some()
        scene.seen.append(scene.is_inline)
        await scene.pump.enter_task()
        scene.seen.append(scene.is_inline)
        await trio.lowlevel.checkpoint()
        await scene.stream.receive_some()
        scene.seen.append(scene.is_inline)
        scene.pump.leave_task()
        await scene.stream.receive_some()
        scene.seen.append(scene.is_inline)
        return "done"

    scene = await played(script, poller, b"1", b"2", b"3")
    assert scene.seen == [False, True, False, False, True, "done"]


async def test_a_coroutine_that_only_waits_for_trio_runs_as_any_other(poller: Poller) -> None:
    async def script(scene: Scene) -> int:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.checkpoint)
        with trio.move_on_after(0) as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught
        return 7

    assert (await played(script, poller)).seen == [7]


async def test_to_enter_the_task_where_it_is_already_is_no_wait(poller: Poller) -> None:
    async def script(scene: Scene) -> None:
        await scene.pump.enter_task()
        scene.pump.leave_task()
        with trio.testing.assert_no_checkpoints():
            await scene.pump.enter_task()

    assert (await played(script, poller)).seen == [None]


async def test_what_it_raises_inline_comes_out_of_its_task(poller: Poller) -> None:
    async def script(scene: Scene) -> None:
        scene.pump.leave_task()
        await scene.stream.receive_some()
        scene.seen.append(scene.is_inline)
        raise KeyError("inline")

    scene = Scene(script, poller)
    with pytest.RaisesGroup(pytest.RaisesExc(KeyError, match="inline")):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scene.run)
            await scene.send(b"x")
    assert scene.seen == [True]


async def test_a_cancellation_reaches_it_at_its_wait_for_octets(poller: Poller) -> None:
    async def script(scene: Scene) -> None:
        scene.pump.leave_task()
        await scene.stream.receive_some()
        try:
            await scene.stream.receive_some()
        except trio.Cancelled:
            scene.seen.append(scene.is_inline)
            raise

    scene = Scene(script, poller)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.run)
        await scene.send(b"x")
        nursery.cancel_scope.cancel()
    assert scene.seen == [False]


async def test_one_that_is_cancelled_while_it_runs_inline_ends_at_its_next_wait(poller: Poller) -> None:
    scopes: list[trio.CancelScope] = []

    async def script(scene: Scene) -> None:
        scene.pump.leave_task()
        await scene.stream.receive_some()
        scopes[0].cancel()
        scene.seen.append("still here")
        await scene.stream.receive_some()
        raise AssertionError("it was cancelled")

    scene = Scene(script, poller)
    async with trio.open_nursery() as nursery:
        scopes.append(nursery.cancel_scope)
        nursery.start_soon(scene.run)
        await scene.send(b"x")
    assert scene.seen == ["still here"]


async def test_one_that_is_cancelled_and_ends_inline_before_it_is_told_has_its_result(poller: Poller) -> None:
    scopes: list[trio.CancelScope] = []
    results: list[str] = []

    async def script(scene: Scene) -> str:
        scene.pump.leave_task()
        await scene.stream.receive_some()
        scopes[0].cancel()
        return "result"

    scene = Scene(script, poller)

    async def run() -> None:
        results.append(await scene.run())

    async with trio.open_nursery() as nursery:
        scopes.append(nursery.cancel_scope)
        nursery.start_soon(run)
        await scene.send(b"x")
    assert results == ["result"]


async def test_one_that_is_cancelled_and_enters_its_task_is_told_there(poller: Poller) -> None:
    scopes: list[trio.CancelScope] = []

    async def script(scene: Scene) -> None:
        scene.pump.leave_task()
        await scene.stream.receive_some()
        scopes[0].cancel()
        try:
            await scene.pump.enter_task()
        except trio.Cancelled:
            scene.seen.append(scene.is_inline)
            raise

    scene = Scene(script, poller)
    async with trio.open_nursery() as nursery:
        scopes.append(nursery.cancel_scope)
        nursery.start_soon(scene.run)
        await scene.send(b"x")
    assert scene.seen == [False]


async def test_to_await_trio_inline_is_a_defect_that_is_told(poller: Poller) -> None:
    async def script(scene: Scene) -> None:
        scene.pump.leave_task()
        await scene.stream.receive_some()
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.SUCCEEDED)

    scene = Scene(script, poller)
    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="outside of the connection's task")):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scene.run)
            await scene.send(b"x")


async def test_it_has_the_context_of_its_task_wherever_it_runs(poller: Poller) -> None:
    async def script(scene: Scene) -> None:
        WORD.set("mine")
        scene.pump.leave_task()
        await scene.stream.receive_some()
        scene.seen.append(WORD.get())
        WORD.set("set inline")
        await scene.pump.enter_task()
        scene.seen.append(WORD.get())

    WORD.set("outer")
    scene = await played(script, poller, b"x")
    assert scene.seen == ["mine", "set inline", None]
    assert WORD.get() == "outer"


async def test_a_send_that_must_wait_enters_the_task_first(poller: Poller) -> None:
    large = bytes(4 << 20)

    async def script(scene: Scene) -> None:
        scene.pump.leave_task()
        await scene.stream.receive_some()
        scene.seen.append(scene.is_inline)
        await scene.stream.send_all(large)
        scene.seen.append(scene.is_inline)

    scene = Scene(script, poller)
    received = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.run)
        await scene.send(b"x")
        other = SocketStream(scene.theirs.dup())
        while received < len(large):
            received += len(await other.receive_some())
        other.close()
    assert scene.seen == [True, False]


class Work:
    """Work elsewhere for which a pump waits: whether it can be given up, and whether it was."""

    def __init__(self, *, can_be_given_up: bool) -> None:
        self.can_be_given_up = can_be_given_up
        self.given_up = 0

    def give_up(self) -> bool:
        self.given_up += self.can_be_given_up
        return self.can_be_given_up


@pytest.mark.parametrize("can_be_given_up", [False, True])
async def test_one_that_cancels_itself_inline_waits_for_work_that_it_begins_then(
    poller: Poller, can_be_given_up: bool
) -> None:
    work = Work(can_be_given_up=can_be_given_up)
    scope = trio.CancelScope()

    async def script(scene: Scene) -> None:
        scene.pump.leave_task()
        await scene.stream.receive_some()
        scope.cancel()
        await scene.pump.wait_for(work.give_up)
        scene.seen.append("done")
        await scene.pump.enter_task()
        await trio.lowlevel.checkpoint()
        scene.seen.append("not cancelled")

    scene = Scene(script, poller)

    async def run() -> None:
        with scope:
            await scene.run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await scene.send(b"x")
        await trio.testing.wait_all_tasks_blocked()
        assert work.given_up == can_be_given_up
        if not can_be_given_up:
            assert scene.seen == []
            scene.pump.go_on()
    assert scene.seen == ([] if can_be_given_up else ["done"])
    assert scope.cancelled_caught


async def test_work_that_is_done_before_the_task_can_tell_of_a_cancellation_is_not_missed(
    poller: Poller,
) -> None:
    work = Work(can_be_given_up=False)
    scope = trio.CancelScope()

    async def script(scene: Scene) -> None:
        scene.pump.leave_task()
        await scene.stream.receive_some()
        scope.cancel()
        trio.lowlevel.current_trio_token().run_sync_soon(scene.pump.go_on)
        await scene.pump.wait_for(work.give_up)
        scene.seen.append("done")
        await scene.pump.enter_task()
        await trio.lowlevel.checkpoint()

    scene = Scene(script, poller)

    async def run() -> None:
        with scope:
            await scene.run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await scene.send(b"x")
    assert scene.seen == ["done"]
    assert scope.cancelled_caught
