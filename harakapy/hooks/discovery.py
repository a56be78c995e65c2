"""Finding plugins: entry points of installed packages, files, and objects in importable modules.

The configuration's ``plugins`` list names what is loaded; a plugin that is installed but not listed is
not even imported.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
import sys
from importlib.metadata import EntryPoints
from pathlib import Path
from types import ModuleType

from msgspec import Struct

from harakapy.config import did_you_mean, near_names
from harakapy.hooks.marker import ImplOptions
from harakapy.hooks.plugin import Plugin

GROUP = "harakapy.plugins"
"""The entry point group in which packages announce their plugins."""


class PluginNotFound(Exception):
    """A listed plugin cannot be loaded; the message says what to do. Attribute ``name``."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"plugin {name!r}: {problem}")
        self.name = name


class InstalledPlugin(Struct, frozen=True):
    """An entry point: the plugin's name, what it points to, and the package it came with."""

    name: str
    target: str
    package: str
    version: str


def installed_plugins() -> list[InstalledPlugin]:
    """All plugins that installed packages announce, by name; none is imported."""
    found = (
        InstalledPlugin(
            point.name,
            point.value,
            point.dist.name if point.dist else "",
            point.dist.version if point.dist else "",
        )
        for point in announced_plugins()
    )
    return sorted(set(found), key=lambda plugin: (plugin.name, plugin.package))


def announced_plugins() -> EntryPoints:
    """The entry points of all plugins. To find them, a file of each installed package is read."""
    return importlib.metadata.entry_points(group=GROUP)


def find_plugin(name: str, directory: Path, announced: EntryPoints | None = None) -> tuple[str, object]:
    """Import what an item of the ``plugins`` list names.

    ``announced`` are the `announced_plugins`, for who looks for several. Gives the plugin's short name, which
    its settings table goes by, and the module, class or object. The item is the name of an entry point,
    ``package.module:Object``, or the path of a Python file, relative to ``directory``. Raises PluginNotFound.
    """
    if name.endswith(".py"):
        return Path(name).stem, _from_file(name, directory)
    if ":" in name:
        found = _from_module(name)
        return plugin_name(found), found
    return name, _from_entry_point(name, announced_plugins() if announced is None else announced)


def _from_entry_point(name: str, announced: EntryPoints) -> object:
    points = {point.value: point for point in announced.select(name=name)}
    if not points:
        raise PluginNotFound(name, _not_installed(name))
    if len(points) > 1:
        raise PluginNotFound(name, f"several packages have a plugin of that name: {', '.join(points)}")
    point = next(iter(points.values()))
    try:
        return point.load()
    except Exception as error:
        package = point.dist.name if point.dist else "its package"
        raise PluginNotFound(name, f"importing {point.value} of {package} failed: {_told(error)}") from error


def _not_installed(name: str) -> str:
    hint = did_you_mean(near_names(name, [plugin.name for plugin in installed_plugins()]))
    advice = [hint] if hint else []
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        package = name if name.startswith("harakapy-") else f"harakapy-{name.replace('_', '-')}"
        advice.append(f"if it is a package of its own: pip install {package}")
    return "; ".join(["no installed package has a plugin of that name", *advice])


def _from_module(name: str) -> object:
    module_name, _, path = name.partition(":")
    try:
        found: object = importlib.import_module(module_name)
    except Exception as error:
        raise PluginNotFound(name, f"importing {module_name} failed: {_told(error)}") from error
    for attribute in path.split("."):
        if not hasattr(found, attribute):
            hint = did_you_mean(
                near_names(attribute, [known for known in vars(found) if not known.startswith("_")])
            )
            raise PluginNotFound(name, f"{module_name} has no {attribute!r}{hint and '; ' + hint}")
        found = getattr(found, attribute)
    return found


def _from_file(name: str, directory: Path) -> object:
    path = directory / name
    if not path.is_file():
        raise PluginNotFound(name, f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"harakapy_plugin_file.{path.stem}", path)
    if spec is None or spec.loader is None:
        raise PluginNotFound(name, f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickling look a class's module up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise PluginNotFound(name, f"running {path} failed: {_told(error)}") from error
    return _only_plugin(name, module)


def _only_plugin(name: str, module: ModuleType) -> object:
    """The one plugin that a file defines: a class, or the module itself with its functions."""
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and (issubclass(value, Plugin) or _has_marks(value))
    ]
    bases = {base for found in classes for base in found.__mro__[1:]}
    plugins: list[type | ModuleType] = [found for found in classes if found not in bases]
    if _has_marks(module):
        plugins.append(module)
    if not plugins:
        raise PluginNotFound(name, "the file has no function under @hookimpl, and no class with one")
    if len(plugins) > 1:
        names = ", ".join("functions" if found is module else found.__name__ for found in plugins)
        raise PluginNotFound(name, f"the file has several plugins ({names}); give each a file of its own")
    return plugins[0]


def _has_marks(holder: type | ModuleType) -> bool:
    members = (getattr(member, "__func__", member) for member in vars(holder).values())
    return any(isinstance(getattr(member, "harakapy_options", None), ImplOptions) for member in members)


def plugin_name(found: object) -> str:
    """The short name of a plugin that is given as a module, a class or an instance."""
    if isinstance(found, Plugin) or (isinstance(found, type) and issubclass(found, Plugin)):
        return found.name
    if isinstance(found, ModuleType):
        return found.__name__.rpartition(".")[2]
    name = found.__name__ if isinstance(found, type) else type(found).__name__
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
