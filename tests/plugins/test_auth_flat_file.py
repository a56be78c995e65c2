import base64
import json
import re
import subprocess
import sys
from pathlib import Path

import argon2
import bcrypt
import pytest
from passlib.hash import sha256_crypt, sha512_crypt

from harakapy import ScramSecret
from harakapy.config import ConfigError
from harakapy.plugins.auth_flat_file import AuthFlatFile, User
from harakapy.smtp.sasl import CramMd5Client, ScramClient
from harakapy.testing import Client
from tests.inbound.test_auth import greeted, log_in

from .scene import Scene

USER, PASSWORD = "ann@example.com", "correct horse"
LONG = "x" * 72
SCRAM = ScramSecret.derive(PASSWORD, iterations=4096).to_text()
HASHES = {
    "argon2id": argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD),
    "bcrypt": bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode(),
    "sha256": sha256_crypt.using(rounds=1000).hash(PASSWORD),
    "sha512": sha512_crypt.using(rounds=1000).hash(PASSWORD),
    "scram": SCRAM,
    "plain": "{PLAIN}" + PASSWORD,
}


def plugin(folder: Path, text: str, *, name: str = "users", **values: object) -> AuthFlatFile:
    (folder / name).write_text(text)
    return AuthFlatFile(file=folder / name, **values)


def tables(text: str) -> str:
    """A TOML file of users, {name} and {secret} filled in."""
    return text.format(name=json.dumps(USER), secret=json.dumps(SCRAM))


async def code(client: Client, user: str, password: str) -> int:
    response = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
    return (await client.command(f"AUTH PLAIN {response}")).code


QUICK = {"hook_timeout": "1s", "max_auth_failures": 9}
"""A failure waits for half a second: with a virtual clock, threads would seem to take for ever."""


@pytest.mark.parametrize("secret", HASHES.values(), ids=HASHES)
async def test_the_right_password_of_the_right_user_logs_in(secret: str, tmp_path: Path) -> None:
    found = plugin(tmp_path, f"# users\n{USER}:{secret}\n", allow_plain_text=True)
    async with greeted(tmp_path, found, smtp=QUICK) as client:
        assert await code(client, USER, "wrong") == 535
        assert await code(client, "bob", PASSWORD) == 535
        assert await code(client, USER, PASSWORD) == 235


async def test_what_bcrypt_does_not_look_at_is_not_ignored(tmp_path: Path) -> None:
    secret = bcrypt.hashpw(LONG.encode(), bcrypt.gensalt(4)).decode()
    async with greeted(tmp_path, plugin(tmp_path, f"{USER}:{secret}\n"), smtp=QUICK) as client:
        assert await code(client, USER, LONG + "y") == 535
        assert await code(client, USER, LONG) == 235


async def test_scram_is_offered_if_every_user_can_use_it(tmp_path: Path) -> None:
    async with greeted(tmp_path, plugin(tmp_path, f"{USER}:{SCRAM}\n")) as client:
        assert "AUTH SCRAM-SHA-256 PLAIN LOGIN" in (await client.command("EHLO x.test")).lines
        assert (await log_in(client, ScramClient(USER, PASSWORD))).code == 235
    text = f"{USER}:{SCRAM}\nbob:{HASHES['sha256']}\n"
    async with greeted(tmp_path, plugin(tmp_path, text)) as client:
        assert "AUTH PLAIN LOGIN" in (await client.command("EHLO x.test")).lines


async def test_cram_md5_is_offered_if_every_password_is_there_in_clear(tmp_path: Path) -> None:
    found = plugin(tmp_path, f"{USER}:{{PLAIN}}{PASSWORD}\n", allow_plain_text=True)
    async with greeted(tmp_path, found) as client:
        assert "AUTH CRAM-MD5 PLAIN LOGIN" in (await client.command("EHLO x.test")).lines
        assert (await log_in(client, CramMd5Client(USER, PASSWORD))).code == 235


@pytest.mark.parametrize(
    ("constrain", "sender", "expected"),
    [
        (True, "any@example.com", 250),
        (True, "any@lists.EXAMPLE.com", 250),
        (True, "", 250),
        (True, "ann@badexample.com", 550),
        (True, "ann@example.com.test", 550),
        (False, "ann@elsewhere.test", 250),
    ],
)
async def test_users_send_from_their_own_domain(
    constrain: bool, sender: str, expected: int, tmp_path: Path
) -> None:
    found = plugin(tmp_path, f"{USER}:{SCRAM}\n", constrain_sender=constrain)
    async with greeted(tmp_path, found) as client:
        await code(client, USER, PASSWORD)
        assert (await client.command(f"MAIL FROM:<{sender}>")).code == expected


@pytest.mark.parametrize(
    "line", [f"{USER}:{{PLAIN}}s3cret", f"{USER}:s3cret", "s3cret", ":s3cret", f"{USER}:SCRAM-SHA-256$s3cret"]
)
def test_a_wrong_line_is_refused_and_not_shown(line: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Scene(tmp_path, plugin(tmp_path, f"bob:{SCRAM}\n{line}\n"))
    assert "s3cret" not in str(caught.value)


def test_a_user_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        Scene(tmp_path, plugin(tmp_path, f"bob:{SCRAM}\nbob:{SCRAM}\n"))


async def test_a_changed_file_counts_and_a_wrong_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harakapy.config.lists.LOOK_INTERVAL_S", 0.0)
    async with greeted(tmp_path, plugin(tmp_path, f"bob:{SCRAM}\n"), smtp=QUICK) as client:
        assert await code(client, USER, PASSWORD) == 535
        (tmp_path / "users").write_text(f"{USER}:{SCRAM}\n")
        (tmp_path / "users").write_text(f"{USER}:{SCRAM}\nbroken\n")
        assert await code(client, USER, PASSWORD) == 535
        (tmp_path / "users").write_text(f"{USER}:{SCRAM}\n\n# mended\n")
        assert await code(client, USER, PASSWORD) == 235


@pytest.mark.parametrize(
    "text",
    ["[users]\n{name} = {secret}\n", "[users.{name}]\nsecret = {secret}\n", "users.{name}.secret = {secret}"],
)
async def test_a_toml_file_has_the_secret_alone_or_in_a_table(text: str, tmp_path: Path) -> None:
    async with greeted(tmp_path, plugin(tmp_path, tables(text), name="users.toml"), smtp=QUICK) as client:
        assert await code(client, USER, "wrong") == 535
        assert await code(client, "bob", PASSWORD) == 535
        assert await code(client, USER, PASSWORD) == 235


async def test_a_user_that_is_not_enabled_cannot_log_in(tmp_path: Path) -> None:
    text = tables("[users.{name}]\nsecret = {secret}\nenabled = false\n[users.bob]\nsecret = {secret}\n")
    async with greeted(tmp_path, plugin(tmp_path, text, name="users.toml"), smtp=QUICK) as client:
        assert await code(client, USER, PASSWORD) == 535
        assert (await log_in(client, ScramClient(USER, PASSWORD))).code == 535
        assert await code(client, "bob", PASSWORD) == 235


@pytest.mark.parametrize(
    ("settings", "sender", "expected"),
    [
        ("", "ann@elsewhere.test", 550),
        ("constrain_sender = false", "ann@elsewhere.test", 250),
        ('senders = ["elsewhere.test"]', "any@lists.elsewhere.test", 250),
        ('senders = ["elsewhere.test"]', "ann@example.com", 550),
        ('senders = ["Ann@Example.com", "example.net"]', "Ann@example.com", 250),
        ('senders = ["Ann@Example.com", "example.net"]', "bob@example.com", 550),
        ('senders = ["bücher.example"]', "ann@xn--bcher-kva.example", 250),
        ("senders = []", "ann@example.com", 550),
        ("senders = []", "", 250),
    ],
)
async def test_a_toml_file_says_for_each_user_where_it_may_send_from(
    settings: str, sender: str, expected: int, tmp_path: Path
) -> None:
    text = tables("[users.{name}]\nsecret = {secret}\n") + settings
    async with greeted(tmp_path, plugin(tmp_path, text, name="users.toml")) as client:
        await code(client, USER, PASSWORD)
        assert (await client.command(f"MAIL FROM:<{sender}>")).code == expected


async def test_a_user_may_be_constrained_where_others_are_not(tmp_path: Path) -> None:
    text = tables("[users.{name}]\nsecret = {secret}\nconstrain_sender = true\n")
    found = plugin(tmp_path, text, name="users.toml", constrain_sender=False)
    async with greeted(tmp_path, found) as client:
        await code(client, USER, PASSWORD)
        assert (await client.command("MAIL FROM:<ann@elsewhere.test>")).code == 550


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[users]\nbob = 's3cret'",
            "bob: has no hash of a kind that is known; make one with: harakapy password",
        ),
        ("[users]\nbob = 987654321", "bob: has no hash"),
        ("[users]\nbob = '{PLAIN}s3cret'", "bob: has its password in clear, which needs allow_plain_text"),
        ("[users.bob]\nsecret = ['s3cret']", "users.bob.secret: must be text"),
        ("[users.bob]\nsecrets = 's3cret'", "users.bob.secrets: is not a known key; did you mean secret?"),
        ("[users.bob]\npassword = 's3cret'", "users.bob.secret: is required"),
        ("[[users]]\nname = 'bob'\nsecret = 's3cret'", "users: must be a table"),
        ("[user]\nbob = 's3cret'", "user: is not a known key; did you mean users?"),
        ("[users]\nbob: s3cret", "is not TOML"),
        ("[users.bob]\nsecret='{PLAIN}s3cret'\nsenders=['@x']", '"@x" in senders, which is neither'),
        ("[users.bob]\nsecret='{PLAIN}s3cret'\nsenders=['a b']", '"a b" in senders, which is neither'),
    ],
)
def test_what_is_wrong_in_a_toml_file_is_told_without_secrets(text: str, said: str, tmp_path: Path) -> None:
    found = plugin(tmp_path, text, name="users.toml", allow_plain_text="senders" in text)
    with pytest.raises(ConfigError) as caught:
        Scene(tmp_path, found)
    assert f"{tmp_path / 'users.toml'}: " in str(caught.value)
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "987654321" not in str(caught.value)


async def test_a_changed_toml_file_counts_and_a_wrong_one_is_told_and_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harakapy.config.lists.LOOK_INTERVAL_S", 0.0)
    file = tmp_path / "users.toml"
    good = tables("[users]\n{name} = {secret}\n")
    async with greeted(tmp_path, plugin(tmp_path, "", name="users.toml"), smtp=QUICK) as client:
        assert await code(client, USER, PASSWORD) == 535
        file.write_text(good.replace(SCRAM, "s3cret"))
        assert await code(client, USER, PASSWORD) == 535
        file.write_text("[users")
        assert await code(client, USER, PASSWORD) == 535
        file.write_text(good)
        assert await code(client, USER, PASSWORD) == 235
    log = (tmp_path / "log").read_text()
    assert log.count("users not read again, the old ones stay in force") == 2
    assert "s3cret" not in log


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_hash_without_the_extra_is_told_with_what_to_install(command: str, tmp_path: Path) -> None:
    (tmp_path / "users").write_text(f"{USER}:{HASHES['argon2id']}\nbob:{SCRAM}\n")
    file = tmp_path / "harakapy.toml"
    file.write_text("plugins = ['auth_flat_file']\nlisten = []\n")
    code = (
        "import sys; sys.modules['argon2'] = None; from harakapy.cli.main import main;"
        f"main([{command!r}, '-c', {str(file)!r}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert f"{USER}: has a hash that needs the extra harakapy[auth]: pip install" in done.stderr
    assert "bob" not in done.stderr
    assert "Traceback" not in done.stderr


def test_the_file_in_the_manual_is_a_good_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
    [example] = re.findall(r"^~~~toml\n(.*?)^~~~", page, re.MULTILINE | re.DOTALL)
    Scene(tmp_path, plugin(tmp_path, example, name="users.toml"))
    section = page.partition("\n## auth_flat_file\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \| [A-Z][^|]*\|$", section, re.MULTILINE) == list(User.model_fields)
