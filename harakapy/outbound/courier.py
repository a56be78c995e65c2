"""Carrying a message over the hosts of its route until each recipient has an answer that counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from harakapy.config import OutboundSettings
from harakapy.mail import Content
from harakapy.mail.envelope import Envelope
from harakapy.mail.status import EnhancedStatus
from harakapy.net.tls import TlsState
from harakapy.outbound.attempt import Answer, HostFailed, Phase
from harakapy.outbound.failure import Action, Judgement, judge
from harakapy.outbound.hop import Target
from harakapy.outbound.hosts import DeadHosts
from harakapy.outbound.pool import Pool
from harakapy.outbound.route import Route
from harakapy.outbound.terms import Terms, Timeouts
from harakapy.outbound.tls_required import for_target, heed, lacks_tls, waived

__all__ = ["Courier", "Ending", "Source"]

Source = Callable[[], Awaitable[Content]]

# Names of the module: in Python 3.11 a member of an Enum takes ten times as long to look up.
_DELIVERED, _NEXT_HOST = Action.DELIVERED, Action.NEXT_HOST


class Ending(Struct, frozen=True):
    """How an attempt ended for one recipient."""

    judgement: Judgement
    answer: Answer
    target: Target | None = None
    """Who took the message; None if nobody did."""
    tls: TlsState | None = None

    @property
    def is_delivered(self) -> bool:
        """Whether the message was taken for this recipient."""
        return self.judgement.action is _DELIVERED

    @property
    def is_refused(self) -> bool:
        """Whether it failed for good; if it is neither delivered nor refused, it failed for now."""
        return self.judgement.action is Action.FAIL


class Courier:
    """Carries messages. ``dead_hosts`` is told who answered and who did not; ``now`` is its clock."""

    def __init__(
        self, settings: OutboundSettings, pool: Pool, dead_hosts: DeadHosts, now: Callable[[], float]
    ) -> None:
        self._max_recipients = settings.max_recipients
        self._timeouts = Timeouts(
            connect_s=settings.connect_timeout,
            greeting_s=settings.greeting_timeout,
            command_s=settings.command_timeout,
            data_s=settings.data_timeout,
            block_s=settings.block_timeout,
            dot_s=settings.dot_timeout,
        )
        self._pool = pool
        self._dead_hosts = dead_hosts
        self._now = now
        self._terms: dict[tuple[object, ...], Terms] = {}

    async def carry(
        self, envelope: Envelope, content: Content, route: Route, *, deliver_by: float | None = None
    ) -> list[Ending]:
        """As `carry_from`, with a content that is there already."""

        async def there() -> Content:
            return content

        return await self.carry_from(there, envelope, route, deliver_by=deliver_by)

    async def carry_from(
        self, source: Source, envelope: Envelope, route: Route, *, deliver_by: float | None = None
    ) -> list[Ending]:
        """Try one host after the other; how it ended for each recipient, in their order.

        ``source`` gives the content, each time there is a session to send it on: for a host that does not
        answer none is read. What it raises is raised here. ``deliver_by`` is the end of DELIVERBY's time on
        the clock. Raises OSError or ValueError if the content cannot be read, and nobody has answered yet.
        """
        endings = await self._carry(envelope, source, route, deliver_by)
        if envelope.is_tls_required and envelope.mail_from.is_null:  # RFC 8689 5
            left = [index for index, ending in enumerate(endings) if lacks_tls(ending.answer)]
            if left:
                part = self._part(waived(envelope), left, None)
                is_all = len(left) == len(endings)
                again = await self._carry_rest(part, source, route, deliver_by, is_all=is_all)
                for index, ending in zip(left, again, strict=True):
                    endings[index] = ending
        return endings

    async def _carry_rest(
        self, envelope: Envelope, source: Source, route: Route, deliver_by: float | None, *, is_all: bool
    ) -> list[Ending]:
        """The same for recipients who are left; unless they are all, the others have answers to be kept."""
        try:
            return await self._carry(envelope, source, route, deliver_by)
        except OSError:
            if is_all:
                raise
            nothing = Ending(judge(_UNREADABLE, has_more_hosts=False), _UNREADABLE)
            return [nothing] * len(envelope.rcpt_to)

    async def _carry(
        self, envelope: Envelope, source: Source, route: Route, deliver_by: float | None
    ) -> list[Ending]:
        """The same for an envelope whose demands are to be met."""
        recipients = envelope.rcpt_to
        if route.failure is not None:
            return [Ending(judge(route.failure, has_more_hosts=False), route.failure)] * len(recipients)
        limit = (
            route.rule.max_recipients if route.rule and route.rule.max_recipients else self._max_recipients
        )
        endings: list[Ending | None] = [None] * len(recipients)
        waiting: Sequence[int] = range(len(recipients))
        others_may_recover = False
        for place, target in enumerate(route.targets, start=1):
            has_more_hosts = place < len(route.targets)
            try:
                judged = await self._try(target, envelope, source, waiting, limit, deliver_by)
            except OSError:
                if not any(endings):
                    raise
                judged = dict.fromkeys(waiting, (_UNREADABLE, None))
            later: list[int] = []
            for index, (answer, tls) in judged.items():
                verdict = judge(answer, has_more_hosts=has_more_hosts, others_may_recover=others_may_recover)
                if verdict.action is _NEXT_HOST:
                    later.append(index)
                    others_may_recover |= _may_recover(answer)
                else:
                    taken = verdict.action is _DELIVERED
                    endings[index] = Ending(verdict, answer, target if taken else None, tls)
            waiting = later
            if not waiting:
                break
        assert all(endings), "at the last host nothing is put off to the next"
        return [ending for ending in endings if ending is not None]

    async def _try(
        self,
        target: Target,
        envelope: Envelope,
        source: Source,
        indices: Sequence[int],
        limit: int,
        deliver_by: float | None,
    ) -> dict[int, tuple[Answer, TlsState | None]]:
        """Offer the message to one host for the recipients of these numbers; its answers by number."""
        found: dict[int, tuple[Answer, TlsState | None]] = {}
        terms = self.terms(target)
        envelope = for_target(envelope, target)
        if envelope.is_tls_required:
            terms = terms.requiring_tls()
        at = 0
        while at < len(indices):
            try:
                session = await self._pool.acquire(target, terms)
            except HostFailed as failed:
                if failed.answer.phase in (Phase.CONNECT, Phase.GREETING) and failed.answer.reply is None:
                    self._dead_hosts.failed(target, self._now())
                answer = heed(failed.answer) if envelope.is_tls_required else failed.answer
                return found | dict.fromkeys(indices[at:], (answer, None))
            if self._dead_hosts:
                self._dead_hosts.answered(target)
            was_kept = session.messages_sent > 0
            batch = indices[at : at + min(limit, session.max_recipients)]
            try:
                content = await source()
                answers = await session.deliver(self._part(envelope, batch, deliver_by), content)
            except OSError:
                if not found:
                    raise
                return found | dict.fromkeys(indices[at:], (_UNREADABLE, None))
            finally:
                self._pool.release(session)
            if was_kept and not session.is_usable and all(map(_is_unheard, answers)):
                continue  # the host ended the session before it heard of this message: open another one
            found.update(zip(batch, ((answer, session.tls) for answer in answers), strict=True))
            at += len(batch)
        return found

    def _part(self, envelope: Envelope, batch: Sequence[int], deliver_by: float | None) -> Envelope:
        """The envelope for some of the recipients, with the time that is left now (RFC 2852 4.1.5)."""
        if len(batch) < len(envelope.rcpt_to):
            envelope = envelope.with_recipients(tuple(envelope.rcpt_to[index] for index in batch))
        if deliver_by is None or envelope.params.by is None:
            return envelope
        left_s = int(deliver_by - self._now())
        by = envelope.params.by
        if by.mode == "R":
            left_s = max(left_s, 1)
        return replace(envelope, params=replace(envelope.params, by=replace(by, seconds=left_s)))

    def terms(self, target: Target) -> Terms:
        """How a session with a target of a route is opened; equal ones are the same object."""
        hop = target.hop
        key = (hop.helo, hop.tls, hop.bind)
        terms = self._terms.get(key)
        if terms is None:
            assert hop.tls is not None, "the next hops of a route are complete"
            if len(self._terms) >= _KNOWN_TERMS:
                self._terms.clear()
            terms = self._terms[key] = Terms(
                helo=hop.helo, tls=hop.tls, bind=(hop.bind,) if hop.bind else (), timeouts=self._timeouts
            )
        return terms


_UNREADABLE: Final = Answer(
    Phase.CONTENT, text="the content could not be read", status=EnhancedStatus(4, 3, 0)
)
"""The answer for who is left, when others have the message: their answers must not be lost with it."""

_KNOWN_TERMS: Final = 1000  # picked; plugins may make up as many as they like


def _may_recover(answer: Answer) -> bool:
    """Whether the host may take the message another time: what it said was not that it never can."""
    if answer.reply is not None:
        return not answer.reply.is_permanent
    return answer.status is None or not answer.status.is_permanent


def _is_unheard(answer: Answer) -> bool:
    """Whether the host ended the session instead of hearing MAIL: by closing it, or by 421."""
    return answer.phase is Phase.MAIL and (answer.reply is None or answer.reply.code == 421)
