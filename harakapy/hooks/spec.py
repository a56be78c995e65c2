"""What a hook is: its kind, the verdicts it accepts, what a faulty plugin counts as."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import pluggy
from msgspec import Struct

from harakapy.hooks.verdict import Action

PROJECT = "harakapy"
PREFIX = "hook_"


class Kind(enum.Enum):
    """How the answers of several plugins become one."""

    DECIDE = "the first verdict other than CONT decides"
    FIND = "the first value that is not None is taken"
    AMEND = "every plugin may add to what the others added"
    OBSERVE = "all are called, and nothing is decided"


class OnFault(enum.Enum):
    """What a plugin that raises, overruns its time or answers nonsense counts as."""

    TEMPFAIL = "a temporary failure: the client is asked to come back"
    UNAVAILABLE = "a temporary failure before the greeting, where 421 is the only fit reply"
    ABSENT = "as if it were not there: what was accepted is never lost by a bug"
    STOP = "an error that stops the start of the server"


class HookSpec(Struct, frozen=True):
    """One hook: its name without prefix, its arguments in order, and the rules of its fold."""

    name: str
    arguments: tuple[str, ...]
    kind: Kind
    accepts: frozenset[Action]
    on_fault: OnFault
    finds: tuple[type, ...]
    is_sync: bool
    manual: str

    @property
    def function_name(self) -> str:
        """The name that implementations carry."""
        return PREFIX + self.name

    @property
    def signature(self) -> str:
        """The definition as a plugin author reads it: ``hook_rcpt(connection, recipient, params)``."""
        return f"{self.function_name}({', '.join(self.arguments)})"


_mark = pluggy.HookspecMarker(PROJECT)
_SpecFunction = TypeVar("_SpecFunction", bound=Callable[..., Any])


def hookspec(
    kind: Kind,
    *accepts: Action,
    on_fault: OnFault | None = None,
    finds: tuple[type, ...] = (),
    is_sync: bool = False,
) -> Callable[[_SpecFunction], _SpecFunction]:
    """Declare a hook. ``accepts`` are the verdicts besides CONT, ``finds`` the types of what it collects.

    Faults are temporary failures where something is decided or looked for, and count as absence elsewhere.
    ``is_sync`` hooks are called where nothing can be awaited, so only plain functions may implement them.
    """
    deciding = kind in (Kind.DECIDE, Kind.FIND)
    fault = on_fault or (OnFault.TEMPFAIL if deciding else OnFault.ABSENT)

    def declare(function: _SpecFunction) -> _SpecFunction:
        function.harakapy_hook = HookSpec(  # type: ignore[attr-defined]  # as pluggy keeps its own mark
            name=function.__name__.removeprefix(PREFIX),
            arguments=tuple(inspect.signature(function).parameters),
            kind=kind,
            accepts=frozenset(accepts) | {Action.CONT},
            on_fault=fault,
            finds=finds,
            is_sync=is_sync,
            manual=inspect.getdoc(function) or "",
        )
        return _mark(function)

    return declare
