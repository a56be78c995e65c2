"""`harakapy hooks`: the order in which plugins are asked."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harakapy.cli.main import main
from harakapy.hooks.registry import hook_specs

PLUGIN = """
from harakapy import hookimpl

@hookimpl(trylast=True, timeout_s=0)
def hook_rcpt(): ...

@hookimpl(specname="hook_rcpt", around=True)
async def around(*, proceed):
    return await proceed()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(PLUGIN)
    file = tmp_path / "harakapy.toml"
    file.write_text(
        "plugins = ['mine.py', 'rcpt_to_in_host_list', 'queue_discard']\n"
        "[plugin.rcpt_to_in_host_list]\nhook_timeout = '1m'\n"
    )
    return file


def rows(*arguments: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(main, ["hooks", "--json", *arguments])
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def test_each_hook_has_its_functions_in_their_order(file: Path) -> None:
    found = [row for row in rows("-c", str(file)) if row["hook"] == "rcpt"]
    assert [(row["plugin"], row["function"], row["role"], row["timeout"]) for row in found] == [
        ("mine", "around", "around", 30.0),
        ("rcpt_to_in_host_list", "RcptToInHostList.hook_rcpt", "inner", 60.0),
        ("mine", "hook_rcpt", "inner", None),
    ]


def test_all_names_also_hooks_that_nobody_implements(file: Path) -> None:
    found = rows("-c", str(file), "--all")
    assert list(dict.fromkeys(row["hook"] for row in found)) == list(hook_specs())
    assert {row["plugin"] for row in found if row["hook"] == "noop"} == {None}


def test_the_table_has_the_same_as_json(file: Path) -> None:
    result = CliRunner().invoke(main, ["hooks", "-c", str(file)])
    head, *lines = result.stdout.splitlines()
    assert head.split() == ["HOOK", "PLUGIN", "FUNCTION", "ROLE", "TIMEOUT"]
    assert [line.split()[:3] for line in lines] == [
        [row["hook"], row["plugin"], row["function"]] for row in rows("-c", str(file))
    ]
    assert "60" in result.stdout.split()
    assert "-" in result.stdout.split()


def test_without_a_file_they_are_those_of_serve_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert {row["plugin"] for row in rows()} == {"rcpt_to_in_host_list", "queue_maildir"}
