"""EXTERNAL (RFC 4422 appendix A): the client's certificate has said who it is."""

from __future__ import annotations

from harakapy.smtp.sasl.client import ClientConversation, ClientMechanism
from harakapy.smtp.sasl.credentials import ExternalCredentials
from harakapy.smtp.sasl.exchange import Challenge, Conversation, Failure, ServerMechanism, fail
from harakapy.smtp.sasl.identity import decode_name

__all__ = ["ExternalClient", "ExternalServer"]


class ExternalServer(ServerMechanism):
    """EXTERNAL; gives ExternalCredentials.

    ``peer_names`` are the names in a client certificate that TLS has *verified*; without one the mechanism
    fails.
    """

    name = "EXTERNAL"

    def __init__(self, peer_names: tuple[str, ...]) -> None:
        self._peer_names = peer_names
        super().__init__()

    def _converse(self, initial: bytes | None) -> Conversation:
        response: bytes = (yield Challenge(b"")) if initial is None else initial
        if not self._peer_names:
            raise fail(Failure.WRONG, "no verified client certificate")
        authzid = decode_name(response) if response else ""
        yield ExternalCredentials(self.name, self._peer_names[0], authzid, self._peer_names)


class ExternalClient(ClientMechanism):
    """EXTERNAL, as the client; ``authzid`` is who to act as, "" for whom the certificate names."""

    name = "EXTERNAL"

    def __init__(self, authzid: str = "") -> None:
        self._authzid = authzid
        super().__init__()

    def _converse(self) -> ClientConversation:
        self.is_complete = True
        yield self._authzid.encode()
