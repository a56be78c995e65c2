"""Hosts that play a script on a loopback socket, and sessions with them.

A script has one line for each step. ``S: text`` sends a line; ``C: text`` expects one, and ``C: text*`` one
that begins like this; ``CONTENT`` takes lines up to a dot; ``OCTETS n`` takes n octets, ``TAKE`` some;
``SEND repr`` sends octets; ``TLS`` shakes hands, ``NO-TLS`` sees the client refuse that; ``CLOSE`` closes,
``RESET`` without reading what came, ``SILENCE`` does nothing until the client goes. At its end the client
must go, by QUIT or without.
"""

from __future__ import annotations

import ast
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from harakapy.config.outbound import OutboundSettings
from harakapy.mail import Content, Envelope, Recipient
from harakapy.net import SocketStream, Watchdog
from harakapy.net.tls import CertificateStore, TlsRejectedError, TlsStream, accept_tls
from harakapy.outbound.attempt import Answer
from harakapy.outbound.courier import Courier
from harakapy.outbound.facilities import Facilities
from harakapy.outbound.hop import NextHop, Protocol, Target, TlsLevel
from harakapy.outbound.hosts import DeadHosts
from harakapy.outbound.pool import Pool
from harakapy.outbound.route import Route
from harakapy.outbound.session import Session
from harakapy.outbound.terms import Terms
from harakapy.smtp import Address, MailParameters, RcptParameters

NAME = "mx.example.org"
HELLO = """
S: 220 mx.example.org ready
C: EHLO me.example.com
"""
PLAIN = HELLO + "S: 250 mx.example.org\n"
GROUPS = HELLO + "S: 250-mx.example.org\nS: 250-8BITMIME\nS: 250 PIPELINING\n"
CHUNKS = HELLO + "S: 250-mx.example.org\nS: 250-8BITMIME\nS: 250-CHUNKING\nS: 250 PIPELINING\n"
MESSAGE = b"Subject: hello\r\n\r\nbody\r\n"
TERMS = Terms(helo="me.example.com", tls=TlsLevel.MAY)


class Host:
    """A host that plays one script for each connection, in their order.

    ``connections`` counts those that were made, ``reads`` the pieces in which octets came.
    """

    def __init__(
        self, listener: socket.socket, scripts: tuple[str, ...], store: CertificateStore | None
    ) -> None:
        self._listener = listener
        self._scripts = scripts
        self._store = store
        self.connections = 0
        self.reads = 0
        self.port = int(listener.getsockname()[1]) if listener.family is socket.AF_INET else 0

    def target(self, protocol: Protocol = Protocol.SMTP, name: str = NAME, **hop: object) -> Target:
        """How to reach it."""
        return Target(NextHop(host=name, port=self.port, protocol=protocol, **hop), name, "127.0.0.1")  # type: ignore[arg-type]  # what a test gives

    async def serve(self) -> None:
        """Play the scripts; the last one must be played to its end."""
        listener = trio.socket.from_stdlib_socket(self._listener)
        async with trio.open_nursery() as nursery:
            for script in self._scripts:
                connected, _ = await listener.accept()
                self.connections += 1
                ours = connected._sock  # type: ignore[attr-defined]  # trio has no public way back
                nursery.start_soon(self._play, SocketStream(ours), script)

    async def _play(self, stream: SocketStream, script: str) -> None:
        player = Player(self, stream, self._store)
        try:
            for step in filter(None, map(str.strip, script.splitlines())):
                await player.step(step)
            await player.see_off()
        finally:
            player.stream.close()


class Player:
    """One connection of a host."""

    def __init__(self, host: Host, stream: SocketStream, store: CertificateStore | None) -> None:
        self.stream: SocketStream | TlsStream = stream
        self._host = host
        self._store = store
        self._received = b""

    async def step(self, step: str) -> None:
        """Play one line of a script."""
        what, _, text = step.partition(" ")
        if what == "S:":
            await self.stream.send_all(text.encode() + b"\r\n")
        elif what == "C:":
            line = (await self._until(b"\r\n")).decode()
            assert line == text or (text.endswith("*") and text != "*" and line.startswith(text[:-1])), (
                f"{line!r}, not {text!r}"
            )
        elif what == "CONTENT":
            while await self._until(b"\r\n") != b".":
                pass
        elif what == "OCTETS":
            await self._octets(int(text))
        elif what == "TAKE":
            await self._receive()
        elif what == "SEND":
            await self.stream.send_all(ast.literal_eval(text))
        elif what == "TLS":
            assert self._store is not None
            self.stream = await accept_tls(self.stream, self._store, timeout_s=10)
        elif what == "NO-TLS":
            assert self._store is not None
            with pytest.raises(TlsRejectedError):
                await accept_tls(self.stream, self._store, timeout_s=10)
        else:
            await self._end(what)

    async def _end(self, what: str) -> None:
        if what == "RESET":
            assert isinstance(self.stream, SocketStream)
            now = struct.pack("ii", 1, 0)
            self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
            self.stream.close()
        elif what == "CLOSE":
            self.stream.close()
        else:
            assert what == "SILENCE", what
            await self.see_off()

    async def see_off(self) -> None:
        """Take what still comes, and answer QUIT."""
        try:
            while line := await self._until(b"\r\n"):
                if line == b"QUIT":
                    await self.stream.send_all(b"221 bye\r\n")
        except (EOFError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async def _until(self, end: bytes) -> bytes:
        while end not in self._received:
            await self._receive()
        line, _, self._received = self._received.partition(end)
        return line

    async def _octets(self, size: int) -> bytes:
        while len(self._received) < size:
            await self._receive()
        octets, self._received = self._received[:size], self._received[size:]
        return octets

    async def _receive(self) -> None:
        data = await self.stream.receive_some()
        if not data:
            raise EOFError(f"the client has gone, having sent {self._received!r}")
        self._host.reads += 1
        self._received += data


@asynccontextmanager
async def playing(*scripts: str, store: CertificateStore | None = None) -> AsyncIterator[Host]:
    """A host with these scripts; all must have been played at the end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        host = Host(listener, scripts, store)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.serve)
            yield host


@asynccontextmanager
async def facilities(**given: object) -> AsyncIterator[Facilities]:
    """Facilities with a watchdog that runs."""
    watchdog = Watchdog()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watchdog.run)
        yield Facilities(watchdog, **given)  # type: ignore[arg-type]  # what a test gives
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def session(
    *scripts: str, terms: Terms = TERMS, protocol: Protocol = Protocol.SMTP
) -> AsyncIterator[Session]:
    """An open session with a host that plays scripts; closed behind it."""
    async with playing(*scripts) as host, facilities() as shared:
        opened = await Session.open(host.target(protocol), terms, shared)
        try:
            yield opened
        finally:
            await opened.close()


def envelope(
    *recipients: str,
    sender: str = "me@example.com",
    params: MailParameters | None = None,
    rcpt_params: RcptParameters | None = None,
) -> Envelope:
    """An envelope; its recipients are you@example.org if none are given."""
    rcpt_to = tuple(
        Recipient(Address.parse(one), rcpt_params or RcptParameters())
        for one in recipients or ("you@example.org",)
    )
    return Envelope(Address.parse(f"<{sender}>"), rcpt_to, params or MailParameters())


async def deliver(
    opened: Session, to: Envelope | None = None, content: bytes = MESSAGE
) -> tuple[Answer, ...]:
    """Send a message."""
    return await opened.deliver(to or envelope(), Content.from_bytes(content))


async def carry(pool: Pool, host: Host) -> Answer:
    """Send a message over a session of a pool, as a courier does."""
    target = host.target(tls=TERMS.tls, helo=TERMS.helo)
    courier = Courier(OutboundSettings(), pool, DeadHosts(), trio.current_time)
    (ending,) = await courier.carry(envelope(), Content.from_bytes(MESSAGE), Route((target,)))
    return ending.answer
