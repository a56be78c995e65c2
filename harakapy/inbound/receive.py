"""The way of the content: from the first octet to the reply behind the last one.

Content is collected block by block, never line by line. Once something is wrong with it (too large, a broken
header, a full disk) nothing more is kept, but the client is listened to until its end of data, because only
there can it be told.

Then the message is decided about, and from the start of the commit (`hook_queue`) to the 250 nothing but the
commit's own deadline can interrupt: not the client's going away, not a stop of the server.

The file is long because this way is one, from the first octet of content to the answer.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from time import time
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from harakapy.hooks import CONT, OK, Action, Verdict
from harakapy.inbound.outcomes import OUTCOMES, Words
from harakapy.inbound.transaction import Transaction
from harakapy.mail import Content, ContentWriter, Header
from harakapy.mail.trace import date_time, received_field, with_protocol
from harakapy.net import Pump, enter_task, inline_pump
from harakapy.queue import StoreError, StoreFull
from harakapy.smtp import Bdat, Body, ChunkEnd, ContentChunk, ContentEnd, Data, Event, LineRules, Reply

if TYPE_CHECKING:
    from harakapy.inbound.connection import Connection
    from harakapy.inbound.conversation import Conversation
    from harakapy.inbound.terms import Terms

_Result = TypeVar("_Result")

CONTENT_OCTETS = 65536
"""What one read takes of content: what a kernel has ready at a time. Twice as much costs 17 us more for each
read, however little comes, because the C library then maps and unmaps memory for it (measured on Linux)."""

NO_ROOM = Reply(452, "Insufficient system storage, try again later", "4.3.1")
NO_QUEUE = Reply(451, "The message could not be stored, try again later", "4.3.0")
HEADER_TOO_BIG = Reply(552, "The header is too large", "5.3.4")
HEADER_LINE_TOO_LONG = Reply(554, "A line of the header is too long", "5.6.0")
LINE_TOO_LONG = Reply(554, "A line of the message is too long", "5.6.0")
BARE_NEWLINE = Reply(554, "The message has a bare CR or LF; lines must end with CR LF", "5.6.0")
NUL_OCTET = Reply(554, "The message has a NUL octet", "5.6.0")
TOO_MANY_HOPS = Reply(554, "Too many hops: this message goes round in a loop", "5.4.6")
CLOSING = (Action.DENYDISCONNECT, Action.DENYSOFTDISCONNECT)
COMMIT_TIMEOUT = Reply(451, "The message could not be stored in time, try again later", "4.3.0")


class Framing(enum.Enum):
    """How content is told from what follows it."""

    DOT = "DATA: a line with a dot ends it"
    CHUNKS = "BDAT: each chunk has a size"
    BINARY_CHUNKS = "BDAT with BODY=BINARYMIME: neither has it lines"


# Looked up for each message: a member of an Enum takes longer than a name of the module.
_DOT, _BINARY_CHUNKS = Framing.DOT, Framing.BINARY_CHUNKS


class Reception:
    """The content of one message as it comes in, held to the terms.

    ``problem`` is the reply that the client gets at the end of data because of it; from then on nothing is
    kept. ``is_too_big`` says that the problem is the size, about which plugins are asked.

    Bare CRs and LFs are refused (or repaired) where a dot ends the content, because what a line is decides
    there where it ends. Chunks end by their size, so in them they only pass; what is declared BINARYMIME has
    no lines at all (RFC 3030 3).
    """

    __slots__ = (
        "_framing",
        "_grace_ends",
        "_now",
        "_rules",
        "_terms",
        "_writer",
        "block_octets",
        "is_too_big",
        "octets",
        "problem",
    )

    def __init__(self, terms: Terms, framing: Framing, now: Callable[[], float]) -> None:
        """``now`` gives trio's time."""
        self.block_octets = CONTENT_OCTETS
        self.octets = 0
        self.problem: Reply | None = None
        self.is_too_big = False
        self._terms = terms
        self._framing = framing
        self._now = now
        self._grace_ends = now() + terms.data_rate_grace_s
        is_text = framing is not _BINARY_CHUNKS
        self._rules = LineRules(
            max_line_octets=terms.max_line_octets if is_text else 0,
            normalise=terms.normalise_newlines and is_text,
        )
        self._writer = ContentWriter(terms.spool_after_octets, terms.spool_dir)

    def next_deadline(self) -> float:
        """When the next block must have come: each in time, and all of them fast enough on average."""
        terms = self._terms
        soon = self._now() + terms.data_timeout_s
        if not terms.min_data_rate:
            return soon
        return min(soon, self._grace_ends + self.octets / terms.min_data_rate)

    def take(self, block: bytes) -> None:
        """Keep a block, if everything is still well."""
        self.octets += len(block)
        if self.problem is not None:
            return
        writer, terms = self._writer, self._terms
        writer.write(self._rules.feed(block))
        if 0 < terms.max_message_octets < writer.size:
            self.is_too_big = True
            self._give_up(OUTCOMES["max_data_exceeded"][Action.CONT].reply(Verdict(Action.CONT)))
        elif 0 < terms.max_header_octets < writer.header_size:
            self._give_up(HEADER_TOO_BIG)

    @property
    def is_flush_due(self) -> bool:
        """Whether what was kept should go to the disk now."""
        return self.problem is None and self._writer.is_flush_due

    async def flush(self) -> None:
        """Move it there."""
        await self._guarded(self._writer.flush)

    async def finish(self) -> Content | None:
        """The content, or None if there is a problem."""
        if self.problem is None:
            self._writer.write(self._rules.finish())
            self.problem = self._broken_rule()
        if self.problem is not None:
            self._writer.discard()
            return None
        if not self._writer.is_spooled:
            return self._checked(self._writer.finish())
        content = await self._guarded(self._writer.finish)
        return None if content is None else self._checked(content)

    def discard(self) -> None:
        """Forget what has come."""
        self._writer.discard()

    def _broken_rule(self) -> Reply | None:
        rules, framing = self._rules, self._framing
        if framing is _BINARY_CHUNKS:
            return None
        has_bare = rules.has_bare_lf or rules.has_bare_cr
        if has_bare and framing is _DOT and not self._terms.normalise_newlines:
            return BARE_NEWLINE
        if rules.has_nul:
            return NUL_OCTET
        return LINE_TOO_LONG if rules.has_long_line else None

    def _checked(self, content: Content) -> Content | None:
        limit = self._terms.max_header_line_octets
        if 0 < self._terms.max_hops < content.received_count:
            self.problem = TOO_MANY_HOPS
        elif limit and content.has_header_line_over(limit):
            self.problem = HEADER_LINE_TOO_LONG
        else:
            return content
        content.close()
        return None

    async def _guarded(self, work: Callable[[], _Result]) -> _Result | None:
        """Do disk work in a thread; a disk that does not take it makes a problem for now."""
        await enter_task()
        try:
            return await trio.to_thread.run_sync(work)
        except OSError:
            self._give_up(NO_ROOM)
            return None

    def _give_up(self, problem: Reply) -> None:
        self.problem = problem
        self._writer.discard()


async def data(conversation: Conversation, command: Data) -> None:
    """DATA: ask the plugins, let the client send, decide."""
    if not await conversation.settle("data", await conversation.hooks.data(conversation.connection)):
        return
    reception = conversation.receive(_DOT)
    event = await _receive(conversation, reception)
    if type(event) is ContentEnd:
        await _conclude(conversation, reception)
    else:
        await conversation.break_off(event)


async def chunk(conversation: Conversation, command: Bdat) -> None:
    """BDAT: the first chunk asks the plugins as DATA does, the last one decides (RFC 3030)."""
    reception, transaction = conversation.reception, conversation.connection.transaction
    assert transaction is not None, "the protocol lets BDAT pass within a transaction only"
    if reception is None:
        verdict = await conversation.hooks.data(conversation.connection)
        if verdict.is_denial:
            await conversation.settle("data", verdict)
            return
        is_binary = transaction.mail_params.body is Body.BINARYMIME
        reception = conversation.receive(Framing.BINARY_CHUNKS if is_binary else Framing.CHUNKS)
    event = await _receive(conversation, reception)
    if type(event) is not ChunkEnd:
        await conversation.break_off(event)
    elif event.is_last or reception.problem is not None:
        await _conclude(conversation, reception)
    else:
        conversation.send(Reply(250, f"{command.size} octets received", "2.0.0"))


async def _receive(conversation: Conversation, reception: Reception) -> Event:
    """Collect blocks; what comes behind the last one."""
    while type(event := await conversation.next_event(reception)) is ContentChunk:
        reception.take(event.data)
        if reception.is_flush_due:
            await reception.flush()
    return event


async def _conclude(conversation: Conversation, reception: Reception) -> None:
    """All content is here: check it, ask the plugins, store it, answer, and end the transaction."""
    connection = conversation.connection
    transaction = connection.transaction
    assert transaction is not None, "content comes within a transaction only"
    transaction.data_bytes = reception.octets
    content = await reception.finish()
    if content is not None:
        transaction.content = content
        if conversation.terms.is_submission:
            _complete(content.header, transaction.uuid, conversation.terms.hostname)
        content.prepend(_received(conversation, transaction))
        await _decide(conversation, transaction)
    elif reception.is_too_big:
        verdict = await conversation.hooks.max_data_exceeded(connection)
        await conversation.settle("max_data_exceeded", verdict)
    else:
        assert reception.problem is not None, "content is missing only for a reason"
        conversation.send(reception.problem)
    await conversation.reset_transaction()


async def _decide(conversation: Conversation, transaction: Transaction) -> None:
    """Ask the plugins, and have one take the message; the commit begins here."""
    connection, hooks = conversation.connection, conversation.hooks
    verdict = await hooks.data_post(connection)
    if verdict is not CONT and verdict.is_denial:
        await conversation.settle("data_post", verdict)
        return
    hook = "queue_outbound" if connection.relaying else "queue"
    if hooks.may_wait(hook, "queue_ok", "reset_transaction"):
        await _commit_shielded(conversation, transaction, hook)
    elif hook == "queue":
        await _commit(conversation, transaction, hook)
    elif (pump := inline_pump()) and connection.server.outbound.needs_no_task(transaction.content):
        await _commit_inline(conversation, transaction, pump)
    else:
        await _commit_shielded(conversation, transaction, hook)


async def _commit(conversation: Conversation, transaction: Transaction, hook: str) -> None:
    """Have a plugin take the message, and answer."""
    connection, hooks = conversation.connection, conversation.hooks
    verdict = await (hooks.queue(connection) if hook == "queue" else hooks.queue_outbound(connection))
    if verdict.action is CONT.action and hook == "queue_outbound":
        problem = await _queue(connection)
        if problem is not None:
            conversation.send(problem)
            return
        verdict = OK
    reply = OUTCOMES[hook][verdict.action].reply(verdict, Words(uuid=transaction.uuid))
    conversation.send(reply)
    if verdict.action is OK.action:
        conversation.forgive_junk()
        await hooks.queue_ok(connection, reply)
    elif verdict.action in CLOSING:
        conversation.is_closing = True


async def _queue(connection: Connection) -> Reply | None:
    """Have our own queue take the message; the reply if it does not."""
    try:
        await connection.server.outbound.accept(connection)
    except StoreFull:
        return NO_ROOM
    except StoreError as error:
        connection.log.error("the queue takes no mail", problem=str(error))
        return NO_QUEUE
    return None


async def _commit_shielded(conversation: Conversation, transaction: Transaction, hook: str) -> None:
    """The same where plugins may wait: cut short by nothing but a deadline of its own, and told at once."""
    await enter_task()
    deadline = trio.current_time() + conversation.terms.commit_timeout_s
    transaction.reply = None
    with trio.CancelScope(shield=True, deadline=deadline) as scope:
        await _commit(conversation, transaction, hook)
        await conversation.flush()
    if scope.cancelled_caught and transaction.reply is None:
        conversation.send(COMMIT_TIMEOUT)


async def _commit_inline(conversation: Conversation, transaction: Transaction, pump: Pump[Any]) -> None:
    """The same where only our own queue may wait, for its commit: without a task, and so without a scope."""
    conversation.begin_commit(pump)
    try:
        await _commit(conversation, transaction, "queue_outbound")
    except trio.TooSlowError:
        conversation.send(COMMIT_TIMEOUT)
    finally:
        conversation.end_commit(pump)
    await conversation.flush()


@lru_cache(maxsize=2)  # asked for with every message; to find the zone takes longer than all the rest
def _local_time(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC).astimezone()


def _complete(header: Header, uuid: str, hostname: str) -> None:
    """Add the fields that a message must have and a user's program may leave to us (RFC 6409 8)."""
    if "Date" not in header:
        header.add("Date", date_time(_local_time(int(time()))))
    if "Message-ID" not in header:
        header.add("Message-ID", f"<{uuid}@{hostname}>")


def _received(conversation: Conversation, transaction: Transaction) -> bytes:
    connection = conversation.connection
    remote = connection.remote
    return received_field(
        hello=connection.hello.host,
        remote_host=remote.host if "." in remote.host or remote.is_local else "",
        remote_ip=remote.ip,
        by=conversation.terms.hostname,
        software="harakapy",
        protocol=with_protocol(
            is_esmtp=connection.is_esmtp,
            is_tls=connection.tls is not None,
            is_authenticated=bool(connection.auth_user),
            is_utf8=transaction.mail_params.smtputf8,
        ),
        transaction=transaction.uuid,
        cipher=connection.tls.cipher if connection.tls else "",
        when=_local_time(int(time())),
        recipient=transaction.rcpt_to[0] if len(transaction.rcpt_to) == 1 else None,
    )
