"""Laws of the fold: what must hold for any chain of plugins."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st

from harakapy.hooks import (
    CONT,
    DELAY,
    DENY,
    DENYDISCONNECT,
    DENYSOFT,
    OK,
    OnError,
    PluginOptions,
    Registry,
    Verdict,
    hookimpl,
)

RAISES = ValueError("boom")


@dataclass(frozen=True)
class Says:
    """One plugin of a chain: what it answers, and in which form."""

    answer: Any
    is_async: bool
    on_error: OnError

    def plugin(self, name: str) -> Any:
        def say(connection: "Subject") -> Any:
            connection.called.append(name)
            if self.answer is RAISES:
                raise RAISES
            return self.answer

        async def say_later(connection: "Subject") -> Any:
            await trio.lowlevel.checkpoint()
            return say(connection)

        function: Callable[..., Any] = say_later if self.is_async else say
        marked = staticmethod(hookimpl(specname="hook_rcpt")(function))
        return type("Saying", (), {"answer": marked})()

    @property
    def is_final(self) -> bool:
        """Whether nobody behind it is asked."""
        if self.answer in (None, CONT):
            return False
        return self.answer in (OK, DENY, DENYSOFT, DENYDISCONNECT) or self.on_error is OnError.TEMPFAIL


class Subject:
    def __init__(self) -> None:
        self.called: list[str] = []


CONTINUES = st.builds(Says, st.sampled_from([None, CONT]), st.booleans(), st.sampled_from(OnError))
SAYS = st.builds(
    Says,
    st.sampled_from([None, CONT, OK, DENY, DENYSOFT, DENYDISCONNECT, DELAY(5), "nonsense", RAISES]),
    st.booleans(),
    st.sampled_from(OnError),
)
CHAINS = st.lists(SAYS, max_size=8)
OVERRULED = st.sampled_from([None, "", "p0", "p1", "p2"])
"""Whose denials hook_deny undoes: nobody looks, nobody's, or one plugin's."""


def run(chain: list[Says], names: list[str], overruled: str | None = None) -> tuple[Verdict, list[str]]:
    """The verdict of a chain, and who was asked."""
    registry = Registry()
    if overruled is not None:
        registry.add("overruling", _overruling(overruled))
    for name, says in zip(names, chain, strict=True):
        registry.add(name, says.plugin(name), PluginOptions(on_error=says.on_error))
    hooks, subject = registry.freeze(), Subject()
    connection: Any = subject
    nothing: Any = None

    async def ask() -> Verdict:
        return await hooks.rcpt(connection, nothing, nothing)

    return trio.run(ask), subject.called


def _overruling(whose: str) -> Any:
    @hookimpl
    def hook_deny(plugin: str) -> Verdict | None:
        return OK if plugin == whose else None

    return type("Overruling", (), {"hook_deny": staticmethod(hook_deny)})()


def names_of(chain: list[Says]) -> list[str]:
    return [f"p{number}" for number in range(len(chain))]


@given(CHAINS, CONTINUES, st.integers(0, 8), OVERRULED)
def test_a_plugin_that_continues_changes_nothing_wherever_it_stands(
    chain: list[Says], silent: Says, place: int, overruled: str | None
) -> None:
    names = names_of(chain)
    verdict, called = run(chain, names, overruled)
    longer, longer_names = chain.copy(), names.copy()
    longer.insert(place, silent)
    longer_names.insert(place, "silent")
    verdict_with_it, called_with_it = run(longer, longer_names, overruled)
    assert verdict_with_it == verdict
    assert [name for name in called_with_it if name != "silent"] == called


@given(CHAINS)
def test_all_are_asked_up_to_the_first_answer_and_nobody_behind_it(chain: list[Says]) -> None:
    names = names_of(chain)
    first = next((index for index, says in enumerate(chain) if says.is_final), None)
    verdict, called = run(chain, names)
    assert called == names[: len(names) if first is None else first + 1]
    if first is None:
        assert verdict is CONT
    elif chain[first].answer in (OK, DENY, DENYSOFT, DENYDISCONNECT):
        assert verdict.action is chain[first].answer.action
    else:
        assert verdict.code == 451
    assert verdict.plugin == (names[first or 0] if verdict.is_denial else "")


@given(CHAINS, OVERRULED, st.data())
def test_plain_and_async_functions_give_the_same_verdict(
    chain: list[Says], overruled: str | None, data: st.DataObject
) -> None:
    forms = data.draw(st.lists(st.booleans(), min_size=len(chain), max_size=len(chain)))
    other = [replace(says, is_async=is_async) for says, is_async in zip(chain, forms, strict=True)]
    assert run(other, names_of(chain), overruled) == run(chain, names_of(chain), overruled)


@given(CHAINS, st.integers(0, 7))
def test_an_overruled_denial_counts_as_if_its_plugin_had_continued(chain: list[Says], whose: int) -> None:
    names = names_of(chain)
    with_cont = [
        replace(says, answer=CONT) if index == whose and (says.is_final and says.answer is not OK) else says
        for index, says in enumerate(chain)
    ]
    assert run(chain, names, f"p{whose}") == run(with_cont, names)
