"""Running a hook: the answers of its implementations become one verdict.

pluggy is synchronous: calling its hooks would create every coroutine before the first is awaited. So
chains are run here, one implementation after the other.

Time: an async implementation has ``timeout_s`` of the loop's clock. The cancel scope that enforces it is
opened once for a run and its deadline moved along, since a scope for each call costs more than most plugins
do. A plain function cannot be interrupted; if it blocked the event loop beyond its timeout, its answer is
not believed any more.

Faults are judged in `harakapy.hooks.judge`. Only `Exception` is caught: a cancelled connection stays
cancelled. What a plugin's own tasks raised beside a cancellation is taken out of the group and noted.

The file is long because the layers around a hook and what they stand around call each other.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from functools import partial
from operator import length_hint
from time import perf_counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import trio

from harakapy.hooks.chain import Chain, Link, Role
from harakapy.hooks.judge import HookFault, Judge
from harakapy.hooks.spec import Kind
from harakapy.hooks.verdict import CONT, DENIALS, OK, Verdict

if TYPE_CHECKING:
    from harakapy.log import Logger

# Names of the module: in Python 3.11 a member of an Enum takes ten times as long to look up.
_AROUND, _AMEND, _OBSERVE = Role.AROUND, Kind.AMEND, Kind.OBSERVE

_NO_TRANSACTION = SimpleNamespace(skipped_plugins=frozenset())

_REARM_SLACK = 0.05  # of the timeout: how stale a shared deadline may be before it is worth moving


class Fold:
    """Runs the chains of one server.

    ``strict`` raises `IllegalAnswer` instead of treating it as a fault: for tests of plugins. A subject (the
    first argument of a hook) may have a transaction that names ``skipped_plugins``, which are then passed
    over.
    """

    def __init__(self, deny: Chain, *, strict: bool = False, log: Logger | None = None) -> None:
        self._deny = deny
        self._judge = Judge(strict=strict, log=log)

    @property
    def faults(self) -> Counter[tuple[str, str]]:
        """How often each plugin failed on each hook: {(plugin, hook): count}."""
        return self._judge.faults

    async def decide(self, chain: Chain, args: Sequence[Any]) -> Verdict:
        """The verdict of a hook that decides or finds. CONT if no plugin took it."""
        if chain.may_wait:
            await _enter_task(args[0])
        elif not chain.layers:
            verdict, position = self._ask_in_turn(chain, args, 0)
            if verdict is CONT or verdict.action not in DENIALS:  # nearly always
                return verdict
            if not await self._is_overruled(chain, args, verdict):
                return verdict
            return await self._first_answer(chain, args, position)
        answer: Verdict = await self._layered(chain, args, 0, self._first_answer)
        return answer

    async def amend(self, chain: Chain, args: Sequence[Any]) -> list[Any]:
        """All that plugins add, in order."""
        if chain.may_wait:
            await _enter_task(args[0])
        added: list[Any] = await self._layered(chain, args, 0, self._all_additions)
        return added

    async def observe(self, chain: Chain, args: Sequence[Any]) -> None:
        """Call every implementation."""
        if chain.may_wait:
            await _enter_task(args[0])
        elif not chain.layers:
            self._call_in_turn(chain, args)
            return
        await self._layered(chain, args, 0, self._call_all)

    def decide_now(self, chain: Chain, args: Sequence[Any]) -> Verdict:
        """As `decide`, for hooks that only plain functions without layers implement."""
        return self._ask_in_turn(chain, args, 0)[0]

    # The kinds.

    async def _first_answer(self, chain: Chain, args: Sequence[Any], position: int = 0) -> Verdict:
        """Ask one after the other until one answers; a denial that is overruled does not count."""
        end = len(chain.links)
        while position < end:
            if chain.is_async:
                verdict, position = await self._ask_within_scope(chain, args, position)
            else:
                verdict, position = self._ask_in_turn(chain, args, position)
            if verdict is CONT or (verdict.is_denial and await self._is_overruled(chain, args, verdict)):
                continue
            return verdict
        return CONT

    def _ask_in_turn(self, chain: Chain, args: Sequence[Any], position: int) -> tuple[Verdict, int]:
        """Ask plain functions from ``position`` on, up to an answer."""
        # Ten plugins on each hook come through here a hundred times a message: nothing is called but them and
        # the clock. Which one it was is found out only when it matters.
        transaction = getattr(args[0], "transaction", None) or _NO_TRANSACTION
        before = perf_counter()
        patience_ends = before + chain.patience_s
        for takes, calls, end in chain.groups:
            if position >= end:
                continue
            taken = args[:takes]
            left = iter(calls[position - end :])
            for call in left:
                if transaction.skipped_plugins and _is_skipped(_latest(chain, end, left), args):
                    continue
                try:
                    answer = call(*taken)
                except Exception as error:
                    answer = self._judge.fault(chain, _latest(chain, end, left), args, error)
                now = perf_counter()
                if now > patience_ends:
                    answer = self._judge_time(chain, _latest(chain, end, left), args, now - before, answer)
                before = now
                if answer is not None:
                    verdict = self._judge.verdict(chain, _latest(chain, end, left), args, answer) or CONT
                    if verdict is not CONT:
                        return verdict, end - length_hint(left)
        return CONT, len(chain.links)

    def _judge_time(self, chain: Chain, link: Link, args: Sequence[Any], took_s: float, answer: Any) -> Any:
        """What the answer of a plain function counts as that took so long."""
        if took_s > link.timeout_s:
            return self._judge.overrun(chain, link, args)
        if took_s > link.patience_s:
            self._judge.note_blocking(chain, link, args, took_s)
        return answer

    async def _ask_within_scope(
        self, chain: Chain, args: Sequence[Any], position: int
    ) -> tuple[Verdict, int]:
        """Ask from ``position`` on under one cancel scope, up to an answer or a timeout."""
        verdict, links = CONT, chain.links
        with trio.CancelScope(deadline=trio.current_time() + links[position].timeout_s) as scope:
            while verdict is CONT and position < len(links):
                link = links[position]
                if not link.is_async:
                    answer = self._call(chain, link, args)
                elif _arm(scope, link.timeout_s):
                    answer = await self._await(chain, link, args)
                else:
                    break  # the one before answered at the last moment; the next gets a scope of its own
                position += 1
                if answer is not None:
                    verdict = self._judge.verdict(chain, link, args, answer) or CONT
        if scope.cancelled_caught:
            verdict = self._judge.overrun(chain, links[position], args) or CONT
            position += 1
        return verdict, position

    async def _all_additions(self, chain: Chain, args: Sequence[Any]) -> list[Any]:
        added: list[Any] = []
        for link in chain.links:
            added += self._judge.outcome(chain, link, args, await self._ask(chain, link, args)) or ()
        return added

    def _call_in_turn(self, chain: Chain, args: Sequence[Any]) -> None:
        """Call plain functions, whose answers count for nothing."""
        position, end = 0, len(chain.links)
        while position < end:
            _, position = self._ask_in_turn(chain, args, position)

    async def _call_all(self, chain: Chain, args: Sequence[Any]) -> None:
        for link in chain.links:
            self._judge.outcome(chain, link, args, await self._ask(chain, link, args))

    # One implementation. Each of these gives None for one that has no say.

    async def _ask(self, chain: Chain, link: Link, args: Sequence[Any]) -> Any:
        """The answer of one implementation that has a deadline of its own."""
        if not link.is_async:
            return self._call(chain, link, args)
        with trio.move_on_after(link.timeout_s) as scope:
            return await self._await(chain, link, args)
        assert scope.cancelled_caught
        return self._judge.overrun(chain, link, args)

    def _call(self, chain: Chain, link: Link, args: Sequence[Any]) -> Any:
        """The answer of a plain function."""
        if _is_skipped(link, args):
            return None
        began = perf_counter()
        try:
            answer = link.call(*args[: link.takes])
        except Exception as error:
            return self._judge.fault(chain, link, args, error)
        return self._judge_time(chain, link, args, perf_counter() - began, answer)

    async def _await(self, chain: Chain, link: Link, args: Sequence[Any], **proceed: Any) -> Any:
        """The answer of an async function, under a deadline that the caller has set."""
        if _is_skipped(link, args):
            return None
        try:
            return await link.call(*args[: link.takes], **proceed)
        except HookFault:  # of a plugin further in, noted already and on its way to the caller
            raise
        except Exception as error:
            return self._judge.fault(chain, link, args, error)
        except BaseExceptionGroup as group:
            errors, cancelled = group.split(Exception)
            if errors is None or cancelled is None:
                raise
            self._judge.note(chain, link, args, errors)
            raise cancelled from None

    # The layers around.

    async def _layered(
        self, chain: Chain, args: Sequence[Any], depth: int, innermost: Callable[..., Awaitable[Any]]
    ) -> Any:
        """What the layers from ``depth`` on make of the outcome of all within them."""
        if depth == len(chain.layers):
            return await innermost(chain, args)
        link = chain.layers[depth]
        inner = _Inner(partial(self._layered, chain, args, depth + 1, innermost), chain.spec.kind)
        run = self._around if link.role is _AROUND else self._wrapped
        answer = await run(chain, link, args, inner)
        if inner.is_done and answer is inner.outcome:
            return answer
        outcome = self._judge.outcome(chain, link, args, answer)
        if outcome is None or (outcome is CONT and not inner.is_done):
            return await inner.settle()
        if isinstance(outcome, Verdict) and outcome.is_denial:
            is_overruled = await self._is_overruled(chain, args, outcome)
            return await inner.settle() if is_overruled else outcome
        return outcome

    async def _wrapped(self, chain: Chain, link: Link, args: Sequence[Any], inner: _Inner) -> Any:
        """The answer of pluggy's kind of wrapper, a plain generator with one yield."""
        if _is_skipped(link, args):
            return None
        fault = partial(self._judge.fault, chain, link, args)
        try:
            generator = link.call(*args[: link.takes])
            next(generator)
        except StopIteration:
            return fault("a wrapper that did not yield")
        except Exception as error:
            return fault(error)
        try:
            outcome = await inner.run()
            try:
                generator.send(outcome)
            except StopIteration as stop:
                return stop.value
            except Exception as error:
                return fault(error)
            return fault("a wrapper that yielded twice")
        finally:
            self._close(chain, link, args, generator)

    def _close(
        self, chain: Chain, link: Link, args: Sequence[Any], generator: Generator[None, Any, Any]
    ) -> None:
        """End a wrapper, which may still stand at its yield: cancelled there, or at one too many."""
        try:
            generator.close()
        except Exception as error:
            self._judge.note(chain, link, args, error)

    async def _around(self, chain: Chain, link: Link, args: Sequence[Any], inner: _Inner) -> Any:
        """The answer of an ``around`` function; the time that passes in the inner call is not its own."""
        scope = trio.CancelScope(deadline=trio.current_time() + link.timeout_s)

        async def proceed() -> Any:
            left_s = scope.deadline - trio.current_time()
            scope.deadline = math.inf
            try:
                return await inner.run()
            finally:
                scope.deadline = trio.current_time() + left_s

        with scope:
            answer = await self._await(chain, link, args, proceed=proceed)
            if answer is None and inner.is_cut_short:
                return self._judge.fault(chain, link, args, "gave up on proceed() and answered nothing")
            return answer
        assert scope.cancelled_caught
        return self._judge.overrun(chain, link, args)

    async def _is_overruled(self, chain: Chain, args: Sequence[Any], verdict: Verdict) -> bool:
        """Whether a plugin on ``hook_deny`` undoes the denial."""
        if not self._deny or not chain.is_of_connection:
            return False
        answer = await self.decide(self._deny, (args[0], verdict, verdict.plugin, chain.spec.name))
        return answer.action is OK.action


class _Inner:
    """What a layer stands around: run at most once, its outcome kept."""

    __slots__ = ("_has_begun", "_run", "is_done", "outcome")

    def __init__(self, run: Callable[[], Awaitable[Any]], kind: Kind) -> None:
        self._run = run
        self._has_begun = False
        self.is_done = False
        self.outcome: Any = [] if kind is _AMEND else None if kind is _OBSERVE else CONT

    @property
    def is_cut_short(self) -> bool:
        """Whether it was begun and cancelled by the layer, so that there is no outcome to keep."""
        return self._has_begun and not self.is_done

    async def run(self) -> Any:
        """The outcome. Raises RuntimeError if an earlier call is still under way, or was cut short."""
        if self.is_cut_short:
            raise RuntimeError("proceed() was called before, and has not come to its end")
        if not self.is_done:
            self._has_begun = True
            self.outcome = await self._run()
            self.is_done = True
        return self.outcome

    async def settle(self) -> Any:
        """The outcome where the layer has no say; the one of no plugins at all if it cut the call short."""
        return self.outcome if self._has_begun else await self.run()


def _latest(chain: Chain, end: int, left: Iterator[Any]) -> Link:
    """The link whose call was taken last from the calls of a group that ends there."""
    return chain.links[end - length_hint(left) - 1]


def _is_skipped(link: Link, args: Sequence[Any]) -> bool:
    transaction = getattr(args[0], "transaction", None)
    return transaction is not None and link.plugin in transaction.skipped_plugins


async def _enter_task(subject: Any) -> None:
    """Let a connection whose dialogue runs outside of its task get back to it: trio works only there."""
    enter = getattr(subject, "enter_task", None)
    if enter is not None:
        await enter()


def _arm(scope: trio.CancelScope, timeout_s: float) -> bool:
    """Give a scope's next user its time. False if the scope's time is over, so that it is of no use."""
    now = trio.current_time()
    left_s = scope.deadline - now
    if not timeout_s * (1 - _REARM_SLACK) <= left_s <= timeout_s:
        if left_s <= 0:
            return False
        scope.deadline = now + timeout_s
    return True
