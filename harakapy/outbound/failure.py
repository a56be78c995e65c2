"""What follows from an answer: all failure policy of the sending side.

An answer is looked up in one table, `RULES`, from the top; the first rule that fits counts. A rule says what
is to blame, what to do while there are more hosts, what to do when this was the last one, and what it tells
about the destination. So what happens to mail is read from that page, and is changed there.

The principles: only a recipient's own 5xx, or a message's, ends its delivery; what is wrong with a host is
tried at the next one, and later if there is none; what nobody understands means later; and what may have been
delivered already is never sent to another host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple

from msgspec import Struct

from harakapy.mail.safe_text import neutralise
from harakapy.mail.status import (
    ADDRESS_NOT_ASCII,
    CONNECTION_LOST,
    CONVERSION_NEEDED,
    DNS_FAILED,
    ENCRYPTION_NEEDED,
    NO_ANSWER,
    REQUIRETLS_FAILED,
    EnhancedStatus,
)
from harakapy.outbound.attempt import Answer, Phase
from harakapy.outbound.concurrency import Feedback
from harakapy.queue.delivery import Diagnostic

__all__ = ["RULES", "Action", "Judgement", "Rule", "Scope", "judge", "rule_for", "sum_up"]

_MAX_TEXT: Final = 1000
"""Characters of a reply that are kept: it is stored with each recipient, and may have been 64 KiB."""


class Action(Enum):
    """What to do with the delivery."""

    DELIVERED = "delivered"
    NEXT_HOST = "try the next host now"
    DEFER = "try again later"
    FAIL = "give up"


class Scope(Enum):
    """What an answer is about, and so for whom else it holds."""

    SESSION = "this session, which is of no further use"
    HOST = "this host: everything that would go there"
    MESSAGE = "this message: all its recipients"
    RECIPIENT = "this recipient alone"


class Judgement(Struct, frozen=True):
    """What follows from one answer for one recipient."""

    action: Action
    scope: Scope
    diagnostic: Diagnostic
    feedback: Feedback
    """What the answer tells about the destination, if it was the last one of the attempt."""


class _Kind(Enum):
    """What sort of answer it is."""

    NONE = "no reply: the connection failed, or we did"
    OWN = "no reply: we know that this host can never take it"
    POSITIVE = "2xx"
    INTERMEDIATE = "3xx"
    TRANSIENT = "4xx"
    PERMANENT = "5xx"


class _Case(NamedTuple):
    """An answer as the rules see it."""

    phase: Phase
    kind: _Kind
    code: int
    status: EnhancedStatus | None


class Rule(NamedTuple):
    """One line of the policy."""

    phases: frozenset[Phase]
    fits: Callable[[_Case], bool]
    scope: Scope
    next: Action
    """While there are more hosts."""
    last: Action
    """When this was the last one."""
    feedback: Feedback
    source: str
    """Where it is from, or why."""


def _kind(*kinds: _Kind) -> Callable[[_Case], bool]:
    return lambda case: case.kind in kinds


def _code(*codes: int) -> Callable[[_Case], bool]:
    return lambda case: case.code in codes


def _own(*statuses: EnhancedStatus) -> Callable[[_Case], bool]:
    return lambda case: case.kind is _Kind.OWN and case.status in statuses


def _reply_with(kind: _Kind, *reasons: tuple[int, int | None]) -> Callable[[_Case], bool]:
    """Such a reply, with one of these subjects and details; None stands for every detail."""

    def fits(case: _Case) -> bool:
        status = case.status
        if case.kind is not kind or status is None:
            return False
        return (status.subject, status.detail) in reasons or (status.subject, None) in reasons

    return fits


def _any(case: _Case) -> bool:
    return True


_ALL: Final = frozenset(Phase)
_LOOKUP: Final = frozenset({Phase.LOOKUP})
_TLS: Final = frozenset({Phase.TLS})
_OPENING: Final = frozenset({Phase.CONNECT, Phase.TLS, Phase.GREETING, Phase.HELLO})
_AUTH: Final = frozenset({Phase.AUTH})
_RCPT: Final = frozenset({Phase.RCPT})
_DOT: Final = frozenset({Phase.DOT})
_MESSAGE: Final = frozenset({Phase.MAIL, Phase.DATA, Phase.CONTENT, Phase.DOT})
_TRANSACTION: Final = _MESSAGE | _RCPT

_NONE, _OWN, _POSITIVE, _INTERMEDIATE = _Kind.NONE, _Kind.OWN, _Kind.POSITIVE, _Kind.INTERMEDIATE
_4XX, _5XX = _Kind.TRANSIENT, _Kind.PERMANENT
_SESSION, _HOST, _MAIL, _TO = Scope.SESSION, Scope.HOST, Scope.MESSAGE, Scope.RECIPIENT
_OK, _NEXT, _LATER, _NEVER = Action.DELIVERED, Action.NEXT_HOST, Action.DEFER, Action.FAIL
_WELL, _BUSY, _DEAD, _NIL = Feedback.HEALTHY, Feedback.BUSY, Feedback.DEAD, Feedback.NOTHING

_PER_HOST: Final = _own(REQUIRETLS_FAILED, ADDRESS_NOT_ASCII, CONVERSION_NEEDED)
_WANTS_PATIENCE: Final = _reply_with(_4XX, (3, None), (4, None), (7, 28))  # its system, its network, too much
_IS_ABOUT_MAIL: Final = _reply_with(_4XX, (1, None), (2, None), (6, None), (7, None))

# fmt: off
RULES: Final = (
    Rule(_DOT, _kind(_POSITIVE), _TO, _OK, _OK, _WELL, "RFC 5321 4.2.5: it is theirs now"),

    # Whatever was being done.
    Rule(_ALL, _PER_HOST, _MAIL, _NEXT, _NEVER, _WELL, "RFC 8689 4.2.1, RFC 6531 3.2, RFC 3030 3"),
    Rule(_TLS, _own(ENCRYPTION_NEEDED), _MAIL, _NEXT, _NEVER, _WELL, "RFC 8689 4.2.1: its sender forbids it"),
    Rule(_DOT, _kind(_NONE, _INTERMEDIATE), _SESSION, _LATER, _LATER, _BUSY, "RFC 1047: it may be delivered"),
    Rule(_ALL, _code(421), _SESSION, _NEXT, _LATER, _BUSY, "RFC 5321 3.8: it closes the session"),
    Rule(_ALL, _kind(_POSITIVE, _INTERMEDIATE), _SESSION, _NEXT, _LATER, _BUSY, "out of step: means later"),

    # No host yet.
    Rule(_LOOKUP, _kind(_OWN), _TO, _NEVER, _NEVER, _NIL, "RFC 7505, RFC 5321 5.1: there is none"),
    Rule(_LOOKUP, _any, _HOST, _LATER, _LATER, _DEAD, "RFC 5321 5.1: no answer of DNS is no answer"),

    # No session yet: nobody's mail is to blame.
    Rule(_OPENING, _code(521), _HOST, _NEXT, _NEVER, _NIL, "RFC 7504 4: it never takes mail; others may"),
    Rule(_OPENING, _kind(_4XX), _HOST, _NEXT, _LATER, _BUSY, "RFC 5321 5.1: the next host, then later"),
    Rule(_OPENING, _any, _HOST, _NEXT, _LATER, _DEAD, "the same; a 5xx here may be for our address, or pass"),
    Rule(_AUTH, _kind(_4XX), _HOST, _NEXT, _LATER, _BUSY, "RFC 4954 6"),
    Rule(_AUTH, _any, _HOST, _NEXT, _LATER, _DEAD, "our configuration is to blame, and can be mended"),

    # The connection failed before the host could have taken the message.
    Rule(_TRANSACTION, _kind(_NONE), _SESSION, _NEXT, _LATER, _BUSY, "RFC 5321 4.5.4.1; garbled replies too"),
    Rule(_TRANSACTION, _kind(_OWN), _MAIL, _NEVER, _NEVER, _WELL, "too large (RFC 1870 6.1), and such"),

    # Replies that do not mean what their class says.
    Rule(_RCPT, _code(552), _TO, _NEXT, _LATER, _WELL, "RFC 5321 4.5.3.1.10: is 452, too many recipients"),
    Rule(_TRANSACTION, _code(503), _SESSION, _NEXT, _LATER, _BUSY, "out of step: means later"),
    Rule(_TRANSACTION, _code(530, 534, 535, 538), _HOST, _NEXT, _LATER, _DEAD, "RFC 4954 6: as for AUTH"),

    # 4xx: another host may know better, otherwise later.
    Rule(_RCPT, _WANTS_PATIENCE, _TO, _NEXT, _LATER, _BUSY, "RFC 5321 4.2.1; the status says busy"),
    Rule(_RCPT, _kind(_4XX), _TO, _NEXT, _LATER, _WELL, "RFC 5321 4.2.1; greylisting is no overload"),
    Rule(_MESSAGE, _WANTS_PATIENCE, _MAIL, _NEXT, _LATER, _BUSY, "RFC 5321 4.2.1"),
    Rule(_MESSAGE, _IS_ABOUT_MAIL, _MAIL, _NEXT, _LATER, _WELL, "RFC 5321 4.2.1; about this mail alone"),
    Rule(_MESSAGE, _kind(_4XX), _MAIL, _NEXT, _LATER, _BUSY, "RFC 5321 4.2.1"),

    # 5xx: never, at no host.
    Rule(_RCPT, _kind(_5XX), _TO, _NEVER, _NEVER, _WELL, "RFC 5321 4.2.1"),
    Rule(_MESSAGE, _kind(_5XX), _MAIL, _NEVER, _NEVER, _WELL, "RFC 5321 4.2.1"),
)
# fmt: on

_UNSAID: Final = {
    Phase.LOOKUP: DNS_FAILED,
    Phase.CONNECT: NO_ANSWER,
}
"""The status of an answer that has none: what the phase suggests, or that the connection was lost."""

_UNSAID_BY_CODE: Final = {
    421: EnhancedStatus(4, 3, 2),  # RFC 5321 4.2.2: service not available
    521: EnhancedStatus(5, 3, 2),  # RFC 7504 5
    552: EnhancedStatus(4, 5, 3),
    556: EnhancedStatus(5, 1, 10),  # RFC 7504 5
}


def judge(answer: Answer, *, has_more_hosts: bool, others_may_recover: bool = False) -> Judgement:
    """What follows from an answer.

    ``has_more_hosts``: there is another one that was not tried in this attempt. ``others_may_recover``:
    some host failed for now in this attempt; then nothing fails because of what the last host cannot do.
    """
    case = _case(answer)
    rule = _rule(case)
    action = rule.next if has_more_hosts else rule.last
    if action is _NEVER and rule.next is _NEXT and others_may_recover:
        action = _LATER
    return Judgement(action, rule.scope, _diagnostic(answer, case, action), rule.feedback)


def sum_up(judgements: Iterable[Judgement]) -> Feedback:
    """What a delivery tells about its destination: from the final judgement of each recipient.

    One that was busy counts, though others were served; one that worked counts more than others that were
    not reached.
    """
    heard = [judgement.feedback for judgement in judgements]
    return next((feedback for feedback in (_BUSY, _WELL, _DEAD) if feedback in heard), _NIL)


def rule_for(answer: Answer) -> Rule:
    """The rule that an answer falls under."""
    return _rule(_case(answer))


def _rule(case: _Case) -> Rule:
    return next(rule for rule in RULES if case.phase in rule.phases and rule.fits(case))


def _case(answer: Answer) -> _Case:
    reply = answer.reply
    if reply is None:
        status = answer.status
        kind = _OWN if status is not None and status.is_permanent else _NONE
        return _Case(answer.phase, kind, 0, status)
    if reply.is_positive:
        kind = _POSITIVE
    elif reply.is_intermediate:
        kind = _INTERMEDIATE
    else:
        kind = _4XX if reply.is_transient else _5XX
    return _Case(answer.phase, kind, reply.code, _status_of(reply.enhanced))


@lru_cache(maxsize=256)  # hosts say the same few again and again
def _status_of(enhanced: str | None) -> EnhancedStatus | None:
    if enhanced is None:
        return None
    category, subject, detail = map(int, enhanced.split("."))  # 5.07.001 is seen, though it is malformed
    return EnhancedStatus(category, subject, detail)


def _diagnostic(answer: Answer, case: _Case, action: Action) -> Diagnostic:
    """The answer for the queue and for reports, with a status whose class is what becomes of it."""
    is_reply = answer.reply is not None
    text = str(answer.reply) if is_reply else answer.text or f"it failed while {answer.phase.value}"
    text = neutralise(text)
    if len(text) > _MAX_TEXT:
        text = text[: _MAX_TEXT - 3] + "..."
    status = case.status or _unsaid(case)
    category = 2 if action is _OK else 5 if action is _NEVER else 4
    if status.category != category:
        status = status.with_category(category)
    return Diagnostic(text, status, answer.host, is_reply)


def _unsaid(case: _Case) -> EnhancedStatus:
    if case.code:
        return _UNSAID_BY_CODE.get(case.code) or EnhancedStatus(_category(case.code), 0, 0)
    return _UNSAID.get(case.phase, CONNECTION_LOST)


def _category(code: int) -> int:
    return 4 if code // 100 == 3 else code // 100
