"""The client's side of an exchange: what all mechanisms have in common.

The same construction as on the server's side: a mechanism is a generator that yields its responses and is
sent the server's challenges.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from typing import ClassVar

from harakapy.smtp.errors import RemoteProtocolError
from harakapy.smtp.reply import Reply

__all__ = ["ClientConversation", "ClientMechanism", "untrusted"]

ClientConversation = Generator[bytes | None, bytes, None]
"""A mechanism's course: responses out, challenges in; the first is None if the server begins."""


class ClientMechanism(ABC):
    """The client's side of one exchange of one mechanism."""

    name: ClassVar[str]
    """As registered with IANA and said in the EHLO reply."""

    def __init__(self) -> None:
        self._conversation = self._converse()
        # Whether the server's yes may be believed. Most mechanisms prove nothing about the server.
        self.is_complete = False

    @abstractmethod
    def _converse(self) -> ClientConversation:
        """The conversation; it sets `is_complete` when a 235 may come."""

    def initial_response(self) -> bytes | None:
        """The initial response, None if the mechanism has none; to be called once and first.

        If AUTH with it would be longer than a command may be (RFC 5321 4.5.3.1.4), send AUTH without, and it
        in answer to the empty challenge that then comes (RFC 4954 4).
        """
        return next(self._conversation)

    def step(self, challenge: bytes) -> bytes:
        """The response to a challenge, both without base64.

        Raises RemoteProtocolError if the server does not follow the mechanism or cannot prove what it must;
        the exchange is then to be cancelled with ``*``.
        """
        try:
            response = self._conversation.send(challenge)
        except StopIteration:
            raise untrusted("a challenge behind the end of the exchange") from None
        assert response is not None
        return response


def untrusted(reason: str) -> RemoteProtocolError:
    """The error for a server that does not follow the mechanism: a temporary failure."""
    return RemoteProtocolError(Reply(454, "the server did not authenticate as it should", "4.7.0"), reason)
