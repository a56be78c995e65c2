"""Opening a session: connect, greeting, EHLO, STARTTLS as far as it must or may be, login.

Where TLS is opportunistic, a handshake that fails costs the connection, and the host is called once more in
clear. (A refusal of STARTTLS costs nothing: the session goes on in clear, RFC 3207 4.1.) Octets behind the
reply to STARTTLS are no failed handshake but an attack or a broken host; nothing is sent there.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from msgspec.structs import replace

from harakapy.mail.status import NO_ANSWER, EnhancedStatus
from harakapy.net import SocketStream
from harakapy.net.tls import TlsHandshakeError, TlsRejectedError
from harakapy.outbound.attempt import BAD_TLS, NO_TLS, Answer, HostFailed, Phase
from harakapy.outbound.client_tls import ClientTls
from harakapy.outbound.dialing import CannotConnect, dial
from harakapy.outbound.facilities import Facilities
from harakapy.outbound.hop import Protocol, Target, TlsLevel
from harakapy.outbound.login import log_in
from harakapy.outbound.terms import Terms
from harakapy.outbound.wire import GARBAGE, Wire
from harakapy.smtp import Ehlo, Helo, RemoteProtocolError, StartTls
from harakapy.smtp.client import ClientProtocol, Dialect
from harakapy.smtp.verbs import Lhlo

__all__ = ["open_wire"]

BROKEN_TLS: Final = EnhancedStatus(4, 7, 0)
"""The handshake came to no end, or could not begin, which says nothing about the host's TLS."""


class _NoHandshake(HostFailed):
    """The host offered TLS and the handshake failed."""


async def open_wire(target: Target, terms: Terms, facilities: Facilities) -> Wire:
    """A connection on which mail can be sent.

    Raises HostFailed; nothing is left open then, or if cancelled here.
    """
    try:
        return await _open(target, terms, facilities)
    except _NoHandshake:
        if terms.tls is not TlsLevel.MAY or target.hop.protocol is Protocol.SMTPS:
            raise
        return await _open(target, replace(terms, tls=TlsLevel.NONE), facilities)


async def _open(target: Target, terms: Terms, facilities: Facilities) -> Wire:
    stream = await _connect(target, terms, facilities)
    dialect = Dialect.LMTP if target.hop.protocol is Protocol.LMTP else Dialect.SMTP
    wire = Wire(stream, ClientProtocol(dialect), terms.timeouts, str(target))
    try:
        if target.hop.protocol is Protocol.SMTPS:
            await _shake_hands(wire, target, terms, facilities.tls)
        await wire.before_deadline(facilities.watchdog, partial(_introduce, wire, target, terms, facilities))
    except BaseException as error:  # it is raised again
        if isinstance(error, HostFailed) and error.answer.reply is not None:  # it speaks: part in peace
            wire.stream.try_send(b"QUIT\r\n")
        wire.close()
        raise
    return wire


async def _connect(target: Target, terms: Terms, facilities: Facilities) -> SocketStream:
    try:
        return await dial(
            target, bind=terms.bind, timeout_s=terms.timeouts.connect_s, poller=facilities.poller
        )
    except CannotConnect as error:
        raise HostFailed(Answer(Phase.CONNECT, None, error.reason, NO_ANSWER, str(target))) from error


async def _introduce(wire: Wire, target: Target, terms: Terms, facilities: Facilities) -> None:
    wire.phase = Phase.GREETING
    greeting = await wire.reply(Phase.GREETING, terms.timeouts.greeting_s)
    if not greeting.is_positive:
        raise HostFailed(Answer(Phase.GREETING, greeting, host=wire.host))
    await _say_hello(wire, target, terms)
    if terms.tls is not TlsLevel.NONE and wire.tls is None:
        await _start_tls(wire, target, terms, facilities.tls)
    if target.hop.user:
        await log_in(wire, target.hop, target.name, wire.tls, facilities.tokens)


async def _say_hello(wire: Wire, target: Target, terms: Terms) -> None:
    if target.hop.protocol is Protocol.LMTP:
        reply = await wire.command(Lhlo(terms.helo), Phase.HELLO)
    else:
        reply = await wire.command(Ehlo(terms.helo), Phase.HELLO)
        if reply.is_permanent:  # RFC 5321 3.2: a server from before extensions
            reply = await wire.command(Helo(terms.helo), Phase.HELLO)
    if not reply.is_positive:
        raise HostFailed(Answer(Phase.HELLO, reply, host=wire.host))


async def _start_tls(wire: Wire, target: Target, terms: Terms, tls: ClientTls) -> None:
    is_needed = terms.tls is not TlsLevel.MAY
    if not wire.protocol.capabilities.starttls:
        if is_needed:
            wire.phase = Phase.TLS
            raise wire.failure("the host does not offer STARTTLS, and mail must go encrypted", NO_TLS)
        return
    reply = await wire.command(StartTls(), Phase.TLS)
    if not reply.is_positive:
        if is_needed:
            raise HostFailed(Answer(Phase.TLS, reply, host=wire.host))
        return
    try:
        wire.protocol.reset_for_tls()
    except RemoteProtocolError as error:
        raise wire.failure(f"the host sent {error.reason}", GARBAGE) from error
    await _shake_hands(wire, target, terms, tls)
    await _say_hello(wire, target, terms)


async def _shake_hands(wire: Wire, target: Target, terms: Terms, tls: ClientTls) -> None:
    wire.phase = Phase.TLS
    assert isinstance(wire.stream, SocketStream)
    try:
        wire.stream = await tls.start(
            wire.stream, terms.tls, target.name or target.address, timeout_s=terms.timeouts.tls_s
        )
    except TlsHandshakeError as error:
        status = BAD_TLS if isinstance(error, TlsRejectedError) else BROKEN_TLS
        answer = Answer(Phase.TLS, None, f"no TLS with the host: {error.reason}", status, wire.host)
        raise _NoHandshake(answer) from error
