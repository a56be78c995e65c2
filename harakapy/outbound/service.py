"""Sending mail, as the rest of the server, plugins and programs see it: ``server.outbound``.

The file is long because it is the one door to all that delivers; what is behind it is elsewhere.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import trio

from harakapy.config import Settings
from harakapy.hooks import Hooks, Verdict
from harakapy.log import Logger
from harakapy.mail import Content
from harakapy.mail.envelope import Envelope
from harakapy.net import Resolver
from harakapy.outbound.clock import SteadyClock
from harakapy.outbound.courier import Ending
from harakapy.outbound.enqueue import Mailbox, Sendable, complete, content_of, envelope_of, envelope_to
from harakapy.outbound.given_hops import next_hops
from harakapy.outbound.hmail import HMail
from harakapy.outbound.hop import NextHop
from harakapy.outbound.login_answer import LoginAnswer, LoginCheck
from harakapy.outbound.passing_on import Way, pass_on, reserve_s
from harakapy.outbound.remainder import Remainder
from harakapy.outbound.report_terms import ReportTerms
from harakapy.outbound.route import SMTP_PORT
from harakapy.outbound.works import Surroundings, Works
from harakapy.queue import (
    QueuedMessage,
    Settlement,
    Store,
    StoreError,
    StoreUnavailable,
    deliveries_to,
    destinations_of,
)
from harakapy.smtp import Address

if TYPE_CHECKING:
    from harakapy.inbound.connection import Connection

__all__ = ["Outbound"]


class Outbound:
    """Takes mail that is to go out, keeps it durable, and delivers it.

    The queue is opened by `open`, or when the first message goes into it.
    """

    def __init__(
        self,
        settings: Settings,
        hooks: Hooks,
        log: Logger,
        *,
        open_store: Callable[[], Awaitable[Store]],
        resolver: Callable[[], Resolver],
        now: Callable[[], float] = time.time,
        mx_port: int = SMTP_PORT,
    ) -> None:
        """``open_store`` is called once, for a store that is closed at the end of `run`.

        ``now`` gives seconds of the wall clock; ``mx_port`` is where hosts that the DNS names take mail, for
        tests. Raises OSError or ValueError if the settings name a template or a next hop that is none.
        """
        self._settings = settings
        self._hooks = hooks
        self._log = log
        self._open_store = open_store
        self._resolver = resolver
        self._wall = now
        self._clock = SteadyClock(now)
        self._now: Callable[[], float] = self._clock
        self._mx_port = mx_port
        self._owner = f"{settings.hostname}:{os.getpid()}:{uuid4().hex[:8]}"
        self._heir_of: tuple[str, ...] = ()
        self._announce: Callable[[], None] | None = None
        self._places: tuple[tuple[str, int], ...] = ()
        self._opening = trio.Lock()
        self._works: Works | None = None
        self._nursery: trio.Nursery | None = None
        ReportTerms.of(settings.outbound.reports, settings.hostname)

    # For plugins and programs.

    async def send(
        self,
        mail_from: Mailbox,
        rcpt_to: Mailbox | Iterable[Mailbox],
        content: Sendable,
        *,
        notes: Mapping[str, Any] | None = None,
    ) -> str:
        """Take a message that a program has written; its id in the queue, where it is safe on disk.

        ``mail_from`` is where failures are reported to, ``""`` if nowhere. Date and Message-ID are added if
        they are missing, and a Received field. ``notes`` are what hooks find in ``hmail.notes``.

        Raises ValueError for what is no address, and if there is no recipient; TypeError for what can be
        neither address nor message; StoreFull or StoreUnavailable if the message cannot be taken now.
        """
        uuid = str(uuid4()).upper()
        now = datetime.fromtimestamp(self._now(), UTC).astimezone()
        message = content_of(content)
        envelope = envelope_to(mail_from, rcpt_to, message)
        complete(message, uuid, self._settings.hostname, now)
        await self.enqueue(uuid, envelope, message, notes=notes)
        return uuid

    async def accept(self, connection: Connection, *, next_hop: str = "") -> None:
        """Take the message of the transaction under way: when this returns it is safe, and 250 is true.

        For plugins on hook_queue and hook_queue_outbound. ``next_hop`` is where it goes instead of to the
        mail exchangers of its domains. Raises ValueError if it is none; StoreFull or StoreUnavailable if the
        message cannot be taken now.
        """
        transaction = connection.transaction
        assert transaction is not None, "mail is queued within a transaction"
        await self.enqueue(
            transaction.uuid,
            envelope_of(transaction),
            transaction.content,
            notes=transaction.notes,
            next_hop=next_hop,
        )

    def needs_no_task(self, content: Content) -> bool:
        """Whether `accept` waits for nothing but a commit, so that it may be awaited outside of a task."""
        return (
            self._works is not None
            and self._works.store.commits_outside_of_tasks(content)
            and not self._hooks.is_implemented("pre_send_trans_email")
        )

    async def enqueue(
        self,
        uuid: str,
        envelope: Envelope,
        content: Content,
        *,
        notes: Mapping[str, Any] | None = None,
        next_hop: str = "",
    ) -> None:
        """Take a message as it is; see `accept`. Raises ValueError if the uuid is in the queue already."""
        if next_hop:
            next_hops(next_hop)  # or the message would be put off again and again, for days
        await self._take(uuid, envelope, content, notes=notes, next_hop=next_hop)

    async def _take(
        self,
        message_id: str,
        envelope: Envelope,
        content: Content,
        *,
        notes: Mapping[str, Any] | None = None,
        next_hop: str = "",
        settles: Settlement | None = None,
        endings: Sequence[Ending | None] = (),
    ) -> None:
        works = await self._working()
        if self._hooks.is_implemented("pre_send_trans_email"):
            hmail = HMail(message_id, envelope, queued_at=self._now(), content=content)
            hmail.notes.update(notes or {})
            await self._hooks.pre_send_trans_email(hmail)
            notes = hmail.notes
        now, moved_s = self._now(), self._clock.moved_s
        message = QueuedMessage.from_envelope(
            message_id, envelope, size=content.output_size, now=now, notes=notes
        )
        recipients, local_domain = envelope.rcpt_to, self._settings.hostname
        lease = None
        if message.first_due <= now and not endings:
            to = [next_hop] if next_hop else destinations_of(recipients, local_domain=local_domain)
            lease = works.engine.lease_for(to)
        deliveries = deliveries_to(
            message_id,
            recipients,
            due=message.first_due,
            local_domain=local_domain,
            next_hop=next_hop,
            lease=lease,
        )
        if endings:
            remainder = Remainder.of(message, deliveries, endings, owner=self._owner, now=now)
            await works.store.commit(message, remainder.deliveries, content)
            assert self._nursery is not None, "the store is open while the server runs"
            self._nursery.start_soon(remainder.conclude, works, self._log)
            return
        await works.store.commit(message, deliveries, content, settles=settles)
        works.engine.take(self._clock.up_to_date(message, moved_s), deliveries, content)

    async def hand_over(
        self,
        connection: Connection,
        to: NextHop | str | Sequence[NextHop | str],
        *,
        recipients: Iterable[Address] | None = None,
    ) -> list[Ending]:
        """Send the message of the transaction under way on at once, without keeping it.

        For plugins that let the next server answer. ``to`` is one next hop or several, which are tried in
        their order; ``recipients`` some of the transaction's, all unless given. Gives how it ended for each
        of them, in their order. What failed for now is not tried again: that is for the client.

        Raises ValueError for what is no next hop; StoreFull or StoreUnavailable if the sending side cannot
        work now; OSError if the content cannot be read.
        """
        transaction = connection.transaction
        assert transaction is not None, "mail is handed over within a transaction"
        works = await self._working()
        envelope = envelope_of(transaction)
        if recipients is not None:
            wanted = frozenset(recipients)
            chosen = tuple(each for each in envelope.rcpt_to if each.address in wanted)
            envelope = envelope.with_recipients(chosen)
        if not envelope.rcpt_to:
            return []
        domain = envelope.rcpt_to[0].address.host
        route = await works.router.route(domain, hops=next_hops(to), now=self._now(), try_dead=True)
        by, now = envelope.params.by, self._now()
        deliver_by = now + by.seconds if by is not None else None
        return await works.courier.carry(envelope, transaction.content, route, deliver_by=deliver_by)

    async def pass_on(self, connection: Connection, ways: Sequence[Way]) -> Verdict:
        """Hand over the message of the transaction under way; the verdict that follows, for hook_queue.

        ``ways`` say where it goes for which recipients; raises ValueError if one is in none, or in two. If
        nobody takes the message, nothing is kept, and the verdict refuses it with the reason. If it was taken
        for some recipients, the verdict is OK: it waits in the queue for those for whom it was put off, the
        sender is told for whom it was refused, and of successes as it asked. hook_get_mx says where the queue
        sends it.

        The next hops have ``smtp.commit_timeout`` for it, less a fifth or at most 15 seconds, in which the
        queue can keep the rest. A hook that calls this has no other timeout.
        """
        timeout_s = self._settings.smtp.commit_timeout
        return await pass_on(self, connection, ways, timeout_s=timeout_s - reserve_s(timeout_s))

    async def keep(
        self,
        message_id: str,
        envelope: Envelope,
        content: Content,
        endings: Sequence[Ending | None],
        *,
        notes: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep what handing a message over has left to do: to try again, to give up, and to report.

        ``endings`` say how it ended for each recipient of ``envelope``, None where nothing was tried yet.
        Raises what `enqueue` raises.
        """
        await self._take(message_id, envelope, content, notes=notes, endings=endings)

    async def check_login(
        self, to: NextHop | str | Sequence[NextHop | str], user: str, password: str
    ) -> LoginCheck:
        """Whether a user could log in with this password at another server: at one of some next hops.

        They are tried in their order until one accepts or refuses; the password goes in clear to a next hop
        only if that says ``auth_without_tls``. Raises ValueError for what is no next hop; StoreFull or
        StoreUnavailable if the sending side cannot work now. The caller sets a deadline.
        """
        from harakapy.outbound.login_check import check_login  # with all of SASL: few servers ask others

        works = await self._working()
        route = await works.router.route("", hops=next_hops(to), now=self._now(), try_dead=True)
        if route.failure is not None:
            return LoginCheck(LoginAnswer.UNKNOWN, route.failure.text)
        return await check_login(
            route.targets, user, password, terms=works.courier.terms, facilities=works.facilities
        )

    # For the server.

    def share(
        self, *, owner: str, heir_of: Iterable[str] = (), announce: Callable[[], None] | None = None
    ) -> None:
        """Be one of several processes with one queue; called before `run`.

        ``owner`` is whose leases this process holds, and nobody else's; those of owners it is ``heir_of`` end
        when it opens the queue, for they are dead. With ``announce``, another process delivers: mail is put
        into the queue, and then it is called.
        """
        self._owner, self._heir_of, self._announce = owner, tuple(heir_of), announce
        if announce is not None:  # who delivers moves mail along when the clock is set, so go by it as it is
            self._now = self._wall

    async def run(
        self,
        places: Sequence[tuple[str, int]] = (),
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Deliver what is in the queue until cancelled; then give back what is not done, and close the store.

        ``places`` are the addresses and ports where the server listens: mail is never sent there by DNS.
        """
        self._places = tuple(places)
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None
            with trio.CancelScope(shield=True):
                await self._close()

    async def open(self) -> Store:
        """Open the queue now, and begin to deliver what is in it; the store, of the running server.

        Raises StoreFull or StoreUnavailable, and then may be tried again.
        """
        return (await self._working()).store

    async def stop(self, deadline: float) -> None:
        """Begin no more deliveries, and let those under way end until ``deadline`` (trio time)."""
        if self._works is not None:
            await self._works.engine.stop(deadline)

    def reload(self, settings: Settings) -> None:
        """Go on with other settings. Raises as the constructor does, and changes nothing then."""
        ReportTerms.of(settings.outbound.reports, settings.hostname)
        if self._works is not None:
            self._works.reconfigure(settings, trio.current_time())
        self._settings = settings

    @property
    def now(self) -> Callable[[], float]:
        """The clock that mail in the queue is timed by: seconds of the wall clock."""
        return self._now

    @property
    def works(self) -> Works | None:
        """The parts that deliver; None while the queue is not open."""
        return self._works

    def wake(self) -> None:
        """Look at the queue now: something may have been put there, or become due."""
        if self._works is not None:
            self._works.engine.wake()

    async def _working(self) -> Works:
        if self._works is not None:
            return self._works
        async with self._opening:
            return self._works or await self._begin()

    async def _begin(self) -> Works:
        """Open the store and start what works on it: all of that or nothing, also for who stops waiting."""
        if self._nursery is None:
            raise StoreUnavailable("the server does not run")
        with trio.CancelScope(shield=True):
            store = await self._open_store()
            await self._inherit(store)
            try:
                works = self._start(store)
            except (OSError, ValueError, StoreError) as error:
                await store.aclose()
                raise StoreUnavailable(f"the queue is open, but cannot be worked off: {error}") from error
        return works

    def _start(self, store: Store) -> Works:
        if self._nursery is None:
            raise StoreUnavailable("the server has stopped")
        works = self._works = self._assembled(store)
        for part in (works.watchdog.run, works.poller.run, works.pool.run, works.engine.run):
            self._nursery.start_soon(part)
        return works

    def _assembled(self, store: Store) -> Works:
        around = Surroundings(
            self._hooks,
            self._log,
            self._resolver(),
            self._clock,
            self._places,
            self._mx_port,
            self._announce,
        )
        return Works(self._settings, around, store, owner=self._owner, submit=self._take)

    async def _inherit(self, store: Store) -> None:
        """End what dead processes had claimed, so that it is tried at once."""
        try:
            for owner in self._heir_of:
                if ended := await store.release_leases(owner):
                    self._log.notice("leases of a dead process ended", owner=owner, deliveries=ended)
        except StoreError as error:  # then they end by themselves
            self._log.error("leases of a dead process not ended", problem=str(error))

    async def _close(self) -> None:
        works, self._works = self._works, None
        if works is None:
            return
        works.pool.close()
        try:
            await works.store.release_leases(self._owner)
        except StoreError as error:  # then they end by themselves
            self._log.error("leases not given back", problem=str(error))
        await works.store.aclose()
