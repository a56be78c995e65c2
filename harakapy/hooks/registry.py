"""Registration: plugins in, chains out, and errors that tell what to change.

This is the only user of pluggy's manager, which marks, finds and checks implementations. It is made for one
server and thrown away when the chains are frozen, so a registration that fails leaves nothing behind.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pluggy
from msgspec import Struct

from harakapy.config import did_you_mean, near_names
from harakapy.hooks import hookspecs
from harakapy.hooks.chain import (
    BLOCKING_WARNING_S,
    Link,
    OnError,
    Role,
    is_async_function,
    make_chain,
    positional,
    rank,
)
from harakapy.hooks.facade import Hooks
from harakapy.hooks.marker import ImplOptions
from harakapy.hooks.plugin import Plugin, Registration
from harakapy.hooks.spec import PREFIX, PROJECT, HookSpec

if TYPE_CHECKING:
    from harakapy.log import Logger

DEFAULT_TIMEOUT_S = 30.0  # Haraka's plugin_timeout


def hook_specs() -> dict[str, HookSpec]:
    """Every hook by its name without prefix, in the order of the manual."""
    found = (getattr(value, "harakapy_hook", None) for value in vars(hookspecs).values())
    return {spec.name: spec for spec in found if isinstance(spec, HookSpec)}


class PluginOptions(Struct, frozen=True):
    """What the operator sets for a plugin beside its own settings. A timeout of 0 means none."""

    hook_timeout_s: float = DEFAULT_TIMEOUT_S
    on_error: OnError = OnError.TEMPFAIL


class RegistrationError(Exception):
    """An implementation does not fit its hook.

    Attributes ``plugin``, ``hook``, ``signature``, ``difference``.
    """

    def __init__(self, plugin: str, hook: str, signature: str, difference: str) -> None:
        super().__init__(f"plugin {plugin}: {signature}: {difference}")
        self.plugin = plugin
        self.hook = hook
        self.signature = signature
        self.difference = difference


class _Manager(pluggy.PluginManager):
    """pluggy's manager, which does not look at ``__names__``: two thirds of the time of a registration."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> Any:
        return None if name.startswith("__") else super().parse_hookimpl_opts(plugin, name)


class _Entry(Struct, frozen=True):
    """A registered plugin: its place in the list, its name, itself, and what it registered by hand."""

    index: int
    name: str
    plugin: object
    options: PluginOptions
    by_hand: tuple[Registration, ...]


class Registry:
    """Collects plugins in the order in which the configuration lists them."""

    def __init__(self) -> None:
        self._specs = hook_specs()
        self._manager = _Manager(PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._entries: list[_Entry] = []

    def add(self, name: str, plugin: object, options: PluginOptions | None = None) -> None:
        """Register a module or an object with implementations. Its hooks run behind those added before.

        Raises RegistrationError if an implementation does not fit its hook, or the plugin is there already.
        """
        by_hand = tuple(plugin.registrations) if isinstance(plugin, Plugin) else ()
        entry = _Entry(len(self._entries), name, plugin, options or PluginOptions(), by_hand)
        self._refuse_twins(entry)
        for item in by_hand:
            self._check(name, item.hook, item.function, {})
        for attribute in dir(plugin):
            marks = self._manager.parse_hookimpl_opts(plugin, attribute)
            if marks is not None:
                function = getattr(plugin, attribute)
                self._check(name, marks.get("specname") or attribute, function, marks)
            else:
                self._refuse_unmarked(entry, attribute)
        self._manager.register(plugin, name)
        self._entries.append(entry)

    def freeze(self, *, strict: bool = False, log: Logger | None = None) -> Hooks:
        """The hooks, ready to be called; what is added later does not reach them.

        ``strict`` raises `IllegalAnswer` where a plugin's answer is not one that its hook accepts. Faults are
        logged where the connection or the server logs; those of hook_log, which has neither, to ``log``.
        """
        chains = {name: make_chain(spec, self._links(spec)) for name, spec in self._specs.items()}
        return Hooks(chains, strict=strict, log=log)

    def _links(self, spec: HookSpec) -> Iterator[Link]:
        entries = {id(entry.plugin): entry for entry in self._entries}
        for implementation in getattr(self._manager.hook, spec.function_name).get_hookimpls():
            entry = entries[id(implementation.plugin)]
            position = len(entry.by_hand) + _definition_index(entry.plugin, implementation.function)
            yield _link(spec, entry, implementation, position)
        for entry in self._entries:
            for position, registration in enumerate(entry.by_hand):
                if registration.hook == spec.function_name:
                    yield _link(spec, entry, registration, position)

    def _refuse_twins(self, newcomer: _Entry) -> None:
        for entry in self._entries:
            if entry.name == newcomer.name:
                problem = "this plugin is listed twice; it can be loaded once only"
            elif entry.plugin == newcomer.plugin:  # equality is what pluggy goes by
                problem = f"this is the same plugin as {entry.name}; it can be loaded once only"
            else:
                continue
            raise RegistrationError(newcomer.name, "", newcomer.name, problem)

    def _refuse_unmarked(self, entry: _Entry, attribute: str) -> None:
        """A hook's name on a function without the mark is nearly always a forgotten mark."""
        if attribute.removeprefix(PREFIX) not in self._specs or not attribute.startswith(PREFIX):
            return
        function = inspect.getattr_static(entry.plugin, attribute)
        by_hand = {getattr(item.function, "__name__", "") for item in entry.by_hand}
        if inspect.isfunction(function) and attribute not in by_hand:
            problem = "this is not called without a mark: put @hookimpl above it"
            raise RegistrationError(entry.name, attribute, _signature(attribute, function), problem)

    def _check(self, plugin: str, hook: str, function: Callable[..., Any], marks: Mapping[str, Any]) -> None:
        spec = self._specs.get(hook.removeprefix(PREFIX)) if hook.startswith(PREFIX) else None
        if spec is None and marks.get("optionalhook"):
            return
        if not callable(function):
            raise RegistrationError(plugin, hook, f"{hook}: {function!r}", "this is not a function")
        difference = _unknown_hook(hook, self._specs) if spec is None else _misfit(spec, function, marks)
        if difference:
            raise RegistrationError(plugin, hook, _signature(hook, function), difference)


def _link(
    spec: HookSpec, entry: _Entry, source: pluggy.HookImpl | Registration, definition_index: int
) -> Link:
    function, options = source.function, _options(source.function)
    limits_s = (getattr(source, "timeout_s", None), options.timeout_s, entry.options.hook_timeout_s)
    timeout_s = next(limit_s for limit_s in limits_s if limit_s is not None) or math.inf
    is_wrapper = isinstance(source, pluggy.HookImpl) and source.wrapper
    call, takes = positional(function, spec.arguments)
    return Link(
        plugin=entry.name,
        function=getattr(function, "__qualname__", type(function).__qualname__),
        call=call,
        takes=takes,
        role=Role.AROUND if options.around else Role.WRAPPER if is_wrapper else Role.INNER,
        is_async=is_async_function(function),
        timeout_s=timeout_s,
        patience_s=min(timeout_s, BLOCKING_WARNING_S),
        on_error=entry.options.on_error,
        rank=rank(
            tryfirst=source.tryfirst,
            trylast=source.trylast,
            plugin_index=entry.index,
            definition_index=definition_index,
        ),
    )


def _unknown_hook(hook: str, specs: Mapping[str, HookSpec]) -> str:
    hint = did_you_mean(near_names(hook, [spec.function_name for spec in specs.values()]))
    return "there is no such hook" + (hint and f"; {hint}")


def _misfit(spec: HookSpec, function: Callable[..., Any], marks: Mapping[str, Any]) -> str:
    """What is wrong with an implementation of a known hook; "" if nothing."""
    around = _options(function).around
    wrapper = bool(marks.get("wrapper") or marks.get("hookwrapper"))
    if difference := _misnamed_arguments(spec, function, around=around):
        return difference
    if inspect.isasyncgenfunction(function):
        return "an async generator cannot wrap a hook; use around=True and await proceed()"
    if around and (wrapper or not is_async_function(function)):
        return "around=True is for async functions; use wrapper=True alone for a plain generator"
    if wrapper and not inspect.isgeneratorfunction(function):
        return "wrapper=True is for a plain generator function with one yield; async ones use around=True"
    if marks.get("hookwrapper"):
        return "hookwrapper=True is pluggy's old form; use wrapper=True"
    if not wrapper and inspect.isgeneratorfunction(function):
        return "this is a generator function; mark it with wrapper=True, or return the verdict"
    if spec.is_sync and (around or wrapper or is_async_function(function)):
        return f"{spec.function_name} is called where nothing can be awaited; only a plain function will do"
    return ""


def _misnamed_arguments(spec: HookSpec, function: Callable[..., Any], *, around: bool) -> str:
    parameters = inspect.signature(function).parameters
    for name, parameter in parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            return f"{parameter} would get nothing; name the arguments you need: it is {spec.signature}"
        if name in spec.arguments or (parameter.default is not parameter.empty and name != "proceed"):
            continue
        if name != "proceed":
            hint = did_you_mean(near_names(name, spec.arguments))
            hint = hint and f"; {hint}"
            if name == "self":  # a class was given, and its functions are not bound
                hint = "; give an object of the class, or make it a staticmethod"
            return f"the hook has no argument {name!r}: it is {spec.signature}{hint}"
        if not around or parameter.kind is not parameter.KEYWORD_ONLY:
            return "proceed is given to around=True implementations only, as a keyword: (..., *, proceed)"
    if around and "proceed" not in parameters:
        return "around=True implementations are given the inner call: (..., *, proceed)"
    return ""


def _options(function: Callable[..., Any]) -> ImplOptions:
    options = getattr(function, "harakapy_options", None)
    return options if isinstance(options, ImplOptions) else ImplOptions()


def _signature(hook: str, function: Callable[..., Any]) -> str:
    return f"{hook}{inspect.signature(function)}"


def _definition_index(plugin: object, function: Callable[..., Any]) -> int:
    """Where in its module or class (parents first) a function is defined; behind all if nowhere there."""
    members: dict[str, object] = {}
    if not isinstance(plugin, ModuleType):
        for parent in reversed((plugin if isinstance(plugin, type) else type(plugin)).__mro__):
            members.update(vars(parent))
    members.update(getattr(plugin, "__dict__", {}))
    wanted = getattr(function, "__func__", function)
    functions = [getattr(member, "__func__", member) for member in members.values()]
    return next((index for index, found in enumerate(functions) if found is wanted), len(functions))
