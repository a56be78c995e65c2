"""The course of an authentication exchange, seen by the server: what each step can give.

Theory of operation. A mechanism is a conversation, and reads best as one: each is a generator that yields
what it has to say and is sent what it asked for. `ServerMechanism` drives the generator and allows only the
call that the last result calls for:

========================  ===================================================================
the last result           what the server does next
========================  ===================================================================
`Challenge`               sends it, reads a line, calls `ServerMechanism.step` with the answer
`SecretRequest`           looks the user up, calls `ServerMechanism.supply`
`Credentials`             asks who decides; on yes it is done, on no it calls `ServerMechanism.reject`
`Failed`                  answers with its reply; the exchange is over
========================  ===================================================================

Who may log in is decided outside; nothing here knows a user.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from enum import Enum
from typing import Any, ClassVar

from msgspec import Struct

from harakapy.smtp.errors import LocalProtocolError
from harakapy.smtp.reply import Reply
from harakapy.smtp.sasl.credentials import Credentials
from harakapy.smtp.scram_secret import ScramSecret

__all__ = [
    "Challenge",
    "Conversation",
    "Failed",
    "Failure",
    "SecretRequest",
    "ServerMechanism",
    "Step",
    "fail",
]


class Failure(Enum):
    """Why an exchange ended without credentials or with wrong ones; the value is the reply (RFC 4954 6)."""

    MALFORMED = Reply(501, "cannot decode that response", "5.5.2")
    CANCELLED = Reply(501, "authentication cancelled", "5.7.0")
    TOO_LONG = Reply(500, "authentication exchange line is too long", "5.5.6")
    WRONG = Reply(535, "authentication credentials invalid", "5.7.8")


class Challenge(Struct, frozen=True):
    """Send this, in base64, as the text of a 334 reply. It fits into one line of a reply."""

    data: bytes


class SecretRequest(Struct, frozen=True):
    """The exchange needs the stored secret of a user before it can go on; an unknown user has none.

    ``authcid`` is whose password was used, ``authzid`` who the client wants to act as ("": the same). Neither
    is proven yet.
    """

    mechanism: str
    authcid: str
    authzid: str


class Failed(Struct, frozen=True):
    """The exchange is over. ``reason`` is for the log; it holds neither secrets nor what the client sent.

    Only `Failure.WRONG` was an attempt to log in; the others are mistakes in the protocol.
    """

    failure: Failure
    reason: str

    @property
    def reply(self) -> Reply:
        """What to answer; the same for an unknown user and a wrong password."""
        return self.failure.value


Step = Challenge | SecretRequest | Credentials | Failed
"""What a step of an exchange can give."""

# Any: what a generator is sent depends on what it yielded, which its type cannot say.
Conversation = Generator[Step, Any, None]
"""A mechanism's course; at its end, and after `fail`, the exchange has failed."""


class _Fault(Exception):  # not an error: it carries the result out of the depth of a parser
    """Ends a conversation with this failure."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed)
        self.failed = failed


def fail(failure: Failure, reason: str) -> _Fault:
    """The exception that ends a conversation: ``raise fail(Failure.MALFORMED, "no NUL")``."""
    return _Fault(Failed(failure, reason))


class ServerMechanism(ABC):
    """The server's side of one exchange of one mechanism."""

    name: ClassVar[str]
    """As registered with IANA and said in the EHLO reply."""

    def __init__(self) -> None:
        self._conversation: Conversation | None = None  # until the first step
        self._last: Step | None = None

    @abstractmethod
    def _converse(self, initial: bytes | None) -> Conversation:
        """The conversation after this initial response, or after none."""

    def step(self, response: bytes | None) -> Step:
        """Take the client's decoded answer to a challenge; first of all its initial response or None.

        Raises LocalProtocolError if no answer was asked for.
        """
        if self._conversation is None:
            self._conversation = self._converse(response)
            return self._advance(self._conversation, None)
        if not isinstance(self._last, Challenge) or response is None:
            raise LocalProtocolError(f"no response belongs to {self._last!r}")
        return self._advance(self._conversation, response)

    def supply(self, secret: ScramSecret | None) -> Step:
        """Answer a `SecretRequest`; None if there is no such user: the exchange goes on as if there were.

        Raises LocalProtocolError if no secret was asked for, ValueError if it was made with another hash.
        """
        if not isinstance(self._last, SecretRequest):
            raise LocalProtocolError(f"a secret for {self._last!r}")
        assert self._conversation is not None
        return self._advance(self._conversation, secret)

    def reject(self) -> Step:
        """Say that the credentials are not good: usually Failed, for some mechanisms first a Challenge.

        Raises LocalProtocolError if there were no credentials.
        """
        if not isinstance(self._last, Credentials):
            raise LocalProtocolError(f"a rejection of {self._last!r}")
        assert self._conversation is not None
        return self._advance(self._conversation, None)

    def _advance(self, conversation: Conversation, value: bytes | ScramSecret | None) -> Step:
        try:
            self._last = conversation.send(value)
        except StopIteration:
            self._last = Failed(Failure.WRONG, "wrong credentials")
        except _Fault as fault:
            self._last = fault.failed
        return self._last
