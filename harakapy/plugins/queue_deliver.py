"""queue_deliver: deliver mail for our own domains through the queue, like mail that goes out."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, SecretStr

from harakapy import (
    DENYSOFT,
    OK,
    Address,
    Connection,
    DomainPattern,
    NextHopRoutes,
    NextHopTable,
    Plugin,
    PluginConfig,
    StoreError,
    StoreFull,
    Verdict,
    domain_patterns,
    hookimpl,
)

APART: Final = DENYSOFT("4.5.3 Send this recipient in another message", code=452)
NO_ROOM: Final = DENYSOFT("4.3.1 Insufficient system storage, try again later", code=452)
NOT_QUEUED: Final = DENYSOFT("4.3.0 The queue takes no mail now, try again later", code=451)


def _by_domain(routes: dict[str, tuple[SecretStr, ...]]) -> dict[str, tuple[SecretStr, ...]]:
    if any("@" in pattern for pattern in routes):  # an attempt is for all recipients in a domain
        raise ValueError("must be by domains, not by mail addresses")
    return routes


class QueueDeliverConfig(PluginConfig):
    """The settings of `QueueDeliver`."""

    domains: tuple[DomainPattern, ...] = Field(
        ("*",),
        description=(
            'The domains of recipients whose mail it takes: `"example.com"` is that domain, `".example.com"` '
            'all below it, `"*"` all.'
        ),
        examples=[["example.com", ".example.com"]],
    )
    next_hop: Annotated[NextHopRoutes, AfterValidator(_by_domain)] = Field(
        {},
        description=(
            "Where the queue delivers mail for a domain, written as in `domains`: a next hop, or a list of "
            "them, tried in their order. What is not named here goes by `[outbound]`."
        ),
        examples=[{"example.com": "lmtp://mail.example.net:24"}],
        json_schema_extra={"default": "none"},
    )


class QueueDeliver(Plugin[QueueDeliverConfig]):
    """Takes accepted mail into the queue, which is safe on disk, and lets it be delivered from there.

    Hooks: ``queue`` answers OK once a message of recipients in ``domains`` is in the queue; DENYSOFT ``452
    4.3.1`` if there is no room, ``451 4.3.0`` if the queue does not work now. ``rcpt_ok`` answers DENYSOFT
    ``452 4.5.3`` for a recipient that cannot be in one message with those before it, since it is not for this
    plugin and they are, or the other way round. ``get_mx`` gives the next hops of ``next_hop``, for all mail
    in the queue, that of relaying clients too: there is no other place where these domains' mail is.

    Haraka's counterpart: queue/deliver, which does for mail that goes out what the core does there and here
    without it, and takes no other mail.
    """

    def register(self) -> None:
        """Prepare the lists."""
        self.reload(self.config)

    def reload(self, config: QueueDeliverConfig) -> None:
        """Use other settings, also for mail that waits."""
        self.config = config
        self._domains = frozenset(config.domains)
        self._table = NextHopTable(config.next_hop, settings=self.server.settings)

    @hookimpl
    def hook_rcpt_ok(self, connection: Connection, recipient: Address) -> Verdict | None:
        """Keep recipients of whom only some are for this plugin in different messages."""
        transaction = connection.transaction
        assert transaction is not None, "RCPT comes within one"
        if connection.relaying or self._is_ours(transaction.rcpt_to[0]) is self._is_ours(recipient):
            return None
        return APART

    @hookimpl(timeout_s=0)  # the commit timeout holds; cut short in between the message might come twice
    async def hook_queue(self, connection: Connection) -> Verdict | None:
        """Put a message into the queue."""
        transaction = connection.transaction
        assert transaction is not None, "mail is queued within one"
        if not all(map(self._is_ours, transaction.rcpt_to)):
            return APART if any(map(self._is_ours, transaction.rcpt_to)) else None
        try:
            await self.server.outbound.accept(connection)
        except StoreFull:
            return NO_ROOM
        except StoreError as error:
            self.log.error("the queue takes no mail", uuid=transaction.uuid, problem=str(error))
            return NOT_QUEUED
        return OK

    @hookimpl
    def hook_get_mx(self, domain: str) -> Any:
        """The next hops for recipients in a domain."""
        return self._table.for_domain(domain) or None

    def _is_ours(self, recipient: Address) -> bool:
        if "*" in self._domains:
            return True
        host = recipient.host or self.server.settings.hostname
        return not self._domains.isdisjoint(domain_patterns(host))
