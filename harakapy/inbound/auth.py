"""AUTH: to whom it is offered, who needs it, and when it may come (RFC 4954).

The exchange itself is `harakapy.inbound.login`, which brings all of SASL with it: it is imported where some
plugin lets clients log in, and elsewhere not before a server is ready (`harakapy.process.late`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harakapy.net import enter_task
from harakapy.smtp import Reply
from harakapy.smtp.verbs import Auth

if TYPE_CHECKING:
    from harakapy.inbound.conversation import Conversation

DEFAULT_MECHANISMS = ("PLAIN", "LOGIN")
"""What is offered if no plugin says what it can judge: what everybody can."""

ALREADY = Reply(503, "already authenticated", "5.5.1")
NO_EHLO = Reply(503, "send EHLO first", "5.5.1")
NEEDS_TLS = Reply(538, "Encryption required for authentication, send STARTTLS first", "5.7.11")
UNKNOWN = Reply(504, "authentication mechanism not offered", "5.5.4")
AUTH_REQUIRED = Reply(530, "Authentication required", "5.7.0")
TLS_AND_AUTH_REQUIRED = Reply(530, "Must issue a STARTTLS command first, then authenticate", "5.7.0")


async def offered_mechanisms(conversation: Conversation) -> tuple[str, ...]:
    """The ways to log in that fit this client now, the strongest first; none if it may not or has done so."""
    connection, hooks = conversation.connection, conversation.hooks
    if not hooks.is_implemented("auth") or connection.auth_user or not _may_speak_freely(conversation):
        return ()
    from harakapy.inbound.login import workable  # not before somebody may log in: see above

    wanted = await hooks.auth_mechanisms(connection) if hooks.is_implemented("auth_mechanisms") else None
    return workable(conversation, DEFAULT_MECHANISMS if wanted is None else wanted)


def missing_login(conversation: Conversation) -> Reply | None:
    """What a client is told that has to log in before it may send; None if it may."""
    if not conversation.terms.is_submission or conversation.connection.auth_user:
        return None
    has_way = _may_speak_freely(conversation) or "STARTTLS" not in conversation.extensions
    return AUTH_REQUIRED if has_way else TLS_AND_AUTH_REQUIRED  # RFC 3207 4


async def auth(conversation: Conversation, command: Auth) -> None:
    """AUTH: the client logs in."""
    from harakapy.inbound.login import Login  # not before somebody does: see above

    await enter_task()
    refusal = _refusal(conversation)
    login = None if refusal else Login.begin(conversation, command.mechanism)
    if login is None:
        conversation.count_error()
        conversation.send(refusal or UNKNOWN)
        return
    await login.run(command.initial)


def _refusal(conversation: Conversation) -> Reply | None:
    if conversation.connection.auth_user:
        return ALREADY
    if not _may_speak_freely(conversation):
        return NEEDS_TLS
    return None if conversation.connection.is_esmtp else NO_EHLO


def _may_speak_freely(conversation: Conversation) -> bool:
    return conversation.connection.tls is not None or conversation.terms.has_auth_without_tls
