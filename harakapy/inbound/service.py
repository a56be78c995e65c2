"""The receiving side of a server: takes streams, makes connections of them, and ends them orderly.

One nursery per connection: the dialogue and every task that a plugin starts for it live and die there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import trio
from trio_util import AsyncValue

from harakapy.hooks import Hooks, IllegalAnswer
from harakapy.inbound.admission import Arrival, look_behind_proxy, shake_hands_first
from harakapy.inbound.commands import HANDLERS
from harakapy.inbound.connection import Connection, Local, Remote
from harakapy.inbound.conversation import SHUTTING_DOWN, TIMEOUT, Conversation
from harakapy.inbound.decoy import DecoyKeeper
from harakapy.inbound.greeting import greet
from harakapy.inbound.terms import Terms
from harakapy.inbound.transaction import Transaction
from harakapy.log import Level, Logger
from harakapy.net import ConnectionLimits, Poller, Pump, Refusal, Resolver, SocketStream, Watchdog
from harakapy.net.tls import TlsStream
from harakapy.smtp import Reply

if TYPE_CHECKING:
    from harakapy.process.server import Server

LAST_WORDS_S = 1.0  # picked: to hand the kernel a reply takes no time at all, unless the peer does not read
LINGER_S = 2.0  # picked: one slow round trip for a client that is still sending to read why it was refused
LINGER_OCTETS = 1 << 20

LOGGED_RECIPIENTS = 50  # picked: enough to find a message in the log, and one line stays one line

_TOO_MANY = {
    Refusal.TOTAL: Reply(421, "Too many connections, try again later", "4.7.0"),
    Refusal.ADDRESS: Reply(421, "Too many connections from your address, try again later", "4.7.0"),
}
HANDED_OVER = "handed over"
"""How a conversation ended whose client goes on as another one."""
_INFO = Level.INFO  # looked up for each message: a member of an Enum takes longer than a name of the module
_STATUS = {2: "accepted", 4: "deferred", 5: "refused"}


class Service:
    """What all conversations of a server share.

    ``terms`` are those of each listener, in their order; they may be replaced, and open conversations keep
    theirs. ``now`` gives trio's time.
    """

    def __init__(
        self,
        server: Server,
        hooks: Hooks,
        terms: Sequence[Terms],
        *,
        log: Logger,
        resolver: Resolver | None,
        limits: ConnectionLimits,
        decoys: DecoyKeeper | None = None,
    ) -> None:
        """``resolver`` is None if host names are not looked up, ``decoys`` if nobody stores SCRAM secrets.

        Made inside trio.
        """
        self.server = server
        self.hooks = hooks
        self.terms = terms
        self.log = log
        self.resolver = resolver
        self.limits = limits
        self.decoys = decoys
        self.watchdog = Watchdog()
        self.now = self.watchdog.now
        self.poller = Poller()
        self.is_stopping = False
        self.open_connections = AsyncValue(0)
        self._open: dict[Conversation, trio.CancelScope] = {}

    def handle_socket(self, listener: int, stream: SocketStream) -> Awaitable[None]:
        """Converse with a client that was accepted by the listener of that number.

        Gives the coroutine to run. It has none of its own, which every idle connection would pay for.
        """
        try:
            arrival = Arrival(stream, stream.remote, stream.local, self.terms[listener])
        except trio.BrokenResourceError:  # gone before anybody asked
            return stream.aclose()
        return self.handle(arrival)

    async def handle(self, arrival: Arrival) -> None:
        """Converse with one client until the end. Owns the stream; raises nothing but trio.Cancelled.

        A client that speaks for others by XCLIENT is a new one each time it does.
        """
        following: Arrival | None = arrival
        try:
            if not await look_behind_proxy(arrival, self.log):
                return
            while following is not None:
                arrival = following
                following = await self._handle_within_limits(arrival)
        finally:
            await _close(arrival.stream)

    async def _handle_within_limits(self, arrival: Arrival) -> Arrival | None:
        """Who comes next over the same stream, if anybody does."""
        host = arrival.remote.host
        refusal = self.limits.acquire(host)
        if refusal is not None:
            self.log.notice("connection refused", remote=host, reason=refusal.value)
            if arrival.tls is not None or not arrival.terms.is_tls_implicit:
                await _say_last_words(arrival.stream, _TOO_MANY[refusal].encode())
            return None
        try:
            if not await shake_hands_first(arrival, self.log):
                return None
            return await self._handle_admitted(arrival)
        finally:
            self.limits.release(host)

    async def _handle_admitted(self, arrival: Arrival) -> Arrival | None:
        connection = Connection(
            self.server,
            self.log,
            Remote(arrival.remote.host, arrival.remote.port),
            Local(arrival.local.host, arrival.local.port, arrival.terms.hostname),
            self.now(),
        )
        connection.proxy, connection.tls = arrival.proxy, arrival.tls
        ending = "left"
        try:
            async with trio.open_nursery() as nursery:
                with self.watchdog.watch(nursery.cancel_scope) as deadline:
                    conversation = Conversation(self, connection, arrival, deadline)
                    self._open[conversation] = nursery.cancel_scope
                    self.open_connections.value = len(self._open)
                    ending = await self._converse(conversation, nursery)
                    connection.close()
                    if nursery.child_tasks:  # of plugins
                        nursery.cancel_scope.cancel()
            if deadline.is_expired and conversation.farewell is None:
                conversation.farewell, ending = TIMEOUT, "timed out"
        finally:
            await self._end_shielded(conversation, ending)
            arrival.stream = conversation.stream
        return conversation.successor if conversation.farewell is None else None

    async def _converse(self, conversation: Conversation, nursery: trio.Nursery) -> str:
        """Greet and answer; how it ended, for the log."""
        connection = conversation.connection
        connection.open(nursery)
        try:
            await greet(conversation)
            await Pump(conversation.run(HANDLERS)).run()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return "broken"
        except IllegalAnswer:
            raise  # a strict server is a test's, and that is what the test is to see
        except Exception as error:  # noqa: BLE001  # a defect of ours must not take other connections down
            conversation.connection.log.crit("connection failed", error=str(error), exc_info=error)
            conversation.farewell = Reply(421, "Internal error, try again later", "4.3.0")
            return "failed"
        if conversation.farewell is not None:
            return "sent away"
        return "left" if conversation.successor is None else HANDED_OVER

    async def _end_shielded(self, conversation: Conversation, ending: str) -> None:
        """`_end`, which nothing may cut short: in a scope of its own, unless there is nothing to wait for."""
        words = conversation.last_words()
        has_said_all = conversation.client_has_left and conversation.connection.transaction is None
        if has_said_all and not words and not self.hooks.may_wait("disconnect"):
            await self._end(conversation, ending, words)
            return
        with trio.CancelScope(shield=True):
            await self._end(conversation, ending, words)

    async def _end(self, conversation: Conversation, ending: str, words: bytes) -> None:
        """Say what is owed, and tell the plugins. Each part has its own bound."""
        connection, stream = conversation.connection, conversation.stream
        try:
            if words:
                await _say_last_words(stream, words)
            await conversation.reset_transaction()
            await self.hooks.disconnect(connection)
            self._log_connection(connection, ending)
            if ending not in ("broken", HANDED_OVER) and not conversation.client_has_left:
                await _linger(stream)
        finally:
            conversation.close()
            del self._open[conversation]
            self.open_connections.value = len(self._open)

    async def stop(self, deadline: float) -> None:
        """Let busy clients finish until ``deadline`` (trio time), send idle ones away with 421; then cut."""
        self.is_stopping = True
        for conversation in list(self._open):
            if conversation.is_idle:
                self._cut(conversation)
        with trio.move_on_at(deadline):
            await self.open_connections.wait_value(0)
        self.cut_all()
        await self.open_connections.wait_value(0)

    def cut_all(self) -> None:
        """Send all clients away now; a message that is being stored is stored first."""
        for conversation in list(self._open):
            self._cut(conversation)

    def _cut(self, conversation: Conversation) -> None:
        conversation.farewell = SHUTTING_DOWN
        self._open[conversation].cancel()

    def log_message(self, connection: Connection, transaction: Transaction) -> None:
        """The summary line of a transaction; it also counts it for the connection."""
        reply = transaction.reply
        has_ended = transaction.has_content or (reply is not None and reply.code >= 400)
        status = _STATUS.get(reply.code // 100, "aborted") if reply is not None and has_ended else "aborted"
        counts = connection.message_count
        if status == "accepted":
            counts.accept += 1
        elif status == "deferred":
            counts.tempfail += 1
        elif status == "refused":
            counts.reject += 1
        if self.log.is_enabled(_INFO):
            fields: dict[str, object] = {
                "status": status,
                "sender": transaction.mail_from.path,
                "recipients": len(transaction.rcpt_to),
                "to": ",".join([address.original for address in transaction.rcpt_to[:LOGGED_RECIPIENTS]]),
                "octets": transaction.data_bytes,
                "took_s": self.now() - transaction.started_at,
            }
            if transaction.rcpt_refused:
                fields["recipients_refused"] = transaction.rcpt_refused
            if status != "accepted" and reply is not None:
                fields["reply"] = str(reply)
            self.log.info("message", uuid=transaction.uuid, **fields)

    def _log_connection(self, connection: Connection, ending: str) -> None:
        if self.log.is_enabled(_INFO):
            counts = connection.message_count
            login = {"user": connection.auth_user} if connection.auth_user else {}
            self.log.info(
                "connection",
                uuid=connection.uuid,
                ending=ending,
                remote=connection.remote.ip,
                rdns=connection.remote.host,
                tls=connection.tls.version if connection.tls else "none",
                hello=connection.hello.host,
                **login,
                relaying=connection.relaying,
                early=connection.early_talker,
                accepted=counts.accept,
                deferred=counts.tempfail,
                refused=counts.reject,
                errors=connection.errors,
                took_s=self.now() - connection.started_at,
            )


async def _close(stream: trio.abc.Stream) -> None:
    if isinstance(stream, SocketStream | TlsStream):
        stream.close()
        return
    with trio.CancelScope(shield=True):
        await trio.aclose_forcefully(stream)


async def _say_last_words(stream: trio.abc.Stream, words: bytes) -> None:
    with (
        trio.move_on_after(LAST_WORDS_S, shield=True),
        suppress(trio.BrokenResourceError, trio.ClosedResourceError),
    ):
        await stream.send_all(words)


async def _linger(stream: trio.abc.Stream) -> None:
    """Close our side and read on for a moment.

    Closing a socket with octets unread resets the connection, and the reset may overtake our last reply.
    """
    if not isinstance(stream, trio.abc.HalfCloseableStream):
        return
    left = LINGER_OCTETS
    with (
        trio.move_on_after(LINGER_S, shield=True),
        suppress(trio.BrokenResourceError, trio.ClosedResourceError),
    ):
        await stream.send_eof()
        while left > 0 and (block := await stream.receive_some(65536)):
            left -= len(block)
