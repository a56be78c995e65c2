"""A coroutine that runs inline and in its task: where it is, what it sees, and how it ends."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextvars import ContextVar
from typing import Any

import pytest
import trio
import trio.testing

from harakapy.net import Poller, Pump, SocketStream, inline_pump

WORD: ContextVar[str] = ContextVar("WORD", default="nothing")

Script = Callable[["Scene"], Coroutine[Any, Any, Any]]


class Scene:
    """A pump that runs a script over one end of a connection; ``send`` gives it octets from the other."""

    def __init__(self, script: Script, poller: Poller) -> None:
        ours, self.theirs = socket.socketpair()
        self.stream = SocketStream(ours, poller=poller)
        self.pump = Pump[Any](script(self))
        self.task: trio.lowlevel.Task | None = None
        self.scope = trio.CancelScope()
        self.seen: list[Any] = []

    async def run_in_scope(self) -> None:
        with self.scope:
            await self.run()

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


class Work:
    """Work that a script waits for, and whether it can be given up; ``asked`` is how often somebody tried."""

    def __init__(self, *, can_be_given_up: bool) -> None:
        self.asked = 0
        self._can_be_given_up = can_be_given_up

    def give_up(self) -> bool:
        self.asked += 1
        return self._can_be_given_up


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


async def test_it_waits_inline_for_work_and_goes_on_inline_when_that_is_done(poller: Poller) -> None:
    work = Work(can_be_given_up=True)

    async def script(scene: Scene) -> None:
        scene.pump.leave_task()
        await scene.stream.receive_some()
        await scene.pump.wait_for(work.give_up)
        scene.seen.append(scene.is_inline)
        await scene.stream.receive_some()
        scene.seen.append(scene.is_inline)

    scene = Scene(script, poller)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.run)
        await scene.send(b"x")
        assert scene.seen == []
        scene.pump.go_on()
        assert scene.seen == [True]
        await scene.send(b"y")
    assert scene.seen == [True, True]
    assert work.asked == 0


async def test_octets_that_come_while_it_waits_for_work_are_read_afterwards(poller: Poller) -> None:
    async def script(scene: Scene) -> None:
        scene.pump.leave_task()
        await scene.stream.receive_some()
        await scene.pump.wait_for(Work(can_be_given_up=True).give_up)
        scene.seen.append("done")
        scene.seen.append(await scene.stream.receive_some())

    scene = Scene(script, poller)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.run)
        await scene.send(b"x", b"y")
        assert scene.seen == []
        scene.pump.go_on()
    assert scene.seen == ["done", b"y"]


async def test_a_cancellation_gives_up_work_if_that_can_be(poller: Poller) -> None:
    async def script(scene: Scene) -> None:
        scene.pump.leave_task()
        await scene.stream.receive_some()
        try:
            await scene.pump.wait_for(Work(can_be_given_up=True).give_up)
        except trio.Cancelled:
            scene.seen.append(scene.is_inline)
            raise

    scene = Scene(script, poller)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.run_in_scope)
        await scene.send(b"x")
        scene.scope.cancel()
        assert scene.seen == []
        await trio.testing.wait_all_tasks_blocked()
        scene.pump.go_on()  # comes too late, and is nobody's
    assert scene.seen == [False]


@pytest.mark.parametrize(("is_shielded", "asked"), [(False, 1), (True, 0)])
async def test_a_cancellation_that_cannot_give_up_work_comes_at_the_next_wait_for_octets(
    poller: Poller, is_shielded: bool, asked: int
) -> None:
    work = Work(can_be_given_up=is_shielded)

    async def script(scene: Scene) -> None:
        scene.pump.leave_task()
        await scene.stream.receive_some()
        scene.pump.is_shielded = is_shielded
        await scene.pump.wait_for(work.give_up)
        scene.pump.is_shielded = False
        scene.seen.append(scene.is_inline)
        try:
            await scene.stream.receive_some()
        except trio.Cancelled:
            scene.seen.append(scene.is_inline)
            raise

    scene = Scene(script, poller)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.run_in_scope)
        await scene.send(b"x")
        scene.scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert scene.seen == []
        scene.pump.go_on()
        assert scene.seen == [True]
    assert scene.seen == [True, False]
    assert scene.scope.cancelled_caught
    assert work.asked == asked


async def test_one_whose_cancellation_was_refused_gets_it_at_a_checkpoint_in_its_task(poller: Poller) -> None:
    async def script(scene: Scene) -> None:
        scene.pump.leave_task()
        await scene.stream.receive_some()
        await scene.pump.wait_for(Work(can_be_given_up=False).give_up)
        await scene.pump.enter_task()
        scene.seen.append(scene.is_inline)
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled:
            scene.seen.append("cancelled")
            raise

    scene = Scene(script, poller)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.run_in_scope)
        await scene.send(b"x")
        scene.scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        scene.pump.go_on()
    assert scene.seen == [False, "cancelled"]


async def test_one_whose_cancellation_was_refused_and_ends_inline_has_its_result(poller: Poller) -> None:
    async def script(scene: Scene) -> str:
        scene.pump.leave_task()
        await scene.stream.receive_some()
        await scene.pump.wait_for(Work(can_be_given_up=False).give_up)
        return "result"

    scene = Scene(script, poller)

    async def run() -> None:
        with scene.scope:
            scene.seen.append(await scene.run())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await scene.send(b"x")
        scene.scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        scene.pump.go_on()
    assert scene.seen == ["result"]


async def test_work_that_is_done_while_its_task_is_woken_to_be_cancelled_is_told(poller: Poller) -> None:
    async def script(scene: Scene) -> None:
        scene.pump.leave_task()
        await scene.stream.receive_some()
        for number in range(2):
            await scene.pump.wait_for(Work(can_be_given_up=False).give_up)
            scene.seen.append(number)

    scene = Scene(script, poller)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.run_in_scope)
        await scene.send(b"x")
        scene.scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        scene.pump.go_on()
        scene.pump.go_on()
        await trio.testing.wait_all_tasks_blocked()
        seen = list(scene.seen)
        scene.pump.go_on()  # lets it end, whatever it has missed
    assert seen == [0, 1]


@pytest.mark.parametrize("is_shielded", [False, True])
async def test_work_that_takes_too_long_is_given_up_inline(poller: Poller, is_shielded: bool) -> None:
    async def script(scene: Scene) -> None:
        scene.pump.leave_task()
        await scene.stream.receive_some()
        scene.pump.is_shielded = is_shielded
        with pytest.raises(trio.TooSlowError):
            await scene.pump.wait_for(Work(can_be_given_up=True).give_up)
        scene.seen.append(scene.is_inline)
        await scene.stream.receive_some()
        scene.seen.append(scene.is_inline)

    scene = Scene(script, poller)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.run)
        await scene.send(b"x")
        scene.pump.cancel()
        assert scene.seen == [True]
        await scene.send(b"y")
    assert scene.seen == [True, True]


async def test_to_cancel_a_pump_does_nothing_to_work_that_cannot_be_given_up(poller: Poller) -> None:
    work = Work(can_be_given_up=False)

    async def script(scene: Scene) -> str:
        scene.pump.leave_task()
        await scene.stream.receive_some()
        await scene.pump.wait_for(work.give_up)
        return "done"

    scene = Scene(script, poller)

    async def run() -> None:
        scene.seen.append(await scene.run())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await scene.send(b"x")
        scene.pump.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert (scene.seen, work.asked) == ([], 1)
        scene.pump.go_on()
    assert scene.seen == ["done"]


async def test_to_cancel_a_pump_does_nothing_to_a_wait_for_octets(poller: Poller) -> None:
    work = Work(can_be_given_up=True)

    async def script(scene: Scene) -> None:
        scene.pump.leave_task()
        await scene.stream.receive_some()
        await scene.pump.wait_for(work.give_up)
        scene.seen.append(await scene.stream.receive_some())

    scene = Scene(script, poller)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.run)
        scene.pump.cancel()  # before it has begun
        await trio.testing.wait_all_tasks_blocked()
        scene.pump.cancel()
        await scene.send(b"x")
        scene.pump.go_on()
        scene.pump.cancel()  # after the work
        await scene.send(b"y")
    assert scene.seen == [b"y"]
    assert work.asked == 0


async def test_the_inline_pump_is_none_in_its_task(poller: Poller) -> None:
    async def script(scene: Scene) -> None:
        scene.seen.append(inline_pump())
        scene.pump.leave_task()
        await scene.stream.receive_some()
        scene.seen.append(inline_pump())
        await scene.pump.enter_task()
        scene.seen.append(inline_pump())

    scene = await played(script, poller, b"x")
    assert scene.seen == [None, scene.pump, None, None]  # the last is its result
    assert inline_pump() is None


async def test_the_inline_pump_is_the_outer_one_again_after_another_has_gone_on(poller: Poller) -> None:
    async def script(scene: Scene) -> None:
        scene.pump.leave_task()
        await scene.pump.wait_for(Work(can_be_given_up=False).give_up)
        scene.seen.append(inline_pump())
        raise KeyError("inner")

    async def outer_script(scene: Scene) -> None:
        scene.pump.leave_task()
        await scene.stream.receive_some()
        inner.pump.go_on()
        scene.seen.append(inline_pump())

    inner, outer = Scene(script, poller), Scene(outer_script, poller)
    with pytest.RaisesGroup(pytest.RaisesExc(KeyError, match="inner")):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(inner.run)
            nursery.start_soon(outer.run)
            await outer.send(b"x")
    assert inner.seen == [inner.pump]
    assert outer.seen == [outer.pump]
    assert inline_pump() is None


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
        assert bool(work.asked)
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
