"""The manual and the example file say what the models say."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from harakapy.config import (
    ConfigError,
    DnsSettings,
    Duration,
    LogSettings,
    OutboundSettings,
    PluginSection,
    QueueSettings,
    Section,
    Settings,
    SmtpSettings,
    load,
)
from harakapy.config.reference import example_toml, reference_markdown, toml_value

TABLES: dict[str, type[BaseModel]] = {
    "smtp": SmtpSettings,
    "dns": DnsSettings,
    "log": LogSettings,
    "queue": QueueSettings,
    "outbound": OutboundSettings,
    "plugin": PluginSection,
}


def loaded(path: Path, text: str) -> dict[str, Any]:
    file = path / "harakapy.toml"
    file.write_text(text)
    return dict(load(file))


def made_active(text: str) -> str:
    return re.sub(r"^#(?=[\w\[])", "", text, flags=re.MULTILINE)


def test_example_gives_the_defaults(tmp_path: Path) -> None:
    assert loaded(tmp_path, example_toml()) == loaded(tmp_path, "")


def test_example_with_every_line_made_active_gives_the_defaults(tmp_path: Path) -> None:
    text = made_active(example_toml())
    assert loaded(tmp_path, text) == loaded(tmp_path, "")
    assert tomllib.loads(text)["smtp"]["max_recipients"] == 1000
    assert tomllib.loads(text)["listen"] == [
        {
            "address": "127.0.0.1:2525",
            "tls": "starttls",
            "role": "mx",
            "auth_without_tls": False,
            "proxies": [],
            "xclient": [],
            "extensions": {"dsn": True, "deliverby": True, "mt_priority": True, "requiretls": True},
        }
    ]


def test_example_shows_every_key_below_its_description() -> None:
    text = example_toml()
    models: dict[str, type[BaseModel]] = {"": Settings, **TABLES}
    for name, model in models.items():
        assert name in ("", "plugin") or f"\n[{name}]\n" in text
        for key in model.model_fields:
            if key not in TABLES:
                assert re.search(rf"^# .+\n#* ?(\[\[?[a-z.]*)?{key}\b", text, re.MULTILINE), key
    assert max(map(len, text.splitlines())) <= 110


@pytest.mark.parametrize("line", example_toml().splitlines())
def test_line_of_the_example_is_a_comment_a_key_or_a_header(line: str) -> None:
    assert re.fullmatch(r"|# .+|#\w+ = .+|#?\[\[?[a-z.]+\]?\]", line)


def test_given_values_stand_active_in_the_example(tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "hostname": "mx.example",
        "plugins": ["a", "b"],
        "listen": [{"address": "[::]:25"}, {"address": "unix:mail.sock"}],
        "smtp": {"max_errors": 3},
        "plugin": {"a": {"hosts": ["x"], "hook_timeout": "5s"}, "b c": {"deep": {"k": [1, True, 'ü"\\\n']}}},
    }
    text = example_toml(values)
    assert tomllib.loads(text) == {
        **values,
        "dns": {},
        "log": {},
        "tls": {},
        "queue": {},
        "outbound": {"reports": {}},
        "send": {},
    }
    assert loaded(tmp_path, text)["smtp"].max_errors == 3
    everything = tomllib.loads(made_active(text))
    assert [listen["address"] for listen in everything["listen"]] == ["[::]:25", "unix:mail.sock"]
    assert everything["smtp"]["max_errors"] == 3
    assert everything["smtp"]["max_hops"] == 50


def test_wrong_values_do_not_become_an_example() -> None:
    with pytest.raises(ConfigError, match="hostnam: is not a known key; did you mean hostname"):
        example_toml({"hostnam": "x"})


def test_reference_has_a_row_for_every_key() -> None:
    text = reference_markdown()
    for header in ("[[listen]]", "[smtp]", "[dns]", "[log]", "[[outbound.route]]", "[plugin.NAME]"):
        assert f"\n## `{header}`\n" in text
    assert "| `max_recipients` | whole number, at least 100 | `1000` | Recipients of one message; " in text
    assert '| `max_message_size` | size, at least 1 KiB | `"25 MiB"` | ' in text
    assert '| `command_timeout` | duration, more than 0 | `"5m"` | ' in text
    assert '| `bare_newlines` | `"reject"` or `"normalize"` | `"reject"` | ' in text
    assert '| `unlimited_addresses` | list of network | `["127.0.0.0/8", "::1/128"]` | ' in text
    assert "| `hostname` | host name | the name of this machine | " in text
    assert "| `address` | address | required | " in text
    assert "| `file` | path | none | " in text
    assert "| `rdns` | true or false | `true` | " in text
    assert '| `retry` | intervals | `"5m*2, 10m, 20m, 40m, 1h"` | ' in text
    assert "| `to` | next hop, or list of next hops | none | " in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert all(len(re.split(r"(?<!\\)\|", row)) == 6 for row in rows)


class Inner(Section):
    word: str = Field("a|b", description="One | two.")


class Plugin(Section):
    inner: Inner = Field(default_factory=Inner, description="Within.")
    wait: Duration | None = Field(None, description="Wait.")


def test_reference_is_made_for_the_model_of_a_plugin_too() -> None:
    head = "| Key | Type | Default | Meaning |\n|---|---|---|---|\n"
    assert reference_markdown(Plugin) == (
        f"{head}| `wait` | duration | none | Wait. |\n\n## `[inner]`\n\nWithin.\n\n"
        rf'{head}| `word` | text | `"a\|b"` | One \| two. |'
        "\n"
    )


toml_values = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=8,
)


@given(toml_values)
def test_value_is_read_back_by_a_toml_parser(value: object) -> None:
    assert tomllib.loads(f"key = {toml_value(value)}") == {"key": value}
