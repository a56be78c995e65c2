"""Finding plugins: as entry points of a distribution installed for the test, in modules, and in files."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harakapy.hooks import (
    GROUP,
    InstalledPlugin,
    Plugin,
    PluginNotFound,
    find_plugin,
    installed_plugins,
    plugin_name,
)

GREYLIST = """
from harakapy.hooks import DENYSOFT, Plugin, hookimpl

class Greylist(Plugin):
    @hookimpl
    def hook_rcpt(self):
        return DENYSOFT("4.7.1 come back later")

class PlainList:
    @hookimpl
    def hook_rcpt(self):
        return DENYSOFT
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages; what is imported from it is forgotten again."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    known = set(sys.modules)
    yield folder
    for name in set(sys.modules) - known:
        del sys.modules[name]
    importlib.invalidate_caches()


def install(site: Path, package: str, version: str, points: dict[str, str], **modules: str) -> None:
    for name, text in modules.items():
        (site / f"{name}.py").write_text(text)
    info = site / f"{package.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    lines = [f"{name} = {target}" for name, target in points.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))
    importlib.invalidate_caches()


@pytest.fixture
def greylist(site: Path) -> Path:
    points = {"greylist": "harakapy_greylist:Greylist", "greylist_module": "harakapy_greylist"}
    install(site, "harakapy-greylist", "1.2", points, harakapy_greylist=GREYLIST)
    return site


def problem_with(name: str, folder: Path) -> str:
    with pytest.raises(PluginNotFound) as caught:
        find_plugin(name, folder)
    assert caught.value.name == name
    prefix = f"plugin {name!r}: "
    assert str(caught.value).startswith(prefix)
    return str(caught.value).removeprefix(prefix)


def is_plugin_class(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, Plugin)


# Entry points.


def test_an_entry_point_is_found_by_its_name(greylist: Path) -> None:
    name, found = find_plugin("greylist", greylist)
    assert name == "greylist"
    assert is_plugin_class(found)


def test_an_entry_point_may_name_a_module(greylist: Path) -> None:
    name, found = find_plugin("greylist_module", greylist)
    assert name == "greylist_module"
    assert isinstance(found, ModuleType)


def test_installed_plugins_are_listed_with_their_package_and_not_imported(greylist: Path) -> None:
    install(greylist, "another", "0.1", {"a_plugin": "no_such_module"})
    assert [each for each in installed_plugins() if each.package in ("another", "harakapy-greylist")] == [
        InstalledPlugin("a_plugin", "no_such_module", "another", "0.1"),
        InstalledPlugin("greylist", "harakapy_greylist:Greylist", "harakapy-greylist", "1.2"),
        InstalledPlugin("greylist_module", "harakapy_greylist", "harakapy-greylist", "1.2"),
    ]
    assert "harakapy_greylist" not in sys.modules


def test_an_unknown_name_is_answered_with_the_nearest_and_the_package_to_install(greylist: Path) -> None:
    problem = problem_with("graylist", greylist)
    assert problem.startswith("no installed package has a plugin of that name; did you mean greylist")
    assert problem.endswith("; if it is a package of its own: pip install harakapy-graylist")


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("rspamd", "harakapy-rspamd"),
        ("harakapy-rspamd", "harakapy-rspamd"),
        ("dns_lists", "harakapy-dns-lists"),
    ],
)
def test_the_package_to_install_is_named_after_the_plugin(tmp_path: Path, name: str, package: str) -> None:
    assert problem_with(name, tmp_path).endswith(f"pip install {package}")


@pytest.mark.parametrize("name", ["no.such.plugin", "rm -rf", "../evil", ""])
def test_what_looks_like_no_package_is_not_advised(tmp_path: Path, name: str) -> None:
    assert "pip install" not in problem_with(name, tmp_path)


def test_an_entry_point_that_cannot_be_imported_names_its_package(site: Path) -> None:
    points = {"broken": "harakapy_broken:Plugin"}
    install(site, "harakapy-broken", "1", points, harakapy_broken="import no_such_library")
    assert problem_with("broken", site) == (
        "importing harakapy_broken:Plugin of harakapy-broken failed: "
        "ModuleNotFoundError: No module named 'no_such_library'"
    )


def test_two_packages_with_a_plugin_of_the_same_name_are_told(greylist: Path) -> None:
    install(greylist, "imposter", "1", {"greylist": "imposter:Greylist"})
    problem = problem_with("greylist", greylist)
    assert problem.startswith("several packages have a plugin of that name: ")
    assert "harakapy_greylist:Greylist" in problem
    assert "imposter:Greylist" in problem


# Objects in modules.


def test_an_object_is_found_in_its_module(greylist: Path) -> None:
    name, found = find_plugin("harakapy_greylist:Greylist", greylist)
    assert name == "greylist"
    assert is_plugin_class(found)


def test_an_object_that_is_not_there_is_answered_with_the_nearest(greylist: Path) -> None:
    problem = problem_with("harakapy_greylist:Graylist", greylist)
    assert problem == "harakapy_greylist has no 'Graylist'; did you mean Greylist?"


@pytest.mark.parametrize("name", ["no_such_module:Plugin", ":Plugin", "harakapy_greylist:"])
def test_a_module_or_object_that_is_not_there_is_told(greylist: Path, name: str) -> None:
    assert problem_with(name, greylist)


def test_a_module_that_fails_is_told(site: Path) -> None:
    (site / "failing_module.py").write_text("1 / 0")
    problem = problem_with("failing_module:Plugin", site)
    assert problem == "importing failing_module failed: ZeroDivisionError: division by zero"


def test_the_name_of_a_plugin_given_as_itself(greylist: Path) -> None:
    module = importlib.import_module("harakapy_greylist")
    found: list[Any] = [module, module.Greylist, module.Greylist(), module.PlainList, module.PlainList()]
    names = [plugin_name(each) for each in found]
    assert names == ["harakapy_greylist", "greylist", "greylist", "plain_list", "plain_list"]


# Files.

IMPORT = "from harakapy.hooks import Plugin, hookimpl\n"
FUNCTION = IMPORT + "@hookimpl\ndef hook_rcpt(): ...\n"
PLUGIN_CLASS = IMPORT + "class Mine(Plugin): ...\n"
PLAIN_CLASS = IMPORT + "class Mine:\n    @hookimpl\n    def hook_rcpt(self): ...\n"
STATIC_CLASS = PLAIN_CLASS.replace("    @hookimpl", "    @hookimpl\n    @staticmethod").replace("self", "")
DERIVED_CLASS = PLUGIN_CLASS.replace("Mine", "Base") + "class Mine(Base): ...\n"


@pytest.mark.parametrize("text", [PLUGIN_CLASS, PLAIN_CLASS, STATIC_CLASS, DERIVED_CLASS])
def test_a_file_gives_the_plugin_class_that_it_defines(tmp_path: Path, text: str) -> None:
    (tmp_path / "my_plugin.py").write_text(text)
    name, found = find_plugin("my_plugin.py", tmp_path)
    assert name == "my_plugin"
    assert isinstance(found, type)
    assert found.__name__ == "Mine"


def test_a_file_with_functions_is_itself_the_plugin(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "my_plugin.py").write_text(FUNCTION)
    name, found = find_plugin("plugins/my_plugin.py", tmp_path)
    assert name == "my_plugin"
    assert isinstance(found, ModuleType)
    assert found.hook_rcpt


def test_a_file_may_be_given_by_its_whole_path(tmp_path: Path) -> None:
    path = tmp_path / "my_plugin.py"
    path.write_text(FUNCTION)
    assert find_plugin(str(path), Path("/elsewhere"))[0] == "my_plugin"


def test_a_file_with_dataclasses_can_be_run(tmp_path: Path) -> None:
    head = "from __future__ import annotations\nfrom dataclasses import dataclass\n"
    (tmp_path / "my_plugin.py").write_text(head + "@dataclass\nclass Entry:\n    age: int\n" + FUNCTION)
    assert find_plugin("my_plugin.py", tmp_path)[0] == "my_plugin"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the file has no function under @hookimpl, and no class with one"),
        ("def hook_rcpt(): ...", "the file has no function under @hookimpl, and no class with one"),
        (
            PLUGIN_CLASS + "class Other(Plugin): ...",
            "several plugins (Mine, Other); give each a file of its own",
        ),
        (PLUGIN_CLASS + FUNCTION, "the file has several plugins (Mine, functions)"),
        ("1 / 0", "failed: ZeroDivisionError: division by zero"),
        ("def hook_rcpt(:", "failed: SyntaxError: invalid syntax"),
    ],
)
def test_a_file_that_is_no_plugin_is_told(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "my_plugin.py").write_text(text)
    assert problem in problem_with("my_plugin.py", tmp_path)


def test_a_file_that_is_not_there_is_told_with_its_whole_path(tmp_path: Path) -> None:
    assert problem_with("my_plugin.py", tmp_path) == f"there is no file {tmp_path / 'my_plugin.py'}"
