"""How the answers of a chain become one: verdicts, values found, additions, observers."""

from typing import Any

import pytest

from harakapy.hooks import (
    CONT,
    DELAY,
    DENY,
    DENYDISCONNECT,
    DENYSOFT,
    DISCONNECT,
    HOOK_NEXT,
    OK,
    IllegalAnswer,
    Verdict,
)
from harakapy.smtp import Reply

from .scene import answering, arguments, ask, hooks_of, plugin, registered, run

BOTH = pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])


async def test_a_hook_that_nobody_implements_is_cont(connection: Any) -> None:
    hooks = hooks_of()
    assert await ask(hooks, connection) is CONT
    assert await hooks.capabilities(connection) == []
    assert not hooks.is_implemented("rcpt")


@BOTH
@pytest.mark.parametrize("silence", [None, CONT, CONT("with a text")])
async def test_none_and_cont_ask_the_next_plugin(connection: Any, silence: Any, is_async: bool) -> None:
    hooks = hooks_of(answering(silence, name="a", is_async=is_async), answering(OK, name="b"))
    assert await ask(hooks, connection) is OK
    assert connection.called == ["a", "b"]


@BOTH
async def test_nobody_is_asked_behind_an_answer(connection: Any, is_async: bool) -> None:
    hooks = hooks_of(answering(OK, name="a", is_async=is_async), answering(DENY, name="b"))
    assert await ask(hooks, connection) is OK
    assert connection.called == ["a"]


@BOTH
@pytest.mark.parametrize(
    ("answer", "text", "code"),
    [
        (DENY, "", None),
        (DENY("5.7.1 not here"), "5.7.1 not here", None),
        (DENY("5.7.1 not here", "nor there"), "5.7.1 not here\nnor there", None),
        (DENYSOFT("later", code=452), "later", 452),
        (DENYDISCONNECT(Reply(521, "go", "5.3.2")), "5.3.2 go", 521),
    ],
)
async def test_a_denial_keeps_its_reply_and_names_its_plugin(
    connection: Any, answer: Verdict, text: str, code: int | None, is_async: bool
) -> None:
    verdict = await ask(hooks_of(answering(answer, is_async=is_async)), connection)
    assert (verdict.action, verdict.text, verdict.code) == (answer.action, text, code)
    assert verdict.plugin == "a"
    assert connection.faults == []


async def test_a_denial_given_in_the_name_of_another_plugin_keeps_that_name(connection: Any) -> None:
    earlier = await ask(hooks_of(answering(), answering(DENY("no"))), connection)
    verdict = await ask(hooks_of(answering(earlier)), connection)
    assert verdict == earlier
    assert verdict.plugin == "b"


# Answers that a hook does not accept.

NONSENSE = [
    ("rcpt", True),
    ("rcpt", "a text"),
    ("rcpt", (DENY, "not here")),
    ("rcpt", DISCONNECT),
    ("rcpt", DELAY(5)),
    ("rcpt", HOOK_NEXT("noop")),
    ("max_data_exceeded", OK),
    ("unrecognized_command", HOOK_NEXT),
    ("unrecognized_command", DISCONNECT),
    ("lookup_rdns", 17),
    ("lookup_rdns", ""),
    ("lookup_rdns", OK),
    ("lookup_rdns", OK(17)),
    ("connect", HOOK_NEXT("noop")),
]


@BOTH
@pytest.mark.parametrize(("hook", "answer"), NONSENSE)
async def test_an_answer_that_the_hook_does_not_accept_is_a_fault(
    connection: Any, hook: str, answer: Any, is_async: bool
) -> None:
    hooks = hooks_of(answering(answer, hook, is_async=is_async), answering(CONT, hook, name="b"))
    verdict = await getattr(hooks, hook)(connection, *arguments(hook))
    assert verdict.action is DENYSOFT.action
    assert verdict.code == (421 if hook in ("lookup_rdns", "connect") else 451)
    assert connection.called == [""]
    assert hooks.faults == {("a", hook): 1}
    assert connection.faults[0].startswith(f"plugin a on hook_{hook}: answered ")


@BOTH
@pytest.mark.parametrize(("hook", "answer"), NONSENSE)
async def test_a_strict_server_raises_on_an_answer_that_the_hook_does_not_accept(
    connection: Any, hook: str, answer: Any, is_async: bool
) -> None:
    hooks = hooks_of(answering(answer, hook, is_async=is_async), strict=True)
    with pytest.raises(IllegalAnswer, match=f"plugin a on hook_{hook}: answered .*; allowed are ") as caught:
        await getattr(hooks, hook)(connection, *arguments(hook))
    assert (caught.value.plugin, caught.value.hook) == ("a", hook)


async def test_the_error_lists_what_is_allowed(connection: Any) -> None:
    with pytest.raises(IllegalAnswer, match=r"answered 17; allowed are CONT, DENY, .*, DISCONNECT, OK, str$"):
        await hooks_of(answering(17, "lookup_rdns"), strict=True).lookup_rdns(connection)


@BOTH
async def test_an_answer_whose_repr_fails_is_a_fault_as_any_other(connection: Any, is_async: bool) -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no words")

    verdict = await ask(hooks_of(answering(Broken(), is_async=is_async)), connection)
    assert verdict.code == 451


@pytest.mark.parametrize("hook", ["rcpt", "rset", "capabilities", "lookup_rdns"])
async def test_a_plain_function_that_returns_a_coroutine_is_told_so(connection: Any, hook: str) -> None:
    async def later(connection: Any) -> None: ...

    @plugin(hook)
    def forgotten(connection: Any) -> Any:
        return later(connection)

    # A coroutine that is not closed would warn, and a warning is an error here.
    await getattr(hooks_of(forgotten), hook)(connection, *arguments(hook))
    assert "returned a coroutine; make it an async one" in connection.faults[0]


async def test_without_the_next_hops_of_a_faulty_plugin_mail_waits() -> None:
    async def later() -> None: ...

    class Hmail: ...

    @plugin("get_mx")
    def wrong(domain: str) -> Any:
        return later()

    hops = ["mx1.example", "mx2.example"]

    @plugin("get_mx")
    def right(domain: str) -> Any:
        return hops

    hooks = hooks_of(wrong, right)
    assert (await run(hooks, "get_mx", Hmail(), "example")).is_soft
    assert (await run(hooks_of(right, wrong), "get_mx", Hmail(), "example")).value is hops


# Looking for a value.


@BOTH
@pytest.mark.parametrize("answer", ["mail.example", OK("mail.example"), OK(value="mail.example")])
async def test_the_first_value_found_is_taken(connection: Any, answer: Any, is_async: bool) -> None:
    hooks = hooks_of(
        answering(None, "lookup_rdns", name="a"),
        answering(answer, "lookup_rdns", name="b", is_async=is_async),
        answering("other.example", "lookup_rdns", name="c"),
    )
    verdict = await hooks.lookup_rdns(connection)
    assert verdict == OK(value="mail.example")
    assert connection.called == ["a", "b"]


async def test_looking_may_be_denied(connection: Any) -> None:
    hooks = hooks_of(answering(DISCONNECT("no name, no service"), "lookup_rdns"))
    assert (await hooks.lookup_rdns(connection)).action is DISCONNECT.action


# Adding.


async def test_additions_come_in_order(connection: Any) -> None:
    hooks = hooks_of(
        answering(["XA", "XB 1"], "capabilities"),
        answering(None, "capabilities"),
        answering(("XC",), "capabilities", is_async=True),
        answering(CONT, "capabilities"),
        answering([], "capabilities"),
    )
    assert await hooks.capabilities(connection) == ["XA", "XB 1", "XC"]
    assert connection.faults == []


@BOTH
@pytest.mark.parametrize("answer", ["XA", 7, [7], {"XA": 1}, OK, DENY])
async def test_an_addition_of_the_wrong_kind_is_a_fault_and_is_left_out(
    connection: Any, answer: Any, is_async: bool
) -> None:
    hooks = hooks_of(answering(answer, "capabilities", is_async=is_async), answering(["XB"], "capabilities"))
    assert await hooks.capabilities(connection) == ["XB"]
    assert hooks.faults == {("a", "capabilities"): 1}
    assert connection.faults[0].endswith("allowed are a list of str")


async def test_a_strict_server_raises_on_an_addition_of_the_wrong_kind(connection: Any) -> None:
    with pytest.raises(IllegalAnswer):
        await hooks_of(answering("XA", "capabilities"), strict=True).capabilities(connection)


# Observing.


@BOTH
async def test_all_observers_are_called_whatever_happens(connection: Any, is_async: bool) -> None:
    hooks = hooks_of(
        answering(None, "rset", name="a", is_async=is_async),
        answering(ValueError("boom"), "rset", name="b", is_async=is_async),
        answering(DENY, "rset", name="c", is_async=is_async),
        answering(CONT, "rset", name="d", is_async=is_async),
    )
    await hooks.rset(connection)
    assert connection.called == ["a", "b", "c", "d"]
    assert hooks.faults == {("b", "rset"): 1, ("c", "rset"): 1}


async def test_a_strict_server_raises_when_an_observer_answers(connection: Any) -> None:
    with pytest.raises(IllegalAnswer):
        await hooks_of(answering(DENY, "rset"), strict=True).rset(connection)


# The log.


def test_a_log_hook_may_take_the_line() -> None:
    taken: list[str] = []

    @plugin("log")
    def take(record: Any) -> Any:
        taken.append(record)
        return OK if record == "mine" else None

    hooks = hooks_of(take)
    mine: Any = "mine"
    other: Any = "other"
    assert hooks.log(mine)
    assert not hooks.log(other)
    assert not hooks_of().log(mine)
    assert taken == ["mine", "other"]


def test_a_log_hook_that_fails_is_absent_and_logged_once(connection: Any) -> None:
    @plugin("log")
    def fail(record: Any) -> Any:
        raise ValueError("boom")

    @plugin("log")
    def take(record: Any) -> Any:
        return OK

    hooks = registered(fail, take).freeze(log=connection.log)
    record: Any = "a line"
    assert [hooks.log(record) for _ in range(3)] == [True, True, True]
    assert hooks.faults == {("a", "log"): 3}
    assert connection.faults == ["ValueError: boom"]
