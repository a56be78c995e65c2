"""What a registration refuses, and how it says so: plugin, hook, signature, difference."""

import types
from dataclasses import dataclass
from typing import Any

import pluggy
import pytest

from harakapy.hooks import (
    OK,
    OnError,
    Plugin,
    PluginOptions,
    RegistrationError,
    Registry,
    hookimpl,
)

from .scene import answering, ask, chain_of, hooks_of, plugin


def problem_with(found: Any) -> RegistrationError:
    with pytest.raises(RegistrationError) as caught:
        Registry().add("spam_check", found)
    return caught.value


def test_a_misspelt_hook_is_refused_with_the_nearest_name() -> None:
    class Misspelt:
        @hookimpl
        def hook_recpt(self, connection: Any) -> None: ...

    error = problem_with(Misspelt())
    assert str(error).startswith("plugin spam_check: hook_recpt(connection: ")
    assert "there is no such hook; did you mean hook_rcpt" in str(error)
    assert (error.plugin, error.hook) == ("spam_check", "hook_recpt")


def test_a_hook_that_is_like_no_other_is_refused_without_advice() -> None:
    assert problem_with(plugin("zzzzzz")(lambda: None)).difference == "there is no such hook"


def test_an_unknown_argument_is_refused_with_the_nearest_name() -> None:
    @plugin("rcpt")
    def check(connection, recipent): ...  # type: ignore[no-untyped-def]  # the signature is quoted below

    error = problem_with(check)
    assert error.signature == "hook_rcpt(connection, recipent)"
    assert error.difference == (
        "the hook has no argument 'recipent': it is hook_rcpt(connection, recipient, params); "
        "did you mean recipient?"
    )


AROUND, WRAPPER = {"around": True}, {"wrapper": True}


def star(*args: Any) -> None: ...
def stars(connection: Any, **rest: Any) -> None: ...
def wrong(connection: Any, connexion: Any) -> None: ...
def proceeding(connection: Any, *, proceed: Any) -> None: ...
async def proceeding_by_position(connection: Any, proceed: Any) -> None: ...
async def not_proceeding(connection: Any) -> None: ...
async def agen(connection: Any, *, proceed: Any) -> Any:
    yield


async def agen_without_proceed(connection: Any) -> Any:
    yield


def gen(connection: Any) -> Any:
    yield


def plain(connection: Any) -> None: ...
async def asynchronous(connection: Any) -> None: ...
async def around(connection: Any, *, proceed: Any) -> None: ...


@pytest.mark.parametrize(
    ("marks", "function", "difference"),
    [
        ({}, star, "*args: Any would get nothing; name the arguments you need: it is hook_rcpt(connection, "),
        ({}, stars, "**rest: Any would get nothing; name the arguments you need"),
        ({}, wrong, "the hook has no argument 'connexion'"),
        ({}, proceeding, "proceed is given to around=True implementations only, as a keyword: "),
        (AROUND, proceeding_by_position, "proceed is given to around=True implementations only, as a key"),
        (AROUND, not_proceeding, "around=True implementations are given the inner call: (..., *, proceed)"),
        (AROUND, proceeding, "around=True is for async functions; use wrapper=True alone for a plain gen"),
        (AROUND | WRAPPER, around, "around=True is for async functions; use wrapper=True alone"),
        (AROUND, agen, "an async generator cannot wrap a hook; use around=True and await proceed()"),
        (WRAPPER, agen_without_proceed, "an async generator cannot wrap a hook"),
        ({}, agen_without_proceed, "an async generator cannot wrap a hook"),
        (WRAPPER, plain, "wrapper=True is for a plain generator function with one yield"),
        (WRAPPER, asynchronous, "wrapper=True is for a plain generator function with one yield; async ones"),
        ({}, gen, "this is a generator function; mark it with wrapper=True, or return the verdict"),
    ],
)  # fmt: skip
def test_a_function_that_does_not_fit_is_refused(marks: Any, function: Any, difference: str) -> None:
    assert problem_with(plugin("rcpt", **marks)(function)).difference.startswith(difference)


def test_pluggy_s_old_wrappers_are_refused() -> None:
    def old() -> Any:
        yield

    module = types.ModuleType("old")
    vars(module)["hook_rcpt"] = pluggy.HookimplMarker("harakapy")(hookwrapper=True)(old)
    assert problem_with(module).difference == "hookwrapper=True is pluggy's old form; use wrapper=True"


@pytest.mark.parametrize("kind", ["async", "wrapper", "around"])
def test_the_log_hook_takes_plain_functions_only(kind: str) -> None:
    async def later(record: Any) -> None: ...
    def wrap(record: Any) -> Any:
        yield

    async def stand_around(record: Any, *, proceed: Any) -> None: ...

    found = {
        "async": plugin("log")(later),
        "wrapper": plugin("log", wrapper=True)(wrap),
        "around": plugin("log", around=True)(stand_around),
    }[kind]
    assert problem_with(found).difference == (
        "hook_log is called where nothing can be awaited; only a plain function will do"
    )


def test_a_class_whose_functions_need_an_object_is_refused() -> None:
    class Unbound:
        @hookimpl
        def hook_rcpt(self, connection: Any) -> None: ...

    advice = "; give an object of the class, or make it a staticmethod"
    assert problem_with(Unbound).difference.endswith(advice)


def test_a_forgotten_mark_is_refused() -> None:
    class Forgetful:
        def hook_rcpt(self, connection: Any) -> None: ...

    error = problem_with(Forgetful())
    assert error.hook == "hook_rcpt"
    assert error.difference == "this is not called without a mark: put @hookimpl above it"


def test_a_function_without_mark_may_be_registered_by_hand() -> None:
    class ByHand(Plugin):
        def register(self) -> None:
            self.register_hook("rcpt", self.hook_rcpt)

        def hook_rcpt(self, connection: Any) -> None: ...

        def hook_of_my_own(self) -> None: ...

    by_hand = ByHand()
    by_hand.register()
    assert [link.function.rpartition(".")[2] for link in chain_of(hooks_of(by_hand), "rcpt").links] == [
        "hook_rcpt"
    ]


def test_what_is_registered_by_hand_is_checked_too() -> None:
    by_hand: Plugin = Plugin()
    by_hand.register_hook("recpt", lambda connection: None)
    assert "did you mean hook_rcpt" in problem_with(by_hand).difference
    not_a_function: Any = "check_rcpt"
    by_name: Plugin = Plugin()
    by_name.register_hook("rcpt", not_a_function)
    error = problem_with(by_name)
    assert str(error) == "plugin spam_check: hook_rcpt: 'check_rcpt': this is not a function"


def test_an_optional_hook_may_be_unknown_to_this_version() -> None:
    @plugin("of_the_future", optionalhook=True)
    def later(whatever: Any) -> None: ...

    assert not any(hooks_of(later).chains)


def test_an_optional_hook_that_is_known_is_checked() -> None:
    assert problem_with(plugin("rcpt", optionalhook=True)(wrong)).hook == "hook_rcpt"


def test_a_plugin_is_loaded_once() -> None:
    registry = Registry()
    registry.add("one", answering(OK))
    with pytest.raises(RegistrationError, match="plugin one: one: this plugin is listed twice"):
        registry.add("one", answering(OK))


def test_one_object_cannot_be_two_plugins() -> None:
    @dataclass
    class Equal:
        hosts: list[str]

        @hookimpl
        def hook_rcpt(self) -> None: ...

    registry = Registry()
    registry.add("one", Equal(["a"]))
    registry.add("other", Equal(["b"]))
    with pytest.raises(RegistrationError, match="two: this is the same plugin as one"):
        registry.add("two", Equal(["a"]))


async def test_a_registration_that_fails_leaves_the_others_as_they_were(connection: Any) -> None:
    registry = Registry()
    registry.add("one", answering(name="one"))

    class HalfRight:
        @hookimpl
        def hook_rcpt(self, connection: Any) -> Any:
            connection.called.append("half")

        @hookimpl
        def hook_recpt(self) -> None: ...

    with pytest.raises(RegistrationError):
        registry.add("half_right", HalfRight())
    registry.add("two", answering(name="two"))
    await ask(registry.freeze(), connection)
    assert connection.called == ["one", "two"]


async def test_what_is_added_later_does_not_reach_hooks_already_frozen(connection: Any) -> None:
    registry = Registry()
    registry.add("one", answering(name="one"))
    frozen = registry.freeze()
    registry.add("two", answering(name="two"))
    await ask(frozen, connection)
    assert connection.called == ["one"]


async def test_two_registries_do_not_disturb_each_other(connection: Any) -> None:
    shared = answering(OK)
    hooks_of(shared)
    assert await ask(hooks_of(shared), connection) is OK
    assert not hooks_of().is_implemented("rcpt")


def test_a_property_of_a_plugin_is_not_evaluated() -> None:
    class Costly:
        @property
        def costly(self) -> Any:
            raise RuntimeError("asked for")

        @hookimpl
        def hook_rcpt(self) -> None: ...

    assert hooks_of(Costly()).is_implemented("rcpt")


def test_options_are_those_of_the_plugin() -> None:
    registry = Registry()
    registry.add("one", answering(), PluginOptions(hook_timeout_s=5, on_error=OnError.CONTINUE))
    registry.add("two", answering())
    links = chain_of(registry.freeze(), "rcpt").links
    assert [(link.timeout_s, link.on_error) for link in links] == [
        (5, OnError.CONTINUE), (30, OnError.TEMPFAIL),
    ]  # fmt: skip


def test_a_timeout_given_by_hand_comes_first() -> None:
    by_hand: Plugin = Plugin()
    marked = hookimpl(specname="hook_rcpt", timeout_s=3)(lambda connection: None)
    by_hand.register_hook("rcpt", marked, timeout_s=1)
    by_hand.register_hook("rcpt", marked)
    by_hand.register_hook("rcpt", lambda connection: None)
    assert [link.timeout_s for link in chain_of(hooks_of(by_hand), "rcpt").links] == [1, 3, 30]


def test_a_plugin_s_own_attribute_is_not_taken_for_its_timeout() -> None:
    class Asking:
        timeout_s = 2.0  # of its own look-ups, say

        @hookimpl
        def hook_rcpt(self) -> None: ...

    assert chain_of(hooks_of(Asking()), "rcpt").links[0].timeout_s == 30
