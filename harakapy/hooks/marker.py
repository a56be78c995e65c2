"""The ``@hookimpl`` mark: pluggy's own, and two options that pluggy does not have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

import pluggy
from msgspec import Struct

from harakapy.hooks.spec import PROJECT

_mark = pluggy.HookimplMarker(PROJECT)
_Function = TypeVar("_Function", bound=Callable[..., Any])


class ImplOptions(Struct, frozen=True):
    """What pluggy does not keep: ``around`` implementations, and a time limit for one function."""

    around: bool = False
    timeout_s: float | None = None


@overload
def hookimpl(function: _Function, /) -> _Function: ...


@overload
def hookimpl(
    *,
    specname: str | None = None,
    tryfirst: bool = False,
    trylast: bool = False,
    wrapper: bool = False,
    around: bool = False,
    optionalhook: bool = False,
    timeout_s: float | None = None,
) -> Callable[[_Function], _Function]: ...


def hookimpl(
    function: _Function | None = None,
    /,
    *,
    specname: str | None = None,
    tryfirst: bool = False,
    trylast: bool = False,
    wrapper: bool = False,
    around: bool = False,
    optionalhook: bool = False,
    timeout_s: float | None = None,
) -> _Function | Callable[[_Function], _Function]:
    """Mark a function as an implementation of the hook it is named after, or of ``specname``.

    ``tryfirst`` and ``trylast`` put it before or behind those of all other plugins. ``wrapper`` is pluggy's
    generator with one ``yield``, which gives the inner verdict and may return another. ``around`` is for an
    async function that must await on both sides of the inner call: it takes ``*, proceed`` and awaits
    ``proceed()`` for the inner verdict. Both keep that verdict by returning None or itself; once they have
    seen it, CONT replaces it as any other does. An ``around`` function that does not proceed must answer, or
    the others are asked behind it. ``optionalhook`` allows a hook that this version does not have.
    ``timeout_s`` overrides the plugin's hook timeout for this function; 0 switches it off. The time of the
    inner call is not counted.
    """

    def mark(target: _Function) -> _Function:
        marked: Any = getattr(target, "__func__", target)  # of a staticmethod, whichever mark is on top
        marked.harakapy_options = ImplOptions(around, timeout_s)
        _mark(
            specname=specname, tryfirst=tryfirst, trylast=trylast, wrapper=wrapper, optionalhook=optionalhook
        )(marked)
        return target

    return mark if function is None else mark(function)
