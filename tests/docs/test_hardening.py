"""The page about attacks names settings and tests that exist, with the defaults in force."""

import ast
import re

import pytest

from tests.docs.pages import ROOT
from tests.live.test_scanners import DIFFERENCES

PAGE = (ROOT / "docs/hardening.md").read_text(encoding="utf-8")
CONFIGURATION = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
NAMED_TESTS = re.findall(r"`(\w+): (test_\w+)`", PAGE)
NAMED_SETTINGS = re.findall(r"`(smtp|tls|listen|queue)\.(\w+)` (`[^`]*`|none)", PAGE)


def default(section: str, key: str) -> str:
    """The default of a setting as the page made from the code has it."""
    of_section = re.split(rf"^## `\[+{section}\]+`$", CONFIGURATION, flags=re.MULTILINE)[1].partition(
        "\n## "
    )[0]
    found = re.search(rf"^\| `{key}` \| [^|]* \| ([^|]*) \|", of_section, re.MULTILINE)
    assert found, f"there is no {section}.{key}"
    return found[1].strip()


def test_the_page_names_tests_and_settings() -> None:
    assert len(NAMED_TESTS) > 40
    assert len(NAMED_SETTINGS) > 20


@pytest.mark.parametrize(("place", "name"), NAMED_TESTS, ids=[name for _, name in NAMED_TESTS])
def test_named_tests_exist(place: str, name: str) -> None:
    pattern = f"hardening/test_{place}_*.py" if len(place) == 1 else f"{place}/test_*.py"
    files = list((ROOT / "tests").glob(pattern))
    assert files
    defined = {
        node.name
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert name in defined


@pytest.mark.parametrize(
    ("section", "key", "shown"),
    NAMED_SETTINGS,
    ids=[f"{section}.{key}" for section, key, _ in NAMED_SETTINGS],
)
def test_named_settings_have_the_defaults_that_are_shown(section: str, key: str, shown: str) -> None:
    assert default(section, key) == shown


def test_every_limit_of_receiving_mail_is_named() -> None:
    of_smtp = CONFIGURATION.partition("## `[smtp]`")[2].partition("\n## ")[0]
    limits = set(re.findall(r"^\| `((?:max|min)_\w+)` ", of_smtp, re.MULTILINE))
    elsewhere = {"max_messages", "min_deliver_by", "max_future_release"}  # offers, not defences
    assert limits - elsewhere <= {key for section, key, _ in NAMED_SETTINGS if section == "smtp"}


def test_differences_from_aiosmtpd_are_all_listed() -> None:
    for name, reason in DIFFERENCES.items():
        assert f"| `{name}` | {reason} |" in PAGE
