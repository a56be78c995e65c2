"""The page on the plugins that come with harakapy: every plugin, its settings, and examples that work."""

import importlib.metadata
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from harakapy import Address, Plugin, Server, Settings
from harakapy.config.reference import reference_markdown
from harakapy.log import silent_logger
from harakapy.plugins.queue_maildir import Layout

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
EXAMPLES = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SHIPPED = {
    point.name: point
    for point in importlib.metadata.entry_points(group="harakapy.plugins")
    if point.value.startswith("harakapy.")
}


def plugin_class(name: str) -> type[Plugin[Any]]:
    found: type[Plugin[Any]] = SHIPPED[name].load()
    return found


def test_every_plugin_has_a_section_and_a_line_in_the_overview() -> None:
    files = (Path(__file__).parents[2] / "harakapy" / "plugins").glob("[a-z]*.py")
    assert set(SECTIONS) == set(SHIPPED) == {path.stem for path in files}
    assert re.findall(r"^\| \[(\w+)\]\(#\1\) \|", PAGE, re.MULTILINE) == list(SECTIONS)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_table_of_settings_is_that_of_the_model(name: str) -> None:
    assert reference_markdown(plugin_class(name).Config) in SECTIONS[name]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_setting_has_a_description(name: str) -> None:
    fields = plugin_class(name).Config.model_fields
    assert fields
    assert all(field.description for field in fields.values())


@pytest.mark.parametrize("name", SHIPPED)
def test_a_section_has_an_example_and_names_the_counterpart(name: str) -> None:
    [example] = re.findall(r"^```toml\n(.*?)^```", SECTIONS[name], re.MULTILINE | re.DOTALL)
    assert name in tomllib.loads(example)["plugin"]
    assert "*Haraka:*" in SECTIONS[name]
    assert re.search(r"Hooks?:", plugin_class(name).__doc__ or "")
    assert "Haraka's counterpart:" in (plugin_class(name).__doc__ or "")


@pytest.mark.parametrize("name", SHIPPED)
def test_the_overview_names_the_hooks(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "users").touch()
    line = next(line for line in PAGE.splitlines() if line.startswith(f"| [{name}]"))
    named = line.split("|")[3].strip()
    server = Server(
        Settings.default(listen=[], state_dir=str(tmp_path)),
        plugins=[plugin_class(name)()],
        log=silent_logger(),
    )
    hooks = {chain.spec.name for chain in server.hooks.chains if chain}
    assert named == "those that are set" or set(named.split(", ")) == hooks


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_every_example_is_a_working_configuration(example: str, tmp_path: Path) -> None:
    [host_list] = re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "host_list").write_text(host_list, encoding="utf-8")
    (tmp_path / "users").touch()
    settings = Settings.of(tomllib.loads(example), source=tmp_path / "harakapy.toml")
    server = Server(settings, log=silent_logger())
    assert [loaded.name for loaded in server.plugins] == list(settings.plugins)


def test_the_names_of_maildirs_are_as_shown() -> None:
    rows = re.findall(r"^\| `(\S+)` \| `([^`]+@[^`]+)` \|$", SECTIONS["queue_maildir"], re.MULTILINE)
    assert len(rows) == 5
    layout = Layout(Path("/state"), "{recipient}", "mx.test")
    assert [(address, layout.maildir(Address.parse(address)).name) for address, _ in rows] == rows
