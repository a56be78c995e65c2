"""`harakapy plugins`: what is installed and what is enabled."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harakapy.cli.main import main


def rows(*arguments: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(main, ["plugins", "--json", *arguments])
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "harakapy.toml"
    file.write_text("plugins = ['queue_discard', 'mine.py', 'rcpt_to_in_host_list']\n")
    return file


def test_those_enabled_come_first_and_in_their_order(file: Path) -> None:
    found = rows("-c", str(file))
    assert [(row["name"], row["enabled"]) for row in found[:3]] == [
        ("queue_discard", 1),
        ("mine.py", 2),
        ("rcpt_to_in_host_list", 3),
    ]
    others = [row["name"] for row in found[3:]]
    assert "queue_maildir" in others
    assert others == sorted(others)
    assert all(row["enabled"] is None for row in found[3:])


def test_each_has_its_version_and_where_it_is_from(file: Path) -> None:
    first, mine = rows("-c", str(file))[:2]
    assert first["package"] == "harakapy"
    assert first["version"] == version("harakapy")
    assert first["target"] == "harakapy.plugins.queue_discard:QueueDiscard"
    assert mine["package"] is None


def test_without_a_file_those_of_serve_without_one_are_enabled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    enabled = [row["name"] for row in rows() if row["enabled"]]
    assert enabled == ["rcpt_to_in_host_list", "queue_maildir"]


def test_the_table_has_the_same_as_json(file: Path) -> None:
    result = CliRunner().invoke(main, ["plugins", "-c", str(file)])
    head, *lines = result.stdout.splitlines()
    assert head.split() == ["NAME", "ENABLED", "VERSION", "PACKAGE", "TARGET"]
    assert [line.split()[0] for line in lines] == [row["name"] for row in rows("-c", str(file))]
    assert lines[1].split() == ["mine.py", "2", "-", "-", "-"]


def test_a_broken_file_is_told(file: Path) -> None:
    file.write_text("plugin = []\n")
    result = CliRunner().invoke(main, ["plugins", "-c", str(file)])
    assert result.exit_code == 1
    assert str(file) in result.output
