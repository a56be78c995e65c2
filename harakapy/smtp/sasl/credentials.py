"""What a client shows to log in: one value for each kind of proof.

Whoever decides gets one of these. ``mechanism`` is the SASL name, ``authcid`` the user whose proof it is, and
``authzid`` the user to act as, "" for the same. Names are prepared by SASLprep (RFC 4013): no control
characters, one spelling. Secrets are not shown by `repr`.
"""

from __future__ import annotations

import hmac

from msgspec import Struct

__all__ = [
    "CramMd5Credentials",
    "Credentials",
    "ExternalCredentials",
    "PasswordCredentials",
    "ScramCredentials",
    "TokenCredentials",
]


class Credentials(Struct, frozen=True):
    """What all kinds have in common."""

    mechanism: str
    authcid: str
    authzid: str

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.mechanism!r}, {self.authcid!r}, {self.authzid!r})"


class PasswordCredentials(Credentials, frozen=True):
    """A name and a password as typed (PLAIN, LOGIN).

    The password is not prepared: what it is compared with was hashed from what somebody typed. It is never
    empty and at most 1024 octets in UTF-8; some hashes take fewer.
    """

    password: str


class CramMd5Credentials(Credentials, frozen=True):
    """A name and a proof that needs the password in clear to be verified (CRAM-MD5, RFC 2195)."""

    challenge: bytes
    digest: bytes

    def verify(self, password: str) -> bool:
        """Whether the client knew this password."""
        expected = hmac.digest(password.encode(), self.challenge, "md5").hex().encode("ascii")
        return hmac.compare_digest(expected, self.digest)


class ScramCredentials(Credentials, frozen=True):
    """A name that is proven: the client knew the password behind the secret that was supplied.

    What is left to decide is whether ``authcid`` may act as ``authzid``.
    """


class TokenCredentials(Credentials, frozen=True):
    """A bearer token (OAUTHBEARER, RFC 7628; XOAUTH2).

    ``authcid`` is the user whom the client says the token is for, "" if it does not say; only the token can
    prove it. ``host`` and ``port`` are where the client believes to be, "" and 0 if it does not say.
    """

    token: str
    host: str = ""
    port: int = 0


class ExternalCredentials(Credentials, frozen=True):
    """A client certificate that was verified by TLS (EXTERNAL).

    ``peer_names`` are its names, never empty; ``authcid`` is the first of them.
    """

    peer_names: tuple[str, ...]
