"""What the documentation must be complete about: hooks, settings, plugins, fields of the log."""

import json
import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

from harakapy import Settings
from harakapy.cli.main import COMMANDS
from harakapy.config.schema import leaves
from harakapy.hooks.registry import hook_specs
from tests.docs.pages import ROOT, blocks_of
from tests.process.test_serve import MAILDIR, MESSAGE
from tests.served import serving

README = (ROOT / "README.md").read_text(encoding="utf-8")
OPERATORS = (ROOT / "docs/operators.md").read_text(encoding="utf-8")


def test_generated_pages_are_up_to_date() -> None:
    pages: dict[str, str] = runpy.run_path(str(ROOT / "docs/generate.py"))["pages"]()
    outdated = [name for name, text in pages.items() if (ROOT / "docs" / name).read_text("utf-8") != text]
    assert not outdated, "run python docs/generate.py"


def test_every_hook_is_documented() -> None:
    page = (ROOT / "docs/hooks.md").read_text(encoding="utf-8")
    specs = hook_specs()
    assert len(specs) >= 34
    for spec in specs.values():
        assert f"\n### {spec.function_name}\n" in page


def test_every_setting_is_documented() -> None:
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    for place, _ in leaves(Settings):
        table = ".".join(map(str, place))
        assert f"| `{place[-1]}` |" in page or f"[{table}]" in page or f"[{table}.NAME]" in page, place


def test_every_setting_that_the_operators_guide_names_exists() -> None:
    known = {".".join(part for part in place if isinstance(part, str)) for place, _ in leaves(Settings)}
    for section in ("smtp", "log", "outbound", "queue"):
        named = set(re.findall(rf"`({section}(?:\.\w+)+)`", OPERATORS)) - {"queue.db"}
        assert named
        assert named <= known


def test_every_limit_is_in_the_operators_guide() -> None:
    limits = [place for place, _ in leaves(Settings) if place[0] in ("smtp", "outbound", "queue")]
    keys = [".".join(map(str, place)) for place in limits if place[:2] != ("outbound", "route")]
    wanted = [key for key in keys if re.search(r"\.(max_\w+|min_free_\w+|\w+_timeout)$", key)]
    assert len(wanted) > 30
    for key in wanted:
        assert f"`{key}`" in OPERATORS


def test_every_command_is_in_the_readme() -> None:
    for name in COMMANDS:
        assert f"\n| `harakapy {name}" in README


def test_every_plugin_that_is_shipped_is_documented() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")
    for name in project["entry-points"]["harakapy.plugins"]:
        assert name in page


def test_every_field_of_the_summary_lines_is_documented(tmp_path: Path) -> None:
    with serving(tmp_path, MAILDIR + "[log]\nformat = 'json'\n", ready=False) as served:
        listening = json.loads(served.wait_for_log('"listening"'))
        served.port = int(str(listening["address"]).rpartition(":")[2].strip("']"))
        with served.client() as client:
            client.sendmail("a@client.test", ["user@example.com", "b@example.org"], MESSAGE)
            client.sendmail("a@client.test", ["user@example.com"], "a\nb")
            client.mail("a@client.test")
            client.rcpt("b@example.org")
            assert client.docmd("DATA")[0] == 554
        served.process.terminate()
        served.wait_stopped()
        lines: list[dict[str, Any]] = [json.loads(line) for line in served.log()]
    for event in ("message", "connection"):
        fields = {field for line in lines if line["event"] == event for field in line}
        assert len(fields) > 8
        section = OPERATORS.partition(f"The line `{event}`")[2].partition("\n\n#")[0]
        for field in fields - {"time", "level", "event", "uuid"}:
            assert f"`{field}`" in section, f"{event}: {field}"


def test_the_readme_has_the_test_command_of_continuous_integration() -> None:
    command = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()[-1]
    assert f"\n{command}\n" in README


def test_the_first_screen_of_the_readme_has_what_a_stranger_looks_for() -> None:
    first_screen = "\n".join(README.splitlines()[:52])
    assert "harakapy serve" in first_screen
    assert "@hookimpl" in first_screen
    assert "plugins = [" in first_screen
    (plugin,) = [block for block in blocks_of(ROOT / "README.md") if block.language == "python"]
    assert len([line for line in plugin.text.splitlines() if line]) <= 10
