"""What Python's re does wrong in a version that we support is not used.

CPython before 3.11.5, and so Debian 12, repeats a group possessively, as in ``(?:[.-][a-z]++)*+``, without
taking back what a last, failed repetition has matched: ``example.com.`` matches ``[a-z]++(?:[.-][a-z]++)*+``
with the dot (gh-106052). Atomic groups, ``(?>(?:...)*)``, mean the same and are right.
"""

import ast
import re
from pathlib import Path

import pytest

from harakapy.smtp.command import parse_command
from harakapy.smtp.verbs import Rcpt

ROOT = Path(__file__).parent.parent
POSSESSIVE_GROUP = re.compile(r"\)(?:[*+?]|\{[0-9,]+\})\+")


def strings(tree: ast.AST) -> list[str]:
    """All constants of a module that may be part of an expression."""
    constants = [each.value for each in ast.walk(tree) if isinstance(each, ast.Constant)]
    octets = [each.decode("latin-1") for each in constants if isinstance(each, bytes)]
    return octets + [each for each in constants if isinstance(each, str)]


def documentation(tree: ast.AST) -> set[str | None]:
    places = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {ast.get_docstring(each, clean=False) for each in ast.walk(tree) if isinstance(each, places)}


@pytest.mark.parametrize("folder", ["harakapy", "contrib_plugins"])
def test_no_group_is_repeated_possessively(folder: str) -> None:
    found = []
    for path in (ROOT / folder).rglob("*.py"):
        tree = ast.parse(path.read_text())
        told = documentation(tree)
        found += [
            f"{path.relative_to(ROOT)}: {text}"
            for text in strings(tree)
            if text not in told and POSSESSIVE_GROUP.search(text)
        ]
    assert found == []


def test_such_a_group_is_found() -> None:
    tree = ast.parse("""a = re.compile(rb"([a-z]++(?:[.-][a-z]++)*+)")""")
    assert any(map(POSSESSIVE_GROUP.search, strings(tree)))


def test_a_domain_with_a_final_dot_is_the_domain() -> None:
    command = parse_command(b"RCPT TO:<a@EXAMPLE.com.>")
    assert isinstance(command, Rcpt)
    assert command.recipient.host == "example.com"
