"""`harakapy password`: what it writes, and that it asks in a way that keeps the password to itself."""

import os
import pty
import subprocess
import sys
import tomllib
from pathlib import Path

import argon2
import pytest
from click.testing import CliRunner, Result

from harakapy import ScramSecret
from harakapy.cli.main import main


def password(*arguments: str, given: bytes = b"correct horse\n") -> Result:
    return CliRunner().invoke(main, ["password", *arguments], input=given)


def is_of(secret: str, text: str) -> bool:
    if secret.startswith("SCRAM-"):
        stored = ScramSecret.parse(secret)
        return stored == ScramSecret.derive(text, salt=stored.salt, iterations=stored.iterations)
    return argon2.PasswordHasher().verify(secret, text)


@pytest.mark.parametrize(
    "given", [b"correct horse\n", b"correct horse\r\n", b"correct horse", b"correct horse\nx"]
)
@pytest.mark.parametrize("scheme", ["argon2id", "scram-sha-256"])
def test_the_first_line_of_standard_input_is_the_password(scheme: str, given: bytes) -> None:
    result = password("--scheme", scheme, given=given)
    assert result.exit_code == 0
    assert is_of(result.stdout.removesuffix("\n"), "correct horse")


def test_with_a_user_it_is_a_line_for_the_file() -> None:
    user, _, secret = password("ann@example.com").stdout.strip().partition(":")
    assert user == "ann@example.com"
    assert is_of(secret, "correct horse")


def test_a_line_for_a_toml_file_can_be_read_back() -> None:
    name = 'o"brien:\n@example.com'
    line = password(name, "--toml").stdout
    assert is_of(tomllib.loads(line)[name], "correct horse")


@pytest.mark.parametrize("given", [b"", b"\n", b"a\0b\n", b"\xff\n", b"x" * 1025])
def test_a_password_that_nobody_could_log_in_with_is_refused(given: bytes) -> None:
    result = password(given=given)
    assert result.exit_code == 1
    assert not result.stdout


@pytest.mark.parametrize("arguments", [["--toml"], ["a:b"], ["a\nb"], ["ann", "s3cret"]])
def test_wrong_arguments_are_told(arguments: list[str]) -> None:
    result = password(*arguments)
    assert result.exit_code == 2
    assert not result.stdout


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['argon2'] = None; from harakapy.cli.main import main; main(['password'])"
    done = subprocess.run(
        [sys.executable, "-c", code], input="x\n", capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert 'pip install "harakapy[auth]"' in done.stderr
    assert "--scheme scram-sha-256" in done.stderr


def test_at_a_terminal_it_asks_twice_and_does_not_show_the_password() -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "harakapy", "password", "--scheme", "scram-sha-256"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,
        text=True,
    )
    os.close(theirs)
    seen = b""
    with process, os.fdopen(ours, "r+b", buffering=0) as terminal:
        for prompt in (b"Password: ", b"Repeat for confirmation: "):
            while prompt not in seen:
                seen += terminal.read(1000)
            terminal.write(b"correct horse\n")
        written, _ = process.communicate(timeout=30)
    assert is_of(written.strip(), "correct horse")
    assert b"horse" not in seen
