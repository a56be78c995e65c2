"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, the client's side (RFC 5802, RFC 7677)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import ClassVar, Final

from harakapy.smtp.sasl.client import ClientConversation, ClientMechanism, untrusted
from harakapy.smtp.sasl.scram_message import (
    ServerFirst,
    escape_name,
    parse_server_final,
    parse_server_first,
)
from harakapy.smtp.saslprep import saslprep
from harakapy.smtp.scram_secret import client_key, salted_password, server_key
from harakapy.smtp.strict_base64 import encode_base64

__all__ = ["MAX_ITERATIONS", "MIN_ITERATIONS", "ChannelBinding", "ScramClient", "ScramPlusClient"]

MIN_ITERATIONS: Final = 4096
"""Fewer make a listener's guessing cheap; RFC 7677 4 has no lower value."""
MAX_ITERATIONS: Final = 1_000_000
"""More, and a server makes its clients work for nothing; this many take about half a second."""

_NONCE_OCTETS: Final = 18


@dataclass(frozen=True, slots=True)
class ChannelBinding:
    """What ties the exchange to its TLS session: the type (``tls-server-end-point``) and the data."""

    kind: str
    data: bytes = field(repr=False)


class ScramClient(ClientMechanism):
    """SCRAM-SHA-256, as the client; proves the server too, so `is_complete` only comes with its signature.

    ``has_binding``: this side could bind to the channel, but the server did not offer it; the server then
    notices if it did. `step` blocks while the key is derived, up to half a second at the server's wish: in a
    thread.

    Raises ValueError if SASLprep does not allow name or password.
    """

    name = "SCRAM-SHA-256"
    hash_name: ClassVar[str] = "sha256"

    def __init__(
        self,
        authcid: str,
        password: str,
        authzid: str = "",
        *,
        has_binding: bool = False,
        nonce: str | None = None,
    ) -> None:
        self._authcid = saslprep(authcid)
        self._authzid = saslprep(authzid)
        self._password = saslprep(password)
        self._flag = "y" if has_binding else "n"
        self._binding_data = b""
        self._nonce = nonce or secrets.token_urlsafe(_NONCE_OCTETS)
        super().__init__()

    def _converse(self) -> ClientConversation:
        authzid = f"a={escape_name(self._authzid)}" if self._authzid else ""
        gs2_header = f"{self._flag},{authzid},"
        bare = f"n={escape_name(self._authcid)},r={self._nonce}"
        server_first = yield (gs2_header + bare).encode()

        first = self._check(parse_server_first(server_first))
        salted = salted_password(self._password, first.salt, first.iterations, self.hash_name)
        binding = encode_base64(gs2_header.encode() + self._binding_data)
        without_proof = f"c={binding},r={first.nonce}"
        signed = b",".join((bare.encode(), server_first, without_proof.encode()))
        server_final = yield f"{without_proof},p={self._proof(salted, signed)}".encode()

        signature = hmac.digest(server_key(salted, self.hash_name), signed, self.hash_name)
        claimed = parse_server_final(server_final)
        if claimed is None or not hmac.compare_digest(claimed, signature):
            raise untrusted("the server does not know the password either, or reports an error")
        self.is_complete = True
        yield b""

    def _check(self, first: ServerFirst | None) -> ServerFirst:
        if first is None:
            raise untrusted("not SCRAM's first message of a server")
        if not first.nonce.startswith(self._nonce) or first.nonce == self._nonce:
            raise untrusted("SCRAM's nonce does not go on from ours")
        if not MIN_ITERATIONS <= first.iterations <= MAX_ITERATIONS:
            raise untrusted(f"{first.iterations} iterations, not {MIN_ITERATIONS} to {MAX_ITERATIONS}")
        return first

    def _proof(self, salted: bytes, signed: bytes) -> str:
        key = client_key(salted, self.hash_name)
        stored_key = hashlib.new(self.hash_name, key).digest()
        signature = hmac.digest(stored_key, signed, self.hash_name)
        return encode_base64(bytes(a ^ b for a, b in zip(key, signature, strict=True)))


class ScramPlusClient(ScramClient):
    """SCRAM-SHA-256-PLUS, as the client."""

    name = "SCRAM-SHA-256-PLUS"

    def __init__(
        self,
        authcid: str,
        password: str,
        binding: ChannelBinding,
        authzid: str = "",
        *,
        nonce: str | None = None,
    ) -> None:
        super().__init__(authcid, password, authzid, nonce=nonce)
        self._flag = f"p={binding.kind}"
        self._binding_data = binding.data
