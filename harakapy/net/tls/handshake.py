"""How a TLS session begins, on either side: a handshake on a transport, under a deadline."""

from __future__ import annotations

import ssl

import trio

from harakapy.net.tls.store import CertificateStore
from harakapy.net.tls.stream import TlsHandshakeError, TlsStream, Transport

__all__ = ["accept_tls", "connect_tls"]


async def accept_tls(
    transport: Transport, certificates: CertificateStore, *, timeout_s: float, received: bytes = b""
) -> TlsStream:
    """Shake hands with a client.

    ``received`` is what has been read from the transport already and belongs to TLS: behind a PROXY header
    the client's hello may have come along. (Behind STARTTLS nothing may have come.)

    Raises TlsHandshakeError if it fails or takes longer than ``timeout_s``. Then, and if cancelled here, the
    caller closes the transport.
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = certificates.context(trio.current_time())
    ssl_object = context.wrap_bio(incoming, outgoing, server_side=True)
    return await _shake_hands(TlsStream(transport, ssl_object, incoming, outgoing, received), timeout_s)


async def connect_tls(
    transport: Transport, context: ssl.SSLContext, server_hostname: str | None, *, timeout_s: float
) -> TlsStream:
    """Shake hands with a server, asking for ``server_hostname`` (SNI) if it is given.

    Whether its certificate must be good is what ``context`` says. Raises as `accept_tls`.
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    ssl_object = context.wrap_bio(incoming, outgoing, server_hostname=server_hostname)
    return await _shake_hands(TlsStream(transport, ssl_object, incoming, outgoing), timeout_s)


async def _shake_hands(stream: TlsStream, timeout_s: float) -> TlsStream:
    with trio.move_on_after(timeout_s) as scope:
        await stream.do_handshake()
    if scope.cancelled_caught:
        raise TlsHandshakeError(f"no handshake within {timeout_s:g} s")
    return stream
