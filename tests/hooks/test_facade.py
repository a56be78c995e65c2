import inspect
from typing import Any

import pytest
import trio

from harakapy.hooks import CONT, DENY, OK, Hooks, HookSpec, Kind, hook_specs
from harakapy.hooks.manual import read_manual
from harakapy.smtp.sasl import ScramSecret

from .scene import Subject, answering, arguments, hooks_of, plugin

SPECS = hook_specs()

NOT_CALLED_YET = {
    "init_http", "init_wss",
}  # fmt: skip
"""Hooks whose caller is still to be written. hook_deny is called by the fold itself."""

CALLED = sorted(SPECS.keys() - NOT_CALLED_YET - {"deny"})


def test_the_manual_says_of_the_same_hooks_that_nothing_calls_them_yet() -> None:
    said = {name for name, spec in SPECS.items() if "nothing calls it yet" in read_manual(spec.manual).fires}
    assert said == NOT_CALLED_YET


def test_every_hook_that_is_called_has_a_method_and_no_other_has() -> None:
    methods = {name for name in vars(Hooks) if not name.startswith("_")}
    assert methods - {"chains", "faults", "is_implemented", "may_wait"} == set(CALLED)


@pytest.mark.parametrize("name", CALLED)
def test_a_method_takes_the_arguments_of_its_hook(name: str) -> None:
    method = getattr(Hooks, name)
    assert tuple(inspect.signature(method).parameters)[1:] == SPECS[name].arguments
    returned = inspect.signature(method).return_annotation
    is_awaited = inspect.iscoroutinefunction(method) or returned.startswith("Awaitable[")
    assert is_awaited == (not SPECS[name].is_sync)
    assert f"hookspecs.hook_{name}" in (method.__doc__ or "")


@pytest.mark.parametrize("name", CALLED)
async def test_a_method_hands_its_arguments_to_its_hook(name: str) -> None:
    given = [Subject(), *(object() for _ in arguments(name))]
    seen: list[Any] = []
    scope: dict[str, Any] = {"seen": seen, "answer": ANSWERS.get(name)}
    names = ", ".join(SPECS[name].arguments)
    exec(f"def look({names}):\n    seen.extend([{names}])\n    return answer", scope)
    hooks = hooks_of(plugin(name)(scope["look"]), strict=True)
    outcome = getattr(hooks, name)(*given)
    outcome = await outcome if inspect.isawaitable(outcome) else outcome
    assert seen == given
    assert outcome == EXPECTED.get(name, expected(SPECS[name]))
    assert hooks.is_implemented(name)


SECRET = ScramSecret(b"salt", 1, b"stored", b"server")
ANSWERS = {
    "auth_mechanisms": ["XA"], "auth_secret": SECRET, "capabilities": ["XA"], "log": OK,
    "lookup_rdns": "mail.example", "rcpt": OK,
}  # fmt: skip
EXPECTED = {
    **ANSWERS, "auth_secret": OK(value=SECRET), "log": True, "lookup_rdns": OK(value="mail.example"),
}  # fmt: skip


def expected(spec: HookSpec) -> Any:
    return None if spec.kind is Kind.OBSERVE else CONT


@pytest.mark.parametrize("name", CALLED)
async def test_a_hook_that_nobody_implements_is_called_in_vain(name: str) -> None:
    hooks = hooks_of()
    outcome = getattr(hooks, name)(Subject(), *arguments(name))
    outcome = await outcome if inspect.isawaitable(outcome) else outcome
    empty = {"auth_mechanisms": [], "capabilities": [], "log": False}
    assert outcome == empty.get(name, expected(SPECS[name]))
    assert not hooks.is_implemented(name)


def test_the_chains_are_those_of_all_hooks_in_the_order_of_the_manual() -> None:
    assert [chain.spec.name for chain in hooks_of().chains] == list(SPECS)


@pytest.mark.parametrize(
    ("kind", "waits"), [("plain", False), ("async", True), ("wrapper", False), ("around", True)]
)
def test_only_async_functions_may_wait(kind: str, waits: bool) -> None:
    def wrapper() -> Any:
        return (yield)

    async def around(*, proceed: Any) -> Any:
        return await proceed()

    found = {
        "plain": answering(),
        "async": answering(is_async=True),
        "wrapper": plugin("rcpt", wrapper=True)(wrapper),
        "around": plugin("rcpt", around=True)(around),
    }[kind]
    assert hooks_of(found).may_wait("rcpt") == waits
    assert not hooks_of(found).may_wait("rcpt_ok")


async def test_one_server_s_hooks_may_run_side_by_side(connection: Any) -> None:
    @plugin("noop")
    async def meet(connection: Any) -> Any:
        connection.called.append("in")
        await trio.testing.wait_all_tasks_blocked()
        return DENY if len(connection.called) == 3 else None

    hooks = hooks_of(meet)
    verdicts: list[Any] = []

    async def call() -> None:
        verdicts.append((await hooks.noop(connection)).action)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(call)
    assert verdicts == [DENY.action] * 3
