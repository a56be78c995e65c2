"""Telling senders what became of their mail (RFC 3461 5, RFC 5321 6.1).

What is reported is decided when a recipient's outcome is recorded: `wants` says whether its sender is to be
told, and then the delivery stays in the store, in a final state, until its report is stored in the same step
that settles it. So a report is neither lost nor sent twice, wherever a crash falls. It waits a little for
further recipients of the message, and one report tells of all that are final by then.

No report is ever made about a report: its reverse-path is null, and nobody is told about mail that has none,
unless the operator wants to be (``postmaster``); when that cannot be delivered either, it is only logged.
Too many reports in an hour wait in the store, under a lease until their turn comes; those for an addressee
who has too many are let go at last, with a line in the log, when they have waited as long as a report may
take to be delivered. A report carries the needs of its message on: TLS (RFC 8689 5), priority (RFC 6710),
UTF-8 (RFC 6533), each where the message had it.

The file is long because what is reported, to whom and when are decided together.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol
from uuid import uuid4

import trio
from msgspec import Struct

from harakapy.log import Logger
from harakapy.mail import Content
from harakapy.mail.envelope import Envelope, Recipient
from harakapy.mail.report_text import Action, Fate
from harakapy.mail.status import EXPIRED, EnhancedStatus
from harakapy.net import enter_task
from harakapy.outbound.report_limits import ReportLimits
from harakapy.outbound.report_terms import ReportTerms
from harakapy.queue import (
    ContentUnreadable,
    Delivery,
    DeliveryRequest,
    Lease,
    LeaseLost,
    MessageNotFound,
    QueuedMessage,
    Selection,
    Settlement,
    State,
    Store,
    StoreError,
    Told,
)
from harakapy.smtp.address import NULL_PATH, Address
from harakapy.smtp.parameters import Body, DeliverBy, MailParameters, Notify, Ret

__all__ = ["Reporter", "Submit", "is_lmtp", "wants", "wants_relay"]

BATCH: Final = 20
"""Messages reported on in one go. Picked: small enough to be done long before the lease ends."""

LEASE_S: Final = 300.0
"""Seconds for one batch; so long nobody looks at it again if the store fails meanwhile. Picked."""

PAUSE_S: Final = 60.0
"""Seconds until reports are tried again after the store has failed. Picked."""

SMALL_OCTETS: Final = 16_384
SMALL_RECIPIENTS: Final = 10
"""Up to these a report is composed at once, not in a thread: in a millisecond or so. Picked."""

TURNS_S: Final = 60.0
"""Seconds until the store is looked at again while reports wait for their addressee's limit. Picked."""

_NOTIFY: Final = {
    Action.FAILED: Notify.FAILURE,
    Action.DELAYED: Notify.DELAY,
    Action.RELAYED: Notify.SUCCESS,
    Action.DELIVERED: Notify.SUCCESS,
}


class Submit(Protocol):
    """Takes a report into the queue like any other mail, in the same step that settles what it reports.

    It calls the hooks that mail of ours passes, commits the message under the given id, with ``settles``, and
    lets it be delivered. Raises what `harakapy.queue.Store.commit` raises.
    """

    def __call__(
        self, message_id: str, envelope: Envelope, content: Content, *, settles: Settlement
    ) -> Awaitable[None]: ...


def wants(message: QueuedMessage, recipient: Recipient, action: Action) -> bool:
    """Whether anybody is to hear of this: the sender, as NOTIFY says (RFC 3461 4.1), or of a lost report us.

    What is relayed to a host that reports itself (it offered DSN and was given NOTIFY) is not to be asked
    about: its report is none of ours (RFC 3461 5.2.2).
    """
    if message.mail_from.is_null:
        return action is Action.FAILED
    return _NOTIFY[action] in recipient.notify


def wants_relay(by: DeliverBy | None, recipient: Recipient, *, is_time_passed_on: bool) -> bool:
    """Whether DELIVERBY makes it our duty to report that mail was relayed, unless NOTIFY says NEVER.

    Where its sender wants to trace it, each time (RFC 2852 4.1.4); and where it wants to hear when its time
    is over, and the next host does not know DELIVERBY: nobody will tell it then (RFC 2852 4.1.4.2).
    """
    if by is None or Notify.NEVER in recipient.notify:
        return False
    return by.trace or (by.mode == "N" and not is_time_passed_on)


class _Plan(Struct, frozen=True):
    """One report before it is composed."""

    message: QueuedMessage
    to: Address
    fates: tuple[Fate, ...]
    settles: Settlement


class Reporter:
    """Sends the reports that are due. One at a time calls it: the task that looks after the queue."""

    def __init__(
        self,
        store: Store,
        terms: ReportTerms,
        *,
        owner: str,
        submit: Submit,
        log: Logger,
        new_id: Callable[[], str] = lambda: str(uuid4()).upper(),
    ) -> None:
        """``owner`` holds the leases, and no other reporter may have its name."""
        self._store = store
        self._terms = terms
        self._owner = owner
        self._submit = submit
        self._log = log
        self._new_id = new_id
        self._limits = ReportLimits(terms.max_per_hour, terms.max_per_addressee)

    def report_at(self, now: float) -> float:
        """When an outcome recorded now is to be reported: the ``report_at`` for the store."""
        return now + self._terms.collect_s

    async def report_due(self, now: float) -> float | None:
        """Report what is due, or a part of it; gives when to call again if the store is not to be asked.

        That is ``now`` if there may be more, and later if a limit is reached or the store does not work; None
        means when the store has something due again (`harakapy.queue.Store.next_due`). Raises nothing of the
        store's.
        """
        allowed = self._limits.room(now)
        if not allowed:
            return self._limits.next_at(now)
        limit = min(BATCH, allowed)
        try:
            requests = await self._store.claim_reports(
                lease=Lease(self._owner, now + LEASE_S), now=now, limit=limit
            )
            for request in requests:
                await self._report(request, now)
        except StoreError as error:
            self._log.error("reports must wait", reason=str(error))
            return now + PAUSE_S
        if len(requests) == limit:
            return now
        return now + TURNS_S if self._limits.is_anybody_waiting(now) else None

    async def report_delay(self, message: QueuedMessage, *, retry_until: float, now: float) -> bool:
        """Tell the sender that a message takes long; whether a report was sent.

        Called after the outcome was recorded that made it late. It tells of all recipients that were tried
        and are still waiting, each `Told` at most once for a message; not of those without NOTIFY=DELAY. Once
        the time is over that the sender has set, the status is that of expired mail, whatever was heard last,
        as sendmail's is. When a limit is reached nothing happens, and the next outcome is the time to call
        again. Raises StoreError.
        """
        if message.mail_from.is_null or not self._has_room_for(self._sender(message), now):
            return False
        is_over = message.deliver_by is not None and now >= message.deliver_by
        told, status = (Told.TIME_LIMIT, EXPIRED) if is_over else (Told.DELAY, None)
        waiting = Selection(message_ids=frozenset({message.id}), states=frozenset({State.WAITING}))
        page = await self._store.select(waiting, limit=1)
        fates = tuple(
            _fate(delivery, Action.DELAYED, status=status, retry_until=retry_until)
            for found in page.requests
            for delivery in found.deliveries
            if delivery.diagnostic is not None and wants(message, delivery.recipient, Action.DELAYED)
        )
        if not fates or page.requests[0].message.told >= told:
            return False
        settles = Settlement(message.id, self._owner, told=told)
        try:
            await self._send(_Plan(message, self._sender(message), fates, settles), now)
        except LeaseLost:  # reported or delivered meanwhile
            return False
        return True

    async def _report(self, request: DeliveryRequest, now: float) -> None:
        """Report on one message, or settle what nobody is to be told of. Raises StoreError."""
        message = request.message
        numbers = tuple(delivery.number for delivery in request.deliveries)
        settles = Settlement(message.id, self._owner, concluded=numbers)
        to = self._addressee(request)
        fates = tuple(self._fates(request))
        try:
            if to is None or not fates:
                self._log_unreported(request)
                await self._store.settle(settles)
            elif not self._has_room_for(to, now):
                await self._put_off(request, to, settles, now)
            else:
                await self._send(_Plan(message, to, fates, settles), now)
        except LeaseLost as error:
            self._log.info("a report is not ours any more", uuid=message.id, reason=str(error))
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - a defect that one message shows must not stop all reports
            self._log.crit("a report failed, and is tried again", uuid=message.id, exc_info=error)

    def _has_room_for(self, to: Address, now: float) -> bool:
        return self._limits.room(now) > 0 and self._limits.has_room_for(to, now)

    async def _put_off(self, request: DeliveryRequest, to: Address, settles: Settlement, now: float) -> None:
        """Let a report wait for its addressee's limit, or let it go if it has for long. Raises StoreError."""
        uuid = request.message.id
        last_at = min(delivery.due for delivery in request.deliveries) + self._terms.max_wait_s
        if now >= last_at:
            await self._store.settle(settles)
            reason = "too many reports for this address"
            self._log.notice("report not sent", uuid=uuid, to=str(to), reason=reason)
            return
        at = min(self._limits.turn_of(to, now), last_at)
        keys = [delivery.key for delivery in request.deliveries]
        await self._store.renew(keys, Lease(self._owner, at))
        self._log.info("report put off", uuid=uuid, to=str(to), retry_s=at - now)

    def _addressee(self, request: DeliveryRequest) -> Address | None:
        """Who is told; None: nobody."""
        if not request.message.mail_from.is_null:
            return self._sender(request.message)
        postmaster = self._terms.postmaster
        if all(delivery.recipient.address == postmaster for delivery in request.deliveries):
            return None  # or each report to a postmaster out of reach would make another one
        return postmaster

    def _sender(self, message: QueuedMessage) -> Address:
        sender = message.mail_from
        return sender if sender.host else Address(sender.user, self._terms.hostname)

    def _fates(self, request: DeliveryRequest) -> Iterable[Fate]:
        for delivery in request.deliveries:
            if delivery.state is State.DELIVERED:  # of which only is kept what is to be reported
                yield _fate(delivery, Action.DELIVERED if is_lmtp(delivery) else Action.RELAYED)
            elif wants(request.message, delivery.recipient, Action.FAILED):
                yield _fate(delivery, Action.FAILED)

    async def _send(self, plan: _Plan, now: float) -> None:
        """Compose a report and store it."""
        content = await self._open(plan.message)
        unique = self._new_id()
        try:
            compose = partial(self._compose, unique, plan, content, now)
            if not _is_small(plan, content):
                await enter_task()
            octets = compose() if _is_small(plan, content) else await trio.to_thread.run_sync(compose)
        finally:
            if content is not None:
                content.close()
        envelope = Envelope(NULL_PATH, (Recipient(plan.to),), _params(plan, octets))
        await self._submit(unique, envelope, Content.from_bytes(octets), settles=plan.settles)
        self._limits.take(plan.to, now)
        actions = sorted({fate.action.value for fate in plan.fates})
        self._log.info(
            "report sent",
            uuid=plan.message.id,
            report=unique,
            to=str(plan.to),
            action=",".join(actions),
            recipients=len(plan.fates),
        )

    async def _open(self, message: QueuedMessage) -> Content | None:
        """The message's content; None if it is lost, for its sender is told all the same.

        If the whole message is gone instead, storing the report will fail.
        """
        try:
            return await self._store.open_content(message.id)
        except (ContentUnreadable, MessageNotFound) as error:
            self._log.error("a report goes without the message", uuid=message.id, reason=str(error))
            return None

    def _compose(self, unique: str, plan: _Plan, content: Content | None, now: float) -> bytes:
        """The report; blocking: it may read a large message, and tell of a thousand recipients."""
        from harakapy.mail.report import Report, compose  # all that writes mail: with the first one, or late
        from harakapy.mail.returned import NOTHING, give_back

        message = plan.message
        is_utf8_allowed = message.params.smtputf8 or plan.to.is_utf8
        returned = NOTHING
        if content is not None:
            limit = self._terms.return_content if _is_whole_wanted(plan) else 0
            body = message.params.body or Body.EIGHTBITMIME
            returned = give_back(content, max_octets=limit, is_utf8_allowed=is_utf8_allowed, body=body)
        report = Report(
            id=unique,
            to=plan.to,
            hostname=self._terms.hostname,
            from_address=self._terms.from_address,
            from_name=self._terms.from_name,
            when=_time(now),
            fates=plan.fates,
            arrived=_time(message.arrived),
            message_id=message.id,
            sender=NULL_PATH if message.mail_from.is_null else plan.to,
            envid=message.params.envid,
            returned=returned,
            is_utf8_allowed=is_utf8_allowed,
        )
        return compose(report, self._terms.text)

    def _log_unreported(self, request: DeliveryRequest) -> None:
        for delivery in request.deliveries:
            if request.message.mail_from.is_null and delivery.state is State.FAILED:
                self._log.notice(
                    "nobody is told that mail without a sender failed",
                    uuid=request.message.id,
                    recipient=str(delivery.recipient),
                    reason=delivery.diagnostic.text if delivery.diagnostic else "",
                )


def _fate(
    delivery: Delivery,
    action: Action,
    *,
    status: EnhancedStatus | None = None,
    retry_until: float | None = None,
) -> Fate:
    """What became of a delivery; ``status`` if it is not that of what was heard last."""
    heard = delivery.diagnostic
    return Fate(
        recipient=delivery.recipient,
        action=action,
        status=status or (heard.status if heard else None),
        text=heard.text if heard else "",
        is_reply=heard is not None and heard.is_reply,
        host=heard.host if heard else "",
        last_attempt=None if delivery.last_attempt is None else _time(delivery.last_attempt),
        retry_until=None if retry_until is None else _time(retry_until),
    )


def _is_small(plan: _Plan, content: Content | None) -> bool:
    """Whether a report is composed before a thread could be asked for it."""
    is_at_hand = content is None or (not content.is_spooled and content.size <= SMALL_OCTETS)
    return is_at_hand and len(plan.fates) <= SMALL_RECIPIENTS


def _is_whole_wanted(plan: _Plan) -> bool:
    """Whether the whole message may go back: RET is about failures only (RFC 3461 4.3)."""
    params = plan.message.params
    has_failed = any(fate.action is Action.FAILED for fate in plan.fates)
    return (
        has_failed
        and params.ret is not Ret.HDRS
        and not params.requiretls  # RFC 8689 5: as if the header only was asked for
        and not plan.message.mail_from.is_null
    )


def _params(plan: _Plan, octets: bytes) -> MailParameters:
    params = plan.message.params
    is_ascii = octets.isascii()
    return MailParameters(
        body=None if is_ascii else Body.EIGHTBITMIME,
        smtputf8=plan.to.is_utf8 or not is_ascii,
        requiretls=params.requiretls,
        mt_priority=params.mt_priority,
    )


def is_lmtp(delivery: Delivery) -> bool:
    """Whether a mailbox server has taken a delivery, which is final (RFC 3461 1): delivered, not relayed."""
    return delivery.next_hop.startswith(("lmtp:", "unix:"))


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
