"""CRAM-MD5 (RFC 2195): proves the password without sending it, but the server must have it in clear."""

from __future__ import annotations

import hmac
import re
import secrets
import time
from typing import Final

from harakapy.smtp.sasl.client import ClientConversation, ClientMechanism
from harakapy.smtp.sasl.credentials import CramMd5Credentials
from harakapy.smtp.sasl.exchange import Challenge, Conversation, Failure, ServerMechanism, fail
from harakapy.smtp.sasl.identity import decode_name

__all__ = ["CramMd5Client", "CramMd5Server"]

_RESPONSE: Final = re.compile(rb"(.+) ([0-9a-fA-F]{32})", re.DOTALL)  # a name may have spaces


class CramMd5Server(ServerMechanism):
    """CRAM-MD5; gives CramMd5Credentials.

    ``hostname`` goes into the challenge. ``challenge`` fixes the whole of it, for test vectors: one that ever
    repeats lets a listener log in.
    """

    name = "CRAM-MD5"

    def __init__(self, hostname: str, challenge: bytes | None = None) -> None:
        self._challenge = challenge or _unique_challenge(hostname)
        super().__init__()

    def _converse(self, initial: bytes | None) -> Conversation:
        if initial is not None:  # RFC 4954 4: "MUST reject" where the server speaks first
            raise fail(Failure.MALFORMED, "an initial response where the mechanism has none")
        response: bytes = yield Challenge(self._challenge)
        found = _RESPONSE.fullmatch(response)
        if found is None:
            raise fail(Failure.MALFORMED, "not a name and a digest")
        yield CramMd5Credentials(self.name, decode_name(found[1]), "", self._challenge, found[2].lower())


def _unique_challenge(hostname: str) -> bytes:
    return f"<{secrets.token_hex(16)}.{int(time.time())}@{hostname[:200]}>".encode("ascii", "replace")


class CramMd5Client(ClientMechanism):
    """CRAM-MD5, as the client."""

    name = "CRAM-MD5"

    def __init__(self, authcid: str, password: str) -> None:
        self._authcid = authcid
        self._password = password
        super().__init__()

    def _converse(self) -> ClientConversation:
        challenge = yield None
        digest = hmac.digest(self._password.encode(), challenge, "md5").hex()
        self.is_complete = True
        yield f"{self._authcid} {digest}".encode()
