"""A certificate and its key, in two files or one: whose it is, and where a directory has them."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import Struct

__all__ = [
    "Certificate",
    "CertificateError",
    "CertificatePair",
    "FileStamp",
    "find_pairs",
    "load_certificate",
    "stamp",
]

_CERTIFICATE_SUFFIXES: Final = (".pem", ".crt", ".cert")
_KEY_SUFFIX: Final = ".key"
# A directory of its own for each name, as ACME clients keep it.
_ACME_CERTIFICATE: Final = "fullchain.pem"
_ACME_KEY: Final = "privkey.pem"
_PRIVATE_KEY_MARK: Final = b"PRIVATE KEY-----"

FileStamp = tuple[int, int, int] | None
"""What changes when a file is written or replaced: time, inode, size; None if the file cannot be seen."""


class CertificateError(Exception):
    """A certificate or key that cannot be used; names the file and says why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class CertificatePair(NamedTuple):
    """Two PEM files: the certificate with its chain, the leaf first, and the private key; may be one file."""

    certificate_file: Path
    key_file: Path

    def stamps(self) -> tuple[FileStamp, FileStamp]:
        """Of both files."""
        return stamp(self.certificate_file), stamp(self.key_file)


class Certificate(Struct, frozen=True, eq=False):
    """A pair that was read and whose key fits.

    ``names`` are the DNS names in it, in lower case, possibly with a leading ``*.``; ``key_type`` is "RSA",
    "EC" or "other". ``end_point_binding`` is its hash for channel binding, b"" if none is defined for it.
    """

    pair: CertificatePair
    stamps: tuple[FileStamp, FileStamp]
    names: tuple[str, ...]
    key_type: str
    not_after: datetime
    end_point_binding: bytes


def stamp(path: Path) -> FileStamp:
    """The stamp of a file, that of its target if it is a link."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def load_certificate(pair: CertificatePair) -> Certificate:
    """Read a pair and see whether key and certificate belong together.

    Raises CertificateError: a file cannot be read, is no PEM, the key is encrypted or another certificate's.
    """
    from harakapy.net.tls.leaf import read_leaf  # not before there is a certificate: see there

    stamps = pair.stamps()  # before reading: what changes while we read will look changed the next time
    try:
        leaf = read_leaf(pair.certificate_file.read_bytes())
    except OSError as cause:
        raise CertificateError(pair.certificate_file, str(cause.strerror)) from cause
    except ValueError as cause:
        raise CertificateError(pair.certificate_file, "is no PEM certificate that can be read") from cause
    add_to_context(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), pair)
    return Certificate(pair, stamps, leaf.names, leaf.key_type, leaf.not_after, leaf.end_point_binding)


def add_to_context(context: ssl.SSLContext, pair: CertificatePair) -> None:
    """Let a context use a pair; raises CertificateError if it cannot."""

    def refuse_password() -> str:  # or OpenSSL asks for it on the terminal
        raise CertificateError(pair.key_file, "is encrypted; a server starts with nobody there to ask")

    try:
        context.load_cert_chain(pair.certificate_file, pair.key_file, refuse_password)
    except ssl.SSLError as cause:
        reason = _REASONS.get(cause.reason, f"cannot be used ({cause.reason})")
        raise CertificateError(pair.key_file, reason) from cause
    except OSError as cause:
        raise CertificateError(pair.key_file, str(cause.strerror)) from cause


_REASONS: Final[Mapping[str | None, str]] = {
    None: "is no PEM private key",  # the error of the PEM parser has no name
    "KEY_VALUES_MISMATCH": "is not the key of the certificate",
    "KEY_TYPE_MISMATCH": "is not the key of the certificate",
    "EE_KEY_TOO_SMALL": "is too short to be safe",
    "CA_MD_TOO_WEAK": "belongs to a certificate with a broken signature algorithm",
}


def find_pairs(directory: Path) -> Iterator[CertificatePair]:
    """The pairs in a directory, ordered by file name.

    They may stand as ``NAME.pem`` (or .crt, .cert) beside ``NAME.key``, as ``NAME.pem`` with both, or as
    ``NAME/fullchain.pem`` and ``NAME/privkey.pem``. Certificates without a key are passed over: chains and
    authorities may lie there too.

    Raises OSError if the directory cannot be read.
    """
    for entry in sorted(directory.iterdir()):
        if entry.is_dir():
            pair = CertificatePair(entry / _ACME_CERTIFICATE, entry / _ACME_KEY)
            if pair.certificate_file.exists():
                yield pair
        elif entry.suffix in _CERTIFICATE_SUFFIXES:
            key = entry.with_suffix(_KEY_SUFFIX)
            if key.exists():
                yield CertificatePair(entry, key)
            elif _may_have_key(entry):
                yield CertificatePair(entry, entry)


def _may_have_key(path: Path) -> bool:
    try:
        return _PRIVATE_KEY_MARK in path.read_bytes()
    except OSError:  # whoever loads it will say why
        return True
