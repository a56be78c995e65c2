"""Values from the environment and from files."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr, model_validator

from harakapy.config import ConfigError, Count, Duration, Settings, load

Load = Callable[[str], Settings]


class Upstream(BaseModel):
    host: str = ""
    file: str = ""


class Model(BaseModel):
    password: SecretStr
    port: Count = 25
    timeout: Duration | None = None
    upstream: Upstream = Upstream()
    upstreams: list[Upstream] = []
    headers: dict[str, str] = {}
    names: tuple[str, ...] = ()
    pin: SecretStr | None = None


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.setenv("NAME", "mail.example.com")
    monkeypatch.setenv("NUMBER", "7")
    monkeypatch.setenv("YES", "true")
    monkeypatch.delenv("NOWHERE", raising=False)
    (tmp_path / "secret.txt").write_bytes(b"geheim \n")
    (tmp_path / "windows.txt").write_bytes(b"geheim\r\n")
    (tmp_path / "octets.bin").write_bytes(b"\xff")
    (tmp_path / "long.txt").write_bytes(b"x" * 65_537)

    def loaded(text: str) -> Settings:
        file = tmp_path / "harakapy.toml"
        file.write_text(text)
        return load(file)

    return loaded


def test_values_of_each_type_come_from_the_environment(loaded: Load) -> None:
    settings = loaded(
        """
        hostname = { env = "NAME" }
        plugins = ["a", { env = "NAME" }]
        [smtp]
        max_hops = { env = "NUMBER" }
        command_timeout = { env = "NUMBER" }
        [dns]
        rdns = { env = "YES" }
        [plugin.a]
        hook_timeout = { env = "NUMBER" }
        """
    )
    assert settings.hostname == "mail.example.com"
    assert settings.plugins == ("a", "mail.example.com")
    assert (settings.smtp.max_hops, settings.smtp.command_timeout) == (7, 7.0)
    assert settings.dns.rdns is True
    assert settings.plugin_table("a").hook_timeout == 7.0


def test_table_with_only_a_file_in_it_is_a_table_where_the_model_has_one(loaded: Load) -> None:
    assert loaded('[log]\nfile = "mail.log"').log_file is not None
    [problem] = wrong(loaded, '[smtp]\nfile = "mail.log"')
    assert problem == "smtp.file: is not a known key; did you mean log.file?"


def test_settings_of_plugins_are_looked_up_when_their_model_is_known(loaded: Load) -> None:
    settings = loaded(
        """
        [plugin.a]
        password = { file = "secret.txt" }
        port = { env = "NUMBER" }
        timeout = { env = "NUMBER" }
        names = [{ env = "NAME" }]
        [plugin.a.upstream]
        file = "stays"
        [[plugin.a.upstreams]]
        host = { env = "NAME" }
        [plugin.a.headers]
        file = "stays"
        x = { file = "windows.txt" }
        """
    )
    assert settings.plugin_table("a").values["password"] == {"file": "secret.txt"}
    config = settings.plugin_table("a").validate(Model)
    assert config.password.get_secret_value() == "geheim "
    assert (config.port, config.timeout, config.names) == (7, 7.0, ("mail.example.com",))
    assert config.upstream.file == "stays"
    assert config.upstreams[0].host == "mail.example.com"
    assert config.headers == {"file": "stays", "x": "geheim"}


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ('{ env = "NOWHERE" }', "needs the environment variable NOWHERE, which is not set"),
        ('{ file = "none.txt" }', "needs the content of {}/none.txt: No such file or directory"),
        ('{ file = "." }', "needs the content of {}: Is a directory"),
        ('{ file = "octets.bin" }', "needs the content of {}/octets.bin: it is not UTF-8 text"),
        ('{ file = "long.txt" }', "needs the content of {}/long.txt: it is longer than 65536 octets"),
    ],
)
def test_missing_value_is_a_problem_and_the_only_one_of_its_key(
    loaded: Load, tmp_path: Path, reference: str, told: str
) -> None:
    assert wrong(loaded, f"[smtp]\nmax_hops = {reference}\nmax_errors = 0") == [
        f"smtp.max_hops: {told.format(tmp_path)}",
        "smtp.max_errors: must be at least 1 (got 0)",
    ]


def test_value_from_elsewhere_is_never_shown(loaded: Load, tmp_path: Path) -> None:
    assert wrong(loaded, 'hostname = { file = "secret.txt" }\n[smtp]\nmax_hops = { env = "NAME" }') == [
        'hostname: must be a domain name, such as "mail.example.com", or an address literal "[192.0.2.1]" '
        f"(got the content of {tmp_path}/secret.txt)",
        "smtp.max_hops: must be a whole number (got the environment variable NAME)",
    ]


def test_secret_is_not_shown_even_when_it_stands_in_the_file(loaded: Load) -> None:
    settings = loaded('[plugin.a]\npassword = ["geheim"]\npin = 1234')
    with pytest.raises(ConfigError) as caught:
        settings.plugin_table("a").validate(Model)
    assert "geheim" not in str(caught.value)
    assert "1234" not in str(caught.value)
    assert [problem.key for problem in caught.value.problems] == ["plugin.a.password", "plugin.a.pin"]


class Both(BaseModel):
    user: str = ""
    password: SecretStr
    pins: list[SecretStr] = []

    @model_validator(mode="after")
    def check(self) -> "Both":
        raise ValueError("needs a user")


def test_secret_is_not_shown_with_what_is_around_it(loaded: Load) -> None:
    settings = loaded(
        '[plugin.a]\npassword = { file = "secret.txt" }\n[plugin.b]\npassword = "x"\npins = "geheim"'
    )
    with pytest.raises(ConfigError, match=r"plugin.a: needs a user$"):
        settings.plugin_table("a").validate(Both)
    with pytest.raises(ConfigError, match=r"plugin.b.pins: must be a list: .*\]$"):
        settings.plugin_table("b").validate(Both)
    assert wrong(loaded, 'plugins = [{ file = "secret.txt" }, "b", "b"]') == [
        "plugins: must name each only once; b is there again"
    ]


@pytest.mark.parametrize("table", ['{ env = "A", file = "b" }', "{ env = 5 }", "{}", '{ environment = "A" }'])
def test_other_tables_are_no_references(loaded: Load, table: str) -> None:
    [problem] = wrong(loaded, f"[smtp]\nmax_hops = {table}")
    assert problem.startswith("smtp.max_hops: must be a whole number (got {")


def wrong(loaded: Load, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(text)
    return [f"{problem}".removeprefix(f"{problem.file}: ") for problem in caught.value.problems]
