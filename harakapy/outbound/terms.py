"""What is agreed about a session before it begins: our name, TLS, source addresses, patience."""

from __future__ import annotations

from msgspec import Struct, field
from msgspec.structs import replace

from harakapy.outbound.hop import NextHop, TlsLevel

__all__ = ["Terms", "Timeouts"]


class Timeouts(Struct, frozen=True, kw_only=True):
    """How long each phase may take, in seconds (RFC 5321 4.5.3.2, unless said otherwise)."""

    connect_s: float = 30.0
    """For the connection to stand; Postfix's. A host that is there needs far less."""
    tls_s: float = 60.0
    """For a TLS handshake; picked: a few round trips, and a loaded host."""
    greeting_s: float = 300.0
    command_s: float = 300.0
    """For the answer to EHLO, MAIL, RCPT and all else that has no time of its own."""
    data_s: float = 120.0
    """For the answer to DATA."""
    block_s: float = 180.0
    """For each block of content to leave."""
    dot_s: float = 600.0
    """For the answer to the content. A host that is cut off before it answers may have taken the message."""
    quit_s: float = 2.0
    """For the answer to QUIT, on which nothing depends; picked."""


class Terms(Struct, frozen=True, kw_only=True):
    """How a session is opened: the same for all messages of a route.

    ``helo`` is our name, ``tls`` the level that holds here, ``bind`` the addresses to come from, one for each
    version of IP. Whom to log in as stands in the next hop.
    """

    helo: str
    tls: TlsLevel = TlsLevel.MAY
    bind: tuple[str, ...] = ()
    timeouts: Timeouts = field(default_factory=Timeouts)

    def for_hop(self, hop: NextHop) -> Terms:
        """The terms for a next hop, which may have a name, a source address and a level of its own."""
        if not (hop.helo or hop.bind or hop.tls):
            return self
        return replace(
            self,
            helo=hop.helo or self.helo,
            bind=(hop.bind,) if hop.bind else self.bind,
            tls=hop.tls or self.tls,
        )

    def requiring_tls(self) -> Terms:
        """The terms for a message with REQUIRETLS: only over verified TLS (RFC 8689 4.2.1)."""
        return self if self.tls is TlsLevel.VERIFY else replace(self, tls=TlsLevel.VERIFY)
