"""queue_smtp_forward: hand mail over to another server while the client waits, and pass its answer back."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final

from pydantic import Field

from harakapy import (
    CONT,
    DENYSOFT,
    Address,
    Connection,
    HMail,
    NextHop,
    NextHopRoutes,
    NextHopTable,
    NextHopUrls,
    Plugin,
    PluginConfig,
    Verdict,
    Way,
    hookimpl,
)

APART: Final = DENYSOFT("4.5.3 Send this recipient in another message", code=452)


class QueueSmtpForwardConfig(PluginConfig):
    """The settings of `QueueSmtpForward`."""

    next_hop: NextHopUrls = Field(
        (),
        description=(
            "Where mail goes that no route names: a URL such as `smtp://user:password@host:587?tls=verify`, "
            "or a list of them, tried in their order. Unless given, such mail is left to other plugins."
        ),
        examples=["smtp://mail.example.net"],
        json_schema_extra={"default": "none"},
    )
    routes: NextHopRoutes = Field(
        {},
        description=(
            'Other next hops by recipient: for a mail address, a domain, all domains below `".example.com"`. '
            "The most exact one counts."
        ),
        examples=[{"example.com": ["smtp://one.example.com", "smtp://two.example.com"]}],
        json_schema_extra={"default": "none"},
    )
    share_load: bool = Field(
        False,
        description=(
            "Try the next hops of a list in a random order for each message, so that each gets its share; "
            "those with a lower `preference` in their URL still come first."
        ),
    )
    one_message_per_rcpt: bool = Field(
        False, description="Hand each recipient a message of its own, one after the other."
    )
    enable_outbound: bool = Field(
        True,
        description=(
            "Also forward mail of relaying clients. Their recipients without a next hop here go out through "
            "the queue."
        ),
    )


class QueueSmtpForward(Plugin[QueueSmtpForwardConfig]):
    """Hands each message over to the next hops of its recipients; the client reads what they answer.

    Hooks: ``queue``, and with ``enable_outbound`` ``queue_outbound``, hand the message over, to several next
    hops at the same time if its recipients have different ones. If nobody takes it, the answer is DENYSOFT
    when it was put off for any recipient, else DENY, with the code and the text of the next hop; if it was
    taken for some recipients, it is OK, and our queue keeps it for the others as
    `harakapy.outbound.Outbound.pass_on` says. ``get_mx`` gives the same next hops for what the queue has from
    here, and the domains in ``routes`` for all mail in it. ``rcpt_ok`` answers DENYSOFT ``452 4.5.3`` for a
    recipient of a client that is not relaying if it has a next hop and those before it have none, or the
    other way round, because other plugins take those.

    Next hops have ``smtp.commit_timeout`` for that, less a fifth or at most 15 seconds; ``hook_timeout`` does
    not count.

    Results on the transaction: ``pass`` or ``fail`` gets ``forward``.

    Haraka's counterpart: queue/smtp_forward. There recipients with different next hops are put off one by
    one, a recipient that the next hop refuses is dropped from a message without a word to its sender, and
    hosts of a pool are always tried in random order. Its ``check_sender`` and ``check_recipient`` are what
    rcpt_to_in_host_list does; a route by the domain of the sender is left to hook_get_mx.
    """

    def register(self) -> None:
        """Prepare the table of routes."""
        self.reload(self.config)

    def reload(self, config: QueueSmtpForwardConfig) -> None:
        """Use other routes, also for mail that waits in the queue."""
        self.config = config
        self._table = NextHopTable(config.routes, config.next_hop, settings=self.server.settings)

    @hookimpl
    def hook_rcpt_ok(self, connection: Connection, recipient: Address) -> Verdict | None:
        """Keep recipients that other plugins have to take out of the message."""
        transaction = connection.transaction
        assert transaction is not None, "RCPT comes within one"
        if connection.relaying or bool(self._hops(transaction.rcpt_to[0])) is bool(self._hops(recipient)):
            return None
        return APART

    @hookimpl(timeout_s=0)  # pass_on has one; cut short from outside, what was handed over would come twice
    async def hook_queue(self, connection: Connection) -> Verdict:
        """Hand over mail for our own recipients."""
        return await self._forward(connection)

    @hookimpl(timeout_s=0)
    async def hook_queue_outbound(self, connection: Connection) -> Verdict:
        """Hand over mail of relaying clients."""
        return await self._forward(connection) if self.config.enable_outbound else CONT

    @hookimpl
    def hook_get_mx(self, hmail: HMail, domain: str) -> Any:
        """The next hops for mail that was not handed over at once."""
        if hmail.notes.get(self.name):
            return self._hops(hmail.rcpt_to[0]) or None
        return (self.config.enable_outbound and self._table.for_domain(domain)) or None

    async def _forward(self, connection: Connection) -> Verdict:
        transaction = connection.transaction
        assert transaction is not None, "mail is queued within one"
        ways = self._ways(transaction.rcpt_to)
        if not any(way.to for way in ways):
            return CONT
        if not connection.relaying and not all(way.to for way in ways):
            return APART
        transaction.notes[self.name] = True
        verdict = await self.server.outbound.pass_on(connection, ways)
        if verdict.is_denial:
            del transaction.notes[self.name]
            transaction.results.add(self, fail="forward", msg=verdict.text)
        else:
            transaction.results.add(self, pass_="forward")
        return verdict

    def _ways(self, recipients: Sequence[Address]) -> list[Way]:
        """The recipients by their next hops."""
        groups: dict[tuple[NextHop, ...], list[Address]] = {}
        for recipient in recipients:
            groups.setdefault(self._table.for_recipient(recipient), []).append(recipient)
        return [
            Way(tuple(group), self._in_order(hops), is_one_by_one=self.config.one_message_per_rcpt)
            for hops, group in groups.items()
        ]

    def _hops(self, recipient: Address) -> tuple[NextHop, ...]:
        return self._in_order(self._table.for_recipient(recipient))

    def _in_order(self, hops: tuple[NextHop, ...]) -> tuple[NextHop, ...]:
        """The next hops as they are to be tried."""
        return tuple(random.sample(hops, len(hops))) if self.config.share_load else hops
