"""What TLS we speak as a server: versions, ciphers, client certificates."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Final

from msgspec import Struct

from harakapy.net.tls.certificate import CertificateError, CertificatePair, add_to_context

__all__ = ["MODERN_CIPHERS", "ClientCertificates", "TlsPolicy", "server_context"]

MODERN_CIPHERS: Final = "@SECLEVEL=2:ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption only, as RFC 9325 4.2 recommends, with keys and
signatures of at least 112 bits. A client that has none of these sends in clear, or not at all. The ones
known, mail servers on Windows Server 2012, have ECDHE with AES-GCM for ECDSA only: a second certificate with
such a key serves them. The ciphers of TLS 1.3 are all good and not affected."""


class ClientCertificates(Enum):
    """Whether clients are asked for a certificate.

    REQUEST lets in who has none, but not who shows one that cannot be verified: OpenSSL ends such a
    handshake, and Python offers no way to ask it to go on. So it is for listeners whose clients are known,
    not for a port where any mail server may call and show what it has.
    """

    NONE = ssl.CERT_NONE
    REQUEST = ssl.CERT_OPTIONAL
    REQUIRE = ssl.CERT_REQUIRED


class TlsPolicy(Struct, frozen=True):
    """What is common to all certificates of a listener.

    ``client_ca_file`` has the authorities, in PEM, that client certificates must come from.

    Raises ValueError if client certificates are wanted and no authorities given.
    """

    minimum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    ciphers: str = MODERN_CIPHERS
    client_certificates: ClientCertificates = ClientCertificates.NONE
    client_ca_file: Path | None = None

    def __post_init__(self) -> None:
        if self.client_certificates is not ClientCertificates.NONE and self.client_ca_file is None:
            raise ValueError("client certificates cannot be verified without a file of authorities")


def server_context(policy: TlsPolicy, pairs: Iterable[CertificatePair]) -> ssl.SSLContext:
    """A context with these certificates, of different key types: OpenSSL takes the one that fits the client.

    Sessions can be resumed by tickets, whose key lives and dies with the context. Compression (CRIME) and
    renegotiation (a client's way to make a server work) are off.

    Raises CertificateError if a file cannot be used, ValueError if ``policy.ciphers`` names none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = policy.minimum_version
    context.num_tickets = 1  # OpenSSL's two are for browsers, which open several connections at once
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    try:
        context.set_ciphers(policy.ciphers)
    except ssl.SSLError as cause:
        raise ValueError(f"no cipher of that description: {policy.ciphers!r}") from cause
    for pair in pairs:
        add_to_context(context, pair)
    if policy.client_ca_file is not None:
        _trust(context, policy.client_ca_file)
        context.verify_mode = policy.client_certificates.value
    return context


def _trust(context: ssl.SSLContext, authorities: Path) -> None:
    try:
        context.load_verify_locations(authorities)
    except ssl.SSLError as cause:
        raise CertificateError(authorities, "has no PEM certificates of authorities") from cause
    except OSError as cause:
        raise CertificateError(authorities, str(cause.strerror)) from cause
