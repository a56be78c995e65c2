"""Every example is run or loaded: programs run, plugins register, settings load, commands exist."""

import ast
import configparser
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from harakapy import Server, Settings
from harakapy.cli.configuration import load_settings
from harakapy.cli.main import main
from harakapy.hooks import find_plugin
from harakapy.log import silent_logger
from harakapy.net import Endpoint
from tests.docs.pages import PAGES, ROOT, Block, all_blocks, blocks_of
from tests.docs.test_played import PLAYED, is_played
from tests.served import PATIENCE_S, environment

LANGUAGES = {"python", "toml", "sh", "console", "ini", "text"}
PROGRAMS = {"python", "python3", "pip", "harakapy", "nox", "cd", "ln", "cp", "sqlite3", "pass", "journalctl"}
"""What examples may call: programs that the pages have made sure of, or that are on any machine they fit."""


def unplayed(*languages: str) -> list[Block]:
    """The blocks that are not played with the rest of their page."""
    return [block for block in all_blocks(*languages) if block.page not in PLAYED or not is_played(block)]


def test_every_block_names_a_language_that_is_tested() -> None:
    for page in PAGES:
        for block in blocks_of(page):
            assert block.language in LANGUAGES, str(block)


@pytest.mark.parametrize("block", unplayed("python"), ids=str)
def test_python(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    if re.match(r"hook_\w+\(.*\) -> ", block.text):
        ast.parse(f"def {block.text.strip()}: ...")  # the signature of a hook, in the reference
    elif block.title.startswith("test_"):
        _passes_as_test(block, tmp_path)
    elif "__main__" in block.text:
        (tmp_path / "program.py").write_text(block.text, encoding="utf-8")
        runpy.run_path(str(tmp_path / "program.py"), run_name="__main__")
    else:
        _registers(block, tmp_path)


def _passes_as_test(block: Block, folder: Path) -> None:
    (folder / block.title).write_text(block.text, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\ntrio_mode = true\n", encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert result.returncode == 0, result.stdout


def _registers(block: Block, folder: Path) -> None:
    """Load each plugin of the block into a server; the file system wants one plugin a file."""
    tree = ast.parse(block.text)
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    plugins = [name for name in classes if not name.endswith("Config")]
    (folder / "example.py").write_text(block.text, encoding="utf-8")
    if plugins:
        namespace = runpy.run_path(str(folder / "example.py"))
        found = [namespace[name] for name in plugins]
    else:
        found = [find_plugin("example.py", folder)[1]]
    settings = Settings.default(state_dir=str(folder))
    server = Server(settings, plugins=found, log=silent_logger())
    assert any(chain for chain in server.hooks.chains)


@pytest.mark.parametrize("block", unplayed("toml"), ids=str)
def test_toml(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings load, and so do those of the plugins; plugins that are not installed are left out."""
    for variable in re.findall(r'\{ env = "(\w+)" \}', block.text):
        monkeypatch.setenv(variable, "secret")
    for other in blocks_of(block.page):
        if other.title:
            (tmp_path / other.title).write_text(other.text, encoding="utf-8")
    (tmp_path / "host_list").write_text("")
    (tmp_path / "users").write_text("")
    file = tmp_path / "harakapy.toml"
    text = block.text.replace('"example", ', "").partition("[plugin.example]")[0]
    file.write_text(text, encoding="utf-8")
    settings = load_settings(file)
    if "plugins" in tomllib.loads(text):
        Server(settings, log=silent_logger())


@pytest.mark.parametrize("block", unplayed("sh"), ids=str)
def test_sh(block: Block) -> None:
    for line in block.text.splitlines():
        _line_exists(line)


@pytest.mark.parametrize("block", unplayed("console"), ids=str)
def test_console(block: Block) -> None:
    """Lines behind a prompt are commands, the others what they write."""
    lines = [line.removeprefix("$ ") for line in block.text.splitlines() if line.startswith("$ ")]
    assert lines
    for line in lines:
        _line_exists(line)


def _line_exists(line: str) -> None:
    for command in re.split(r" && | \| ", line.partition(" #")[0]):
        _exists(shlex.split(re.sub(r" (<|>>?) \S+", "", command)))


@pytest.mark.parametrize("block", unplayed("ini"), ids=str)
def test_ini(block: Block) -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # its way to keep the case of keys
    unit.read_string(block.text)
    if unit.has_section("Socket"):
        Endpoint.parse(f"systemd:{unit['Socket']['FileDescriptorName']}")
    else:
        _exists(shlex.split(unit["Service"]["ExecStart"]))


def _exists(words: list[str]) -> None:
    """Whether a command is one that can be given; those of harakapy are parsed by itself."""
    program = Path(words[0]).name
    assert program in PROGRAMS, words
    if program == "harakapy":
        with click.Context(main) as context:
            command: click.Command | None = main
            rest = words[1:]
            while isinstance(command, click.Group) and rest:
                command = command.get_command(context, rest.pop(0))
            assert command is not None, words
            if not isinstance(command, click.Group):
                command.make_context(command.name, rest)


def test_commands_in_prose_exist() -> None:
    named = 0
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for words in re.findall(r"`harakapy ([a-z][^`\n]*)`", text):
            _exists(["harakapy", *shlex.split(words)])
            named += 1
    assert named > 5


def test_the_commands_of_the_readme_begin_at_nothing() -> None:
    first, second = [block.text for block in blocks_of(ROOT / "README.md") if block.language == "sh"]
    assert first.startswith("python3 -m venv .venv && .venv/bin/pip install . && ")
    assert second.startswith("python3 -m venv .venv && ")
    assert os.access(ROOT / ".ci/run", os.X_OK)
