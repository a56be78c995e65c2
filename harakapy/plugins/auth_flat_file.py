"""auth_flat_file: users and what is stored of their passwords, in a file."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from pathlib import Path

import trio
from pydantic import Field

from harakapy import (
    DENY,
    OK,
    Address,
    ConfigError,
    Connection,
    CramMd5Credentials,
    Credentials,
    ListFile,
    PasswordCredentials,
    Plugin,
    PluginConfig,
    Problem,
    ScramCredentials,
    ScramSecret,
    Verdict,
    hookimpl,
)

try:
    import argon2
    import bcrypt
    from passlib.hash import sha256_crypt, sha512_crypt
except ImportError:  # the extra harakapy[auth] is not installed
    HAS_HASHES = False
else:
    HAS_HASHES = True

BCRYPT_OCTETS = 72
"""What bcrypt looks at; whatever is behind would not count, so longer passwords are wrong."""
THREADS = 2
"""Passwords verified at a time. Picked: each takes a core for about 0.1 s, and mail must go on."""

PLAIN = "{PLAIN}"
_WRONG_SENDER = DENY("5.7.1 You have logged in as somebody who may not send from that address", code=550)


class AuthFlatFileConfig(PluginConfig):
    """The settings of `AuthFlatFile`."""

    file: Path = Field(
        Path("users"),
        description=(
            "The users, one a line: `name:secret`, relative to the configuration file. It is read again when "
            "it changes."
        ),
    )
    allow_plain_text: bool = Field(
        False, description="Take passwords in clear, written `{PLAIN}password`; CRAM-MD5 needs them."
    )
    constrain_sender: bool = Field(
        True,
        description=(
            "A user whose name has a domain may send from that domain and those below it only, and with the "
            "null reverse-path."
        ),
    )


class AuthFlatFile(Plugin[AuthFlatFileConfig]):
    """Lets the users in a file log in.

    A line of the file is ``name:secret``. The secret is a hash of the password: argon2 (``$argon2id$``),
    bcrypt (``$2b$``), SHA-crypt (``$5$``, ``$6$``), all of which need the extra ``harakapy[auth]``; or a
    SCRAM secret (``SCRAM-SHA-256$4096:salt$StoredKey:ServerKey``, as `ScramSecret.to_text` and PostgreSQL
    write it); or with ``allow_plain_text`` the password itself, ``{PLAIN}password``.

    Hooks: ``auth_mechanisms`` offers PLAIN and LOGIN, SCRAM if every user has a SCRAM secret, and CRAM-MD5 if
    every password is there in clear: a client that takes the strongest one must not fail for it.
    ``auth_secret`` finds SCRAM secrets, ``auth`` verifies passwords, in threads, ``mail`` constrains the
    sender. For a user who is not in the file the secret of the first user is tried, so that it takes as long
    as a wrong password does; that holds as long as all secrets are of one kind.

    A file with a wrong line is refused at the start, and later leaves the users as they were.

    Haraka's counterpart: auth/flat_file. There passwords are in clear, and any two domains of one
    organisation may send for each other.
    """

    def register(self) -> None:
        """Read the file."""
        self._limiter = trio.CapacityLimiter(THREADS)
        self.reload(self.config)

    def reload(self, config: AuthFlatFileConfig) -> None:
        """Read another file. Raises ConfigError, and changes nothing."""
        path = self.server.settings.directory / config.file.expanduser()
        file = ListFile(path, report=self._report)
        users = _users(file, allow_plain_text=config.allow_plain_text)
        self.config, self._file, self._users, self._entries = config, file, users, file.entries

    @hookimpl
    def hook_auth_mechanisms(self) -> list[str]:
        """What every user can log in with."""
        secrets = self._current_users().values()
        names = ["PLAIN", "LOGIN"]
        if secrets and all(secret.startswith("SCRAM-") for secret in secrets):
            names += ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]
        if secrets and all(secret.startswith(PLAIN) for secret in secrets):
            names.append("CRAM-MD5")
        return names

    @hookimpl
    def hook_auth_secret(self, user: str) -> ScramSecret | None:
        """The SCRAM secret of a user, if it has one."""
        secret = self._current_users().get(user, "")
        return ScramSecret.parse(secret) if secret.startswith("SCRAM-") else None

    @hookimpl
    async def hook_auth(self, credentials: Credentials) -> Verdict | None:
        """Whether the user is in the file, with this password."""
        users = self._current_users()
        secret = users.get(credentials.authcid)
        if isinstance(credentials, ScramCredentials):
            return OK if secret and secret.startswith("SCRAM-") else None
        if isinstance(credentials, CramMd5Credentials):
            if secret is None or not secret.startswith(PLAIN):
                return None
            return OK if credentials.verify(secret.removeprefix(PLAIN)) else None
        if not isinstance(credentials, PasswordCredentials) or not users:
            return None
        tried = next(iter(users.values())) if secret is None else secret
        is_right = await trio.to_thread.run_sync(
            _verify, tried, credentials.password, limiter=self._limiter, abandon_on_cancel=True
        )
        return OK if is_right and secret is not None else None

    @hookimpl
    def hook_mail(self, connection: Connection, sender: Address) -> Verdict | None:
        """Users send from their own domain only."""
        user = connection.auth_user
        _, at, domain = user.rpartition("@")
        if not self.config.constrain_sender or not at or sender.is_null or user not in self._current_users():
            return None
        return None if f".{sender.host}".endswith(f".{domain.lower()}") else _WRONG_SENDER

    def _current_users(self) -> dict[str, str]:
        entries = self._file.entries
        if entries is not self._entries:  # read again
            self._entries = entries
            try:
                self._users = _users(self._file, allow_plain_text=self.config.allow_plain_text)
            except ConfigError as error:
                for problem in error.problems:
                    self._report(problem)
        return self._users

    def _report(self, problem: Problem) -> None:
        self.log.error("users not read again, the old ones stay in force", problem=str(problem))


def _users(file: ListFile, *, allow_plain_text: bool) -> dict[str, str]:
    """{name: secret}. Raises ConfigError with all that is wrong; it shows no secret."""
    users: dict[str, str] = {}
    problems = []
    for entry in file.entries:
        name, _, secret = entry.partition(":")
        message = _problem(secret, allow_plain_text=allow_plain_text)
        if not name or name in users:
            message = "must have each user once, as name:secret"
        if message:
            problems.append(Problem(str(file.path), name if ":" in entry else "", message))
        users[name] = secret
    if problems:
        raise ConfigError(problems)
    return users


def _problem(secret: str, *, allow_plain_text: bool) -> str:
    if secret.startswith(PLAIN):
        return "" if allow_plain_text else "has its password in clear, which needs allow_plain_text"
    if secret.startswith("SCRAM-"):
        try:
            ScramSecret.parse(secret)
        except ValueError as error:
            return f"is {error}"
        return ""
    if _verifier(secret) is None:
        return "has no hash of a kind that is known; a password in clear is written {PLAIN}password"
    return "" if HAS_HASHES else "has a hash that needs the extra harakapy[auth]"


def _verify_argon2(secret: str, password: str) -> bool:
    try:
        return argon2.PasswordHasher().verify(secret, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False


def _verify_bcrypt(secret: str, password: str) -> bool:
    octets = password.encode()
    # The cut password costs the same, so that its length does not show.
    is_right = bcrypt.checkpw(octets[:BCRYPT_OCTETS], secret.encode())
    return is_right and len(octets) <= BCRYPT_OCTETS


def _verify_sha_crypt(secret: str, password: str) -> bool:
    scheme = sha256_crypt if secret.startswith("$5$") else sha512_crypt
    return bool(scheme.verify(password, secret))


def _verify_scram(secret: str, password: str) -> bool:
    stored = ScramSecret.parse(secret)
    derived = ScramSecret.derive(password, salt=stored.salt, iterations=stored.iterations)
    return hmac.compare_digest(stored.stored_key, derived.stored_key)


def _verify_plain(secret: str, password: str) -> bool:
    return hmac.compare_digest(secret.removeprefix(PLAIN).encode(), password.encode())


_VERIFIERS: tuple[tuple[re.Pattern[str], Callable[[str, str], bool]], ...] = (
    (re.compile(r"\$argon2(id|i|d)\$\S+"), _verify_argon2),
    (re.compile(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}"), _verify_bcrypt),
    (re.compile(r"\$[56]\$(rounds=\d+\$)?[^$:\s]*\$[./A-Za-z0-9]+"), _verify_sha_crypt),
    (re.compile(r"SCRAM-SHA-256\$.+"), _verify_scram),
    (re.compile(r"\{PLAIN\}.+"), _verify_plain),
)


def _verifier(secret: str) -> Callable[[str, str], bool] | None:
    return next((verify for pattern, verify in _VERIFIERS if pattern.fullmatch(secret)), None)


def _verify(secret: str, password: str) -> bool:
    """Whether the secret is that of the password; it blocks for as long as the hash takes."""
    verify = _verifier(secret)
    try:
        return verify is not None and verify(secret, password)
    except ValueError:  # a password that this kind cannot have: a NUL, or what SASLprep forbids
        return False
