"""What a client is shown for a name: the certificates that go together into one context."""

from __future__ import annotations

import ssl
from collections import defaultdict
from collections.abc import Iterable, Mapping

from msgspec import Struct

from harakapy.net.tls.certificate import Certificate, FileStamp

__all__ = ["Identity", "certificates_by_name", "look_up", "wildcard_of"]


class Identity(Struct, frozen=True, eq=False):
    """A context and its certificates, at most one of each key type; a client gets the one that fits it."""

    context: ssl.SSLContext
    certificates: tuple[Certificate, ...]
    authorities: FileStamp
    """Of the file of client authorities, as it was when the context was made."""
    end_point_bindings: tuple[bytes, ...]
    """The data for channel binding, one for each certificate: which of them OpenSSL took it does not tell."""


def wildcard_of(name: str) -> str:
    """The only wildcard that stands for a name: it replaces the first label and no other (RFC 9525 6.3)."""
    return "*." + name.partition(".")[2]


def look_up(by_name: Mapping[str, Identity], name: str) -> Identity | None:
    """The identity for a name in lower case: its own, else the wildcard's."""
    return by_name.get(name) or by_name.get(wildcard_of(name))


def certificates_by_name(certificates: Iterable[Certificate]) -> dict[str, tuple[Certificate, ...]]:
    """For each name and wildcard the certificates to show, one of each key type.

    A certificate for the very name goes before a wildcard's, and of two equal ones the one that is valid
    longer.
    """
    having: defaultdict[str, list[Certificate]] = defaultdict(list)
    for certificate in sorted(certificates, key=lambda one: one.not_after, reverse=True):
        for name in certificate.names:
            having[name].append(certificate)
    chosen = {}
    for name, own in list(having.items()):
        candidates = [*own, *having.get(wildcard_of(name), ())]
        by_type = {certificate.key_type: certificate for certificate in reversed(candidates)}
        chosen[name] = tuple(reversed(by_type.values()))
    return chosen
