"""The public API: each name is where the type checkers see it, and none comes before it is asked for."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import harakapy


def _seen_by_type_checkers() -> dict[str, str]:
    tree = ast.parse(Path(harakapy.__file__).read_text(encoding="utf-8"))
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: node.module or "" for node in imports for alias in node.names}


def test_names_are_the_same_for_type_checkers_and_for_python() -> None:
    assert _seen_by_type_checkers() == harakapy._HOMES
    assert sorted(harakapy.__all__) == sorted(harakapy._HOMES)
    assert set(harakapy.__all__) <= set(dir(harakapy))


@pytest.mark.parametrize("name", harakapy.__all__)
def test_a_name_is_what_is_defined_in_its_home(name: str) -> None:
    assert getattr(harakapy, name) is getattr(import_module(harakapy._HOMES[name]), name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Servr'"):
        getattr(harakapy, "Servr")  # noqa: B009  # mypy knows that it is not there


def test_harakapy_alone_imports_nothing_of_itself() -> None:
    code = "import sys, harakapy; print([name for name in sys.modules if name.startswith('harakapy.')])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
