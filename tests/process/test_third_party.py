"""A package of somebody else's: installed by pip it can be enabled, and only then is it loaded."""

import importlib.util
import json
import smtplib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.test_serve import MESSAGE
from tests.served import PATIENCE_S, environment, run, serving

PACKAGE = Path(__file__).parents[2] / "contrib_plugins/harakapy-example"
ENABLED = """
plugins = ["example", "rcpt_to_in_host_list", "queue_discard"]

[plugin.rcpt_to_in_host_list]
hosts = ["example.com"]

[plugin.example]
refused = ["nobody@example.com"]
"""
LISTED = ENABLED.replace('"example", ', "").partition("[plugin.example]")[0]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages with ours in it, built and installed by pip without a network."""
    if importlib.util.find_spec("pip") is None or importlib.util.find_spec("hatchling") is None:
        pytest.skip("needs pip and hatchling in the environment of the tests")
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target)]
    offline = ["--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, *offline, str(PACKAGE)], check=True, timeout=PATIENCE_S)
    return target


def test_installed_and_listed_it_changes_what_the_client_sees(tmp_path: Path, site: Path) -> None:
    with serving(tmp_path, ENABLED, PYTHONPATH=str(site)) as served, served.client() as client:
        client.ehlo()
        client.mail("a@client.test")
        assert client.rcpt("nobody@example.com") == (550, b"5.7.1 not here")
        assert client.rcpt("somebody@example.com")[0] == 250


@pytest.mark.parametrize(("configuration", "is_loaded"), [(ENABLED, True), (LISTED, False)])
def test_removed_from_the_list_it_is_not_loaded(
    tmp_path: Path, site: Path, configuration: str, is_loaded: bool
) -> None:
    with serving(tmp_path, configuration, PYTHONPATH=str(site), PYTHONVERBOSE="1") as served:
        with served.client() as client:
            client.ehlo()
            client.mail("a@client.test")
            assert client.rcpt("nobody@example.com")[0] == (550 if is_loaded else 250)
        served.process.terminate()
        assert served.wait_stopped() == 0
        imports = [line for line in served.log() if line.startswith("import 'harakapy_example'")]
    assert bool(imports) is is_loaded


def test_not_installed_it_is_an_error_that_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "harakapy.toml").write_text(ENABLED)
    result = run(tmp_path, "serve")
    assert result.returncode == 1
    assert "pip install harakapy-example" in result.stderr


def test_it_is_shown_with_its_version_and_package(tmp_path: Path, site: Path) -> None:
    (tmp_path / "harakapy.toml").write_text(LISTED)
    result = run(tmp_path, "plugins", "--json", PYTHONPATH=str(site))
    (row,) = [row for row in json.loads(result.stdout) if row["name"] == "example"]
    assert row["package"] == "harakapy-example"
    assert row["version"] == "1.0.0"
    assert row["enabled"] is None


def test_its_own_tests_pass(site: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path}/own"],
        cwd=PACKAGE,
        env=environment(tmp_path, PYTHONPATH=str(site)),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    assert "1 passed" in result.stdout


def test_a_refused_recipient_is_what_smtplib_raises(tmp_path: Path, site: Path) -> None:
    with (
        serving(tmp_path, ENABLED, PYTHONPATH=str(site)) as served,
        served.client() as client,
        pytest.raises(smtplib.SMTPRecipientsRefused, match="not here"),
    ):
        client.sendmail("a@client.test", ["nobody@example.com"], MESSAGE)
