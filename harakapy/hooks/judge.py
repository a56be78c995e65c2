"""What an answer or a failure of a plugin comes to.

A plugin that raises, overruns or answers nonsense is logged with its traceback and counted. What it then
counts as is a rule of the hook (`OnFault`) and the operator's choice for the plugin (`OnError`).
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Sequence
from reprlib import Repr
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from harakapy.hooks.chain import Chain, Link, OnError
from harakapy.hooks.spec import Kind, OnFault
from harakapy.hooks.verdict import CONT, DENIALS, OK, Action, Verdict

if TYPE_CHECKING:
    from harakapy.log import Logger

# A member of an Enum takes 70 ns to look up in Python 3.11, a name of the module 7.
_DELAY, _FIND = Action.DELAY, Kind.FIND
_WITH_VALUE = frozenset({Action.DELAY, Action.HOOK_NEXT})

FAULT = Verdict(Action.DENYSOFT, "4.3.0 Temporary failure, try again later", code=451)
"""What a client reads when a plugin failed: nothing of the failure."""

FAULT_BEFORE_GREETING = Verdict(Action.DENYSOFT, "4.3.0 Temporary failure, try again later", code=421)
"""The same where no command has been sent that a 451 could answer (RFC 5321 3.1)."""


class HookFault(Exception):
    """A plugin failed on a hook. Attributes ``plugin``, ``hook``; the cause is chained."""

    def __init__(self, plugin: str, hook: str, what: str) -> None:
        super().__init__(f"plugin {plugin} on hook_{hook}: {what}")
        self.plugin = plugin
        self.hook = hook


class IllegalAnswer(HookFault):
    """A plugin answered what its hook does not accept."""


class Judge:
    """Judges what the plugins of one server answer, and counts their faults by (plugin, hook).

    An outcome of None means "no say": nothing was answered, or the fault counts as absence.
    """

    def __init__(self, *, strict: bool = False, log: Logger | None = None) -> None:
        """``strict`` raises `IllegalAnswer`; ``log`` serves hooks whose subject has no log of its own."""
        self._strict = strict
        self._log = log
        self.faults: Counter[tuple[str, str]] = Counter()

    def outcome(self, chain: Chain, link: Link, args: Sequence[Any], answer: Any) -> Any:
        """What an answer comes to on a hook of its kind: a `Verdict`, a list of additions, or None."""
        if answer is None:
            return None
        if chain.spec.kind is Kind.AMEND:
            return self._additions(chain, link, args, answer)
        return self.verdict(chain, link, args, answer)

    def verdict(self, chain: Chain, link: Link, args: Sequence[Any], answer: Any) -> Verdict | None:
        """The verdict that an answer other than None stands for, with the name of who denies."""
        spec, found = chain.spec, answer
        if isinstance(answer, Verdict):
            action = answer.action
            if action is CONT.action:
                return CONT
            if action not in spec.accepts or (action in _WITH_VALUE and _lacks_its_value(answer)):
                return self._illegal(chain, link, args, answer)
            if action in DENIALS:
                return replace(answer, plugin=answer.plugin or link.plugin)
            if spec.kind is not _FIND or action is not OK.action:
                return answer
            found = answer.text if answer.value is None else answer.value
        if isinstance(found, spec.finds) and found != "" and not inspect.iscoroutine(found):
            return Verdict(Action.OK, value=found)
        return self._illegal(chain, link, args, answer)

    def _additions(self, chain: Chain, link: Link, args: Sequence[Any], answer: Any) -> list[Any] | None:
        if isinstance(answer, (list, tuple)) and all(isinstance(item, chain.spec.finds) for item in answer):
            return list(answer)
        if isinstance(answer, Verdict) and answer.action is Action.CONT:
            return None
        self._illegal(chain, link, args, answer)
        return None

    def _illegal(self, chain: Chain, link: Link, args: Sequence[Any], answer: Any) -> Verdict | None:
        if inspect.iscoroutine(answer):
            answer.close()  # else Python warns that nobody awaited it, which is not the author's mistake
            what = "a plain function that returned a coroutine; make it an async one"
        else:
            what = f"answered {_shown(answer)}; allowed are {', '.join(_allowed(chain))}"
        error = IllegalAnswer(link.plugin, chain.spec.name, what)
        if self._strict:
            raise error
        return self.fault(chain, link, args, error)

    def fault(
        self, chain: Chain, link: Link, args: Sequence[Any], problem: Exception | str
    ) -> Verdict | None:
        """Log and count a fault, and say what it counts as. Raises HookFault if it stops the server."""
        spec = chain.spec
        error = HookFault(link.plugin, spec.name, problem) if isinstance(problem, str) else problem
        self.note(chain, link, args, error)
        if spec.on_fault is OnFault.STOP:
            if isinstance(error, HookFault):
                raise error
            raise HookFault(link.plugin, spec.name, _told(error)) from error
        if spec.on_fault is OnFault.ABSENT or link.on_error is OnError.CONTINUE:
            return None
        fault = FAULT_BEFORE_GREETING if spec.on_fault is OnFault.UNAVAILABLE else FAULT
        return replace(fault, plugin=link.plugin)

    def overrun(self, chain: Chain, link: Link, args: Sequence[Any]) -> Verdict | None:
        """The fault of a plugin that has not answered in time."""
        return self.fault(chain, link, args, f"no answer within {link.timeout_s:g} s")

    def note(self, chain: Chain, link: Link, args: Sequence[Any], error: Exception) -> None:
        """Log and count a fault.

        Where the subject has no log (hook_log) a plugin's first fault only is logged: the rest would come
        with every line.
        """
        key = link.plugin, chain.spec.name
        self.faults[key] += 1
        log = getattr(args[0], "log", self._log if self.faults[key] == 1 else None)
        if log is not None:
            log.crit("plugin fault", plugin=link.plugin, hook=key[1], error=_told(error), exc_info=error)

    def note_blocking(self, chain: Chain, link: Link, args: Sequence[Any], took_s: float) -> None:
        """Warn of a plain function that kept all other connections waiting."""
        log = getattr(args[0], "log", None)
        if log is not None:
            log.warn("plugin blocked the event loop", plugin=link.plugin, hook=chain.spec.name, took_s=took_s)


def _lacks_its_value(verdict: Verdict) -> bool:
    """Whether nothing is said of how long to wait, or of which hook comes next."""
    if verdict.action is _DELAY:
        return not isinstance(verdict.value, (int, float))
    return not (verdict.value or verdict.text)


def _allowed(chain: Chain) -> list[str]:
    if chain.spec.kind is Kind.AMEND:
        return [f"a list of {kind.__name__}" for kind in chain.spec.finds]
    return sorted(action.name for action in chain.spec.accepts) + [kind.__name__ for kind in chain.spec.finds]


_shorten = Repr()
_shorten.maxstring = _shorten.maxother = 200  # one line of a log, whatever it is


def _shown(answer: object) -> str:
    return str(answer) if isinstance(answer, Verdict) else _shorten.repr(answer)


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, HookFault) else f"{type(error).__name__}: {error}"
