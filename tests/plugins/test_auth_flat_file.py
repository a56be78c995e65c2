import base64
from pathlib import Path

import argon2
import bcrypt
import pytest
from passlib.hash import sha256_crypt, sha512_crypt

from harakapy import ScramSecret
from harakapy.config import ConfigError
from harakapy.plugins.auth_flat_file import AuthFlatFile
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


def plugin(folder: Path, text: str, **values: object) -> AuthFlatFile:
    (folder / "users").write_text(text)
    return AuthFlatFile(file=folder / "users", **values)


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
