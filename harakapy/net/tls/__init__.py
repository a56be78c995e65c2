"""TLS: certificates that change while we run, sessions on a stream, and what is known of them."""

from harakapy.net.tls.certificate import Certificate, CertificateError, CertificatePair, find_pairs
from harakapy.net.tls.handshake import accept_tls, connect_tls
from harakapy.net.tls.policy import MODERN_CIPHERS, ClientCertificates, TlsPolicy
from harakapy.net.tls.state import PeerCertificate, TlsState
from harakapy.net.tls.store import CertificateStore
from harakapy.net.tls.stream import (
    TlsHandshakeError,
    TlsRejectedError,
    TlsStream,
    TlsTruncatedError,
    Transport,
)

__all__ = [
    "MODERN_CIPHERS",
    "Certificate",
    "CertificateError",
    "CertificatePair",
    "CertificateStore",
    "ClientCertificates",
    "PeerCertificate",
    "TlsHandshakeError",
    "TlsPolicy",
    "TlsRejectedError",
    "TlsState",
    "TlsStream",
    "TlsTruncatedError",
    "Transport",
    "accept_tls",
    "connect_tls",
    "find_pairs",
]
