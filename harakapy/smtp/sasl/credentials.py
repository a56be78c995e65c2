"""What a client shows to log in: one value for each kind of proof.

Whoever decides gets one of these. ``mechanism`` is the SASL name, ``authcid`` the user whose proof it is, and
``authzid`` the user to act as, "" for the same. Names are prepared by SASLprep (RFC 4013): no control
characters, one spelling. Secrets are not shown by `repr`.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

__all__ = [
    "CramMd5Credentials",
    "Credentials",
    "ExternalCredentials",
    "PasswordCredentials",
    "ScramCredentials",
    "TokenCredentials",
]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What all kinds have in common."""

    mechanism: str
    authcid: str
    authzid: str


@dataclass(frozen=True, slots=True)
class PasswordCredentials(Credentials):
    """A name and a password as typed (PLAIN, LOGIN).

    The password is not prepared: what it is compared with was hashed from what somebody typed. It is never
    empty and at most 1024 octets in UTF-8; some hashes take fewer.
    """

    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CramMd5Credentials(Credentials):
    """A name and a proof that needs the password in clear to be verified (CRAM-MD5, RFC 2195)."""

    challenge: bytes = field(repr=False)
    digest: bytes = field(repr=False)

    def verify(self, password: str) -> bool:
        """Whether the client knew this password."""
        expected = hmac.digest(password.encode(), self.challenge, "md5").hex().encode("ascii")
        return hmac.compare_digest(expected, self.digest)


@dataclass(frozen=True, slots=True)
class ScramCredentials(Credentials):
    """A name that is proven: the client knew the password behind the secret that was supplied.

    What is left to decide is whether ``authcid`` may act as ``authzid``.
    """


@dataclass(frozen=True, slots=True)
class TokenCredentials(Credentials):
    """A bearer token (OAUTHBEARER, RFC 7628; XOAUTH2).

    ``authcid`` is the user whom the client says the token is for, "" if it does not say; only the token can
    prove it. ``host`` and ``port`` are where the client believes to be, "" and 0 if it does not say.
    """

    token: str = field(repr=False)
    host: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True)
class ExternalCredentials(Credentials):
    """A client certificate that was verified by TLS (EXTERNAL).

    ``peer_names`` are its names, never empty; ``authcid`` is the first of them.
    """

    peer_names: tuple[str, ...]
