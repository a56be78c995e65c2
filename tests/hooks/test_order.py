"""The order in which implementations are asked, and what of the hook's arguments they are given."""

import functools
from types import ModuleType
from typing import Any

import pytest

from harakapy.hooks import DENY, OK, Hooks, Plugin, Registry, hookimpl

from .scene import Subject, answering, ask, chain_of, hooks_of, plugin


def order_of(hooks: Hooks, name: str = "rcpt") -> list[str]:
    return [f"{link.plugin}.{link.function.rpartition('.')[2]}" for link in chain_of(hooks, name).order]


class First:
    @hookimpl
    def hook_rcpt(self) -> None: ...

    @hookimpl(specname="hook_rcpt", trylast=True)
    def last(self) -> None: ...

    @hookimpl(specname="hook_rcpt")
    def again(self) -> None: ...

    @hookimpl(specname="hook_rcpt", wrapper=True)
    def wrapper(self) -> Any:
        return (yield)


class Second(Plugin):
    def register(self) -> None:
        self.register_hook("rcpt", self.by_hand)
        self.register_hook("hook_rcpt", self.by_hand_first, tryfirst=True)
        self.register_hook("rcpt", self.by_hand_last, trylast=True)

    @hookimpl
    def hook_rcpt(self) -> None: ...

    def by_hand(self) -> None: ...

    def by_hand_first(self) -> None: ...

    def by_hand_last(self) -> None: ...


class Third:
    @hookimpl(specname="hook_rcpt")
    async def plain(self) -> None: ...

    @hookimpl(tryfirst=True)
    def hook_rcpt(self) -> None: ...

    @hookimpl(specname="hook_rcpt", around=True, tryfirst=True)
    async def around(self, *, proceed: Any) -> Any:
        return await proceed()

    @hookimpl(specname="hook_rcpt", trylast=True)
    def last(self) -> None: ...


def test_the_order_of_a_mixed_chain() -> None:
    second = Second()
    second.register()
    registry = Registry()
    registry.add("first", First())
    registry.add("second", second)
    registry.add("third", Third())
    assert order_of(registry.freeze()) == [
        # around the others, the outermost first
        "third.around",
        "first.wrapper",
        # tryfirst
        "second.by_hand_first",
        "third.hook_rcpt",
        # the order of the list, and inside a plugin by hand before the order of definition
        "first.hook_rcpt",
        "first.again",
        "second.by_hand",
        "second.hook_rcpt",
        "third.plain",
        # trylast
        "first.last",
        "second.by_hand_last",
        "third.last",
    ]


async def test_plugins_are_asked_in_the_order_of_the_list(connection: Any) -> None:
    hooks = hooks_of(answering(name="one"), answering(name="two", is_async=True), answering(name="three"))
    await ask(hooks, connection)
    assert connection.called == ["one", "two", "three"]


async def test_wrappers_are_entered_from_the_outermost_in(connection: Any) -> None:
    @plugin("rcpt", wrapper=True)
    def outer(connection: Any) -> Any:
        connection.called.append("outer in")
        verdict = yield
        connection.called.append("outer out")
        return verdict

    @plugin("rcpt", around=True)
    async def inner(connection: Any, *, proceed: Any) -> Any:
        connection.called.append("inner in")
        verdict = await proceed()
        connection.called.append("inner out")
        return verdict

    hooks = hooks_of(answering(OK, name="answer"), outer, inner)
    assert await ask(hooks, connection) == OK
    assert connection.called == ["outer in", "inner in", "answer", "inner out", "outer out"]


def test_however_many_functions_by_hand_come_before_marked_ones() -> None:
    many = Second()
    for _ in range(200):
        many.register_hook("rcpt", many.by_hand)
    assert order_of(hooks_of(many)) == ["a.by_hand"] * 200 + ["a.hook_rcpt"]


def test_an_overridden_function_keeps_the_place_of_the_one_it_overrides() -> None:
    class Parent:
        @hookimpl(specname="hook_rcpt")
        def check(self) -> None: ...

        @hookimpl(specname="hook_rcpt")
        def finish(self) -> None: ...

    class Child(Parent):
        @hookimpl(specname="hook_rcpt")
        def added(self) -> None: ...

        @hookimpl(specname="hook_rcpt")
        def check(self) -> None: ...

    assert order_of(hooks_of(Child())) == ["a.check", "a.finish", "a.added"]


# What may be a plugin.


def module_with(**members: Any) -> ModuleType:
    module = ModuleType("a_plugin")
    vars(module).update(members)
    return module


@hookimpl
def hook_rcpt(connection: Any) -> Any:
    connection.called.append("plain")


@hookimpl(specname="hook_rcpt")
async def check_later(connection: Any) -> Any:
    connection.called.append("async")
    return DENY


class Static:
    @staticmethod
    @hookimpl
    def hook_rcpt(connection: Any) -> Any:
        connection.called.append("plain")

    @hookimpl(specname="hook_rcpt")
    @staticmethod
    async def check_later(connection: Any) -> Any:
        connection.called.append("async")
        return DENY


class ByClass:
    @classmethod
    @hookimpl
    def hook_rcpt(cls, connection: Any) -> Any:
        connection.called.append("plain")

    @hookimpl(specname="hook_rcpt", timeout_s=7)
    @classmethod
    async def check_later(cls, connection: Any) -> Any:
        connection.called.append("async")
        return DENY


class Instance:
    @hookimpl
    def hook_rcpt(self, connection: Any) -> Any:
        connection.called.append("plain")

    @hookimpl(specname="hook_rcpt")
    async def check_later(self, connection: Any) -> Any:
        connection.called.append("async")
        return DENY


@pytest.mark.parametrize(
    "found",
    [
        module_with(hook_rcpt=hook_rcpt, check_later=check_later),
        Static,
        Static(),
        ByClass,
        ByClass(),
        Instance(),
    ],
    ids=["module", "class", "static", "class of classmethods", "classmethods", "instance"],
)
async def test_modules_classes_and_instances_are_plugins(connection: Any, found: Any) -> None:
    verdict = await ask(hooks_of(found), connection)
    assert connection.called == ["plain", "async"]
    assert verdict.action is DENY.action


def test_a_mark_above_a_classmethod_keeps_its_options() -> None:
    assert [link.timeout_s for link in chain_of(hooks_of(ByClass), "rcpt").links] == [30, 7]


class Callable:
    async def __call__(self, connection: Any) -> Any:
        connection.called.append("object")
        return None


async def test_anything_that_can_be_called_is_registered_by_hand(connection: Any) -> None:
    def named(name: str, connection: Any) -> None:
        connection.called.append(name)

    async def named_async(name: str, connection: Any) -> None:
        connection.called.append(name)

    by_hand: Plugin = Plugin()
    by_hand.register_hook("rcpt", Callable())
    by_hand.register_hook("rcpt", functools.partial(named, "partial"))
    by_hand.register_hook("rcpt", functools.partial(named_async, "async partial"))
    by_hand.register_hook("rcpt", functools.partial(Callable()))
    by_hand.register_hook("rcpt", lambda connection: connection.called.append("lambda"))
    hooks = hooks_of(by_hand)
    await ask(hooks, connection)
    assert connection.called == ["object", "partial", "async partial", "object", "lambda"]
    assert [link.is_async for link in chain_of(hooks, "rcpt").links] == [True, False, True, True, False]


async def test_one_plugin_may_answer_one_hook_several_times(connection: Any) -> None:
    class Twice(Plugin):
        def register(self) -> None:
            for name in ("one", "two"):
                self.register_hook("rcpt", functools.partial(self.say, name))

        def say(self, name: str, connection: Any) -> None:
            connection.called.append(name)

        @hookimpl(specname="hook_rcpt")
        def three(self, connection: Any) -> None:
            connection.called.append("three")

    twice = Twice()
    twice.register()
    await ask(hooks_of(twice), connection)
    assert connection.called == ["one", "two", "three"]


# Arguments.


def nothing() -> Any: ...
def first(connection: Any) -> Any:
    return (connection,)


def second(recipient: Any) -> Any:
    return (recipient,)


def leading(connection: Any, recipient: Any) -> Any:
    return connection, recipient


def whole(connection: Any, recipient: Any, params: Any) -> Any:
    return connection, recipient, params


def scattered(connection: Any, params: Any) -> Any:
    return connection, params


def turned(params: Any, connection: Any) -> Any:
    return params, connection


def keyword(connection: Any, *, params: Any) -> Any:
    return connection, params


def only_keywords(*, recipient: Any) -> Any:
    return (recipient,)


def defaulted(connection: Any, params: Any = None) -> Any:
    return connection, params


def with_its_own(connection: Any, own: int = 1, params: Any = None) -> Any:
    return connection, own, params


def positional_only(connection: Any, recipient: Any, /) -> Any:
    return connection, recipient


@pytest.mark.parametrize(
    ("function", "given"),
    [
        (first, ("C",)),
        (second, ("R",)),
        (leading, ("C", "R")),
        (whole, ("C", "R", "P")),
        (scattered, ("C", "P")),
        (turned, ("P", "C")),
        (keyword, ("C", "P")),
        (only_keywords, ("R",)),
        (defaulted, ("C", "P")),
        (with_its_own, ("C", 1, "P")),
        (positional_only, ("C", "R")),
        (nothing, None),
    ],
)  # fmt: skip
def test_an_implementation_takes_the_arguments_it_names(function: Any, given: Any) -> None:
    link = chain_of(hooks_of(plugin("rcpt")(function)), "rcpt").links[0]
    assert link.call(*("C", "R", "P")[: link.takes]) == given


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    "names", ["", "connection", "connection, recipient", "connection, recipient, params", "params, recipient"]
)
async def test_the_arguments_reach_the_function_when_the_hook_runs(
    connection: Any, names: str, is_async: bool
) -> None:
    seen: list[Any] = []
    scope: dict[str, Any] = {"seen": seen}
    exec(f"{'async ' if is_async else ''}def say({names}): seen.append(({names}{',' * bool(names)}))", scope)
    await ask(hooks_of(plugin("rcpt")(scope["say"])), connection, "R", "P")
    values = {"connection": connection, "recipient": "R", "params": "P"}
    assert connection.faults == []
    assert seen == [tuple(values[name] for name in names.split(", ") if name)]


async def test_around_functions_take_arguments_and_proceed(connection: Any) -> None:
    @plugin("rcpt", around=True)
    async def stand_around(params: Any, *, proceed: Any) -> Any:
        assert params == "P"
        return await proceed()

    hooks = hooks_of(stand_around, answering(OK))
    assert await ask(hooks, connection, params="P") == OK


async def test_skipped_plugins_are_passed_over_at_once(connection: Any) -> None:
    @plugin("rcpt")
    def skip(connection: Subject) -> None:
        connection.transaction.skipped_plugins = frozenset("bcde")

    @plugin("rcpt", wrapper=True)
    def wrapper(connection: Subject) -> Any:
        connection.called.append("wrapper")
        return (yield)

    @plugin("rcpt", around=True)
    async def around(connection: Subject, *, proceed: Any) -> Any:
        connection.called.append("around")
        return await proceed()

    hooks = hooks_of(
        skip, answering(DENY, name="b"), answering(DENY, name="c", is_async=True), wrapper, around,
        answering(OK, name="f"),
    )  # fmt: skip
    assert await ask(hooks, connection) == OK
    assert connection.called == ["wrapper", "around", "f"]
    assert await ask(hooks, connection) == OK
    assert connection.called[3:] == ["f"]
