"""Bearer tokens: OAUTHBEARER (RFC 7628) and the older XOAUTH2 (Google's and Microsoft's).

Both send a list of key=value pairs in one message. When the token is not good the server says why in JSON, as
one more challenge; the client answers with a filler, and only then comes the negative reply.
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Collection
from typing import Final

from harakapy.smtp.sasl.client import ClientConversation, ClientMechanism
from harakapy.smtp.sasl.credentials import TokenCredentials
from harakapy.smtp.sasl.exchange import Challenge, Conversation, Failure, ServerMechanism, fail
from harakapy.smtp.sasl.identity import decode_name
from harakapy.smtp.sasl.scram_message import escape_name, unescape_name

__all__ = ["OAuthBearerClient", "OAuthBearerServer", "XOAuth2Client", "XOAuth2Server"]

_SEPARATOR: Final = b"\x01"
# RFC 7628 3.1, and UTF-8 for the user of XOAUTH2.
_PAIR: Final = re.compile(rb"([A-Za-z]+)=([\t\n\r -~\x80-\xff]*)")
_BEARER: Final = re.compile(rb"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)  # RFC 6750 2.1
_GS2_HEADER: Final = re.compile(rb"[ny],(?:a=([^,\0]+))?,")
_HOST: Final = re.compile(rb"[A-Za-z0-9.:_-]{0,255}")  # a name or an address, or nothing
_PORT: Final = re.compile(rb"(?:[1-9][0-9]{0,4})?")
_SHOWN_OCTETS: Final = 512  # of a server's error; for a log


class _BearerServer(ServerMechanism):
    """What both mechanisms have in common on the server's side.

    ``hosts`` are the names of this server: a token sent with another host was meant for somebody else. None
    believes any. ``scope`` is what a token needs, told to a client whose token was not good.
    """

    def __init__(self, hosts: Collection[str] | None = None, scope: str = "") -> None:
        self._hosts = hosts
        self._scope = scope
        super().__init__()

    def _converse(self, initial: bytes | None) -> Conversation:
        message: bytes = (yield Challenge(b"")) if initial is None else initial
        credentials = self._parse(message)
        if credentials is not None and self._is_for_us(credentials.host):
            yield credentials  # and if they are rejected:
        error = self._error(is_malformed=credentials is None)
        yield Challenge(json.dumps(error, separators=(",", ":")).encode("ascii"))
        raise fail(Failure.WRONG, "token malformed" if credentials is None else "token refused")

    def _is_for_us(self, host: str) -> bool:
        return not host or self._hosts is None or host.lower().rstrip(".") in self._hosts

    @abstractmethod
    def _parse(self, message: bytes) -> TokenCredentials | None:
        """The credentials, None if the message is malformed."""

    @abstractmethod
    def _error(self, *, is_malformed: bool) -> dict[str, str]:
        """What to tell the client in JSON."""


class OAuthBearerServer(_BearerServer):
    """OAUTHBEARER; gives TokenCredentials."""

    name = "OAUTHBEARER"

    def _parse(self, message: bytes) -> TokenCredentials | None:
        header, _, rest = message.partition(_SEPARATOR)
        gs2 = _GS2_HEADER.fullmatch(header)
        pairs = _split_pairs(rest) or {}
        token = _bearer_token(pairs)
        host, port = pairs.get(b"host", b""), pairs.get(b"port", b"")
        if gs2 is None or token is None or not _HOST.fullmatch(host) or not _PORT.fullmatch(port):
            return None
        user = _unescaped(gs2[1] or b"")
        return TokenCredentials(self.name, user, "", token, host.decode("ascii"), int(port or b"0"))

    def _error(self, *, is_malformed: bool) -> dict[str, str]:
        status = "invalid_request" if is_malformed else "invalid_token"
        return {"status": status, **({"scope": self._scope} if self._scope else {})}


class XOAuth2Server(_BearerServer):
    """XOAUTH2; gives TokenCredentials."""

    name = "XOAUTH2"

    def _parse(self, message: bytes) -> TokenCredentials | None:
        pairs = _split_pairs(message) or {}
        token = _bearer_token(pairs)
        if token is None or b"user" not in pairs:
            return None
        return TokenCredentials(self.name, decode_name(pairs[b"user"]), "", token)

    def _error(self, *, is_malformed: bool) -> dict[str, str]:
        return {"status": "400" if is_malformed else "401", "schemes": "bearer", "scope": self._scope}


def _split_pairs(message: bytes) -> dict[bytes, bytes] | None:
    """The key=value pairs, each ended by a separator, the whole by one more; None if it is not that."""
    if not message.endswith(_SEPARATOR * 2):
        return None
    found = [_PAIR.fullmatch(pair) for pair in message[:-2].split(_SEPARATOR)]
    result = {match[1].lower(): match[2] for match in found if match is not None}
    return result if len(result) == len(found) else None  # else no pair, or a key that means two things


def _bearer_token(pairs: dict[bytes, bytes]) -> str | None:
    found = _BEARER.fullmatch(pairs.get(b"auth", b""))
    return None if found is None else found[1].decode("ascii")


def _unescaped(name: bytes) -> str:
    if not name:
        return ""
    plain = unescape_name(name.decode("utf-8", "replace"))
    if plain is None:
        raise fail(Failure.MALFORMED, "equals sign in a user name")
    return decode_name(plain.encode())


class _BearerClient(ClientMechanism):
    """What both mechanisms have in common on the client's side."""

    _filler = b""

    def __init__(self, authcid: str, token: str, host: str = "", port: int = 0) -> None:
        self._authcid = authcid
        self._token = token
        self._host = host
        self._port = port
        # What the server said against the token, in JSON, as it came; "" if nothing.
        self.error = ""
        super().__init__()

    def _converse(self) -> ClientConversation:
        self.is_complete = True
        error = yield self._message()
        self.is_complete = False
        self.error = error[:_SHOWN_OCTETS].decode("utf-8", "backslashreplace")
        yield self._filler

    @abstractmethod
    def _message(self) -> bytes:
        """The one message."""


class OAuthBearerClient(_BearerClient):
    """OAUTHBEARER, as the client; ``host`` and ``port`` tell the server whom the token was meant for."""

    name = "OAUTHBEARER"
    _filler = b"\x01"

    def _message(self) -> bytes:
        authzid = f"a={escape_name(self._authcid)}" if self._authcid else ""
        pairs = [f"n,{authzid},"]
        if self._host:
            pairs.append(f"host={self._host}")
        if self._port:
            pairs.append(f"port={self._port}")
        return "\x01".join([*pairs, f"auth=Bearer {self._token}", "", ""]).encode()


class XOAuth2Client(_BearerClient):
    """XOAUTH2, as the client."""

    name = "XOAUTH2"

    def _message(self) -> bytes:
        return f"user={self._authcid}\x01auth=Bearer {self._token}\x01\x01".encode()
