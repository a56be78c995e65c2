"""`harakapy init`: a folder to start from, which works as it is."""

import tomllib
from pathlib import Path

from click.testing import CliRunner, Result

from harakapy.cli.configuration import own_mail
from harakapy.cli.main import main
from harakapy.config import load
from tests.served import serving


def init(folder: Path) -> Result:
    return CliRunner().invoke(main, ["init", str(folder)])


def test_what_it_writes_passes_the_check_without_warning(tmp_path: Path) -> None:
    result = init(tmp_path / "new")
    assert result.exit_code == 0
    assert f"harakapy serve -c {tmp_path}/new/harakapy.toml" in result.output
    checked = CliRunner().invoke(main, ["check", "-c", str(tmp_path / "new/harakapy.toml")])
    assert checked.exit_code == 0
    assert "warning" not in checked.output
    assert "Plugins: moved, rcpt_to_in_host_list, queue_maildir." in checked.output


def test_the_configuration_is_commented_and_does_what_serve_without_one_does(tmp_path: Path) -> None:
    init(tmp_path)
    text = (tmp_path / "harakapy.toml").read_text()
    values = tomllib.loads(text)
    own = own_mail()
    assert values["plugins"][1:] == own["plugins"]
    assert {name: values["plugin"][name] for name in own["plugins"]} == own["plugin"]
    assert load(tmp_path / "harakapy.toml").state_dir == tmp_path / "state"
    assert text.count("\n#") > 100


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "harakapy.toml").write_text("mine\n")
    result = init(tmp_path)
    assert result.exit_code == 1
    assert "harakapy.toml" in result.output
    assert (tmp_path / "harakapy.toml").read_text() == "mine\n"
    assert not (tmp_path / "plugins").exists()


def test_a_folder_that_cannot_be_made_is_told_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = init(tmp_path / "file" / "folder")
    assert result.exit_code == 1
    assert "Error: " in result.output
    assert "Traceback" not in result.output


def test_the_example_plugin_says_where_to_write_instead(tmp_path: Path) -> None:
    init(tmp_path)
    with (
        serving(tmp_path, (tmp_path / "harakapy.toml").read_text()) as served,
        served.client() as client,
    ):
        client.ehlo()
        client.mail("a@client.test")
        code, text = client.rcpt("old@localhost")
        assert (code, text.startswith(b"5.1.6"), b"new@localhost" in text) == (550, True, True)
        assert client.rcpt("new@localhost")[0] == 250


def test_a_self_signed_certificate_can_come_with_it(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["init", "--self-signed", str(tmp_path)])
    assert result.exit_code == 0
    [pair] = load(tmp_path / "harakapy.toml").tls.certificates
    assert pair.certificate.is_file()
    assert pair.key.stat().st_mode & 0o777 == 0o600
    checked = CliRunner().invoke(main, ["check", "-c", str(tmp_path / "harakapy.toml")])
    assert checked.exit_code == 0
    assert "STARTTLS is not offered" not in checked.output
