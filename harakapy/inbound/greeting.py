"""The beginning of a conversation: who is it, what does DNS call it, and is it welcome?"""

from __future__ import annotations

from harakapy.hooks import OK, Action
from harakapy.inbound.connection import Connection, Hello
from harakapy.inbound.conversation import Conversation
from harakapy.inbound.outcomes import Words
from harakapy.net import DnsError, NameNotFound, NoData
from harakapy.smtp import ClientClaims
from harakapy.smtp.xclient import TEMPORARILY_UNAVAILABLE, UNAVAILABLE

NO_NAME = "NXDOMAIN"
DNS_FAILED = "DNSERROR"
_NAMES = {UNAVAILABLE: NO_NAME, TEMPORARILY_UNAVAILABLE: DNS_FAILED}


async def greet(conversation: Conversation) -> None:
    """Run the hooks before the greeting, look up the client's name, and greet it or not."""
    connection, hooks = conversation.connection, conversation.hooks
    claims = conversation.claims
    if claims is not None:
        _believe(connection, claims)
    await hooks.connect_init(connection)
    if claims is not None and claims.name is not None:
        verdict = OK(value=_NAMES.get(claims.name, claims.name))
    else:
        verdict = await hooks.lookup_rdns(connection)
    if verdict.action is Action.OK:
        connection.remote.host = str(verdict.value)
    elif verdict.action is not Action.CONT:
        await conversation.settle("lookup_rdns", verdict)
        return
    elif conversation.service.resolver is not None and connection.remote.ip:
        connection.remote.host = await _name_of(conversation)
    conversation.listen_before_greeting()
    verdict = await hooks.connect(connection)
    terms = conversation.terms
    await conversation.settle("connect", verdict, Words(hostname=terms.hostname, greeting=terms.greeting))


def _believe(connection: Connection, claims: ClientClaims) -> None:
    """Take from a trusted client's word what is no matter of addresses and names."""
    by = connection.proxy.host if connection.proxy else ""
    connection.log.info("named by XCLIENT", by=by, remote=connection.remote.ip, user=claims.login or "")
    if claims.helo:
        connection.hello = Hello("HELO" if claims.proto == "SMTP" else "EHLO", claims.helo)
    if claims.login:
        connection.log_in(claims.login, "XCLIENT")


async def _name_of(conversation: Conversation) -> str:
    resolver = conversation.service.resolver
    assert resolver is not None, "asked for by the caller"
    try:
        names = await resolver.ptr(conversation.connection.remote.ip)
    except (NameNotFound, NoData):
        return NO_NAME
    except DnsError:
        return DNS_FAILED
    return names[0].rstrip(".").lower() if names else NO_NAME
