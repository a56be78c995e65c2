"""What a plugin at fault counts as, and what is told to whom."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from harakapy.hooks import DENY, DENYSOFT, OK, HookFault, OnError, Verdict, hookimpl

from .scene import answering, arguments, ask, hooks_of, plugin, run

BOTH = pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])


def hanging(hook: str = "rcpt") -> Any:
    @plugin(hook)
    async def hang() -> Any:
        await trio.sleep_forever()

    return hang


@BOTH
async def test_a_plugin_that_raises_is_a_temporary_failure_that_tells_the_client_nothing(
    connection: Any, is_async: bool
) -> None:
    boom = ValueError("a secret path")
    hooks = hooks_of(answering(boom, is_async=is_async), answering(OK, name="never"))
    verdict = await ask(hooks, connection)
    assert verdict == Verdict(
        DENYSOFT.action, "4.3.0 Temporary failure, try again later", code=451, plugin="a"
    )
    assert connection.called == [""]
    assert hooks.faults == {("a", "rcpt"): 1}
    record = connection.records[0]
    assert (record.event, record.level.name) == ("plugin fault", "CRIT")
    assert record.fields == {"plugin": "a", "hook": "rcpt", "error": "ValueError: a secret path"}
    assert record.exception is boom
    assert record.exception.__traceback__ is not None


async def test_a_group_of_exceptions_is_one_fault(connection: Any) -> None:
    async def fail() -> None:
        raise ValueError("boom")

    @plugin("rcpt")
    async def with_a_nursery(connection: Any) -> Any:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            nursery.start_soon(trio.sleep_forever)

    hooks = hooks_of(with_a_nursery)
    assert (await ask(hooks, connection)).code == 451
    assert hooks.faults == {("a", "rcpt"): 1}
    assert isinstance(connection.records[0].exception, ExceptionGroup)


async def test_faults_are_counted_for_each_plugin_and_hook(connection: Any) -> None:
    class Faulty:
        @hookimpl
        def hook_rcpt(self) -> Any:
            raise ValueError

        @hookimpl
        def hook_noop(self) -> Any:
            raise ValueError

    hooks = hooks_of(Faulty())
    for _ in range(3):
        await ask(hooks, connection)
    await hooks.noop(connection)
    assert hooks.faults == {("a", "rcpt"): 3, ("a", "noop"): 1}


@BOTH
async def test_with_on_error_continue_the_next_plugin_is_asked(connection: Any, is_async: bool) -> None:
    hooks = hooks_of(
        answering(ValueError(), is_async=is_async), answering(17), answering(OK), on_error=OnError.CONTINUE
    )
    assert await ask(hooks, connection) is OK
    assert hooks.faults == {("a", "rcpt"): 1, ("b", "rcpt"): 1}


async def test_with_on_error_continue_a_hanging_plugin_is_passed_over(
    connection: Any, autojump_clock: MockClock
) -> None:
    hooks = hooks_of(hanging(), hanging(), answering(OK), on_error=OnError.CONTINUE)
    assert await ask(hooks, connection) is OK
    assert hooks.faults == {("a", "rcpt"): 1, ("b", "rcpt"): 1}


@pytest.mark.parametrize("hook", ["quit", "deny"])
async def test_where_a_fault_counts_as_absence_the_next_plugin_is_asked(connection: Any, hook: str) -> None:
    hooks = hooks_of(answering(ValueError(), hook), answering(DENY, hook), answering(OK, hook))
    assert await run(hooks, hook, connection, *arguments(hook)) is OK
    assert len(connection.faults) == 2


@pytest.mark.parametrize("hook", ["lookup_rdns", "connect"])
async def test_before_the_greeting_a_fault_is_a_421(connection: Any, hook: str) -> None:
    verdict = await getattr(hooks_of(answering(ValueError(), hook)), hook)(connection)
    assert verdict == Verdict(
        DENYSOFT.action, "4.3.0 Temporary failure, try again later", code=421, plugin="a"
    )


@pytest.mark.parametrize("hook", ["init_master"])
async def test_a_fault_at_the_start_stops_it_whatever_on_error_says(connection: Any, hook: str) -> None:
    boom = ValueError("boom")

    @plugin(hook)
    def fail(server: Any) -> Any:
        raise boom

    hooks = hooks_of(fail, on_error=OnError.CONTINUE)
    with pytest.raises(HookFault, match=f"^plugin a on hook_{hook}: ValueError: boom$") as caught:
        await getattr(hooks, hook)(connection)
    assert caught.value.__cause__ is boom
    assert (caught.value.plugin, caught.value.hook) == ("a", hook)
    assert connection.faults == ["ValueError: boom"]


@pytest.mark.parametrize("answer", [None, "hang"])
async def test_nonsense_and_hanging_at_the_start_stop_it_too(
    connection: Any, autojump_clock: MockClock, answer: Any
) -> None:
    @plugin("init_master")
    async def fail(server: Any) -> Any:
        return 17 if answer is None else await trio.sleep_forever()

    with pytest.raises(HookFault, match=r"^plugin a on hook_init_master: (answered 17|no answer)"):
        await hooks_of(fail).init_master(connection)


async def test_a_subject_without_a_log_is_no_trouble() -> None:
    hooks = hooks_of(answering(AttributeError("no called")))
    assert (await ask(hooks, object())).code == 451
    assert hooks.faults == {("a", "rcpt"): 1}
