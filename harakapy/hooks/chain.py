"""The order of the implementations of one hook, made once and frozen.

``tryfirst``, then the order in which the configuration lists the plugins (inside one plugin the order of
definition), then ``trylast``. Wrappers and ``around`` functions stand around the others in the same order,
the first one outermost. The order in which plugins were registered is never visible.
"""

from __future__ import annotations

import enum
import functools
import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any, Final

from msgspec import Struct

from harakapy.hooks.spec import HookSpec

BLOCKING_WARNING_S: Final = 1.0  # picked: a plain function that long is felt by every other connection


class Role(enum.Enum):
    """How an implementation takes part."""

    INNER = "answers"
    WRAPPER = "a generator that sees the inner verdict"
    AROUND = "an async function that awaits the inner verdict"


class OnError(enum.Enum):
    """What the operator wants of a plugin that fails on a deciding hook: ``on_error`` in its table."""

    TEMPFAIL = "tempfail"
    CONTINUE = "continue"


class Link(Struct, frozen=True):
    """One implementation, ready to be called with the first ``takes`` of its hook's arguments.

    ``patience_s`` is how long a plain function may take before it is worth a thought.
    """

    plugin: str
    function: str
    call: Callable[..., Any]
    takes: int
    role: Role
    is_async: bool
    timeout_s: float
    patience_s: float
    on_error: OnError
    rank: tuple[int, int, int]


Group = tuple[int, tuple[Callable[..., Any], ...], int]
"""Links in a row that take as many arguments: how many, their calls, and the position behind the last."""


class Chain(Struct, frozen=True):
    """All implementations of one hook: those that answer, and the layers around them, outermost first.

    ``is_async`` tells that one that answers is async, ``may_wait`` that running the hook may be a checkpoint
    (plain functions and pluggy's wrappers never wait). ``is_of_connection``: so plugins may be skipped, and a
    denial is shown to hook_deny (which accepts none itself).
    """

    spec: HookSpec
    links: tuple[Link, ...]
    layers: tuple[Link, ...]
    is_async: bool
    may_wait: bool
    is_of_connection: bool
    groups: tuple[Group, ...]
    """The links again, for the loop that calls plain functions."""
    patience_s: float
    """The least of them all."""

    def __bool__(self) -> bool:
        return bool(self.links or self.layers)

    @property
    def order(self) -> tuple[Link, ...]:
        """All implementations as they are entered: the layers, then those that answer."""
        return self.layers + self.links


def make_chain(spec: HookSpec, links: Iterable[Link]) -> Chain:
    """Order the implementations of one hook."""
    ordered = sorted(links, key=lambda link: link.rank)
    inner = tuple(link for link in ordered if link.role is Role.INNER)
    layers = tuple(link for link in ordered if link.role is not Role.INNER)
    is_async = any(link.is_async for link in inner)
    return Chain(
        spec=spec,
        links=inner,
        layers=layers,
        is_async=is_async,
        may_wait=is_async or any(link.role is Role.AROUND for link in layers),
        is_of_connection=spec.arguments[0] == "connection",
        groups=_groups(inner),
        patience_s=min((link.patience_s for link in inner), default=math.inf),
    )


def _groups(links: Sequence[Link]) -> tuple[Group, ...]:
    groups: list[Group] = []
    behind = 0
    for takes, group in groupby(links, key=attrgetter("takes")):
        calls = tuple(link.call for link in group)
        behind += len(calls)
        groups.append((takes, calls, behind))
    return tuple(groups)


def rank(*, tryfirst: bool, trylast: bool, plugin_index: int, definition_index: int) -> tuple[int, int, int]:
    """The sort key of an implementation."""
    return (0 if tryfirst else 2 if trylast else 1, plugin_index, definition_index)


def positional(function: Callable[..., Any], arguments: Sequence[str]) -> tuple[Callable[..., Any], int]:
    """Adapt a function that names some of a hook's arguments to being called with the first so many.

    What it is called with by keyword (``proceed``) is handed on.
    """
    parameters = list(inspect.signature(function).parameters.values())
    names = [parameter.name for parameter in parameters if parameter.name in arguments]
    leading = parameters[: len(names)]
    if any(item.name not in names or item.kind is item.KEYWORD_ONLY for item in leading):
        return _by_keyword(function, {name: arguments.index(name) for name in names}), len(arguments)
    if names == list(arguments[: len(names)]):
        return function, len(names)
    return _by_position(function, [arguments.index(name) for name in names]), len(arguments)


def _by_position(function: Callable[..., Any], indexes: Sequence[int]) -> Callable[..., Any]:
    if len(indexes) == 1:  # where itemgetter gives no tuple
        (at,) = indexes
        return lambda *args, **keywords: function(args[at], **keywords)
    pick = itemgetter(*indexes)
    return lambda *args, **keywords: function(*pick(args), **keywords)


def _by_keyword(function: Callable[..., Any], indexes: Mapping[str, int]) -> Callable[..., Any]:
    def call(*args: Any, **keywords: Any) -> Any:
        return function(**{name: args[index] for name, index in indexes.items()}, **keywords)

    return call


def is_async_function(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine: an ``async def``, also bound, partial, or an object's call."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004  # its kind is asked for, not whether it exists
    )
