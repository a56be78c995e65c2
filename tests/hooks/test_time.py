"""How long an implementation has, and what becomes of one that takes longer or is cancelled."""

import math
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from harakapy.hooks import DENY, OK, OnError

from .scene import answering, arguments, ask, hooks_of, plugin


def sleeping(seconds: float, answer: Any = None, hook: str = "rcpt", **marks: Any) -> Any:
    @plugin(hook, **marks)
    async def sleep(connection: Any) -> Any:
        await trio.sleep(seconds)
        connection.called.append("slept")
        return answer

    return sleep


async def test_an_async_function_that_hangs_is_a_temporary_failure(
    connection: Any, autojump_clock: MockClock
) -> None:
    hooks = hooks_of(answering(is_async=True), sleeping(math.inf), answering(OK, name="never"))
    began = trio.current_time()
    verdict = await ask(hooks, connection)
    assert trio.current_time() - began == pytest.approx(30, rel=0.06)
    assert (verdict.code, verdict.plugin) == (451, "b")
    assert connection.faults == ["plugin b on hook_rcpt: no answer within 30 s"]
    assert connection.called == [""]


async def test_each_async_function_has_its_own_time(connection: Any, autojump_clock: MockClock) -> None:
    hooks = hooks_of(sleeping(28), answering(), sleeping(28), sleeping(28), answering(OK, is_async=True))
    assert await ask(hooks, connection) is OK
    assert connection.faults == []


@pytest.mark.parametrize(
    ("options", "timeout_s", "waits"),
    [({}, None, 30), ({"hook_timeout_s": 3}, None, 3), ({"hook_timeout_s": 3}, 70, 70), ({}, 0.5, 0.5)],
)
async def test_the_function_s_own_timeout_comes_before_the_plugin_s(
    connection: Any, autojump_clock: MockClock, options: Any, timeout_s: float | None, waits: float
) -> None:
    hang = sleeping(math.inf, timeout_s=timeout_s)
    began = trio.current_time()
    assert (await ask(hooks_of(hang, **options), connection)).code == 451
    assert trio.current_time() - began == pytest.approx(waits)


@pytest.mark.parametrize("hook", ["rcpt", "rset"])
async def test_a_timeout_of_0_is_none(connection: Any, autojump_clock: MockClock, hook: str) -> None:
    await getattr(hooks_of(sleeping(1e6, hook=hook, timeout_s=0)), hook)(connection, *arguments(hook))
    assert connection.called == ["slept"]
    assert connection.faults == []


async def test_a_function_without_limit_may_stand_behind_one_with_limit(
    connection: Any, autojump_clock: MockClock
) -> None:
    hooks = hooks_of(answering(is_async=True), sleeping(1e6, timeout_s=0), answering(OK, is_async=True))
    assert await ask(hooks, connection) is OK


async def test_an_answer_at_the_last_moment_does_not_cost_the_next_plugin_its_time(
    connection: Any, autojump_clock: MockClock
) -> None:
    @plugin("rcpt")
    async def swallow(connection: Any) -> Any:
        with trio.CancelScope(shield=True):
            await trio.sleep(40)

    hooks = hooks_of(swallow, sleeping(20, OK))
    assert await ask(hooks, connection) is OK
    assert connection.faults == []


@pytest.mark.parametrize("hook", ["rset", "capabilities"])
async def test_observers_that_hang_are_passed_over(
    connection: Any, autojump_clock: MockClock, hook: str
) -> None:
    hooks = hooks_of(sleeping(math.inf, hook=hook), answering(hook=hook, name="b"))
    began = trio.current_time()
    await getattr(hooks, hook)(connection)
    assert trio.current_time() - began == pytest.approx(30)
    assert connection.called == ["b"]
    assert connection.faults == [f"plugin a on hook_{hook}: no answer within 30 s"]


class Blocked:
    """A time that passes in a plugin that blocks the event loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("harakapy.hooks.fold.perf_counter", lambda: self.now)

    def plugin(self, took_s: float, hook: str = "rcpt", answer: Any = OK) -> Any:
        @plugin(hook)
        def block(connection: Any) -> Any:
            self.now += took_s
            return answer

        return block


async def test_a_plain_function_that_blocks_beyond_its_timeout_is_not_believed(
    connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict = await ask(hooks_of(Blocked(monkeypatch).plugin(31)), connection)
    assert verdict.code == 451
    assert connection.faults == ["plugin a on hook_rcpt: no answer within 30 s"]


async def test_a_short_timeout_holds_for_plain_functions_too(
    connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict = await ask(hooks_of(Blocked(monkeypatch).plugin(0.3), hook_timeout_s=0.2), connection)
    assert verdict.code == 451


@pytest.mark.parametrize(("timeout_s", "hook"), [(30, "rcpt"), (0, "rcpt"), (30, "rset")])
async def test_a_plain_function_that_blocks_for_seconds_is_warned_of(
    connection: Any, monkeypatch: pytest.MonkeyPatch, timeout_s: float, hook: str
) -> None:
    block = Blocked(monkeypatch).plugin(2, hook, OK if hook == "rcpt" else None)
    hooks = hooks_of(block, hook_timeout_s=timeout_s)
    verdict = await getattr(hooks, hook)(connection, *arguments(hook))
    assert verdict in (OK, None)
    warning = connection.records[0]
    assert (warning.event, warning.level.name) == ("plugin blocked the event loop", "WARN")
    assert warning.fields == {"plugin": "a", "hook": hook, "took_s": 2}
    assert connection.faults == []


async def test_each_plain_function_has_its_own_time_not_that_of_those_before_it(
    connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = Blocked(monkeypatch)
    hooks = hooks_of(*(blocked.plugin(took_s, answer=None) for took_s in (0.6, 0.6, 2, 0.6, 29)))
    await ask(hooks, connection)
    assert [record.fields["plugin"] for record in connection.records] == ["c", "e"]
    assert connection.faults == []


async def test_a_plain_function_among_others_is_not_believed_at_once(
    connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = hooks_of(answering(), Blocked(monkeypatch).plugin(31, answer=None), answering(OK))
    verdict = await ask(hooks, connection)
    assert (verdict.code, verdict.plugin) == (451, "b")


async def test_a_plain_function_that_is_not_believed_is_as_good_as_absent_if_the_operator_says_so(
    connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = Blocked(monkeypatch)
    hooks = hooks_of(blocked.plugin(31), answering(DENY), on_error=OnError.CONTINUE)
    for _ in range(2):
        assert (await ask(hooks, connection)).plugin == "b"
    assert len(connection.faults) == 2


async def test_a_plain_function_among_async_ones_is_not_believed_either(
    connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = hooks_of(answering(is_async=True), Blocked(monkeypatch).plugin(31), answering(OK, is_async=True))
    assert (await ask(hooks, connection)).plugin == "b"


# Cancelled from outside.


async def test_a_cancelled_connection_stays_cancelled(connection: Any) -> None:
    @plugin("rcpt")
    async def hang(connection: Any) -> Any:
        connection.scope.cancel()
        await trio.sleep_forever()

    with trio.CancelScope() as connection.scope:
        await ask(hooks_of(hang), connection)
        pytest.fail("the cancellation was swallowed")
    assert connection.scope.cancelled_caught
    assert connection.faults == []
    await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("hook", ["rcpt", "rset"])
async def test_what_a_plugin_s_task_raised_beside_a_cancellation_is_noted_only(
    connection: Any, hook: str
) -> None:
    async def fail_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("boom")

    @plugin(hook)
    async def with_a_nursery(connection: Any) -> Any:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_when_cancelled)
            nursery.start_soon(trio.sleep_forever)
            await trio.testing.wait_all_tasks_blocked()
            connection.scope.cancel()

    hooks = hooks_of(with_a_nursery)
    with trio.CancelScope() as connection.scope:
        await getattr(hooks, hook)(connection, *arguments(hook))
    assert connection.scope.cancelled_caught
    assert hooks.faults == {("a", hook): 1}


async def test_what_a_plugin_s_task_raised_beside_its_timeout_is_noted_too(
    connection: Any, autojump_clock: MockClock
) -> None:
    @plugin("rcpt")
    async def with_a_nursery(connection: Any) -> Any:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("boom")

    assert (await ask(hooks_of(with_a_nursery), connection)).code == 451
    assert len(connection.faults) == 2
    assert connection.faults[1] == "plugin a on hook_rcpt: no answer within 30 s"
