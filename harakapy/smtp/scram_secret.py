"""What a server stores of a password for SCRAM (RFC 5802 3, RFC 5803), and what stands in for it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final, Self

from msgspec import Struct

from harakapy.smtp.saslprep import saslprep
from harakapy.smtp.strict_base64 import decode_base64, encode_base64

__all__ = [
    "DEFAULT_ITERATIONS",
    "MAX_SALT_OCTETS",
    "ScramDecoy",
    "ScramSecret",
    "client_key",
    "salted_password",
    "server_key",
]

DEFAULT_ITERATIONS: Final = 10_000
"""RFC 7677 4 asks for at least 4096, and for more where clients can; a telephone does these in a few
hundredths of a second. The client pays for them, the server does not."""
SALT_OCTETS: Final = 16
MAX_SALT_OCTETS: Final = 64
"""The longest salt: the server's message must fit into one line of a reply."""


class ScramSecret(Struct, frozen=True):
    """The stored secret of one user. Who steals it can play the server, but not the client.

    Raises ValueError if ``salt`` is empty or too long, ``iterations`` not positive, or a key empty.
    """

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes

    def __post_init__(self) -> None:
        if not 0 < len(self.salt) <= MAX_SALT_OCTETS:
            raise ValueError(f"the salt of a SCRAM secret has 1 to {MAX_SALT_OCTETS} octets")
        if self.iterations < 1 or not self.stored_key or len(self.stored_key) != len(self.server_key):
            raise ValueError("a SCRAM secret has at least one iteration and two keys of one length")

    def __repr__(self) -> str:  # without the keys
        return f"{type(self).__name__}(salt={self.salt!r}, iterations={self.iterations})"

    @classmethod
    def derive(
        cls,
        password: str,
        *,
        salt: bytes | None = None,
        iterations: int = DEFAULT_ITERATIONS,
        hash_name: str = "sha256",
    ) -> Self:
        """Make the secret of a password, with a random salt if none is given.

        It blocks for as long as the iterations take, about 5 ms for the default: not in an event loop.

        Raises ValueError if SASLprep does not allow the password.
        """
        salt = secrets.token_bytes(SALT_OCTETS) if salt is None else salt
        salted = salted_password(password, salt, iterations, hash_name)
        stored_key = hashlib.new(hash_name, client_key(salted, hash_name)).digest()
        return cls(salt, iterations, stored_key, server_key(salted, hash_name))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `to_text` gives.

        Raises ValueError if it is not that; the message does not repeat it.
        """
        scheme, _, rest = text.partition("$")
        parameters, _, keys = rest.partition("$")
        iterations, _, salt = parameters.partition(":")
        octets = [decode_base64(part.encode()) for part in (salt, *keys.split(":"))]
        if scheme != "SCRAM-SHA-256" or not iterations.isdecimal() or len(octets) != 3 or None in octets:
            raise ValueError("not a SCRAM-SHA-256 secret")
        return cls(octets[0] or b"", int(iterations), octets[1] or b"", octets[2] or b"")

    def to_text(self) -> str:
        """``SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey``: RFC 5803's form, PostgreSQL's too."""
        salt, stored, server = map(encode_base64, (self.salt, self.stored_key, self.server_key))
        return f"SCRAM-SHA-256${self.iterations}:{salt}${stored}:{server}"


def salted_password(password: str, salt: bytes, iterations: int, hash_name: str) -> bytes:
    """``Hi(Normalize(password), salt, i)``; raises ValueError if SASLprep does not allow the password."""
    return hashlib.pbkdf2_hmac(hash_name, saslprep(password).encode(), salt, iterations)


def client_key(salted: bytes, hash_name: str) -> bytes:
    """What proves the client."""
    return hmac.digest(salted, b"Client Key", hash_name)


def server_key(salted: bytes, hash_name: str) -> bytes:
    """What proves the server."""
    return hmac.digest(salted, b"Server Key", hash_name)


class ScramDecoy(Struct, frozen=True):
    """Secrets for users who do not exist, so that a stranger cannot tell them from those who do.

    The same name must get the same salt for ever, or asking twice tells: ``key`` (32 random octets) has to be
    kept over restarts and shared by all workers. ``iterations`` and ``salt_octets`` should be those that real
    users have.
    """

    key: bytes
    iterations: int = DEFAULT_ITERATIONS
    salt_octets: int = SALT_OCTETS

    def __repr__(self) -> str:
        return f"ScramDecoy(iterations={self.iterations}, salt_octets={self.salt_octets})"

    def secret_for(self, name: str) -> ScramSecret:
        """The secret of a user of this name; no password belongs to it."""
        salt = hmac.digest(self.key, b"salt\0" + name.encode(), "sha512")[: self.salt_octets]
        keys = hmac.digest(self.key, b"keys\0" + name.encode(), "sha512")
        return ScramSecret(salt, self.iterations, keys[:32], keys[32:])
