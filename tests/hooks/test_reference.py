import re

import pytest

from harakapy.hooks import Action, HookSpec, hook_specs
from harakapy.hooks.reference import CHAPTERS, render_reference

PAGE = render_reference()
SPECS = hook_specs()


def section(spec: HookSpec) -> str:
    found = re.search(rf"^### hook_{spec.name}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def test_every_hook_has_a_section_in_the_order_of_the_manual() -> None:
    assert re.findall(r"^### hook_(\w+)$", PAGE, re.MULTILINE) == list(SPECS)


def test_chapters_begin_with_a_hook_that_exists() -> None:
    assert set(CHAPTERS) <= set(SPECS)
    assert re.findall(r"^## (The life .*)$", PAGE, re.MULTILINE) == list(CHAPTERS.values())


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_section_has_the_signature_and_a_row_for_each_argument_and_verdict(spec: HookSpec) -> None:
    text = section(spec)
    assert re.search(rf"```python\n{spec.function_name}\({spec.arguments[0]}: \w+.*\) -> .*\n```", text)
    for argument in spec.arguments:
        assert f"\n| `{argument}` | " in text
    for action in spec.accepts - {Action.CONT}:
        assert f"`{action.name}` |" in text or f"`{action.name}(" in text
    for line in ("Kind", "If a plugin is at fault", "Not known yet", "Source", "In Haraka"):
        assert f"\n- {line}: " in text


def test_every_link_leads_to_a_section() -> None:
    targets = set(re.findall(r"\]\(#(\w+)\)", PAGE))
    assert targets
    assert targets <= {spec.function_name for spec in SPECS.values()}


def test_tables_have_two_columns_everywhere() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("|")]
    assert rows
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 3 for row in rows)


def test_every_verdict_is_explained() -> None:
    for action in Action:
        assert f"| `{action.name}` | {action.value} |" in PAGE


def test_the_page_is_a_text_file() -> None:
    assert PAGE.endswith("\n")
    assert not PAGE.endswith("\n\n")
    assert "\n\n\n" not in PAGE.replace("\n\n\nclass", "\n\nclass")
    assert not re.search(r"[ \t]$", PAGE, re.MULTILINE)
