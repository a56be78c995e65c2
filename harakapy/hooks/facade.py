"""The hooks as the core calls them: one typed method each.

A hook that nobody implements costs one coroutine that answers at once, which stands in its method's place.
The other methods hand on what is to be awaited, since each further coroutine would cost as much. Whoever
calls a hook is given an instance of `Hooks`; nothing reaches for a plugin manager.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from harakapy.hooks.chain import Chain
from harakapy.hooks.fold import Fold
from harakapy.hooks.spec import Kind
from harakapy.hooks.verdict import CONT, Verdict

if TYPE_CHECKING:
    from harakapy.inbound.connection import Connection
    from harakapy.log import Logger, LogRecord
    from harakapy.outbound.hmail import Bounce, Deferral, Handover, HMail
    from harakapy.process.server import Server
    from harakapy.smtp import Address, MailParameters, RcptParameters, Reply
    from harakapy.smtp.sasl import Credentials


class Hooks:
    """Every hook of one server. ``chains`` has one entry for each spec, empty or not."""

    def __init__(
        self, chains: Mapping[str, Chain], *, strict: bool = False, log: Logger | None = None
    ) -> None:
        self._chains = dict(chains)
        self._implemented = {name: chain for name, chain in chains.items() if chain}
        self._waiting = {name for name, chain in self._implemented.items() if chain.may_wait}
        self._fold = Fold(self._chains["deny"], strict=strict, log=log)
        for name, chain in self._chains.items():
            if name not in self._implemented and chain.spec.kind in _AT_ONCE and not chain.spec.is_sync:
                setattr(self, name, _AT_ONCE[chain.spec.kind])

    @property
    def chains(self) -> Iterable[Chain]:
        """All chains in the order of the manual, for people to look at."""
        return self._chains.values()

    @property
    def faults(self) -> Counter[tuple[str, str]]:
        """How often each plugin failed on each hook: {(plugin, hook): count}."""
        return self._fold.faults

    def is_implemented(self, name: str) -> bool:
        """Whether any plugin implements the hook (its name without prefix)."""
        return name in self._implemented

    def may_wait(self, *names: str) -> bool:
        """Whether running any of these hooks may be a checkpoint; plain functions alone never wait.

        Denials are another matter: whoever looks at them on hook_deny may wait.
        """
        return not self._waiting.isdisjoint(names)

    def _decide(self, name: str, *args: Any) -> Awaitable[Verdict]:
        return self._fold.decide(self._chains[name], args)

    def _observe(self, name: str, *args: Any) -> Awaitable[None]:
        return self._fold.observe(self._chains[name], args)

    # The life of a server.

    def init_master(self, server: Server) -> Awaitable[Verdict]:
        """See `hookspecs.hook_init_master`. Raises HookFault if a plugin fails."""
        return self._decide("init_master", server)

    def init_child(self, server: Server) -> Awaitable[Verdict]:
        """See `hookspecs.hook_init_child`. Raises HookFault if a plugin fails."""
        return self._decide("init_child", server)

    def shutdown(self, server: Server) -> Awaitable[None]:
        """See `hookspecs.hook_shutdown`."""
        return self._observe("shutdown", server)

    def log(self, record: LogRecord) -> bool:
        """See `hookspecs.hook_log`. Whether a plugin has taken the record."""
        chain = self._implemented.get("log")
        return chain is not None and self._fold.decide_now(chain, (record,)) is not CONT

    # The life of a connection.

    def connect_init(self, connection: Connection) -> Awaitable[None]:
        """See `hookspecs.hook_connect_init`."""
        return self._observe("connect_init", connection)

    def lookup_rdns(self, connection: Connection) -> Awaitable[Verdict]:
        """See `hookspecs.hook_lookup_rdns`. OK carries the name in ``value``."""
        return self._decide("lookup_rdns", connection)

    def connect(self, connection: Connection) -> Awaitable[Verdict]:
        """See `hookspecs.hook_connect`."""
        return self._decide("connect", connection)

    def helo(self, connection: Connection, host: str) -> Awaitable[Verdict]:
        """See `hookspecs.hook_helo`."""
        return self._decide("helo", connection, host)

    def ehlo(self, connection: Connection, host: str) -> Awaitable[Verdict]:
        """See `hookspecs.hook_ehlo`."""
        return self._decide("ehlo", connection, host)

    async def capabilities(self, connection: Connection) -> list[str]:
        """See `hookspecs.hook_capabilities`. What plugins returned; they may also have changed the list."""
        chain = self._implemented.get("capabilities")
        return [] if chain is None else await self._fold.amend(chain, (connection,))

    async def auth_mechanisms(self, connection: Connection) -> list[str]:
        """See `hookspecs.hook_auth_mechanisms`."""
        chain = self._implemented.get("auth_mechanisms")
        return [] if chain is None else await self._fold.amend(chain, (connection,))

    def auth_secret(self, connection: Connection, user: str) -> Awaitable[Verdict]:
        """See `hookspecs.hook_auth_secret`. OK carries the secret in ``value``."""
        return self._decide("auth_secret", connection, user)

    def auth(self, connection: Connection, credentials: Credentials) -> Awaitable[Verdict]:
        """See `hookspecs.hook_auth`."""
        return self._decide("auth", connection, credentials)

    def unrecognized_command(self, connection: Connection, verb: str, argument: str) -> Awaitable[Verdict]:
        """See `hookspecs.hook_unrecognized_command`."""
        return self._decide("unrecognized_command", connection, verb, argument)

    def vrfy(self, connection: Connection, argument: str) -> Awaitable[Verdict]:
        """See `hookspecs.hook_vrfy`."""
        return self._decide("vrfy", connection, argument)

    def noop(self, connection: Connection) -> Awaitable[Verdict]:
        """See `hookspecs.hook_noop`."""
        return self._decide("noop", connection)

    def rset(self, connection: Connection) -> Awaitable[None]:
        """See `hookspecs.hook_rset`."""
        return self._observe("rset", connection)

    def quit(self, connection: Connection) -> Awaitable[Verdict]:
        """See `hookspecs.hook_quit`."""
        return self._decide("quit", connection)

    def disconnect(self, connection: Connection) -> Awaitable[None]:
        """See `hookspecs.hook_disconnect`."""
        return self._observe("disconnect", connection)

    # The life of a transaction.

    def mail(self, connection: Connection, sender: Address, params: MailParameters) -> Awaitable[Verdict]:
        """See `hookspecs.hook_mail`."""
        return self._decide("mail", connection, sender, params)

    def rcpt(self, connection: Connection, recipient: Address, params: RcptParameters) -> Awaitable[Verdict]:
        """See `hookspecs.hook_rcpt`."""
        return self._decide("rcpt", connection, recipient, params)

    def rcpt_ok(self, connection: Connection, recipient: Address) -> Awaitable[Verdict]:
        """See `hookspecs.hook_rcpt_ok`."""
        return self._decide("rcpt_ok", connection, recipient)

    def data(self, connection: Connection) -> Awaitable[Verdict]:
        """See `hookspecs.hook_data`."""
        return self._decide("data", connection)

    def data_post(self, connection: Connection) -> Awaitable[Verdict]:
        """See `hookspecs.hook_data_post`."""
        return self._decide("data_post", connection)

    def max_data_exceeded(self, connection: Connection) -> Awaitable[Verdict]:
        """See `hookspecs.hook_max_data_exceeded`."""
        return self._decide("max_data_exceeded", connection)

    def queue(self, connection: Connection) -> Awaitable[Verdict]:
        """See `hookspecs.hook_queue`."""
        return self._decide("queue", connection)

    def queue_outbound(self, connection: Connection) -> Awaitable[Verdict]:
        """See `hookspecs.hook_queue_outbound`."""
        return self._decide("queue_outbound", connection)

    def queue_ok(self, connection: Connection, reply: Reply) -> Awaitable[None]:
        """See `hookspecs.hook_queue_ok`."""
        return self._observe("queue_ok", connection, reply)

    def reset_transaction(self, connection: Connection) -> Awaitable[None]:
        """See `hookspecs.hook_reset_transaction`."""
        return self._observe("reset_transaction", connection)

    # The life of a message that goes out.

    def pre_send_trans_email(self, hmail: HMail) -> Awaitable[None]:
        """See `hookspecs.hook_pre_send_trans_email`."""
        return self._observe("pre_send_trans_email", hmail)

    def send_email(self, hmail: HMail) -> Awaitable[Verdict]:
        """See `hookspecs.hook_send_email`. DELAY carries the seconds in ``value``."""
        return self._decide("send_email", hmail)

    def get_mx(self, hmail: HMail, domain: str) -> Awaitable[Verdict]:
        """See `hookspecs.hook_get_mx`. OK carries the next hops in ``value``."""
        return self._decide("get_mx", hmail, domain)

    def delivered(self, hmail: HMail, delivery: Handover) -> Awaitable[None]:
        """See `hookspecs.hook_delivered`."""
        return self._observe("delivered", hmail, delivery)

    def deferred(self, hmail: HMail, deferral: Deferral) -> Awaitable[Verdict]:
        """See `hookspecs.hook_deferred`. DELAY carries the seconds in ``value``."""
        return self._decide("deferred", hmail, deferral)

    def bounce(self, hmail: HMail, error: Bounce) -> Awaitable[Verdict]:
        """See `hookspecs.hook_bounce`."""
        return self._decide("bounce", hmail, error)


async def _cont(*_: object) -> Verdict:
    return CONT


async def _nothing(*_: object) -> None:
    pass


_AT_ONCE = {Kind.DECIDE: _cont, Kind.FIND: _cont, Kind.OBSERVE: _nothing}
"""What hooks of these kinds come to where nobody implements them."""
