"""Between accept and greeting: where the client really is, and TLS from the first octet.

Nothing here has been told to a plugin yet, and a client that fails is gone with one line in the log.
"""

from __future__ import annotations

from ipaddress import ip_address

import trio
from msgspec import Struct
from msgspec.structs import replace

from harakapy.config import Network
from harakapy.inbound.terms import Terms
from harakapy.log import Logger
from harakapy.net import SocketAddress, SocketStream
from harakapy.net.tls import TlsHandshakeError, TlsState, TlsStream, accept_tls
from harakapy.smtp import ClientClaims

PROXY_TIMEOUT_S = 5.0
"""How long a proxy may take for its header, which it sends before anything else. Postfix's limit too."""
NOWHERE = "0.0.0.0"  # nobody listens there
"""The address of a client of whom nobody knows where it is. With "" it would be local, on a unix socket."""


class Arrival(Struct):
    """A client at the door.

    ``received`` is what it has sent already, ``proxy`` the proxy it came through, if it did. ``claims`` is
    what a trusted client has said of this one by XCLIENT, None if nobody has.
    """

    stream: trio.abc.Stream
    remote: SocketAddress
    local: SocketAddress
    terms: Terms
    received: bytes = b""
    proxy: SocketAddress | None = None
    tls: TlsState | None = None
    claims: ClientClaims | None = None

    @property
    def may_speak_for_others(self) -> bool:
        """Whether XCLIENT is believed: who was believed once is so until the connection ends."""
        return self.claims is not None or _is_within(self.remote, self.terms.xclient)


async def look_behind_proxy(arrival: Arrival, log: Logger) -> bool:
    """Take the client's address from the header of a proxy of ours. Whether the client may enter."""
    if not _is_within(arrival.remote, arrival.terms.proxies):
        return True
    try:
        from harakapy.net.proxy_protocol import ProxyHeaderError, ProxyParser  # few servers are behind one
    except (ImportError, OSError) as error:  # for want of file descriptors, as a rule
        log.error("no PROXY header can be read now", proxy=arrival.remote.host, error=error)
        return False
    parser = ProxyParser()
    header = None
    try:
        with trio.fail_after(PROXY_TIMEOUT_S):
            while header is None:
                received = await arrival.stream.receive_some(4096)
                if not received:
                    return False  # a health check that only connects
                header = parser.feed(bytes(received))
    except (ProxyHeaderError, trio.TooSlowError) as error:
        log.notice("no PROXY header", proxy=arrival.remote.host, problem=str(error) or "none came in time")
        return False
    except trio.BrokenResourceError:
        return False
    arrival.received = parser.rest
    arrival.proxy = arrival.remote
    if header.source is not None and header.destination is not None:
        arrival.remote, arrival.local = header.source, header.destination
    return True


async def shake_hands_first(arrival: Arrival, log: Logger) -> bool:
    """Begin with TLS where the listener does. Whether the client may enter."""
    terms = arrival.terms
    if not terms.is_tls_implicit or terms.tls is None or arrival.tls is not None:
        return True
    assert isinstance(arrival.stream, SocketStream), "only listeners have TLS"
    try:
        stream = await accept_tls(
            arrival.stream,
            terms.tls.certificates,
            timeout_s=terms.tls.handshake_timeout_s,
            received=arrival.received,
        )
    except TlsHandshakeError as error:
        log.notice("no TLS", remote=arrival.remote.host, reason=error.reason)
        return False
    except trio.BrokenResourceError:
        return False
    arrival.stream, arrival.received, arrival.tls = stream, b"", stream.state
    return True


async def start_tls(stream: trio.abc.Stream, terms: Terms) -> TlsStream:
    """The handshake behind STARTTLS. Raises TlsHandshakeError, and trio.BrokenResourceError."""
    assert terms.tls is not None, "STARTTLS is offered only where there is TLS"
    assert isinstance(stream, SocketStream), "only listeners have TLS"
    return await accept_tls(stream, terms.tls.certificates, timeout_s=terms.tls.handshake_timeout_s)


def speak_for_another(arrival: Arrival, claims: ClientClaims) -> Arrival:
    """The arrival of the client for whom this one speaks, over the same stream.

    What earlier claims have said holds on, unless these say otherwise.
    """
    is_first = arrival.claims is None
    return replace(
        arrival,
        remote=_replaced(arrival.remote, claims.addr, claims.port),
        local=_replaced(arrival.local, claims.destaddr or None, claims.destport),
        proxy=arrival.proxy or (arrival.remote if is_first else None),
        claims=claims if arrival.claims is None else arrival.claims.followed_by(claims),
    )


def _replaced(address: SocketAddress, host: str | None, port: int | None) -> SocketAddress:
    if host is not None:
        address = SocketAddress(host or NOWHERE, 0)
    return address if port is None else SocketAddress(address.host, port)


def _is_within(client: SocketAddress, networks: tuple[Network, ...]) -> bool:
    if not networks or not client.host:
        return False
    address = ip_address(client.host.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in networks)
