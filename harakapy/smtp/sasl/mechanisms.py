"""Which mechanisms there are, which of them can work in a session, and how one begins."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from harakapy.smtp.sasl.cram_md5 import CramMd5Server
from harakapy.smtp.sasl.exchange import ServerMechanism
from harakapy.smtp.sasl.external import ExternalServer
from harakapy.smtp.sasl.oauth import OAuthBearerServer, XOAuth2Server
from harakapy.smtp.sasl.plain import LoginServer, PlainServer
from harakapy.smtp.sasl.scram_server import ScramPlusServer, ScramServer
from harakapy.smtp.scram_secret import ScramDecoy

__all__ = ["MECHANISMS", "SaslSession", "start_exchange", "workable_mechanisms"]

_NO_BINDINGS: Final[Mapping[str, tuple[bytes, ...]]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class SaslSession:
    """What the mechanisms need to know about the session they run in.

    ``offered`` are the names in our EHLO reply. ``channel_bindings`` is the data that are right for this TLS
    session by type, ``peer_names`` the names in a client certificate that TLS has verified. For the rest see
    CramMd5Server, ScramDecoy and the OAuth servers.
    """

    hostname: str
    offered: Collection[str]
    decoy: ScramDecoy
    channel_bindings: Mapping[str, tuple[bytes, ...]] = field(
        default_factory=lambda: _NO_BINDINGS, repr=False
    )
    peer_names: tuple[str, ...] = ()
    oauth_hosts: Collection[str] | None = None
    oauth_scope: str = ""


def _start_scram(session: SaslSession) -> ServerMechanism:
    return ScramServer(session.decoy, offers_plus=ScramPlusServer.name in session.offered)


# The strongest first, the order in which a server should offer them.
_STARTERS: Final[Mapping[str, Callable[[SaslSession], ServerMechanism]]] = {
    "EXTERNAL": lambda session: ExternalServer(session.peer_names),
    "SCRAM-SHA-256-PLUS": lambda session: ScramPlusServer(session.decoy, session.channel_bindings),
    "SCRAM-SHA-256": _start_scram,
    "OAUTHBEARER": lambda session: OAuthBearerServer(session.oauth_hosts, session.oauth_scope),
    "XOAUTH2": lambda session: XOAuth2Server(session.oauth_hosts, session.oauth_scope),
    "CRAM-MD5": lambda session: CramMd5Server(session.hostname),
    "PLAIN": lambda _: PlainServer(),
    "LOGIN": lambda _: LoginServer(),
}

MECHANISMS: Final = tuple(_STARTERS)
"""All mechanisms that the server's side knows, the strongest first."""


def workable_mechanisms(
    wanted: Iterable[str], *, has_channel_binding: bool, has_peer_names: bool
) -> tuple[str, ...]:
    """Those of the wanted mechanisms that can work here, in the order of `MECHANISMS`.

    EXTERNAL needs a verified client certificate, SCRAM-SHA-256-PLUS data for channel binding.
    """
    wanted = frozenset(wanted)
    missing = set() if has_channel_binding else {ScramPlusServer.name}
    missing |= set() if has_peer_names else {ExternalServer.name}
    return tuple(name for name in MECHANISMS if name in wanted and name not in missing)


def start_exchange(mechanism: str, session: SaslSession) -> ServerMechanism | None:
    """Begin an exchange; None if the mechanism was not offered (504 5.5.4, RFC 4954 4).

    ``mechanism`` is as the client wrote it: names are compared without regard to case.
    """
    name = mechanism.upper()
    return _STARTERS[name](session) if name in session.offered and name in _STARTERS else None
