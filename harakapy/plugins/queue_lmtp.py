"""queue_lmtp: hand mail over to a mailbox server by LMTP, while the client waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, SecretStr

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


def _is_lmtp(urls: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    for url in urls:
        if not url.get_secret_value().lower().startswith(("lmtp:", "unix:")):
            raise ValueError('must be LMTP, such as "lmtp://127.0.0.1:24" or "lmtp:///run/dovecot/lmtp"')
    return urls


def _all_lmtp(routes: dict[str, tuple[SecretStr, ...]]) -> dict[str, tuple[SecretStr, ...]]:
    for urls in routes.values():
        _is_lmtp(urls)
    return routes


class QueueLmtpConfig(PluginConfig):
    """The settings of `QueueLmtp`."""

    next_hop: Annotated[NextHopUrls, AfterValidator(_is_lmtp)] = Field(
        (),
        description=(
            "The mailbox server for recipients that no route names: `lmtp://host:24`, or `lmtp:///path` for "
            "a unix socket; or a list of them, tried in this order. Unless given, other plugins take "
            "such mail."
        ),
        examples=["lmtp:///run/dovecot/lmtp"],
        json_schema_extra={"default": "none"},
    )
    routes: Annotated[NextHopRoutes, AfterValidator(_all_lmtp)] = Field(
        {},
        description=(
            'Other ones by recipient: for a mail address, a domain, all domains below `".example.com"`. The '
            "most exact one counts."
        ),
        examples=[{"example.com": "lmtp://127.0.0.1:24"}],
        json_schema_extra={"default": "none"},
    )


class QueueLmtp(Plugin[QueueLmtpConfig]):
    """Hands each message over to mailbox servers, which answer for every recipient by itself (RFC 2033).

    Hooks: ``queue`` hands the message over. If no recipient gets it, the answer is DENYSOFT when it was put
    off for any, else DENY, with the code and the text of the mailbox server; if some do, it is OK, and our
    queue keeps it for the others as `harakapy.outbound.Outbound.pass_on` says. ``get_mx`` gives the same
    mailbox servers for what the queue has from here, and those of the domains in ``routes`` for all mail in
    the queue: that of relaying clients to our own users, too. ``rcpt_ok`` answers DENYSOFT ``452 4.5.3`` for
    a recipient that has a mailbox server if those before it have none, or the other way round, because other
    plugins take those.

    The servers have ``smtp.commit_timeout`` for that, less a fifth or at most 15 seconds; ``hook_timeout``
    does not count.

    Results on the transaction: ``pass`` or ``fail`` gets ``lmtp``.

    Haraka's counterpart: queue/lmtp, which puts the message into its queue and answers 250 at once, so that
    a full mailbox makes a report instead of a refusal. queue_deliver with an LMTP next hop does that here.
    """

    def register(self) -> None:
        """Prepare the table of mailbox servers."""
        self.reload(self.config)

    def reload(self, config: QueueLmtpConfig) -> None:
        """Use other mailbox servers, also for mail that waits in the queue."""
        self.config = config
        self._table = NextHopTable(config.routes, config.next_hop, settings=self.server.settings)

    @hookimpl
    def hook_rcpt_ok(self, connection: Connection, recipient: Address) -> Verdict | None:
        """Keep recipients that other plugins have to take out of the message."""
        transaction = connection.transaction
        assert transaction is not None, "RCPT comes within one"
        first = transaction.rcpt_to[0]
        if connection.relaying or bool(self._hops(first)) is bool(self._hops(recipient)):
            return None
        return APART

    @hookimpl(timeout_s=0)  # pass_on has one; cut short from outside, what was handed over would come twice
    async def hook_queue(self, connection: Connection) -> Verdict:
        """Hand over mail for our own recipients."""
        transaction = connection.transaction
        assert transaction is not None, "mail is queued within one"
        ways = self._ways(transaction.rcpt_to)
        if not all(way.to for way in ways):
            return APART if any(way.to for way in ways) else CONT
        transaction.notes[self.name] = True
        verdict = await self.server.outbound.pass_on(connection, ways)
        if verdict.is_denial:
            del transaction.notes[self.name]
            transaction.results.add(self, fail="lmtp", msg=verdict.text)
        else:
            transaction.results.add(self, pass_="lmtp")
        return verdict

    @hookimpl
    def hook_get_mx(self, hmail: HMail, domain: str) -> Any:
        """The mailbox servers for mail that was not handed over at once."""
        if hmail.notes.get(self.name):
            return self._hops(hmail.rcpt_to[0]) or None
        return self._table.for_domain(domain) or None

    def _ways(self, recipients: Sequence[Address]) -> list[Way]:
        """The recipients by their mailbox servers."""
        groups: dict[tuple[NextHop, ...], list[Address]] = {}
        for recipient in recipients:
            groups.setdefault(self._hops(recipient), []).append(recipient)
        return [Way(tuple(group), hops) for hops, group in groups.items()]

    def _hops(self, recipient: Address) -> tuple[NextHop, ...]:
        return self._table.for_recipient(recipient)
