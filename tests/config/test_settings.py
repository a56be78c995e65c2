"""The settings themselves: defaults, tables of plugins, immutability."""

from pathlib import Path
from typing import Any, Literal, get_args

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from harakapy.config import (
    ConfigError,
    ListenSettings,
    LogSettings,
    Section,
    Settings,
    StatePath,
    validate_plugin,
)
from harakapy.log import FORMATS, Level


class Route(BaseModel):
    domain: str
    port: int = 25


class Plugin(Section):
    hosts: tuple[str, ...] = ()
    path: StatePath = Path("Maildir")
    limit: int | Literal["none"] = 5


class Careless(BaseModel):
    """A model whose author thought of no extra keys."""

    host: str = ""
    routes: list[Route] = []


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")

    host: str = ""


def told(error: pytest.ExceptionInfo[ConfigError]) -> list[str]:
    return [str(problem) for problem in error.value.problems]


def test_defaults_are_those_of_the_manual() -> None:
    settings = Settings.default()
    smtp = settings.smtp
    assert [listen.address for listen in settings.listen] == ["127.0.0.1:2525"]
    assert settings.plugins == ()
    assert (smtp.max_message_size, smtp.spool_after, smtp.max_command_length) == (26_214_400, 262_144, 2048)
    assert (smtp.max_recipients, smtp.max_errors, smtp.max_junk_commands, smtp.max_hops) == (
        1000,
        20,
        100,
        50,
    )
    assert (smtp.max_connections, smtp.max_connections_per_address) == (10_000, 50)
    assert [str(network) for network in smtp.unlimited_addresses] == ["127.0.0.0/8", "::1/128"]
    assert (smtp.command_timeout, smtp.data_timeout, smtp.min_data_rate, smtp.data_rate_grace) == (
        300,
        300,
        500,
        30,
    )
    assert (smtp.hook_timeout, smtp.commit_timeout, smtp.shutdown_timeout) == (30, 60, 30)
    assert (smtp.bare_newlines, smtp.max_line_length) == ("reject", 0)
    assert (settings.log.level, settings.log.format, settings.log.timestamps) == ("info", "text", True)
    assert settings.dns.rdns is True


def test_default_settings_keep_their_state_with_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    settings = Settings.default()
    assert settings.state_dir == tmp_path / "harakapy"
    assert (settings.source, settings.file, settings.directory) == (None, "", Path.cwd())


def test_programs_change_defaults_as_toml_would() -> None:
    settings = Settings.default(
        hostname="mx.example", smtp={"max_errors": 3, "hook_timeout": "1m"}, listen=[{"address": "[::1]:0"}]
    )
    assert (settings.hostname, settings.smtp.max_errors, settings.smtp.hook_timeout) == (
        "mx.example",
        3,
        60.0,
    )
    assert settings.smtp.max_hops == 50
    assert settings.listen == (ListenSettings(address="[::1]:0"),)


def test_wrong_settings_of_a_program_are_told_without_a_file() -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.default(smtp={"max_error": 3}, hostname=5)
    assert [problem.key for problem in caught.value.problems] == ["hostname", "smtp.max_error"]
    assert told(caught)[1] == "smtp.max_error: is not a known key; did you mean max_errors?"


@pytest.mark.parametrize("change", [{"hostname": "x"}, {"new": 1}, {"smtp": None}])
def test_settings_do_not_change(change: dict[str, Any]) -> None:
    settings = Settings.default()
    for name, value in change.items():
        with pytest.raises(ValidationError):
            setattr(settings, name, value)
    with pytest.raises(ValidationError):
        setattr(settings.smtp, "max_errors", 1)  # noqa: B010 - the type checker refuses the plain way already


def test_levels_and_formats_are_those_of_the_log() -> None:
    for level in Level.names():
        assert Settings.default(log={"level": level}).log.level == level
    for name in FORMATS:
        assert Settings.default(log={"format": name}).log.format == name
    assert get_args(LogSettings.model_fields["level"].annotation) == Level.names()
    assert get_args(LogSettings.model_fields["format"].annotation) == FORMATS


def test_every_field_has_a_description() -> None:
    def check(model: type[BaseModel]) -> None:
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
            assert field.description.endswith("."), f"{model.__name__}.{name}"
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                check(field.annotation)

    check(Settings)


def test_plugin_without_a_table_has_the_defaults() -> None:
    table = Settings.default().plugin_table("absent")
    assert (table.name, table.hook_timeout, table.on_error, table.values) == ("absent", None, "tempfail", {})
    assert table.validate(Plugin).hosts == ()


def test_table_of_a_plugin_becomes_its_model() -> None:
    settings = Settings.default(
        state_dir="/var/lib/x", plugin={"a": {"hosts": ["h"], "on_error": "continue", "limit": "none"}}
    )
    table = settings.plugin_table("a")
    assert table.on_error == "continue"
    assert table.validate(Plugin) == Plugin(hosts=("h",), path=Path("/var/lib/x/Maildir"), limit="none")


def test_wrong_table_of_a_plugin_is_told_with_its_keys() -> None:
    settings = Settings.of({"plugin": {"a": {"host": "h", "limit": "few"}}}, source=Path("mail.toml"))
    with pytest.raises(ConfigError) as caught:
        settings.plugin_table("a").validate(Plugin)
    assert told(caught) == [
        'mail.toml: plugin.a.limit: must be a whole number, or must be one of "none" (got "few")',
        "mail.toml: plugin.a.host: is not a known key; did you mean hosts?",
    ]


def test_unknown_keys_are_told_whatever_the_model_says_of_them() -> None:
    table = {"hst": 1, "routes": [{"domain": "a"}, {"domain": "b", "prt": 5}]}
    with pytest.raises(ConfigError) as caught:
        validate_plugin("a", table, Careless)
    assert told(caught) == [
        "plugin.a.hst: is not a known key; did you mean host?",
        "plugin.a.routes[1].prt: is not a known key; did you mean port?",
    ]


def test_model_may_allow_any_key() -> None:
    assert validate_plugin("a", {"anything": 1}, Open).model_extra == {"anything": 1}


def test_plugin_that_takes_no_settings_refuses_each() -> None:
    settings = Settings.default(plugin={"a": {"x": 1, "y z": 2, "hook_timeout": 5}, "b": {"hook_timeout": 5}})
    with pytest.raises(ConfigError) as caught:
        settings.plugin_table("a").refuse_settings("is not a known key: the plugin takes no settings")
    assert [problem.key for problem in caught.value.problems] == ["plugin.a.x", 'plugin.a."y z"']
    settings.plugin_table("b").refuse_settings("never said")
