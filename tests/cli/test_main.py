"""The `harakapy` command: help, version, and that what is printed is true."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from harakapy.cli.main import COMMANDS, main
from tests.served import run


def test_help_lists_every_command() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for name, summary in COMMANDS.items():
        assert name in result.output
        assert summary in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_that_begins_as_in_the_list(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.name == name
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: main {name}")
    assert len(command.get_short_help_str(200)) > 20
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"{name} {option.name}"


def test_help_does_not_import_the_server() -> None:
    code = "import sys, harakapy.cli.main as m; m.main(['--help'], standalone_mode=False); "
    code += "print([name for name in sys.modules if name.startswith('harakapy.cli')])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "harakapy.cli.serve" not in result.stdout


def test_an_unknown_command_is_wrong_use() -> None:
    result = CliRunner().invoke(main, ["sreve"])
    assert result.exit_code == 2
    assert "sreve" in result.output


def test_version_is_that_of_the_package(tmp_path: Path) -> None:
    result = run(tmp_path, "--version")
    assert result.stdout == f"harakapy {version('harakapy')}\n"


def test_the_readme_and_the_command_agree_on_the_commands() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"harakapy {name}" in readme
