"""Both ends of real TLS sessions, and certificates as files, for the tests of TLS."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio
import trustme

from harakapy.net.stream import SocketStream
from harakapy.net.tls import (
    CertificateError,
    CertificateStore,
    TlsHandshakeError,
    TlsStream,
    accept_tls,
    connect_tls,
)

CA = trustme.CA()
STRANGER = trustme.CA()  # whom nobody trusts
RSA = trustme.KeyType.RSA
ECDSA = trustme.KeyType.ECDSA
MX = "mx.example.org"
TIMEOUT_S = 10.0


def write_pair(
    directory: Path, *names: str, stem: str = "", key_type: trustme.KeyType = trustme.KeyType.ECDSA
) -> tuple[Path, Path]:
    """A certificate for these names as NAME.pem and NAME.key; replaces what stands there."""
    issued = CA.issue_cert(*names, key_type=key_type)
    stem = stem or names[0]
    pair = directory / f"{stem}.pem", directory / f"{stem}.key"
    replace(pair[0], b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    replace(pair[1], issued.private_key_pem.bytes())
    return pair


def replace(path: Path, data: bytes) -> None:
    """Write a file anew: with another inode, so that it looks changed on any file system."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(data)
    fresh.replace(path)


def client_context(**options: object) -> ssl.SSLContext:
    """A client that trusts CA; options are attributes of the context."""
    context = ssl.create_default_context()
    CA.configure_trust(context)
    for name, value in options.items():
        setattr(context, name, value)
    return context


def socket_pair() -> tuple[SocketStream, SocketStream]:
    """Two connected sockets."""
    ends = socket.socketpair()
    return SocketStream(ends[0]), SocketStream(ends[1])


@asynccontextmanager
async def session(
    store: CertificateStore,
    context: ssl.SSLContext | None = None,
    name: str | None = MX,
    transports: tuple[SocketStream, SocketStream] | None = None,
) -> AsyncIterator[tuple[TlsStream, TlsStream]]:
    """Server's and client's end after the handshake; both are closed behind it.

    Raises the ExceptionGroup of what went wrong at either end.
    """
    ours, theirs = transports or socket_pair()
    ends: dict[str, TlsStream] = {}
    errors: list[TlsHandshakeError] = []

    async def shake(side: str, transport: SocketStream, hands: Awaitable[TlsStream]) -> None:
        try:
            ends[side] = await hands
        except TlsHandshakeError as error:
            errors.append(error)
            transport.close()

    try:
        async with trio.open_nursery() as nursery:
            accepting = accept_tls(ours, store, timeout_s=TIMEOUT_S)
            calling = connect_tls(theirs, context or client_context(), name, timeout_s=TIMEOUT_S)
            nursery.start_soon(shake, "server", ours, accepting)
            nursery.start_soon(shake, "client", theirs, calling)
        if errors:
            raise ExceptionGroup("no session", errors)
        yield ends["server"], ends["client"]
    finally:
        for end in ends.values():
            end.close()
        ours.close()
        theirs.close()


async def names_shown(store: CertificateStore, name: str | None) -> set[str]:
    """The names in the certificate that a client gets who asks for this one."""
    async with session(store, client_context(check_hostname=False), name) as (_, client):
        peer = client.state.peer
        assert peer is not None
        return set(peer.names)


class Reports(list[str]):
    """The problems that a store has reported, without directories."""

    def __call__(self, problem: CertificateError) -> None:
        self.append(f"{problem.path.name}: {problem.reason}")


@dataclass
class Middle:
    """Somebody between client and server, who after the handshake forwards nothing but what a test does."""

    server: TlsStream
    client: TlsStream
    to_server: SocketStream
    to_client: SocketStream


@asynccontextmanager
async def session_with_somebody_in_the_middle(
    store: CertificateStore, context: ssl.SSLContext
) -> AsyncIterator[Middle]:
    """A session whose records pass through the hands of the test."""
    ours, to_server = socket_pair()
    theirs, to_client = socket_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_forward, to_server, to_client)
        nursery.start_soon(_forward, to_client, to_server)
        async with session(store, context, transports=(ours, theirs)) as (server, client):
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                yield Middle(server, client, to_server, to_client)
    to_server.close()
    to_client.close()


async def _forward(source: SocketStream, sink: SocketStream) -> None:
    while data := await source.receive_some():
        await sink.send_all(data)
