"""The beginning of a conversation: who is it, what does DNS call it, and is it welcome?"""

from __future__ import annotations

from harakapy.hooks import Action
from harakapy.inbound.conversation import Conversation
from harakapy.net import DnsError, NameNotFound, NoData

NO_NAME = "NXDOMAIN"
DNS_FAILED = "DNSERROR"


async def greet(conversation: Conversation) -> None:
    """Run the hooks before the greeting, look up the client's name, and greet it or not."""
    connection, hooks = conversation.connection, conversation.hooks
    await hooks.connect_init(connection)
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
    await conversation.settle("connect", verdict, hostname=terms.hostname, greeting=terms.greeting)


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
