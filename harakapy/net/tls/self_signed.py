"""A certificate made on the spot, so that mail can be encrypted before anybody has bought or fetched one.

Nobody can verify it, and between mail servers few try: opportunistic TLS (RFC 7435) takes what it gets.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from harakapy.net.tls.certificate import CertificatePair

__all__ = ["make_self_signed"]

# Nothing renews it, and no client looks at the date of a certificate that it cannot verify anyway.
_LIFETIME: Final = timedelta(days=3650)
_CLOCK_DIFFERENCE: Final = timedelta(hours=1)  # so that it is valid for a peer whose clock is behind
_HOSTNAME: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.IGNORECASE)
_COMMON_NAME_LENGTH: Final = 64  # RFC 5280 A.1, ub-common-name


def make_self_signed(hostname: str, directory: Path, now: datetime | None = None) -> CertificatePair:
    """Make an ECDSA key (P-256) and a certificate for ``hostname``, valid for ten years.

    They are written to ``hostname.pem`` and ``hostname.key`` in the directory, which is made if it is not
    there; the key is readable by its owner alone. Nothing is overwritten.

    Raises ValueError if ``hostname`` is no ASCII host name, FileExistsError if one of the files is there
    already, other OSError if they cannot be written.
    """
    if not _HOSTNAME.fullmatch(hostname):
        raise ValueError(f"not a host name for a certificate: {hostname!r}")
    pair = CertificatePair(directory / f"{hostname}.pem", directory / f"{hostname}.key")
    if pair.certificate_file.exists():
        raise FileExistsError(f"{pair.certificate_file} is there already")
    directory.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _sign(hostname, key, now or datetime.now(UTC))
    _write_new(
        pair.key_file,
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        mode=0o600,
    )
    _write_new(pair.certificate_file, certificate.public_bytes(Encoding.PEM), mode=0o644)
    return pair


def _sign(hostname: str, key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:_COMMON_NAME_LENGTH])])
    names = x509.SubjectAlternativeName([x509.DNSName(hostname.lower())])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_DIFFERENCE)
        .not_valid_after(now + _LIFETIME)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=False)
        .sign(key, hashes.SHA256())
    )


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that must not be there yet; it never exists with other permissions than ``mode``."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
