"""PLAIN (RFC 4616) and LOGIN (never more than a draft, but every client has it): the password itself."""

from __future__ import annotations

from harakapy.smtp.sasl.client import ClientConversation, ClientMechanism
from harakapy.smtp.sasl.credentials import PasswordCredentials
from harakapy.smtp.sasl.exchange import Challenge, Conversation, Failure, ServerMechanism, fail
from harakapy.smtp.sasl.identity import decode_name, decode_password

__all__ = ["LoginClient", "LoginServer", "PlainClient", "PlainServer"]


class PlainServer(ServerMechanism):
    """PLAIN: ``[authzid] NUL authcid NUL password`` in one message; gives PasswordCredentials."""

    name = "PLAIN"

    def _converse(self, initial: bytes | None) -> Conversation:
        response: bytes = (yield Challenge(b"")) if initial is None else initial
        parts = response.split(b"\0")
        if len(parts) != 3:
            raise fail(Failure.MALFORMED, f"{len(parts) - 1} NUL octets where 2 belong")
        authzid = decode_name(parts[0]) if parts[0] else ""
        yield PasswordCredentials(self.name, decode_name(parts[1]), authzid, decode_password(parts[2]))


class LoginServer(ServerMechanism):
    """LOGIN: asks for the name, then for the password; gives PasswordCredentials.

    The prompts are the ones that every client knows; some compare them octet by octet. A name in the AUTH
    command is taken, as all servers do.
    """

    name = "LOGIN"

    def _converse(self, initial: bytes | None) -> Conversation:
        user: bytes = (yield Challenge(b"Username:")) if initial is None else initial
        name = decode_name(user)
        password: bytes = yield Challenge(b"Password:")
        yield PasswordCredentials(self.name, name, "", decode_password(password))


class PlainClient(ClientMechanism):
    """PLAIN, as the client.

    Raises ValueError if a name or the password has a NUL.
    """

    name = "PLAIN"

    def __init__(self, authcid: str, password: str, authzid: str = "") -> None:
        if "\0" in authcid + password + authzid:
            raise ValueError("PLAIN has no way to send a NUL")
        self._message = "\0".join((authzid, authcid, password)).encode()
        super().__init__()

    def _converse(self) -> ClientConversation:
        self.is_complete = True
        yield self._message


class LoginClient(ClientMechanism):
    """LOGIN, as the client: the name in answer to the first prompt and the password to the second."""

    name = "LOGIN"

    def __init__(self, authcid: str, password: str) -> None:
        self._authcid = authcid
        self._password = password
        super().__init__()

    def _converse(self) -> ClientConversation:
        yield None
        yield self._authcid.encode()
        self.is_complete = True
        yield self._password.encode()
