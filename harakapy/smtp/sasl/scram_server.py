"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, the server's side (RFC 5802, RFC 7677).

The server needs the user's stored secret before its first message, so the exchange stops for it with a
SecretRequest. For a user who does not exist the exchange goes on with a decoy, which is computed for every
user so that it costs the same, and fails where a wrong password fails.

SMTP has no place for data in a positive reply, so the server's last message is one more challenge, which
the client answers with nothing (RFC 4954 4, RFC 4422 3.6).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import ClassVar, Final

from harakapy.smtp.sasl.credentials import ScramCredentials
from harakapy.smtp.sasl.exchange import (
    Challenge,
    Conversation,
    Failure,
    SecretRequest,
    ServerMechanism,
    fail,
)
from harakapy.smtp.sasl.identity import decode_name
from harakapy.smtp.sasl.scram_message import (
    ClientFinal,
    ClientFirst,
    parse_client_final,
    parse_client_first,
    unescape_name,
)
from harakapy.smtp.scram_secret import ScramDecoy, ScramSecret
from harakapy.smtp.strict_base64 import encode_base64

__all__ = ["ScramPlusServer", "ScramServer"]

_NONCE_OCTETS: Final = (
    18  # 144 bits of chance, 24 characters; RFC 5802 asks for enough, its examples have less
)


class ScramServer(ServerMechanism):
    """SCRAM-SHA-256 without channel binding; gives ScramCredentials.

    ``offers_plus``: the client was offered SCRAM-SHA-256-PLUS. A client that could and says that it was not
    offered has been lied to by somebody in the middle, and fails. ``nonce`` fixes the server's, for test
    vectors.
    """

    name = "SCRAM-SHA-256"
    hash_name: ClassVar[str] = "sha256"

    def __init__(self, decoy: ScramDecoy, *, offers_plus: bool = False, nonce: str | None = None) -> None:
        self._decoy = decoy
        self._offers_plus = offers_plus
        self._nonce = nonce or secrets.token_urlsafe(_NONCE_OCTETS)
        super().__init__()

    def _converse(self, initial: bytes | None) -> Conversation:
        first = _read_first((yield Challenge(b"")) if initial is None else initial)
        bindings = self._bindings(first)
        authcid = _name(first.name)
        authzid = _name(first.authzid) if first.authzid else ""

        known: ScramSecret | None = yield SecretRequest(self.name, authcid, authzid)
        if known is not None and len(known.stored_key) != hashlib.new(self.hash_name).digest_size:
            raise ValueError(f"the secret is none for {self.name}")
        decoy = self._decoy.secret_for(authcid)
        secret = known or decoy
        nonce = first.nonce + self._nonce
        server_first = f"r={nonce},s={encode_base64(secret.salt)},i={secret.iterations}"

        final = _read_final((yield Challenge(server_first.encode())), nonce, bindings)
        signed = f"{first.bare},{server_first},{final.without_proof}".encode()
        if not self._is_proven(secret, signed, final) or known is None:
            raise fail(Failure.WRONG, "wrong password or unknown user")

        signature = hmac.digest(secret.server_key, signed, self.hash_name)
        if (yield Challenge(f"v={encode_base64(signature)}".encode())):
            raise fail(Failure.MALFORMED, "more behind SCRAM's end")
        yield ScramCredentials(self.name, authcid, authzid)

    def _bindings(self, first: ClientFirst) -> tuple[bytes, ...]:
        """What the client may send back as channel binding; ends the exchange if it wants the wrong kind."""
        if first.flag == "p":
            raise fail(Failure.WRONG, "channel binding with a mechanism that has none")
        if first.flag == "y" and self._offers_plus:
            raise fail(Failure.WRONG, "the offer of channel binding did not reach the client: downgrade")
        return (first.gs2_header.encode(),)

    def _is_proven(self, secret: ScramSecret, signed: bytes, final: ClientFinal) -> bool:
        size = len(secret.stored_key)
        signature = hmac.digest(secret.stored_key, signed, self.hash_name)
        key = int.from_bytes(signature, "big") ^ int.from_bytes(final.proof[:size], "big")
        stored = hashlib.new(self.hash_name, key.to_bytes(size, "big")).digest()
        return len(final.proof) == size and hmac.compare_digest(stored, secret.stored_key)


class ScramPlusServer(ScramServer):
    """SCRAM-SHA-256-PLUS: the proof also covers the TLS session, so nobody can sit in the middle.

    ``bindings`` has, for each type of channel binding (RFC 5929, RFC 9266), the data that are right: several
    if the server cannot know which, as for ``tls-server-end-point`` with certificates of several key types.
    """

    name = "SCRAM-SHA-256-PLUS"

    def __init__(
        self, decoy: ScramDecoy, bindings: Mapping[str, tuple[bytes, ...]], *, nonce: str | None = None
    ) -> None:
        self._data = bindings
        super().__init__(decoy, offers_plus=True, nonce=nonce)

    def _bindings(self, first: ClientFirst) -> tuple[bytes, ...]:
        if first.flag != "p":
            raise fail(Failure.WRONG, "no channel binding with a mechanism that needs it")
        if first.binding_type not in self._data:
            raise fail(Failure.WRONG, "channel binding of a type that is not available")
        header = first.gs2_header.encode()
        return tuple(header + data for data in self._data[first.binding_type])


def _read_first(message: bytes) -> ClientFirst:
    first = parse_client_first(message)
    if first is None or first.has_mandatory_extension:
        raise fail(Failure.MALFORMED, "not SCRAM's first message, or with an unknown extension")
    return first


def _read_final(message: bytes, nonce: str, bindings: tuple[bytes, ...]) -> ClientFinal:
    final = parse_client_final(message)
    if final is None:
        raise fail(Failure.MALFORMED, "not SCRAM's final message")
    if not hmac.compare_digest(final.nonce, nonce):
        raise fail(Failure.WRONG, "SCRAM's nonce is not the one of this exchange")
    if not any(hmac.compare_digest(final.binding, binding) for binding in bindings):
        raise fail(Failure.WRONG, "SCRAM's channel binding differs: somebody may be in the middle")
    return final


def _name(escaped: str) -> str:
    name = unescape_name(escaped)
    if name is None:
        raise fail(Failure.MALFORMED, "equals sign in SCRAM's user name")
    return decode_name(name.encode())
