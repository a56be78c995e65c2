"""Logging in at a host (RFC 4954): which mechanism, and its exchange.

The best mechanism that both sides have comes first. A host may offer one for which it has no secret of this
user (SCRAM, CRAM-MD5), so a refusal is followed by the next one, but not by all of them: some hosts lock out
who fails often. A password or token that anybody on the way could read is not sent, unless the next hop says
so.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Mapping
from typing import Final

import trio
from msgspec import Struct

from harakapy.mail.status import EnhancedStatus
from harakapy.net.tls import TlsState
from harakapy.outbound.attempt import Answer, HostFailed, Phase
from harakapy.outbound.hop import NextHop
from harakapy.outbound.token import NoToken, Tokens
from harakapy.outbound.wire import Wire
from harakapy.smtp import Auth, RemoteProtocolError, Reply
from harakapy.smtp.sasl import (
    ChannelBinding,
    ClientMechanism,
    CramMd5Client,
    LoginClient,
    OAuthBearerClient,
    PlainClient,
    ScramClient,
    ScramPlusClient,
    XOAuth2Client,
    encode_message,
)

__all__ = ["hold_exchange", "log_in"]

MAX_ATTEMPTS: Final = 3
"""Refusals that are taken; Postfix, Exim and Dovecot stand that many. Picked."""

_MAX_COMMAND: Final = 510  # octets without CRLF (RFC 5321 4.5.3.1.4)

_CANCEL: Final = b"*"
_NO_MECHANISM: Final = EnhancedStatus(4, 7, 0)


class Credentials(Struct, frozen=True):
    """What the mechanisms need; ``secret`` is the password or the token."""

    hop: NextHop
    name: str
    secret: str
    binding: ChannelBinding | None


def _scram_plus(given: Credentials) -> ClientMechanism | None:
    return ScramPlusClient(given.hop.user, given.secret, given.binding) if given.binding else None


def _scram(given: Credentials) -> ClientMechanism:
    return ScramClient(given.hop.user, given.secret, has_binding=given.binding is not None)


# The best first.
_WITH_PASSWORD: Final[Mapping[str, Callable[[Credentials], ClientMechanism | None]]] = {
    "SCRAM-SHA-256-PLUS": _scram_plus,
    "SCRAM-SHA-256": _scram,
    "CRAM-MD5": lambda given: CramMd5Client(given.hop.user, given.secret),
    "PLAIN": lambda given: PlainClient(given.hop.user, given.secret),
    "LOGIN": lambda given: LoginClient(given.hop.user, given.secret),
}
_WITH_TOKEN: Final[Mapping[str, Callable[[Credentials], ClientMechanism | None]]] = {
    "OAUTHBEARER": lambda given: OAuthBearerClient(given.hop.user, given.secret, given.name, given.hop.port),
    "XOAUTH2": lambda given: XOAuth2Client(given.hop.user, given.secret),
}
_IN_CLEAR: Final = frozenset({"PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2"})
"""Who reads along has the password or token."""


async def log_in(wire: Wire, hop: NextHop, name: str, tls: TlsState | None, tokens: Tokens) -> None:
    """Log in as the next hop says; ``name`` is the host's. Raises HostFailed."""
    wire.phase = Phase.AUTH
    if hop.token_command or hop.token_file is not None:
        await _log_in_with_token(wire, hop, name, tls, tokens)
        return
    given = Credentials(hop, name, hop.password, _binding(tls))
    reply = await _try_mechanisms(wire, given, _usable(wire, hop, tls, _WITH_PASSWORD))
    if not reply.is_positive:
        raise HostFailed(Answer(Phase.AUTH, reply, host=wire.host))


async def _log_in_with_token(
    wire: Wire, hop: NextHop, name: str, tls: TlsState | None, tokens: Tokens
) -> None:
    """Log in with a token; one that is refused may be old, so a new one is tried once."""
    mechanisms = _usable(wire, hop, tls, _WITH_TOKEN)
    token = await _token(wire, hop, tokens)
    reply = await _try_mechanisms(wire, Credentials(hop, name, token, None), mechanisms[:1])
    if reply.is_permanent:
        tokens.refuse(hop, token)
        fresh = await _token(wire, hop, tokens)
        if fresh != token:
            reply = await _try_mechanisms(wire, Credentials(hop, name, fresh, None), mechanisms[:1])
    if not reply.is_positive:
        raise HostFailed(Answer(Phase.AUTH, reply, host=wire.host))


async def _token(wire: Wire, hop: NextHop, tokens: Tokens) -> str:
    try:
        return await tokens.get(hop)
    except NoToken as error:
        raise wire.failure(f"no token to log in with: {error.reason}", _NO_MECHANISM) from error


def _usable(
    wire: Wire,
    hop: NextHop,
    tls: TlsState | None,
    starters: Mapping[str, Callable[[Credentials], ClientMechanism | None]],
) -> list[Callable[[Credentials], ClientMechanism | None]]:
    offered = wire.protocol.capabilities.auth
    is_safe = tls is not None or hop.is_unix or hop.auth_without_tls
    usable = [
        start for name, start in starters.items() if name in offered and (is_safe or name not in _IN_CLEAR)
    ]
    if not usable:
        what = "without TLS" if not is_safe and offered else "that is known here"
        raise wire.failure(f"the host offers no way to log in {what}", _NO_MECHANISM)
    return usable


def _binding(tls: TlsState | None) -> ChannelBinding | None:
    bindings = {} if tls is None else tls.channel_bindings
    for kind in ("tls-exporter", "tls-server-end-point"):
        if bindings.get(kind):
            return ChannelBinding(kind, bindings[kind][0])
    return None


async def _try_mechanisms(
    wire: Wire, given: Credentials, starters: list[Callable[[Credentials], ClientMechanism | None]]
) -> Reply:
    """Try mechanisms until one is accepted; the reply that decided."""
    reply: Reply | None = None
    attempts = 0
    for start in starters:
        try:
            mechanism = start(given)
        except ValueError:  # this mechanism cannot carry such a name or password
            continue
        if mechanism is None:
            continue
        reply = await hold_exchange(wire, mechanism)
        attempts += 1
        if not reply.is_permanent or attempts == MAX_ATTEMPTS:
            break
    if reply is None:
        raise wire.failure("no way to log in that the host offers can carry the password", _NO_MECHANISM)
    return reply


async def hold_exchange(wire: Wire, mechanism: ClientMechanism) -> Reply:
    """Hold one exchange; the reply that ends it. Raises HostFailed if the host cannot be trusted."""
    initial = mechanism.initial_response()
    command = Auth(mechanism.name, initial)
    is_too_long = initial is not None and len(command.to_bytes()) > _MAX_COMMAND
    reply = await wire.command(Auth(mechanism.name) if is_too_long else command, Phase.AUTH)
    if is_too_long and reply.is_intermediate:
        assert initial is not None
        reply = await _respond(wire, initial)
    while reply.is_intermediate:
        try:
            response = await _step(mechanism, _decoded(reply))
        except RemoteProtocolError as error:
            await _send_line(wire, _CANCEL)
            raise wire.failure(f"AUTH {mechanism.name}: {error.reason}", _NO_MECHANISM) from error
        reply = await _respond(wire, response)
    if reply.is_positive and not mechanism.is_complete:
        raise wire.failure(f"AUTH {mechanism.name}: the host did not prove itself", _NO_MECHANISM)
    return reply


async def _step(mechanism: ClientMechanism, challenge: bytes) -> bytes:
    if isinstance(mechanism, ScramClient):  # deriving a key takes up to half a second
        return await trio.to_thread.run_sync(mechanism.step, challenge)
    return mechanism.step(challenge)


def _decoded(reply: Reply) -> bytes:
    try:
        return binascii.a2b_base64(reply.text.encode(), strict_mode=True)
    except binascii.Error:
        raise RemoteProtocolError(reply, "a challenge that is not base64") from None


async def _respond(wire: Wire, response: bytes) -> Reply:
    return await _send_line(wire, encode_message(response).encode())


async def _send_line(wire: Wire, line: bytes) -> Reply:
    wire.protocol.send_auth_response(line)
    await wire.flush(wire.timeouts.command_s)
    return await wire.reply(Phase.AUTH)
