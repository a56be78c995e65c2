"""auth_flat_file: users and what is stored of their passwords, in a file.

The file is long because a plugin is one module, with its settings and the forms of its file.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import trio
from pydantic import BeforeValidator, Field, SecretStr

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
    TableFile,
    Verdict,
    hookimpl,
    to_ascii,
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
_NEEDS_EXTRA = 'has a hash that needs the extra harakapy[auth]: pip install "harakapy[auth]"'
_WRONG_SENDER = DENY("5.7.1 You have logged in as somebody who may not send from that address", code=550)


class AuthFlatFileConfig(PluginConfig):
    """The settings of `AuthFlatFile`."""

    file: Path = Field(
        Path("users"),
        description=(
            "The users, relative to the configuration file: one a line, `name:secret`; or TOML, if its name "
            "ends with `.toml`. It is read again when it changes."
        ),
    )
    allow_plain_text: bool = Field(
        False, description="Take passwords in clear, written `{PLAIN}password`; CRAM-MD5 needs them."
    )
    constrain_sender: bool = Field(
        True,
        description=(
            "A user whose name has a domain may send from that domain and those below it only, and with the "
            "null reverse-path. A TOML file can say something else for each user."
        ),
    )


def _as_table(value: object) -> object:
    # Whatever is no table is taken for a secret: then nothing that says what is wrong with it can show it.
    return value if isinstance(value, dict) else {"secret": str(value)}


class User(PluginConfig):
    """One user; in a TOML file a table, or the secret alone.

    ``senders`` are addresses, and domains with those below them, that the user may send from, in place of the
    domain of its name. A user that is not ``enabled`` cannot log in.
    """

    secret: SecretStr
    senders: tuple[str, ...] | None = None
    constrain_sender: bool | None = None
    enabled: bool = True


class UserTables(PluginConfig):
    """A TOML file of users: the table ``[users]``."""

    users: dict[str, Annotated[User, BeforeValidator(_as_table)]] = {}


class AuthFlatFile(Plugin[AuthFlatFileConfig]):
    """Lets the users in a file log in.

    A line of the file is ``name:secret``. The secret is a hash of the password: argon2 (``$argon2id$``),
    bcrypt (``$2b$``), SHA-crypt (``$5$``, ``$6$``), all of which need the extra ``harakapy[auth]``; or a
    SCRAM secret (``SCRAM-SHA-256$4096:salt$StoredKey:ServerKey``, as `ScramSecret.to_text` and PostgreSQL
    write it); or with ``allow_plain_text`` the password itself, ``{PLAIN}password``. In a TOML file a user is
    a `User` in the table ``[users]``. ``harakapy password`` makes secrets.

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
        users = UserFile(path, self._report, allow_plain_text=config.allow_plain_text)
        self.config, self._users = config, users

    @hookimpl
    def hook_auth_mechanisms(self) -> list[str]:
        """What every user can log in with."""
        secrets = [user.secret.get_secret_value() for user in self._users.current().values() if user.enabled]
        names = ["PLAIN", "LOGIN"]
        if secrets and all(secret.startswith("SCRAM-") for secret in secrets):
            names += ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]
        if secrets and all(secret.startswith(PLAIN) for secret in secrets):
            names.append("CRAM-MD5")
        return names

    @hookimpl
    def hook_auth_secret(self, user: str) -> ScramSecret | None:
        """The SCRAM secret of a user, if it has one."""
        secret = self._secret(user) or ""
        return ScramSecret.parse(secret) if secret.startswith("SCRAM-") else None

    @hookimpl
    async def hook_auth(self, credentials: Credentials) -> Verdict | None:
        """Whether the user is in the file, with this password."""
        secret = self._secret(credentials.authcid)
        if isinstance(credentials, ScramCredentials):
            return OK if secret and secret.startswith("SCRAM-") else None
        if isinstance(credentials, CramMd5Credentials):
            if secret is None or not secret.startswith(PLAIN):
                return None
            return OK if credentials.verify(secret.removeprefix(PLAIN)) else None
        users = self._users.current()
        if not isinstance(credentials, PasswordCredentials) or not users:
            return None
        tried = next(iter(users.values())).secret.get_secret_value() if secret is None else secret
        is_right = await trio.to_thread.run_sync(
            _verify, tried, credentials.password, limiter=self._limiter, abandon_on_cancel=True
        )
        return OK if is_right and secret is not None else None

    @hookimpl
    def hook_mail(self, connection: Connection, sender: Address) -> Verdict | None:
        """Users send from where they may only."""
        user = self._users.current().get(connection.auth_user)
        if user is None or sender.is_null:
            return None
        is_constrained = user.constrain_sender
        if not (self.config.constrain_sender if is_constrained is None else is_constrained):
            return None
        allowed = user.senders
        if allowed is None:
            _, at, domain = connection.auth_user.rpartition("@")
            if not at:
                return None
            allowed = (domain,)
        return None if any(_is_allowed(sender, each) for each in allowed) else _WRONG_SENDER

    def _secret(self, name: str) -> str | None:
        """What is stored of a user that may log in."""
        user = self._users.current().get(name)
        return user.secret.get_secret_value() if user is not None and user.enabled else None

    def _report(self, problem: Problem) -> None:
        self.log.error("users not read again, the old ones stay in force", problem=str(problem))


class UserFile:
    """The users in a file, {name: User}, as they are now. Raises ConfigError for what is wrong at first."""

    def __init__(self, path: Path, report: Callable[[Problem], None], *, allow_plain_text: bool) -> None:
        self._path = path
        self._report = report
        self._allow_plain_text = allow_plain_text
        self._file: TableFile[UserTables] | ListFile = (
            TableFile(path, UserTables, report=report)
            if path.suffix == ".toml"
            else ListFile(path, report=report)
        )
        self._seen = self._content()
        self._users = self._checked(self._seen)

    def current(self) -> Mapping[str, User]:
        """The users; those from before, if the file has something wrong by now, which is reported once."""
        content = self._content()
        if content is not self._seen:  # read again
            self._seen = content
            try:
                self._users = self._checked(content)
            except ConfigError as error:
                for problem in error.problems:
                    self._report(problem)
        return self._users

    def _content(self) -> UserTables | tuple[str, ...]:
        return self._file.value if isinstance(self._file, TableFile) else self._file.entries

    def _checked(self, content: UserTables | tuple[str, ...]) -> Mapping[str, User]:
        """The users. Raises ConfigError with all that is wrong; it shows no secret."""
        problems: list[Problem] = []
        users = content.users if isinstance(content, UserTables) else self._users_of_lines(content, problems)
        for name, user in users.items():
            message = _problem(user.secret.get_secret_value(), allow_plain_text=self._allow_plain_text)
            message = message or _sender_problem(user.senders)
            if message:
                problems.append(Problem(str(self._path), name, message))
        if problems:
            raise ConfigError(problems)
        return users

    def _users_of_lines(self, lines: tuple[str, ...], problems: list[Problem]) -> dict[str, User]:
        users: dict[str, User] = {}
        for line in lines:
            name, colon, secret = line.partition(":")
            if not name or not colon or name in users:
                message = "must have each user once, as name:secret"
                problems.append(Problem(str(self._path), name if colon else "", message))
            else:
                users[name] = User(secret=SecretStr(secret))
        return users


def _is_allowed(sender: Address, pattern: str) -> bool:
    """Whether a sender is that address, or of that domain or one below it."""
    if "@" in pattern:
        allowed = Address.parse(pattern)
        return (sender.user, _domain(sender.host)) == (allowed.user, _domain(allowed.host))
    return f".{_domain(sender.host)}".endswith(f".{_domain(pattern)}")


def _domain(name: str) -> str:
    """A domain in the one form in which it is compared."""
    try:
        return to_ascii(name)
    except ValueError:  # an address literal, or none that the DNS could have
        return name.lower()


def _sender_problem(senders: tuple[str, ...] | None) -> str:
    for sender in senders or ():
        try:
            if "@" in sender:
                Address.parse(sender)
            else:
                to_ascii(sender)
        except ValueError:
            return f'has "{sender}" in senders, which is neither an address nor a domain'
    return ""


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
        return "has no hash of a kind that is known; make one with: harakapy password"
    return "" if HAS_HASHES else _NEEDS_EXTRA


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
