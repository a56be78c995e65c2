"""`harakapy check`: everything that is wrong at once, with its place and what may be meant."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harakapy.cli.main import main


def check(file: Path) -> Result:
    return CliRunner().invoke(main, ["check", "-c", str(file)])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "harakapy.toml"


def test_a_good_configuration_is_fine(file: Path) -> None:
    file.write_text('plugins = ["rcpt_to_in_host_list", "queue_discard"]\n')
    result = check(file)
    assert result.exit_code == 0
    assert result.stdout == f"{file} is fine. Plugins: rcpt_to_in_host_list, queue_discard.\n"


def test_all_that_is_wrong_in_settings_is_told_at_once(file: Path) -> None:
    file.write_text(
        "hostnam = 'mx.example.com'\n"
        "[smtp]\nmax_recipients = 5\ncommand_timeout = 'soon'\n"
        "[[listen]]\naddress = 'localhost'\n"
    )
    result = check(file)
    assert result.exit_code == 1
    assert f"{file}: hostnam: is not a known key; did you mean hostname?" in result.output
    assert f"{file}: smtp.max_recipients: must be at least 100 (got 5)" in result.output
    assert f"{file}: smtp.command_timeout: " in result.output
    assert f"{file}: listen[0].address: " in result.output
    assert "Traceback" not in result.output


def test_all_that_is_wrong_with_plugins_is_told_at_once(file: Path) -> None:
    file.write_text(
        "plugins = ['queue_discrad', 'acme', 'gone.py', 'rcpt_to_in_host_list']\n"
        "[plugin.rcpt_to_in_host_list]\nhots = ['example.com']\n"
    )
    result = check(file)
    assert result.exit_code == 1
    assert "did you mean queue_discard?" in result.output
    assert "pip install harakapy-acme" in result.output
    assert f"there is no file {file.parent / 'gone.py'}" in result.output
    assert "plugin.rcpt_to_in_host_list.hots: is not a known key; did you mean hosts?" in result.output


def test_a_hook_with_a_wrong_argument_is_told_with_its_signature(file: Path) -> None:
    (file.parent / "slip.py").write_text(
        "from harakapy import hookimpl\n\n\n@hookimpl\ndef hook_rcpt(recipent):\n    pass\n"
    )
    file.write_text("plugins = ['slip.py']\n")
    result = check(file)
    assert result.exit_code == 1
    assert "plugin slip: hook_rcpt(recipent): the hook has no argument 'recipent'" in result.output
    assert "did you mean recipient?" in result.output


def test_what_is_hardly_meant_is_a_warning(file: Path) -> None:
    file.write_text("plugins = []\n")
    result = check(file)
    assert result.exit_code == 0
    assert "warning: no plugin answers hook_rcpt" in result.stderr
    assert "warning: no plugin answers hook_queue" in result.stderr
    assert "Plugins: none." in result.stdout


def test_a_file_that_is_not_toml_is_told_with_its_line(file: Path) -> None:
    file.write_text("hostname = 'mx'\nplugins = rcpt\n")
    result = check(file)
    assert result.exit_code == 1
    assert "is not TOML" in result.output
    assert "line 2" in result.output


def test_without_a_file_it_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["check"])
    assert result.exit_code == 1
    assert "-c FILE" in result.output
    assert "harakapy init" in result.output


def test_the_file_of_the_current_folder_is_found(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('plugins = ["rcpt_to_in_host_list", "queue_discard"]\n')
    monkeypatch.chdir(file.parent)
    assert CliRunner().invoke(main, ["check"]).stdout.startswith("harakapy.toml is fine.")


def test_a_check_writes_nothing(file: Path) -> None:
    file.write_text('plugins = ["rcpt_to_in_host_list", "queue_maildir"]\n[log]\nfile = "mail.log"\n')
    assert check(file).exit_code == 0
    assert list(file.parent.iterdir()) == [file]


def test_a_listener_that_begins_with_tls_needs_a_certificate(file: Path) -> None:
    file.write_text(
        '[[listen]]\naddress = "127.0.0.1:0"\n[[listen]]\naddress = "127.0.0.1:0"\ntls = "implicit"\n'
    )
    result = check(file)
    assert result.exit_code == 1
    assert f'{file}: listen[1].tls: needs a certificate in [tls] (got "implicit")' in result.output


def test_submission_where_nobody_can_log_in_is_warned_of(file: Path) -> None:
    file.write_text('[[listen]]\naddress = "127.0.0.1:0"\nrole = "submission"\n')
    result = check(file)
    assert "warning: no certificate in [tls]: nobody can log in at a listener for submission" in result.output
    file.write_text(file.read_text() + "auth_without_tls = true\n")
    assert "no certificate in [tls]: nobody" not in check(file).output


def test_without_a_certificate_it_says_that_mail_comes_in_clear(file: Path) -> None:
    file.write_text('[[listen]]\naddress = "127.0.0.1:0"\n')
    said = "no certificate in [tls]: STARTTLS is not offered, and all mail is received in clear"
    result = check(file)
    assert result.exit_code == 0
    assert said in result.output
