"""From the configuration's list of plugins to plugins that are ready to be registered.

Everything that is wrong with any of them is found before the first one is attached, and told at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct

from harakapy.config import ConfigError, Problem, Settings, near_names
from harakapy.hooks import (
    OnError,
    Plugin,
    PluginNotFound,
    PluginOptions,
    announced_plugins,
    find_plugin,
    plugin_name,
)

GIVEN = "given by the program"
"""The source of a plugin that was handed over as an object."""


class LoadedPlugin(Struct, frozen=True):
    """A plugin with its name in the configuration, where it came from, and the operator's options."""

    name: str
    source: str
    plugin: object
    options: PluginOptions


def load_plugins(settings: Settings, given: Iterable[object] = ()) -> list[LoadedPlugin]:
    """The plugins that the settings list, then those ``given`` as classes, modules or instances.

    Raises ConfigError with every plugin that cannot be loaded, every setting that does not fit, and every
    ``[plugin.NAME]`` table of a plugin that is not loaded.
    """
    problems: list[Problem] = []
    loaded: list[LoadedPlugin] = []
    for source, name, found in _found(settings, given, problems):
        try:
            loaded.append(_configured(settings, name, source, found))
        except ConfigError as error:
            problems += error.problems
        except Exception as error:  # noqa: BLE001  # a plugin's constructor may raise anything
            problems.append(
                _problem(settings, f"plugin.{name}", f"it cannot be made: {type(error).__name__}: {error}")
            )
    if not problems:
        problems += _unused_tables(settings, [plugin.name for plugin in loaded])
    if problems:
        raise ConfigError(problems)
    return loaded


def changed_configs(
    settings: Settings, loaded: Iterable[LoadedPlugin], *, has_new_name: bool
) -> list[tuple[Plugin[Any], Any]]:
    """The plugins whose settings differ from those they have, each with its new ones.

    All of them if the server ``has_new_name``, on which what they made of their settings may depend.
    Raises ConfigError.
    """
    problems: list[Problem] = []
    changed: list[tuple[Plugin[Any], Any]] = []
    for item in loaded:
        if not isinstance(item.plugin, Plugin) or item.source == GIVEN:
            continue
        try:
            config = settings.plugin_table(item.name).validate(item.plugin.Config)
        except ConfigError as error:
            problems += error.problems
        else:
            if has_new_name or config != item.plugin.config:
                changed.append((item.plugin, config))
    if problems:
        raise ConfigError(problems)
    return changed


def _found(
    settings: Settings, given: Iterable[object], problems: list[Problem]
) -> Iterator[tuple[str, str, object]]:
    """(source, name, module or class or instance) of each plugin that can be imported."""
    announced = announced_plugins() if settings.plugins else None
    for source in settings.plugins:
        try:
            name, found = find_plugin(source, settings.directory, announced)
        except PluginNotFound as error:
            problems.append(_problem(settings, "plugins", str(error)))
        else:
            yield source, name, found
    for found in given:
        yield GIVEN, plugin_name(found), found


def _configured(settings: Settings, name: str, source: str, found: object) -> LoadedPlugin:
    """Make an instance of a class with the settings of its table. Raises ConfigError."""
    table = settings.plugin_table(name)
    options = PluginOptions(
        hook_timeout_s=settings.smtp.hook_timeout if table.hook_timeout is None else table.hook_timeout,
        on_error=OnError(table.on_error),
    )
    if isinstance(found, type) and issubclass(found, Plugin):
        return LoadedPlugin(name, source, found(table.validate(found.Config)), options)
    table.refuse_settings("this plugin takes no settings")
    return LoadedPlugin(name, source, found() if isinstance(found, type) else found, options)


def _unused_tables(settings: Settings, loaded: list[str]) -> list[Problem]:
    problems = []
    for name in settings.plugin:
        if name not in loaded:
            message = "no plugin of that name is loaded; list it in plugins, or remove the table"
            problems.append(
                Problem(settings.file, f"plugin.{name}", message, nearest=near_names(name, loaded))
            )
    return problems


def _problem(settings: Settings, key: str, message: str) -> Problem:
    return Problem(settings.file, key, message)
