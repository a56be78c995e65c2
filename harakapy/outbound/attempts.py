"""One attempt: the hooks before it, the way, the content, and the hosts.

Nothing here loses or fails mail by mistake: whatever is not understood, a defect of ours included, puts the
attempt off.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Self

import trio
from msgspec import Struct
from msgspec.structs import replace

from harakapy.hooks import DELAY, OK, Hooks, IllegalAnswer, Verdict
from harakapy.log import Logger
from harakapy.mail import Content
from harakapy.mail.safe_text import neutralise
from harakapy.mail.status import EnhancedStatus
from harakapy.net import leave_task
from harakapy.outbound.attempt import Answer, Phase
from harakapy.outbound.clock import SteadyClock
from harakapy.outbound.conclusion import Conclusion
from harakapy.outbound.concurrency import Feedback
from harakapy.outbound.courier import Courier, Ending, Source
from harakapy.outbound.failure import judge, sum_up
from harakapy.outbound.given_hops import NoNextHop, next_hops
from harakapy.outbound.hmail import HMail
from harakapy.outbound.hop import NextHop
from harakapy.outbound.reports import Reporter
from harakapy.outbound.route import Route, Router
from harakapy.queue import (
    ContentUnreadable,
    DeliveryKey,
    DeliveryRequest,
    MessageNotFound,
    Outcome,
    StoreError,
)
from harakapy.smtp import Reply

__all__ = ["Attempted", "Attempts", "OpenContent", "Stages"]

OpenContent = Callable[[str], Awaitable[Content]]


async def _at_once() -> None:
    """There is room."""


class Stages(Struct, frozen=True):
    """Who wants to know how far an attempt has come.

    ``routed`` is called when its way is known, ``answered`` is awaited when a host has answered, and returns
    when there is room to go on.
    """

    routed: Callable[[], None] = lambda: None
    answered: Callable[[], Awaitable[None]] = _at_once


_NOBODY: Final = Stages()


STORE_PAUSE_S: Final = 60.0
"""How long a delivery waits whose content could not be read just now. Picked."""

DEFECT_PAUSE_S: Final = 300.0
"""How long a delivery waits whose end shows a defect of ours. Picked: somebody may be mending it."""

_DEFECT: Final = Answer(Phase.CONNECT, text="an internal error", status=EnhancedStatus(4, 3, 0))


class Attempted(Struct, frozen=True):
    """What came of an attempt: outcomes to record, or deliveries for which none was made.

    The latter are due again at ``unclaimed_until``, if that is given; else they are somebody else's or gone.
    ``dead_until`` goes with `Feedback.DEAD`. Both are seconds of the wall clock.
    """

    outcomes: Sequence[Outcome] = ()
    unclaimed: Sequence[DeliveryKey] = ()
    unclaimed_until: float = 0.0
    feedback: Feedback = Feedback.NOTHING
    dead_until: float = 0.0


class Attempts:
    """Makes attempts, for an engine. ``now`` gives seconds of the wall clock."""

    def __init__(
        self,
        hooks: Hooks,
        router: Router,
        courier: Courier,
        conclusion: Conclusion,
        reporter: Reporter,
        log: Logger,
        *,
        now: SteadyClock,
        learn_route: Callable[[str, Route], None],
    ) -> None:
        """``learn_route`` is told where mail for a destination goes."""
        self._hooks = hooks
        self._router = router
        self._courier = courier
        self._conclusion = conclusion
        self._reporter = reporter
        self._log = log
        self._now = now
        self._learn_route = learn_route

    async def make(
        self,
        request: DeliveryRequest,
        open_content: OpenContent,
        scope: trio.CancelScope,
        stages: Stages = _NOBODY,
    ) -> Attempted:
        """Make one attempt. Raises trio.Cancelled, and IllegalAnswer if the hooks are strict.

        Once a host has taken the message, ``scope``, which is around this, is shielded: what is cancelled
        between that and writing it down is delivered twice.
        """
        hmail, moved_s = HMail.of(request, open_content), self._now.moved_s
        try:
            return await self._make(hmail, request, open_content, scope, stages, moved_s)
        except IllegalAnswer:
            raise
        except Exception as error:  # noqa: BLE001  # mail must outlive any defect of ours
            self._log.crit("delivery failed", uuid=request.message.id, error=str(error), exc_info=error)
        try:
            attempted = await self._end_without(hmail, request, Route(failure=_DEFECT), moved_s)
        except IllegalAnswer:
            raise
        except Exception as error:  # noqa: BLE001  # nor when the defect is in what comes after an attempt
            self._log.crit("delivery put off", uuid=request.message.id, error=str(error), exc_info=error)
            return _put_off(request, self._now() + DEFECT_PAUSE_S)
        return replace(attempted, feedback=Feedback.NOTHING)

    async def give_up(self, request: DeliveryRequest, open_content: OpenContent) -> Sequence[Outcome]:
        """The outcomes of a request that has become too old while nobody tried it; none if it has not."""
        return await self._conclusion.given_up(HMail.of(request, open_content), request)

    def is_delay_report_due(self, request: DeliveryRequest) -> bool:
        """Whether the sender is to be told that a message takes long."""
        return self._conclusion.lifetime.is_delay_report_due(request.message, self._now())

    async def tell_of_delay(self, request: DeliveryRequest) -> None:
        """Tell the sender that a message takes long, if it is time to; called once a deferral is recorded."""
        message, now = request.message, self._now()
        lifetime = self._conclusion.lifetime
        if not lifetime.is_delay_report_due(message, now):
            return
        try:
            await self._reporter.report_delay(message, retry_until=lifetime.expires_at(message), now=now)
        except StoreError as error:
            self._log.error("no report of a delay", uuid=message.id, problem=str(error))

    async def _make(
        self,
        hmail: HMail,
        request: DeliveryRequest,
        open_content: OpenContent,
        scope: trio.CancelScope,
        stages: Stages,
        moved_s: float,
    ) -> Attempted:
        verdict = await self._hooks.send_email(hmail)
        request, moved_s = self._now.request_up_to_date(request, moved_s), self._now.moved_s
        if verdict.action is DELAY.action:
            return await self._put_off_by_plugin(hmail, request, _seconds(verdict))
        if (expired := await self._conclusion.too_late(hmail, request)) is not None:
            return Attempted(expired)
        route = await self._route(hmail, request)
        if route.failure is not None:
            return await self._end_without(hmail, request, route, moved_s)
        self._learn_route(request.deliveries[0].destination, route)
        stages.routed()
        with _Source(partial(open_content, request.message.id), stages) as source:
            try:
                endings = await self._courier.carry_from(
                    source, request.envelope, route, deliver_by=request.message.deliver_by
                )
            except (MessageNotFound, ContentUnreadable):  # removed meanwhile, or quarantined with a log line
                return Attempted()
            except StoreError as error:
                self._log.error("content cannot be read now", uuid=request.message.id, problem=str(error))
                return _put_off(request, self._now() + STORE_PAUSE_S)
            if any(ending.is_delivered for ending in endings):
                scope.shield = True
            return await self._conclude(hmail, request, endings, route, moved_s)

    async def _put_off_by_plugin(self, hmail: HMail, request: DeliveryRequest, by_s: float) -> Attempted:
        """Make no attempt as long as a plugin wants, but not longer than the message is worth trying."""
        now = self._now()
        due = self._conclusion.lifetime.within(request.message, now + by_s, now)
        if due is None:
            return Attempted(await self._conclusion.given_up(hmail, request))
        return _put_off(request, due)

    async def _end_without(
        self, hmail: HMail, request: DeliveryRequest, route: Route, moved_s: float
    ) -> Attempted:
        """Conclude an attempt for which there is no way to go."""
        answer = route.failure or _DEFECT
        endings = [Ending(judge(answer, has_more_hosts=False), answer)] * len(request.deliveries)
        return await self._conclude(hmail, request, endings, route, moved_s)

    async def _conclude(
        self,
        hmail: HMail,
        request: DeliveryRequest,
        endings: Sequence[Ending],
        route: Route,
        moved_s: float,
    ) -> Attempted:
        """What the endings come to; ``moved_s``: how far the clock had been moved when the attempt began."""
        request = self._now.request_up_to_date(request, moved_s)
        if route.retry_at is not None:
            route = replace(route, retry_at=route.retry_at + self._now.moved_s - moved_s)
        outcomes = await self._conclusion.conclude(hmail, request, endings, route)
        feedback = sum_up(ending.judgement for ending in endings)
        return Attempted(outcomes, feedback=feedback, dead_until=route.retry_at or 0.0)

    async def _route(self, hmail: HMail, request: DeliveryRequest) -> Route:
        """The way of a request: what an operator said, else a plugin, else the settings, else DNS."""
        first = request.deliveries[0]
        hops: tuple[NextHop, ...] = ()
        try:
            if first.next_hop:
                hops = next_hops(first.next_hop)
            else:
                verdict = await self._hooks.get_mx(hmail, first.domain)
                if verdict.is_denial:
                    return Route(failure=_refused(verdict))
                if verdict.action is OK.action:
                    hops = next_hops(verdict.value)
        except NoNextHop as error:
            self._log.crit("no next hop", uuid=request.message.id, domain=first.domain, problem=str(error))
            return Route(failure=_UNKNOWN_HOP)
        return await self._router.route(first.domain, hops=hops, now=self._now())


class _Source:
    """The content of an attempt, opened when the first host has answered and there is room to go on."""

    def __init__(self, open_content: Source, stages: Stages) -> None:
        self._open_content = open_content
        self._stages = stages
        self._content: Content | None = None

    async def __call__(self) -> Content:
        if self._content is None:
            await self._stages.answered()
            self._content = await self._open_content()
            leave_task()  # from here on there are replies to wait for, mostly
        return self._content

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        if self._content is not None:
            self._content.close()


_UNKNOWN_HOP: Final = Answer(
    Phase.LOOKUP, text="the next hop is not understood", status=EnhancedStatus(4, 3, 5)
)


def _refused(verdict: Verdict) -> Answer:
    """A plugin's denial of hook_get_mx as an answer."""
    reply = Reply.parse_text(450 if verdict.is_soft else 550, verdict.text)
    status = EnhancedStatus.parse(reply.enhanced or ("4.7.1" if verdict.is_soft else "5.7.1"))
    text = neutralise(reply.text) or f"plugin {verdict.plugin} gives no next hop"
    return Answer(Phase.LOOKUP, text=text, status=status)


def _put_off(request: DeliveryRequest, due: float) -> Attempted:
    return Attempted(unclaimed=[delivery.key for delivery in request.deliveries], unclaimed_until=due)


def _seconds(verdict: Verdict) -> float:
    """What DELAY carries: a number, which the fold has checked, or the text of one."""
    value = verdict.value if verdict.value is not None else verdict.text
    assert isinstance(value, int | float | str), "the fold lets no other DELAY pass"
    return max(0.0, float(value))
