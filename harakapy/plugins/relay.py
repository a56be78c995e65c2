"""relay: who may send mail through this server, and to which domains anybody may."""

from __future__ import annotations

import ipaddress
from collections.abc import Generator
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, Field

from harakapy import (
    DENYSOFT,
    OK,
    Action,
    Address,
    Connection,
    Network,
    Plugin,
    PluginConfig,
    Verdict,
    hookimpl,
    to_ascii,
)

APART = DENYSOFT("4.5.3 Send this recipient in another message", code=452)


def _domain(name: str) -> str:
    try:
        return to_ascii(name)
    except ValueError as error:
        raise ValueError(f"must be domain names: {error}") from None


class RelayConfig(PluginConfig):
    """The settings of `Relay`."""

    acl: tuple[Network, ...] = Field(
        (),
        description="Networks whose clients may send mail to anybody.",
        examples=[["127.0.0.0/8", "::1", "192.0.2.0/24"]],
    )
    dest_domains: tuple[Annotated[str, AfterValidator(_domain)], ...] = Field(
        (),
        description="Domains to which everybody may send mail through this server, as to a backup MX.",
        examples=[["example.net"]],
    )


class Relay(Plugin[RelayConfig]):
    """Lets clients in listed networks send mail to anybody, and anybody to listed domains.

    Hooks: ``connect_init`` sets ``connection.relaying`` for a client in ``acl``. ``rcpt`` answers OK for a
    domain in ``dest_domains`` when all other plugins, wherever they are listed, have let the recipient pass
    without an answer. ``data_post`` makes a message to such recipients one that is relayed, which
    ``queue_outbound`` takes, when all others have let it pass: until then it is checked as any stranger's
    mail is. Since a message is either relayed or not, recipients of both kinds are kept apart: those that do
    not go with the first one get ``452 4.5.3``, upon which clients send them a message of their own.

    Clients that came by a unix socket have no address and are in no network; IPv4 addresses in IPv6 form
    (``::ffff:192.0.2.1``) are in those of the IPv4 address.

    Results on the connection: ``pass`` gets ``relay_acl``.

    Haraka's counterpart: relay. There an accepted domain makes the client relaying at once, so that its next
    recipient in the same transaction may be anywhere, and any other domain is refused before the plugins
    behind it are asked. Its actions ``continue`` and ``deny`` and its forced next hops are left to plugins
    that check recipients and that route.
    """

    def register(self) -> None:
        """Prepare the lists."""
        self.reload(self.config)

    def reload(self, config: RelayConfig) -> None:
        """Use other lists, for new connections."""
        self.config = config
        self._domains = frozenset(config.dest_domains)
        self._is_in_acl = lru_cache(maxsize=1024)(self._find_in_acl)

    @hookimpl
    def hook_connect_init(self, connection: Connection) -> None:
        """A client in the networks is relaying."""
        ip = connection.remote.ip
        if ip and self._is_in_acl(ip):
            connection.relaying = True
            connection.results.add(self, pass_="relay_acl")

    @hookimpl(wrapper=True)
    def hook_rcpt(self, connection: Connection, recipient: Address) -> Generator[None, Verdict, Verdict]:
        """Accept a recipient in the domains that we relay for, unless others refuse it."""
        verdict = yield
        if verdict.is_denial or connection.relaying:
            return verdict
        is_dest = self._is_dest_domain(recipient)
        if verdict.action is Action.CONT and not is_dest:
            return verdict
        transaction = connection.transaction
        assert transaction is not None, "RCPT comes within one"
        # All before this one are of one kind, so the first of them tells; the last one is this.
        if self._is_dest_domain(transaction.rcpt_to[0]) is not is_dest:
            return APART
        return OK if verdict.action is Action.CONT else verdict

    @hookimpl(wrapper=True, tryfirst=True)
    def hook_data_post(self, connection: Connection) -> Generator[None, Verdict, Verdict]:
        """Make a message for these domains one that is relayed, once it has passed."""
        verdict = yield
        transaction = connection.transaction
        assert transaction is not None, "content comes within one"
        if not verdict.is_denial and any(map(self._is_dest_domain, transaction.rcpt_to)):
            connection.relaying = True
        return verdict

    def _is_dest_domain(self, recipient: Address) -> bool:
        if not self._domains:
            return False
        host = recipient.host
        if not host.isascii():
            try:
                host = to_ascii(host)
            except ValueError:
                return False
        return host in self._domains

    def _find_in_acl(self, ip: str) -> bool:
        address = ipaddress.ip_address(ip.partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self.config.acl)
