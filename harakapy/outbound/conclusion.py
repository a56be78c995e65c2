"""What follows from how an attempt ended: the hooks behind it, the log, and the outcomes to write down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Final

from harakapy.config import OutboundSettings
from harakapy.hooks import Action as Verb
from harakapy.hooks import Hooks
from harakapy.log import Level, Logger
from harakapy.mail.report_text import Action as Reported
from harakapy.outbound.courier import Ending
from harakapy.outbound.failure import Action
from harakapy.outbound.hmail import Bounce, Deferral, Handover, HMail
from harakapy.outbound.hop import Protocol
from harakapy.outbound.reports import wants, wants_relay
from harakapy.outbound.retry import Lifetime, RetrySchedule
from harakapy.outbound.route import Route
from harakapy.queue import (
    Deferred,
    Delivered,
    Delivery,
    DeliveryRequest,
    Diagnostic,
    Failed,
    Outcome,
)
from harakapy.smtp import Address

__all__ = ["Conclusion"]

LOGGED_RECIPIENTS: Final = 50  # picked: enough to find a message in the log, and one line stays one line

# Names of the module: in Python 3.11 a member of an Enum takes ten times as long to look up.
_DELIVERED, _INFO = Action.DELIVERED, Level.INFO

_Ended = tuple[Delivery, Ending]


class Conclusion:
    """Concludes attempts. ``now`` gives seconds of the wall clock; ``report_at`` says when to report."""

    def __init__(
        self,
        settings: OutboundSettings,
        hooks: Hooks,
        log: Logger,
        *,
        now: Callable[[], float],
        report_at: Callable[[float], float],
        rng: Random | None = None,
    ) -> None:
        self.lifetime = Lifetime(settings.max_age, settings.report_max_age, settings.delay_warning)
        self._intervals = settings.retry
        self._jitter = settings.jitter
        self._hooks = hooks
        self._log = log
        self._now = now
        self._report_at = report_at
        self._rng = rng or Random()

    async def too_late(self, hmail: HMail, request: DeliveryRequest) -> Sequence[Outcome] | None:
        """The outcomes of a request that must not even be tried, its time being over; None if it may be."""
        if not self.lifetime.is_too_late(request.message, self._now()):
            return None
        return await self.given_up(hmail, request)

    async def given_up(self, hmail: HMail, request: DeliveryRequest) -> Sequence[Outcome]:
        """The outcomes of a request that has expired without another attempt; none if it has not."""
        now, last = self._now(), request.deliveries[0].diagnostic
        if not self.lifetime.is_expired(request.message, now):
            return ()
        last_word = self.lifetime.last_word(request.message, last, now)
        return await self._failed(hmail, request, request.deliveries, last_word)

    async def conclude(
        self, hmail: HMail, request: DeliveryRequest, endings: Sequence[Ending], route: Route
    ) -> list[Outcome]:
        """The outcomes of an attempt that ended so for each recipient, in their order."""
        outcomes: list[Outcome] = []
        for group in _alike(zip(request.deliveries, endings, strict=True)):
            deliveries = [delivery for delivery, _ in group]
            ending = group[0][1]
            judgement = ending.judgement
            if judgement.action is _DELIVERED:
                outcomes += await self._delivered(hmail, request, group)
            elif judgement.action is Action.FAIL:
                outcomes += await self._failed(hmail, request, deliveries, judgement.diagnostic)
            else:
                outcomes += await self._deferred(hmail, request, deliveries, judgement.diagnostic, route)
        return outcomes

    async def _delivered(
        self, hmail: HMail, request: DeliveryRequest, group: Sequence[_Ended]
    ) -> list[Outcome]:
        message, ending, now = request.message, group[0][1], self._now()
        deliveries = [delivery for delivery, _ in group]
        diagnostic = ending.judgement.diagnostic
        if self._log.is_enabled(_INFO):
            tls = ending.tls.version if ending.tls else "none"
            self._log_end("delivered", request, deliveries, diagnostic, tls=tls, took_s=now - message.arrived)
        if self._hooks.is_implemented("delivered"):
            await self._hooks.delivered(hmail, _handover(deliveries, ending, now - message.arrived))
        outcomes: list[Outcome] = []
        for delivery, each in group:
            report_at = self._success_report_at(request, delivery, each, now)
            taken_by = "" if report_at is None else _mailbox_server(each)
            outcomes.append(Delivered(delivery.key, diagnostic, report_at, taken_by))
        return outcomes

    def _success_report_at(
        self, request: DeliveryRequest, delivery: Delivery, ending: Ending, now: float
    ) -> float | None:
        """When the sender is told of a success; None if it did not ask, or the next hop is to tell."""
        message, recipient, answer = request.message, delivery.recipient, ending.answer
        by = message.params.by
        if message.mail_from.is_null or (recipient.params.notify is None and by is None):
            return None
        is_wanted = not answer.is_dsn_passed_on and wants(message, recipient, Reported.RELAYED)
        if not is_wanted and not _mailbox_server(ending):
            is_wanted = wants_relay(by, recipient, is_time_passed_on=answer.is_time_passed_on)
        return self._report_at(now) if is_wanted else None

    async def _deferred(
        self,
        hmail: HMail,
        request: DeliveryRequest,
        deliveries: Sequence[Delivery],
        diagnostic: Diagnostic,
        route: Route,
    ) -> list[Outcome]:
        """Plan the next attempt; give up what has become too old."""
        message, now = request.message, self._now()
        intervals = route.rule.retry if route.rule and route.rule.retry else self._intervals
        retry = RetrySchedule(intervals, self._jitter)
        planned = retry.next_due(max(each.attempts for each in deliveries), now, self._rng)
        if route.retry_at is not None:
            planned = max(planned, route.retry_at)
        due = self.lifetime.within(message, planned, now)
        if due is None:
            last = self.lifetime.last_word(message, diagnostic, now)
            return await self._failed(hmail, request, deliveries, last)
        if self._hooks.is_implemented("deferred"):
            deferral = Deferral(
                due - now, diagnostic.text, diagnostic.status, _addresses(deliveries), diagnostic.host
            )
            verdict = await self._hooks.deferred(hmail, deferral)
            if verdict.action is Verb.DELAY and isinstance(verdict.value, int | float):
                due = self.lifetime.within(message, now + max(0.0, verdict.value), now) or due
        self._log_end("deferred", request, deliveries, diagnostic, retry_s=due - now)
        return [Deferred(delivery.key, diagnostic, due) for delivery in deliveries]

    async def _failed(
        self,
        hmail: HMail,
        request: DeliveryRequest,
        deliveries: Sequence[Delivery],
        diagnostic: Diagnostic,
    ) -> list[Outcome]:
        is_silenced = False
        self._log_end("failed", request, deliveries, diagnostic)
        if self._hooks.is_implemented("bounce"):
            error = Bounce(diagnostic.text, diagnostic.status, _addresses(deliveries), diagnostic.host)
            is_silenced = (await self._hooks.bounce(hmail, error)).action is Verb.OK
        report_at = self._report_at(self._now())
        return [
            Failed(
                delivery.key,
                diagnostic,
                report_at
                if not is_silenced and wants(request.message, delivery.recipient, Reported.FAILED)
                else None,
            )
            for delivery in deliveries
        ]

    def _log_end(
        self,
        event: str,
        request: DeliveryRequest,
        deliveries: Sequence[Delivery],
        diagnostic: Diagnostic,
        **fields: object,
    ) -> None:
        self._log.info(
            event,
            uuid=request.message.id,
            sender=request.message.mail_from.path,
            to=",".join([each.recipient.address.original for each in deliveries[:LOGGED_RECIPIENTS]]),
            recipients=len(deliveries),
            host=diagnostic.host,
            reply=diagnostic.text,
            attempts=deliveries[0].attempts,
            **fields,
        )


def _alike(ended: Iterable[_Ended]) -> list[list[_Ended]]:
    """Those that ended alike together: one call of a hook, and one line in the log, for each group."""
    ended = list(ended)
    if len(ended) == 1:  # nearly always
        return [ended]
    groups: dict[tuple[object, ...], list[_Ended]] = {}
    for delivery, ending in ended:
        judgement = ending.judgement
        key = (judgement.action, judgement.diagnostic, ending.target)
        groups.setdefault(key, []).append((delivery, ending))
    return list(groups.values())


def _mailbox_server(ending: Ending) -> str:
    """The next hop that took a message, if that is a mailbox server: so the report says delivered."""
    target = ending.target
    return str(target.hop) if target is not None and target.hop.protocol is Protocol.LMTP else ""


def _addresses(deliveries: Iterable[Delivery]) -> tuple[Address, ...]:
    return tuple(delivery.recipient.address for delivery in deliveries)


def _handover(deliveries: Sequence[Delivery], ending: Ending, delay_s: float) -> Handover:
    target, reply = ending.target, ending.answer.reply
    assert target is not None, "somebody took the message"
    assert reply is not None, "and said so"
    return Handover(
        host=target.name or target.hop.path or target.address,
        address=target.address,
        port=target.port,
        reply=reply,
        delay_s=delay_s,
        rcpt_to=_addresses(deliveries),
        tls=ending.tls,
        user=target.hop.user,
    )
