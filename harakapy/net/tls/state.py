"""What is known of a TLS session once the handshake is done."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from msgspec import Struct, field

from harakapy.net.tls.store import ServerSslObject

__all__ = ["PeerCertificate", "TlsState"]

_NAME_KINDS: Final = ("DNS", "email", "URI", "IP Address")


class PeerCertificate(Struct, frozen=True):
    """The certificate that the peer showed.

    ``names`` are its alternative names (DNS, mail, URI, address), or its common name if it has none; they are
    there only if ``is_verified``: anybody can make a certificate that says anything. ``fingerprint`` is the
    SHA-256 of the whole in lower-case hex.
    """

    fingerprint: str
    is_verified: bool
    names: tuple[str, ...] = ()
    subject: str = ""


class TlsState(Struct, frozen=True):
    """A TLS session, for logs, trace fields, plugins and SASL.

    ``version`` and ``cipher`` are OpenSSL's names ("TLSv1.3", "TLS_AES_256_GCM_SHA384"), ``bits`` those of
    the secret key. ``server_name`` is the host that the client asked for in lower case, "" if it did not.
    ``channel_bindings`` has, by type, the data that a SASL mechanism may bind to; several if it cannot be
    known which one the peer has.
    """

    version: str
    cipher: str
    bits: int
    server_name: str = ""
    is_resumed: bool = False
    peer: PeerCertificate | None = None
    channel_bindings: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)

    def __repr__(self) -> str:  # without the bindings, of which some are for the two ends alone
        shown = ", ".join(f"{name}={value!r}" for name, value in self._told().items())
        return f"{type(self).__name__}({shown})"

    def __hash__(self) -> int:
        return hash(tuple(self._told().values()))

    @property
    def is_verified(self) -> bool:
        """Whether the peer showed a certificate that we trust."""
        return self.peer is not None and self.peer.is_verified

    def _told(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.__struct_fields__ if name != "channel_bindings"}

    @classmethod
    def of(cls, ssl_object: ssl.SSLObject) -> TlsState:
        """The state of a session whose handshake is done."""
        cipher, _, bits = ssl_object.cipher() or ("", "", 0)
        der = ssl_object.getpeercert(binary_form=True)
        if isinstance(ssl_object, ServerSslObject):
            name = ssl_object.requested_name
            end_points = ssl_object.identity.end_point_bindings if ssl_object.identity else ()
        else:
            name = ssl_object.server_hostname or ""
            end_points = _peer_end_point(der)
        return cls(
            ssl_object.version() or "",
            cipher,
            bits or 0,
            name,
            bool(ssl_object.session_reused),
            None if der is None else _peer_certificate(der, ssl_object.getpeercert() or {}),
            _channel_bindings(ssl_object, end_points),
        )


def _channel_bindings(
    ssl_object: ssl.SSLObject, end_points: tuple[bytes, ...]
) -> dict[str, tuple[bytes, ...]]:
    """``tls-exporter`` (RFC 9266) where Python has it, ``tls-unique`` where it is sound (RFC 5929).

    ``tls-unique`` is not defined for TLS 1.3, and in a resumed session somebody in the middle may have made
    both ends' data equal (the triple handshake attack).
    """
    bindings = {"tls-server-end-point": end_points} if end_points else {}
    kinds = ["tls-exporter"] if "tls-exporter" in ssl.CHANNEL_BINDING_TYPES else []
    if ssl_object.version() == "TLSv1.2" and not ssl_object.session_reused:
        kinds.append("tls-unique")
    for kind in kinds:
        data = ssl_object.get_channel_binding(kind)
        if data:
            bindings[kind] = (data,)
    return bindings


def _peer_end_point(der: bytes | None) -> tuple[bytes, ...]:
    from harakapy.net.tls.leaf import binding_of_der  # not before there is a certificate: see there

    binding = b"" if der is None else binding_of_der(der)
    return (binding,) if binding else ()


def _peer_certificate(der: bytes, decoded: dict[str, Any]) -> PeerCertificate:
    """``decoded`` is what the ssl module tells of a verified certificate; of others it tells nothing."""
    names = [_printable(value) for kind, value in decoded.get("subjectAltName", ()) if kind in _NAME_KINDS]
    subject = [pair for part in decoded.get("subject", ()) for pair in part]
    if not names:
        names = [_printable(value) for kind, value in subject if kind == "commonName"]
    text = ", ".join(f"{kind}={_printable(value)}" for kind, value in subject)
    return PeerCertificate(sha256(der).hexdigest(), bool(decoded), tuple(names), text)


def _printable(value: object) -> str:
    text = str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
