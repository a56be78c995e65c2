"""The two families of protocol errors: theirs and ours.

The third family, the world's (a socket that broke, a disk that is full), does not occur here: nothing
in this package does any I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harakapy.smtp.reply import Reply

__all__ = ["LocalProtocolError", "ProtocolError", "RemoteProtocolError"]


class ProtocolError(Exception):
    """SMTP was not spoken as agreed, by the peer or by us; raised as one of the two subclasses."""


class RemoteProtocolError(ProtocolError):
    """The peer sent what the protocol does not allow.

    ``reply`` is the answer: what a server sends to its client, or what a client records as the verdict
    of a server that did not give a readable one. ``reason`` is for the log; it never goes over the wire.
    ``closes`` says that both sides are out of step, so that nothing further from this peer can be trusted.
    """

    def __init__(self, reply: Reply, reason: str, *, closes: bool = False) -> None:
        super().__init__(reply, reason, closes)
        self.reply = reply
        self.reason = reason
        self.closes = closes

    def __str__(self) -> str:
        return self.reason


class LocalProtocolError(ProtocolError):
    """We used a protocol object in a way it does not allow: a bug on our side, never the peer's fault."""
