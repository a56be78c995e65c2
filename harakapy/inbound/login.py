"""Logging in: the exchange with a client that has said AUTH (RFC 4954).

The exchange itself is the business of `harakapy.smtp.sasl`, who may log in that of the plugins; here the two
are brought together, and guessing is made slow: each failure is answered later than the one before, and the
last one that is allowed ends the connection. What is logged is who tried and how, never what was sent.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

import trio

from harakapy.hooks import Action, Verdict
from harakapy.smtp import AuthResponse, Reply
from harakapy.smtp.sasl import (
    Challenge,
    Credentials,
    Failed,
    Failure,
    SaslSession,
    ScramDecoy,
    ScramSecret,
    SecretRequest,
    ServerMechanism,
    Step,
    decode_response,
    encode_message,
    start_exchange,
    workable_mechanisms,
)

if TYPE_CHECKING:
    from harakapy.inbound.conversation import Conversation

FIRST_DELAY_S = 1.0
"""How long the first failure is kept waiting; each further one twice as long. Picked: a person does not
notice, and a program gets three guesses in seven seconds."""

TOO_MANY = Reply(421, "Too many failed logins, closing connection", "4.7.0")
UNAVAILABLE = Reply(454, "Temporary authentication failure", "4.7.0")


def workable(conversation: Conversation, wanted: Iterable[str]) -> tuple[str, ...]:
    """Those of the mechanisms that can work in this session, the strongest first."""
    tls = conversation.connection.tls
    return workable_mechanisms(
        wanted,
        has_channel_binding=tls is not None and bool(tls.channel_bindings),
        has_peer_names=bool(_peer_names(conversation)),
    )


class Login:
    """One exchange, from AUTH to the reply that ends it."""

    __slots__ = ("_connection", "_conversation", "_mechanism", "_user")

    def __init__(self, conversation: Conversation, mechanism: ServerMechanism) -> None:
        self._conversation = conversation
        self._connection = conversation.connection
        self._mechanism = mechanism
        self._user = ""

    @classmethod
    def begin(cls, conversation: Conversation, mechanism: str) -> Self | None:
        """The exchange of a mechanism, named as the client wrote it; None if it was not offered."""
        started = start_exchange(mechanism, _session(conversation))
        return None if started is None else cls(conversation, started)

    async def run(self, initial: bytes | None) -> None:
        """Go from step to step until there is an answer."""
        step: Step | None = self._mechanism.step(initial)
        while step is not None:
            if isinstance(step, Challenge):
                step = await self._challenge(step)
            elif isinstance(step, SecretRequest):
                step = await self._supply(step)
            else:
                await (self._fail(step) if isinstance(step, Failed) else self._judge(step))
                return

    async def _challenge(self, challenge: Challenge) -> Step | None:
        response = await self._ask(challenge)
        return self._mechanism.step(response) if isinstance(response, bytes) else response

    async def _ask(self, challenge: Challenge) -> bytes | Failed | None:
        """The client's answer; None if there will be none and the conversation is over."""
        self._conversation.send(Reply(334, encode_message(challenge.data)))
        event = await self._conversation.next_event()
        if isinstance(event, AuthResponse):
            return decode_response(event.line)
        await self._conversation.break_off(event)
        return None

    async def _supply(self, request: SecretRequest) -> Step | None:
        self._user = request.authcid
        verdict = await self._conversation.hooks.auth_secret(self._connection, request.authcid)
        if verdict.is_denial:
            await self._conversation.settle("auth_secret", verdict)
            return None
        secret = verdict.value if isinstance(verdict.value, ScramSecret) else None
        if secret is not None:
            self._teach(secret)
        try:
            return self._mechanism.supply(secret)
        except ValueError as error:  # made with another hash
            self._connection.log.error("a stored secret is of no use", user=self._user, error=str(error))
            self._conversation.send(UNAVAILABLE)
            return None

    def _teach(self, secret: ScramSecret) -> None:
        """Let the secrets of users who do not exist look like this one from now on."""
        decoys = self._conversation.service.decoys
        try:
            if decoys is not None:
                decoys.learn(secret)
        except OSError as error:
            self._connection.log.error("the form of SCRAM secrets is not remembered", error=str(error))

    async def _judge(self, credentials: Credentials) -> None:
        """Ask the plugins, and answer as they say."""
        self._user = credentials.authcid
        verdict = await self._conversation.hooks.auth(self._connection, credentials)
        if verdict.action is Action.OK:
            user = credentials.authcid if verdict.value is None else str(verdict.value)
            if user and (verdict.value is not None or credentials.authzid in ("", user)):
                await self._succeed(user, verdict)
                return
            reason = "nobody said that it may act as another" if user else "nobody said whose token it is"
            verdict = Verdict(Action.DENY)
        else:
            reason = f"{verdict.action.name} by {verdict.plugin or 'nobody'}"
        if verdict.is_soft:
            self._log_failure(reason)
            await self._conversation.settle("auth", verdict)
        else:
            await self._reject(verdict, reason)

    async def _succeed(self, user: str, verdict: Verdict) -> None:
        self._connection.log_in(user, self._mechanism.name)
        self._connection.log.info("login", user=user, mechanism=self._mechanism.name)
        self._conversation.mechanisms = ()
        await self._conversation.settle("auth", verdict)

    async def _reject(self, verdict: Verdict, reason: str) -> None:
        """Say no; some mechanisms first tell the client why, whatever it answers to that."""
        step = self._mechanism.reject()
        if isinstance(step, Challenge) and await self._ask(step) is None:
            return
        await self._delay(reason)
        await self._conversation.settle("auth", verdict)

    async def _fail(self, failed: Failed) -> None:
        """The exchange ended by itself: with wrong credentials, or in a mistake."""
        self._conversation.count_error()
        if failed.failure is Failure.WRONG:
            await self._delay(failed.reason)
            await self._conversation.settle("auth", Verdict(Action.DENY))
        else:
            self._connection.log.debug("login broken off", reason=failed.reason)
            self._conversation.send(failed.reply)

    async def _delay(self, reason: str) -> None:
        """Count a failure, and let the client wait for its reply. Raises SentAway after too many."""
        self._log_failure(reason)
        conversation = self._conversation
        terms, before = conversation.terms, conversation.auth_failures
        conversation.auth_failures += 1
        await trio.sleep(min(FIRST_DELAY_S * 2 ** min(before, 10), terms.max_auth_delay_s))
        if conversation.auth_failures >= terms.max_auth_failures:
            conversation.send_away(TOO_MANY)

    def _log_failure(self, reason: str) -> None:
        self._connection.log.notice(
            "login failed",
            user=self._user,
            mechanism=self._mechanism.name,
            reason=reason,
            remote=self._connection.remote.ip,
        )


def _session(conversation: Conversation) -> SaslSession:
    tls, hostname = conversation.connection.tls, conversation.terms.hostname
    decoys = conversation.service.decoys
    return SaslSession(
        hostname=hostname,
        offered=conversation.mechanisms,
        decoy=ScramDecoy(secrets.token_bytes(32)) if decoys is None else decoys.decoy,
        channel_bindings=tls.channel_bindings if tls else {},
        peer_names=_peer_names(conversation),
        oauth_hosts={hostname.lower(), *([tls.server_name] if tls and tls.server_name else [])},
    )


def _peer_names(conversation: Conversation) -> tuple[str, ...]:
    tls = conversation.connection.tls
    return tls.peer.names if tls is not None and tls.peer is not None and tls.is_verified else ()
