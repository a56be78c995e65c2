"""What a certificate says, read with the cryptography package, which the ssl module cannot do for all of it.

A module of its own, which is imported when the first certificate is read: the package takes a third as long
to import as all of trio, and a server without TLS does not need it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

__all__ = ["Leaf", "binding_of_der", "read_leaf"]

# What the parser raises for what it cannot read or does not know.
_UNREADABLE: Final = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


class Leaf(NamedTuple):
    """What is of interest in the first certificate of a chain; as in `Certificate`."""

    names: tuple[str, ...]
    key_type: str
    not_after: datetime
    end_point_binding: bytes


def read_leaf(pem: bytes) -> Leaf:
    """The first certificate of a PEM file. Raises ValueError if it cannot be read."""
    try:
        leaf = x509.load_pem_x509_certificates(pem)[0]
        return Leaf(_names(leaf), _key_type(leaf), leaf.not_valid_after_utc, _end_point_binding(leaf))
    except _UNREADABLE as cause:
        raise ValueError("no certificate that can be read") from cause


def binding_of_der(der: bytes) -> bytes:
    """The hash of a certificate in DER for ``tls-server-end-point``; b"" if there is none.

    OpenSSL reads certificates that this parser, which is stricter, does not: they have none either.
    """
    try:
        return _end_point_binding(x509.load_der_x509_certificate(der))
    except ValueError:
        return b""


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    """The DNS names of a certificate; the common name only if it has none, as was usual long ago."""
    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = extension.value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        names = []
    if not names:
        attributes = leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        names = [str(attribute.value) for attribute in attributes]
    return tuple(dict.fromkeys(name.lower().rstrip(".") for name in names))


def _key_type(leaf: x509.Certificate) -> str:
    key = leaf.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return "RSA"
    return "EC" if isinstance(key, ec.EllipticCurvePublicKey) else "other"


def _end_point_binding(leaf: x509.Certificate) -> bytes:
    """The hash of a certificate for ``tls-server-end-point`` (RFC 5929 4.1); b"" if none is defined."""
    algorithm = leaf.signature_hash_algorithm
    if algorithm is None:  # EdDSA signs without a hash
        return b""
    is_broken = isinstance(algorithm, hashes.MD5 | hashes.SHA1)
    return leaf.fingerprint(hashes.SHA256() if is_broken else algorithm)
