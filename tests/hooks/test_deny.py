"""hook_deny: a denial is shown to it before it takes effect."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from harakapy.hooks import (
    CONT,
    DENY,
    DENYDISCONNECT,
    DENYSOFT,
    DENYSOFTDISCONNECT,
    DISCONNECT,
    OK,
    IllegalAnswer,
    Verdict,
)

from .scene import answering, arguments, ask, hooks_of, plugin, run

BOTH = pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])


def on_deny(answer: Any, shown: list[Any] | None = None) -> Any:
    @plugin("deny")
    def look(connection: Any, verdict: Verdict, plugin: str, hook: str) -> Any:
        if shown is not None:
            shown.append((verdict, plugin, hook))
        if isinstance(answer, Exception):
            raise answer
        return answer

    return look


@BOTH
@pytest.mark.parametrize("denial", [DENY, DENYSOFT("later"), DENYDISCONNECT, DENYSOFTDISCONNECT])
async def test_every_denial_is_shown_with_its_plugin_and_hook(
    connection: Any, denial: Verdict, is_async: bool
) -> None:
    shown: list[Any] = []
    hooks = hooks_of(on_deny(CONT, shown), answering(), answering(denial, is_async=is_async))
    verdict = await ask(hooks, connection)
    assert shown == [(verdict, "c", "rcpt")]
    assert verdict.action is denial.action


@BOTH
async def test_overruling_resumes_with_the_next_plugin(connection: Any, is_async: bool) -> None:
    hooks = hooks_of(
        on_deny(OK),
        answering(DENY, name="first", is_async=is_async),
        answering(DENY, name="second"),
        answering(OK, name="third", is_async=is_async),
        answering(DENY, name="never"),
    )
    assert await ask(hooks, connection) is OK
    assert connection.called == ["first", "second", "third"]


@BOTH
async def test_when_all_denials_are_overruled_nobody_took_it(connection: Any, is_async: bool) -> None:
    assert await ask(hooks_of(on_deny(OK), answering(DENY, is_async=is_async)), connection) is CONT


@pytest.mark.parametrize("answer", [None, CONT, DENY, DENYDISCONNECT, DISCONNECT, ValueError("boom"), 17])
async def test_any_other_answer_keeps_the_denial(connection: Any, answer: Any) -> None:
    shown: list[Any] = []
    hooks = hooks_of(on_deny(answer, shown), answering(DENY("no")))
    verdict = await ask(hooks, connection)
    assert (verdict.text, verdict.plugin) == ("no", "b")
    assert len(shown) == 1, "hook_deny is not called for itself"
    assert len(connection.faults) == (answer not in (None, CONT))


async def test_a_hanging_deny_plugin_keeps_the_denial(connection: Any, autojump_clock: MockClock) -> None:
    @plugin("deny")
    async def hang() -> Any:
        await trio.sleep_forever()

    assert (await ask(hooks_of(hang, answering(DENY("no"))), connection)).text == "no"


async def test_the_second_deny_plugin_is_asked_when_the_first_fails(connection: Any) -> None:
    hooks = hooks_of(on_deny(ValueError("boom")), on_deny(OK), answering(DENY), answering(OK))
    assert await ask(hooks, connection) is OK


async def test_an_async_deny_plugin_may_overrule_a_plain_denial(connection: Any) -> None:
    hooks = hooks_of(answering(OK, "deny", is_async=True), answering(DENY), answering(OK))
    assert await ask(hooks, connection) is OK


async def test_a_fault_is_a_denial_too(connection: Any) -> None:
    shown: list[Any] = []
    hooks = hooks_of(on_deny(OK, shown), answering(ValueError("boom")), answering(OK))
    assert await ask(hooks, connection) is OK
    assert [(verdict.code, name) for verdict, name, _ in shown] == [(451, "b")]


async def test_a_timeout_is_a_denial_too(connection: Any, autojump_clock: MockClock) -> None:
    @plugin("rcpt")
    async def hang() -> Any:
        await trio.sleep_forever()

    assert await ask(hooks_of(on_deny(OK), hang, answering(OK, is_async=True)), connection) is OK


@pytest.mark.parametrize("around", [False, True], ids=["wrapper", "around"])
async def test_a_layer_s_denial_may_be_overruled_and_what_is_within_stands(
    connection: Any, around: bool
) -> None:
    shown: list[Any] = []

    @plugin("rcpt", wrapper=True)
    def wrap() -> Any:
        yield
        return DENY("no")

    @plugin("rcpt", around=True)
    async def stand_around(*, proceed: Any) -> Any:
        return DENY("no")

    hooks = hooks_of(on_deny(OK, shown), stand_around if around else wrap, answering(OK, name="inner"))
    assert await ask(hooks, connection) is OK
    assert connection.called == ["inner"]
    assert [name for _, name, _ in shown] == ["b"]


async def test_a_denial_that_a_layer_hands_on_is_shown_once(connection: Any) -> None:
    shown: list[Any] = []

    @plugin("rcpt", wrapper=True)
    def hand_on() -> Any:
        return (yield)

    await ask(hooks_of(on_deny(CONT, shown), hand_on, answering(DENY)), connection)
    assert len(shown) == 1


async def test_a_strict_server_raises_when_a_deny_plugin_denies(connection: Any) -> None:
    with pytest.raises(IllegalAnswer):
        await ask(hooks_of(on_deny(DENY), answering(DENY), strict=True), connection)


async def test_disconnect_is_no_denial(connection: Any) -> None:
    shown: list[Any] = []
    hooks = hooks_of(on_deny(OK, shown), answering(DISCONNECT, "connect"))
    assert (await hooks.connect(connection)).action is DISCONNECT.action
    assert shown == []


@pytest.mark.parametrize("hook", ["init_master", "get_mx"])
async def test_denials_on_other_subjects_than_a_connection_are_not_shown(connection: Any, hook: str) -> None:
    shown: list[Any] = []

    @plugin(hook)
    def deny() -> Any:
        return DENY("no")

    verdict = await run(hooks_of(on_deny(OK, shown), deny), hook, connection, *arguments(hook))
    assert verdict.text == "no"
    assert shown == []
