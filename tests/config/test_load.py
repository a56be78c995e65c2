"""Reading a file: what it gives, and every problem at once with its place."""

import re
from pathlib import Path

import pytest

from harakapy.config import ConfigError, Settings, changed_keys, load


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`harakapy.toml` in the current directory."""
    monkeypatch.chdir(tmp_path)
    return Path("harakapy.toml")


def problems(file: Path, text: str) -> list[str]:
    """What is wrong with a file of this text, without the name of the file."""
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert all(problem.file == "harakapy.toml" for problem in caught.value.problems)
    assert str(caught.value).splitlines() == [str(problem) for problem in caught.value.problems]
    return [str(problem).removeprefix("harakapy.toml: ") for problem in caught.value.problems]


def test_empty_file_gives_the_defaults_beside_it(file: Path, tmp_path: Path) -> None:
    file.touch()
    settings = load(file)
    assert dict(settings) == dict(Settings.of({"state_dir": str(tmp_path / "state")}))
    assert settings.state_dir == tmp_path / "state"
    assert (settings.source, settings.file, settings.directory) == (file, "harakapy.toml", tmp_path)
    assert settings.spool_dir == tmp_path / "state/spool"
    assert settings.log_file is None


def test_values_of_a_file_are_typed(file: Path, tmp_path: Path) -> None:
    file.write_text(
        """
        hostname = "mail.example.com"
        state_dir = "/var/lib/harakapy"
        plugins = ["a", "b"]
        [[listen]]
        address = "127.0.0.1:2525"
        [[listen]]
        address = "unix:mail.sock"
        [smtp]
        max_message_size = "10 MB"
        command_timeout = "1m30s"
        spool_dir = "/tmp/spool"
        unlimited_addresses = ["10.0.0.0/8"]
        [log]
        level = "protocol"
        file = "mail.log"
        [plugin.a]
        hook_timeout = "1m"
        hosts = ["example.com"]
        """
    )
    settings = load(file)
    assert settings.plugins == ("a", "b")
    assert [listen.address for listen in settings.listen] == ["127.0.0.1:2525", "unix:mail.sock"]
    assert settings.smtp.max_message_size == 10_000_000
    assert settings.smtp.command_timeout == 90.0
    assert list(map(str, settings.smtp.unlimited_addresses)) == ["10.0.0.0/8"]
    assert settings.log.level == "protocol"
    assert settings.spool_dir == Path("/tmp/spool")
    assert settings.log_file == Path("/var/lib/harakapy/mail.log")
    assert settings.plugin_table("a").hook_timeout == 60.0
    assert settings.plugin_table("a").values == {"hosts": ["example.com"]}


def test_all_problems_come_at_once_each_with_its_key(file: Path) -> None:
    assert problems(
        file,
        """
        hostname = "bad name"
        listn = 3
        max_errors = 3
        [[listen]]
        adress = "127.0.0.1:25"
        [smtp]
        max_recipients = 5
        max_recipents = 500
        max_hops = "many"
        command_timeout = "5 parsecs"
        data_timeout = 0
        bare_newlines = "normalise"
        unlimited_addresses = ["10.0.0.0/8", "10.0.0.1/8"]
        [log]
        level = "warning"
        timestamps = "perhaps"
        [plugin."a b"]
        on_error = "stop"
        """,
    ) == [
        'hostname: must be a domain name, such as "mail.example.com", or an address literal "[192.0.2.1]" '
        '(got "bad name")',
        "listen[0].address: is required",
        "listen[0].adress: is not a known key; did you mean address?",
        "smtp.max_recipients: must be at least 100 (got 5)",
        'smtp.max_hops: must be a whole number (got "many")',
        'smtp.bare_newlines: must be one of "reject", "normalize" (got "normalise"); did you mean normalize?',
        "smtp.unlimited_addresses[1]: must begin with the first address of the network, 10.0.0.0/8 "
        '(got "10.0.0.1/8")',
        'smtp.command_timeout: must be a duration, such as "30s", "5m", "1h30m" or a number of seconds '
        '(got "5 parsecs")',
        "smtp.data_timeout: must be more than 0 (got 0)",
        "smtp.max_recipents: is not a known key; did you mean max_recipients?",
        'log.level: must be one of "emerg", "alert", "crit", "error", "warn", "notice", "info", "debug", '
        '"protocol", "data" (got "warning"); did you mean warn?',
        'log.timestamps: must be true or false (got "perhaps")',
        'plugin."a b".on_error: must be one of "tempfail", "continue" (got "stop")',
        "listn: is not a known key; did you mean listen?",
        "max_errors: is not a known key; did you mean smtp.max_errors?",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("smtp = 5", "smtp: must be a table (got 5)"),
        ("listen = 5", 'listen: must be a list: ["...", "..."] (got 5)'),
        ("plugin = 5", "plugin: must be a table (got 5)"),
        ("[plugin]\nx = 5", "plugin.x: must be a table (got 5)"),
        ("plugins = 5", 'plugins: must be a list: ["...", "..."] (got 5)'),
        ("plugins = [5]", 'plugins[0]: must be text, in quotes: "..." (got 5)'),
        ('plugins = [""]', 'plugins[0]: must have at least 1 character (got "")'),
        (
            'plugins = ["a", "b", "a"]',
            'plugins: must name each only once; a is there again (got ["a", "b", "a"])',
        ),
        ("state_dir = 5", 'state_dir: must be a path, in quotes: "..." (got 5)'),
        ("[smtp]\nmax_errors = true", "smtp.max_errors: must be a whole number (got true)"),
        ("[smtp]\nmax_errors = 1.5", "smtp.max_errors: must be a whole number (got 1.5)"),
        ("[smtp]\nspool_after = -1", "smtp.spool_after: must be a size, such as "),
        ("[smtp]\nmax_message_size = 5", "smtp.max_message_size: must be at least 1 KiB (got 5)"),
        (
            '[smtp]\ngreeting = "a\\nb"',
            'smtp.greeting: must be one line of printable characters (got "a\\nb")',
        ),
        (
            '[smtp]\ngreeting = "\\u009b"',
            'smtp.greeting: must be one line of printable characters (got "\\u009b")',
        ),
        ("hostname = 2026-11-22", "hostname: must be a domain name"),
        ('hostname = "' + "x" * 500 + ' "', "x" * 50 + "..."),
        ('[dns]\nnameservers = ["dns.example"]', "dns.nameservers[0]: must be an address, such as "),
        ("[tsl]\nx = 1", "tsl: is not a known key"),
    ],
)
def test_wrong_value_is_told_with_what_is_allowed(file: Path, text: str, problem: str) -> None:
    [told] = problems(file, text)
    assert problem in told


@pytest.mark.parametrize(
    ("octets", "told"),
    [
        (b"a = \n", r"is not TOML: .+ \(at line 1, column 5\)"),
        (b"a = 1\na = 2\n", r"is not TOML: .+ \(at line 2, column 6\)"),
        (b'a = "\xff"\n', "is not UTF-8 text, as TOML must be: octet 5 does not fit"),
    ],
)
def test_slip_in_the_toml_is_told_with_its_place(file: Path, octets: bytes, told: str) -> None:
    file.write_bytes(octets)
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert re.fullmatch(f"harakapy.toml: {told}", str(caught.value))


def test_missing_file_and_directory_are_told(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^harakapy.toml: cannot be read: No such file or directory$"):
        load(file)
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory$"):
        load(tmp_path)


def test_addresses_are_checked_by_whoever_knows_them(file: Path) -> None:
    seen: list[str] = []

    def check(address: str) -> None:
        seen.append(address)
        if address == "nowhere":
            raise ValueError("must be HOST:PORT")

    file.write_text('[[listen]]\naddress = "a:1"\n[[listen]]\naddress = "nowhere"\n[smtp]\nmax_hops = 0\n')
    with pytest.raises(ConfigError) as caught:
        load(file, check_address=check)
    assert [problem.key for problem in caught.value.problems] == ["listen[1].address", "smtp.max_hops"]
    assert caught.value.problems[0].message == "must be HOST:PORT"
    assert seen == ["a:1", "nowhere"]


def test_changed_keys_are_named(file: Path) -> None:
    file.write_text('plugins = ["a"]\n[smtp]\nmax_errors = 5\nmax_hops = 7\n[plugin.a]\nx = 1\ny = 1\n')
    old = load(file)
    file.write_text(
        'plugins = ["b"]\n[smtp]\nmax_errors = 6\nmax_hops = 7\n[plugin.a]\nx = 2\ny = 1\n[plugin.b]\n'
    )
    assert changed_keys(old, load(file)) == ("plugins", "smtp.max_errors", "plugin.a.x", "plugin.b")
    assert changed_keys(old, old) == ()
