"""Wrappers and around functions: what stands around those that answer."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from harakapy.hooks import CONT, DENY, DENYSOFT, OK, HookFault, IllegalAnswer, OnError, Verdict

from .scene import answering, arguments, ask, hooks_of, plugin, run

LAYERS = pytest.mark.parametrize("kind", ["wrapper", "around"])


def layer(kind: str, answer: Any, hook: str = "rcpt", *, seen: list[Any] | None = None) -> Any:
    """A layer that notes the inner outcome and answers; ``answer`` may be made from that outcome."""

    def say(outcome: Any) -> Any:
        if seen is not None:
            seen.append(outcome)
        return answer(outcome) if callable(answer) and not isinstance(answer, Verdict) else answer

    @plugin(hook, wrapper=True)
    def wrapper() -> Any:
        return say((yield))

    @plugin(hook, around=True)
    async def around(*, proceed: Any) -> Any:
        await trio.lowlevel.checkpoint()
        outcome = await proceed()
        await trio.lowlevel.checkpoint()
        return say(outcome)

    return wrapper if kind == "wrapper" else around


@LAYERS
@pytest.mark.parametrize("inner", [OK, DENY("no"), CONT, None])
async def test_a_layer_sees_the_verdict_and_keeps_it_by_returning_it_or_none(
    connection: Any, kind: str, inner: Any
) -> None:
    expected = await ask(hooks_of(answering(), answering(inner)), connection)
    for answer in (None, lambda outcome: outcome):
        seen: list[Any] = []
        hooks = hooks_of(layer(kind, answer, seen=seen), answering(inner))
        assert await ask(hooks, connection) == expected
        assert seen == [expected]
    assert connection.faults == []


@LAYERS
@pytest.mark.parametrize("inner", [OK, DENY("no"), None])
@pytest.mark.parametrize("answer", [OK, DENYSOFT("later"), CONT])
async def test_a_layer_may_replace_the_verdict(
    connection: Any, kind: str, inner: Any, answer: Verdict
) -> None:
    hooks = hooks_of(layer(kind, answer), answering(inner, name="inner"))
    verdict = await ask(hooks, connection)
    assert (verdict.action, verdict.text) == (answer.action, answer.text)
    assert verdict.plugin == ("a" if answer.is_denial else "")
    assert connection.called == ["inner"]


@LAYERS
async def test_a_layer_may_stand_around_nobody(connection: Any, kind: str) -> None:
    assert await ask(hooks_of(layer(kind, None)), connection) is CONT
    assert await ask(hooks_of(layer(kind, OK)), connection) is OK


@LAYERS
async def test_layers_see_what_the_inner_ones_made_of_the_verdict(connection: Any, kind: str) -> None:
    seen: list[Any] = []
    hooks = hooks_of(layer(kind, None, seen=seen), layer("around", OK), layer("wrapper", DENY), answering())
    assert await ask(hooks, connection) is OK
    assert seen == [OK]


@LAYERS
async def test_layers_see_and_replace_a_value_found(connection: Any, kind: str) -> None:
    seen: list[Any] = []
    hooks = hooks_of(
        layer(kind, "other.example", "lookup_rdns", seen=seen), answering("mail.example", "lookup_rdns")
    )
    assert await hooks.lookup_rdns(connection) == OK(value="other.example")
    assert seen == [OK(value="mail.example")]


@LAYERS
async def test_layers_see_and_replace_additions(connection: Any, kind: str) -> None:
    hooks = hooks_of(
        layer(kind, lambda added: [*added, "XB"], "capabilities"), answering(["XA"], "capabilities")
    )
    assert await hooks.capabilities(connection) == ["XA", "XB"]


@LAYERS
@pytest.mark.parametrize("answer", [None, CONT, "XB", 7])
async def test_a_layer_that_answers_no_additions_keeps_those_within(
    connection: Any, kind: str, answer: Any
) -> None:
    hooks = hooks_of(layer(kind, answer, "capabilities"), answering(["XA"], "capabilities"))
    assert await hooks.capabilities(connection) == ["XA"]
    assert len(connection.faults) == (answer in ("XB", 7))


@LAYERS
async def test_layers_around_observers_decide_nothing(connection: Any, kind: str) -> None:
    hooks = hooks_of(layer(kind, DENY, "rset"), layer(kind, None, "rset"), answering(None, "rset", name="c"))
    await hooks.rset(connection)
    assert connection.called == ["c"]
    assert hooks.faults == {("a", "rset"): 1}


@LAYERS
async def test_a_layer_s_illegal_answer_is_its_fault(connection: Any, kind: str) -> None:
    assert (await ask(hooks_of(layer(kind, 17), answering(OK)), connection)).plugin == "a"
    assert (await ask(hooks_of(layer(kind, 17), answering(OK), on_error=OnError.CONTINUE), connection)) is OK
    with pytest.raises(IllegalAnswer):
        await ask(hooks_of(layer(kind, 17), answering(OK), strict=True), connection)


# Layers that fail.


def failing(kind: str, hook: str = "rcpt", *, after: bool) -> Any:
    @plugin(hook, wrapper=True)
    def wrapper() -> Any:
        if after:
            yield
        raise ValueError("boom")

    @plugin(hook, around=True)
    async def around(*, proceed: Any) -> Any:
        if after:
            await proceed()
        raise ValueError("boom")

    return wrapper if kind == "wrapper" else around


@LAYERS
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_layer_that_raises_is_a_temporary_failure(connection: Any, kind: str, after: bool) -> None:
    hooks = hooks_of(failing(kind, after=after), answering(OK, name="inner"))
    verdict = await ask(hooks, connection)
    assert (verdict.code, verdict.plugin) == (451, "a")
    assert connection.called == ["inner"] * after
    assert connection.faults == ["ValueError: boom"]


@LAYERS
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_with_on_error_continue_the_inner_verdict_stands(
    connection: Any, kind: str, after: bool
) -> None:
    hooks = hooks_of(failing(kind, after=after), answering(OK, name="inner"), on_error=OnError.CONTINUE)
    assert await ask(hooks, connection) is OK
    assert connection.called == ["inner"]
    assert connection.faults == ["ValueError: boom"]


@LAYERS
@pytest.mark.parametrize("hook", ["rset", "capabilities", "quit"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_layer_that_raises_counts_as_absent_where_the_hook_says_so(
    connection: Any, kind: str, hook: str, after: bool
) -> None:
    hooks = hooks_of(failing(kind, hook, after=after), answering(None, hook, name="inner"))
    await getattr(hooks, hook)(connection)
    assert connection.called == ["inner"]
    assert hooks.faults == {("a", hook): 1}


@LAYERS
async def test_a_fault_within_is_what_the_layer_sees(connection: Any, kind: str) -> None:
    seen: list[Any] = []
    hooks = hooks_of(layer(kind, None, seen=seen), answering(ValueError("boom")))
    verdict = await ask(hooks, connection)
    assert (verdict.code, verdict.plugin) == (451, "b")
    assert seen == [verdict]


@LAYERS
async def test_an_error_that_stops_the_server_passes_through_a_layer(connection: Any, kind: str) -> None:
    @plugin("init_master")
    def fail() -> Any:
        raise ValueError("boom")

    hooks = hooks_of(layer(kind, OK, "init_master"), fail)
    with pytest.raises(HookFault) as caught:
        await hooks.init_master(connection)
    assert caught.value.plugin == "b"
    assert hooks.faults == {("b", "init_master"): 1}


@LAYERS
async def test_a_strict_server_s_complaint_passes_through_a_layer(connection: Any, kind: str) -> None:
    with pytest.raises(IllegalAnswer) as caught:
        await ask(hooks_of(layer(kind, OK), answering(17), strict=True), connection)
    assert caught.value.plugin == "b"


# Wrappers.


@pytest.mark.parametrize("returned", [None, OK])
async def test_a_wrapper_that_does_not_yield_is_a_fault(connection: Any, returned: Any) -> None:
    @plugin("rcpt", wrapper=True)
    def wrapper(connection: Any) -> Any:
        if connection is None:
            yield
        return returned

    verdict = await ask(hooks_of(wrapper, answering(OK, name="inner")), connection)
    assert verdict.code == 451
    assert connection.called == []
    assert connection.faults == ["plugin a on hook_rcpt: a wrapper that did not yield"]


async def test_a_wrapper_that_yields_twice_is_a_fault_and_is_closed(connection: Any) -> None:
    closed: list[bool] = []

    @plugin("rcpt", wrapper=True)
    def wrapper() -> Any:
        try:
            yield
            yield
        finally:
            closed.append(True)

    assert (await ask(hooks_of(wrapper, answering(OK)), connection)).code == 451
    assert connection.faults == ["plugin a on hook_rcpt: a wrapper that yielded twice"]
    assert closed == [True]


async def test_a_wrapper_is_closed_when_the_connection_is_cancelled(connection: Any) -> None:
    @plugin("rcpt", wrapper=True)
    def wrapper(connection: Any) -> Any:
        try:
            return (yield)
        finally:
            connection.called.append("closed")

    @plugin("rcpt")
    async def hang(connection: Any) -> Any:
        connection.scope.cancel()
        await trio.sleep_forever()

    with trio.CancelScope() as connection.scope:
        await ask(hooks_of(wrapper, hang), connection)
    assert connection.scope.cancelled_caught
    assert connection.called == ["closed"]
    assert connection.faults == []


@pytest.mark.parametrize("stubborn", [False, True])
async def test_a_wrapper_that_cannot_be_closed_does_not_stop_a_cancellation(
    connection: Any, stubborn: bool
) -> None:
    @plugin("rcpt", wrapper=True)
    def wrapper() -> Any:
        try:
            yield
        finally:
            if stubborn:
                yield
            raise ValueError("boom")

    @plugin("rcpt")
    async def hang(connection: Any) -> Any:
        connection.scope.cancel()
        await trio.sleep_forever()

    hooks = hooks_of(wrapper, hang)
    with trio.CancelScope() as connection.scope:
        await ask(hooks, connection)
    assert connection.scope.cancelled_caught
    assert hooks.faults == {("a", "rcpt"): 1}


# Around functions.


async def test_an_around_function_may_answer_without_proceeding(connection: Any) -> None:
    @plugin("rcpt", around=True)
    async def refuse(*, proceed: Any) -> Any:
        return DENY("not today")

    verdict = await ask(hooks_of(refuse, answering(OK, name="inner")), connection)
    assert (verdict.action, verdict.plugin) == (DENY.action, "a")
    assert connection.called == []


@pytest.mark.parametrize("silence", [None, CONT])
async def test_an_around_function_that_neither_proceeds_nor_answers_is_followed_by_the_others(
    connection: Any, silence: Any
) -> None:
    @plugin("rcpt", around=True)
    async def pass_on(connection: Any, *, proceed: Any) -> Any:
        connection.called.append("around")
        return silence

    assert await ask(hooks_of(pass_on, answering(OK, name="inner")), connection) is OK
    assert connection.called == ["around", "inner"]


async def test_proceeding_twice_asks_the_others_once(connection: Any) -> None:
    @plugin("rcpt", around=True)
    async def twice(*, proceed: Any) -> Any:
        assert await proceed() is await proceed()

    assert await ask(hooks_of(twice, answering(OK, name="inner")), connection) is OK
    assert connection.called == ["inner"]


async def test_proceeding_twice_at_once_is_a_fault(connection: Any) -> None:
    @plugin("rcpt", around=True)
    async def twice(*, proceed: Any) -> Any:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(proceed)
            nursery.start_soon(proceed)

    @plugin("rcpt")
    async def inner(connection: Any) -> Any:
        connection.called.append("inner")
        await trio.lowlevel.checkpoint()
        return OK

    hooks = hooks_of(twice, inner)
    assert (await ask(hooks, connection)).code == 451
    assert connection.called == ["inner"]
    assert hooks.faults == {("a", "rcpt"): 1}


async def test_proceed_may_run_beside_other_tasks_of_the_plugin(connection: Any) -> None:
    @plugin("rcpt", around=True)
    async def beside(*, proceed: Any) -> Any:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            verdict = await proceed()
            nursery.cancel_scope.cancel()
        return verdict

    assert await ask(hooks_of(beside, answering(OK, is_async=True)), connection) is OK
    assert connection.faults == []


def impatient(hook: str = "rcpt", answer: Any = None, *, again: bool = False) -> Any:
    """An around function that gives the others one second."""

    @plugin(hook, around=True)
    async def wait(*, proceed: Any) -> Any:
        with trio.move_on_after(1):
            await proceed()
        return await proceed() if again else answer

    return wait


def slow(hook: str = "rcpt", seconds: float = 2, answer: Any = None) -> Any:
    @plugin(hook)
    async def sleep(connection: Any) -> Any:
        connection.called.append("slow")
        await trio.sleep(seconds)
        return answer

    return sleep


async def test_an_around_function_may_cut_the_others_short_and_answer(
    connection: Any, autojump_clock: MockClock
) -> None:
    verdict = await ask(hooks_of(impatient(answer=DENYSOFT("busy")), slow()), connection)
    assert verdict.text == "busy"
    assert connection.faults == []


async def test_cutting_the_others_short_without_an_answer_is_a_fault(
    connection: Any, autojump_clock: MockClock
) -> None:
    assert (await ask(hooks_of(impatient(), slow(answer=OK)), connection)).code == 451
    assert connection.faults == ["plugin a on hook_rcpt: gave up on proceed() and answered nothing"]
    assert connection.called == ["slow"]


async def test_proceeding_again_after_cutting_the_others_short_is_a_fault(
    connection: Any, autojump_clock: MockClock
) -> None:
    assert (await ask(hooks_of(impatient(again=True), slow(answer=OK)), connection)).code == 451
    assert "proceed() was called before, and has not come to its end" in connection.faults[0]
    assert connection.called == ["slow"]


@pytest.mark.parametrize(("hook", "outcome"), [("rset", None), ("capabilities", []), ("quit", CONT)])
async def test_nobody_is_asked_twice_when_a_layer_that_cut_them_short_counts_as_absent(
    connection: Any, autojump_clock: MockClock, hook: str, outcome: Any
) -> None:
    hooks = hooks_of(impatient(hook), slow(hook))
    assert await getattr(hooks, hook)(connection) == outcome
    assert connection.called == ["slow"]
    assert hooks.faults == {("a", hook): 1}


# Time.


async def test_the_time_of_the_inner_call_is_not_counted(connection: Any, autojump_clock: MockClock) -> None:
    @plugin("rcpt", around=True, timeout_s=10)
    async def around(*, proceed: Any) -> Any:
        await trio.sleep(4)
        verdict = await proceed()
        await trio.sleep(4)
        return verdict

    hooks = hooks_of(around, slow(seconds=25), slow(seconds=25, answer=OK))
    assert await ask(hooks, connection) is OK
    assert connection.faults == []


@pytest.mark.parametrize(("before_s", "after_s"), [(11, 0), (0, 11), (6, 6)])
async def test_an_around_function_s_own_time_is_limited(
    connection: Any, autojump_clock: MockClock, before_s: float, after_s: float
) -> None:
    @plugin("rcpt", around=True, timeout_s=10)
    async def around(*, proceed: Any) -> Any:
        await trio.sleep(before_s)
        await proceed()
        await trio.sleep(after_s)
        return OK

    began = trio.current_time()
    assert (await ask(hooks_of(around, slow(seconds=25)), connection)).code == 451
    assert trio.current_time() - began == pytest.approx(10 + 25 * (before_s < 10))
    assert connection.faults == ["plugin a on hook_rcpt: no answer within 10 s"]


async def test_an_around_function_that_overruns_behind_the_inner_call_may_count_as_absent(
    connection: Any, autojump_clock: MockClock
) -> None:
    @plugin("rcpt", around=True)
    async def around(*, proceed: Any) -> Any:
        await proceed()
        await trio.sleep_forever()

    hooks = hooks_of(around, answering(OK, name="inner"), on_error=OnError.CONTINUE)
    assert await ask(hooks, connection) is OK
    assert connection.called == ["inner"]


async def test_an_inner_timeout_is_the_inner_plugin_s(connection: Any, autojump_clock: MockClock) -> None:
    seen: list[Any] = []
    hooks = hooks_of(layer("around", None, seen=seen), slow(seconds=31))
    verdict = await ask(hooks, connection)
    assert verdict.plugin == "b"
    assert seen == [verdict]


async def test_cancel_scopes_stay_sane_when_the_connection_is_cancelled_inside(
    connection: Any, autojump_clock: MockClock
) -> None:
    def careful() -> Any:
        @plugin("rcpt", around=True)
        async def around(connection: Any, *, proceed: Any) -> Any:
            with trio.move_on_after(20):
                try:
                    return await proceed()
                finally:
                    connection.called.append("cleaned up")

        return around

    @plugin("rcpt")
    async def hang(connection: Any) -> Any:
        connection.scope.cancel()
        with trio.move_on_after(5):
            await trio.sleep_forever()
        pytest.fail("the cancellation was swallowed")

    with trio.CancelScope() as connection.scope:
        await ask(hooks_of(careful(), careful(), hang), connection)
    assert connection.scope.cancelled_caught
    assert connection.called == ["cleaned up", "cleaned up"]
    assert connection.faults == []
    with trio.move_on_after(1) as scope:  # a corrupted stack of scopes would show here
        await trio.sleep(2)
    assert scope.cancelled_caught


async def test_what_an_around_function_s_task_raised_beside_a_cancellation_is_noted_only(
    connection: Any,
) -> None:
    async def fail_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("boom")

    @plugin("rcpt", around=True)
    async def around(*, proceed: Any) -> Any:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_when_cancelled)
            return await proceed()

    @plugin("rcpt")
    async def hang(connection: Any) -> Any:
        connection.scope.cancel()
        await trio.sleep_forever()

    hooks = hooks_of(around, hang)
    with trio.CancelScope() as connection.scope:
        await ask(hooks, connection)
    assert connection.scope.cancelled_caught
    assert hooks.faults == {("a", "rcpt"): 1}


async def test_layers_work_on_hooks_that_the_facade_does_not_call_yet() -> None:
    class Hmail: ...

    @plugin("get_mx", around=True)
    async def around(domain: str, *, proceed: Any) -> Any:
        found = await proceed()
        return [*found.value, domain]

    @plugin("get_mx")
    def find(domain: str) -> Any:
        return ["mx.example"]

    hooks = hooks_of(around, find)
    found = await run(hooks, "get_mx", Hmail(), "example")
    assert found == OK(value=["mx.example", "example"])
    assert len(arguments("get_mx")) == 1
