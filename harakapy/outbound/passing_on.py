"""Passing a message on while its client waits, and answering with what the next servers said.

A client gets one answer for a message, and the next servers may give a different one for each recipient. So
that no mail is lost and none comes twice:

* As long as nobody has taken the message, nothing is ours, and the client reads why: a temporary refusal if
  it is one for any recipient, so that it comes again for all of them; else a permanent one.
* Once it was taken for one recipient, the client must not send it again: it reads 250, and we keep what is
  left. What was put off goes to the queue and is tried from there; what was refused is reported.

A copy too many remains possible where it is everywhere in SMTP (RFC 1047): when we end, or cannot write down
what is left, between the answer of the next server and ours; and when the next server takes longer than we
may wait, and takes the message all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import trio
from msgspec import Struct, field

from harakapy.hooks import DENY, DENYSOFT, OK, Verdict
from harakapy.mail.envelope import Envelope, Recipient
from harakapy.mail.safe_text import neutralise
from harakapy.mail.status import EnhancedStatus
from harakapy.outbound.attempt import Answer, Phase
from harakapy.outbound.courier import Ending
from harakapy.outbound.enqueue import envelope_of
from harakapy.outbound.failure import Scope, judge
from harakapy.outbound.hop import NextHop, Protocol
from harakapy.outbound.reports import wants_relay
from harakapy.queue import StoreError, StoreFull
from harakapy.smtp import Address
from harakapy.smtp.parameters import Notify

if TYPE_CHECKING:
    from harakapy.inbound.connection import Connection
    from harakapy.outbound.service import Outbound

__all__ = ["Way", "pass_on", "reserve_s"]

_NO_ROOM: Final = DENYSOFT("4.3.1 Insufficient system storage, try again later", code=452)
_UNAVAILABLE: Final = DENYSOFT("4.3.0 The queue takes no mail now, try again later", code=451)

_NO_ANSWER: Final = Answer(
    Phase.DOT, text="the next server did not answer in time", status=EnhancedStatus(4, 4, 1)
)
_SOFT_CODES: Final = frozenset({450, 451, 452, 455})
_HARD_CODES: Final = frozenset({550, 551, 552, 553, 554, 555, 556})
"""Codes that may be said about a message (RFC 5321 4.3.2) and neither close nor blame the connection."""

_ABOUT_MAIL: Final = frozenset({Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.CONTENT, Phase.DOT})
_UNREACHED: Final = "The next server cannot be reached, try again later"
_RESERVED: Final = 0.2
_MAX_RESERVED_S: Final = 15.0
"""What is left of the commit timeout for our queue; picked: a disk that takes longer is broken."""

MAX_LINES: Final = 10  # of one answer; picked: enough to see what is wrong
MAX_TEXT: Final = 400  # characters of a next server's text in it; a line of a reply has 512 octets


class Way(Struct, frozen=True):
    """Some recipients of a message, and the next hops to hand it to for them, in their order.

    Without next hops it is not handed over but goes to the queue for them, if others have taken it.
    ``is_one_by_one`` sends each of the recipients a message of its own.
    """

    recipients: tuple[Address, ...]
    to: tuple[NextHop, ...] = ()
    is_one_by_one: bool = False


class _Trial(Struct):
    """How handing over ended, for the recipients of one way: None as long as it has not."""

    way: Way
    recipients: tuple[Recipient, ...]
    endings: list[Ending | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.endings = [None] * len(self.recipients)


class Part(Struct):
    """Recipients of whom a message of the queue can consist, with how handing over ended, if it was tried."""

    recipients: list[Recipient] = field(default_factory=list)
    endings: list[Ending | None] = field(default_factory=list)

    @property
    def domains(self) -> frozenset[str]:
        """Where they are."""
        return frozenset(recipient.address.host for recipient in self.recipients)


def reserve_s(timeout_s: float) -> float:
    """How much of the commit timeout next hops cannot have."""
    return min(timeout_s * _RESERVED, _MAX_RESERVED_S)


async def pass_on(
    outbound: Outbound, connection: Connection, ways: Sequence[Way], *, timeout_s: float
) -> Verdict:
    """Hand the message of the transaction over, keep what must be kept; the verdict for the client.

    Raises ValueError if a recipient is in none of the ways, or in two: its mail would be lost, or doubled.
    """
    transaction = connection.transaction
    assert transaction is not None, "mail is passed on within a transaction"
    envelope = envelope_of(transaction)
    trials = [_trial(way, envelope) for way in ways]
    if sorted(str(each) for trial in trials for each in trial.recipients) != sorted(
        map(str, envelope.rcpt_to)
    ):
        raise ValueError("each recipient must be in one of the ways, and in no other one")
    try:
        await outbound.open()  # the queue, without which nothing could be kept
        if not _is_held(envelope):
            await _try_all(outbound, connection, trials, timeout_s)
            if not any(_is_taken(ending) for trial in trials for ending in trial.endings):
                return _denial(trials)
        parts = _parts(trials, envelope)
        for number, part in enumerate(parts):
            uuid = f"{transaction.uuid}.{number}" if number else transaction.uuid
            left = envelope.with_recipients(tuple(part.recipients))
            await outbound.keep(uuid, left, transaction.content, part.endings, notes=transaction.notes)
    except StoreFull:
        return _NO_ROOM
    except StoreError as error:
        connection.log.error("the queue takes no mail", problem=str(error))
        return _UNAVAILABLE
    kept = sum(len(part.recipients) for part in parts)
    return _acceptance(trials, transaction.uuid, kept=kept)


def _trial(way: Way, envelope: Envelope) -> _Trial:
    wanted = frozenset(way.recipients)
    return _Trial(way, tuple(each for each in envelope.rcpt_to if each.address in wanted))


def _is_held(envelope: Envelope) -> bool:
    """Whether the sender wants the message to wait (RFC 4865): then the queue is where it does."""
    return bool(envelope.params.hold_for or envelope.params.hold_until)


async def _try_all(
    outbound: Outbound, connection: Connection, trials: Sequence[_Trial], timeout_s: float
) -> None:
    """Hand over on all ways at the same time; what has no ending when time is up, was put off."""
    begun = [trial for trial in trials if trial.way.to]
    with trio.move_on_after(timeout_s):
        async with trio.open_nursery() as nursery:
            for trial in begun:
                nursery.start_soon(_try, outbound, connection, trial)
    nothing = Ending(judge(_NO_ANSWER, has_more_hosts=False), _NO_ANSWER)
    for trial in begun:
        trial.endings = [ending or nothing for ending in trial.endings]


async def _try(outbound: Outbound, connection: Connection, trial: _Trial) -> None:
    try:
        await _hand_over(outbound, connection, trial)
    except (StoreError, OSError, ValueError) as error:  # what others have taken by now counts all the same
        connection.log.error("message not handed over", problem=str(error))


async def _hand_over(outbound: Outbound, connection: Connection, trial: _Trial) -> None:
    addresses = [recipient.address for recipient in trial.recipients]
    if not trial.way.is_one_by_one:
        trial.endings = list(await outbound.hand_over(connection, trial.way.to, recipients=addresses))
        return
    for index, address in enumerate(addresses):
        [ending] = await outbound.hand_over(connection, trial.way.to, recipients=[address])
        trial.endings[index] = ending
        if ending.judgement.scope in (Scope.HOST, Scope.SESSION):
            # No host can be reached: the others need not wait for that each by itself.
            trial.endings[index + 1 :] = [ending] * (len(addresses) - index - 1)
            return


def _is_taken(ending: Ending | None) -> bool:
    return ending is not None and ending.is_delivered


def _parts(trials: Sequence[_Trial], envelope: Envelope) -> list[Part]:
    """What is to be kept, in as few messages as can be: one attempt has one way for all of a domain."""
    parts: list[Part] = []
    for trial in trials:
        left = Part()
        for recipient, ending in zip(trial.recipients, trial.endings, strict=True):
            if not _is_taken(ending) or _is_report_due(recipient, ending, envelope):
                left.recipients.append(recipient)
                left.endings.append(ending)
        if not left.recipients:
            continue
        for part in parts:
            if part.domains.isdisjoint(left.domains):
                part.recipients += left.recipients
                part.endings += left.endings
                break
        else:
            parts.append(left)
    return parts


def _is_report_due(recipient: Recipient, ending: Ending | None, envelope: Envelope) -> bool:
    """Whether we are to report a success (RFC 3461 5.2.2), or that it was relayed (RFC 2852 4.1.4)."""
    if ending is None or envelope.mail_from.is_null:
        return False
    answer, target = ending.answer, ending.target
    if Notify.SUCCESS in recipient.notify and not answer.is_dsn_passed_on:
        return True
    is_final = target is not None and target.hop.protocol is Protocol.LMTP
    return not is_final and wants_relay(
        envelope.params.by, recipient, is_time_passed_on=answer.is_time_passed_on
    )


# The answer to the client.


def _acceptance(trials: Sequence[_Trial], uuid: str, *, kept: int) -> Verdict:
    replies = {ending.answer.reply for trial in trials for ending in trial.endings if ending is not None}
    if len(replies) == 1 and not any(ending is None for trial in trials for ending in trial.endings):
        [reply] = replies
        assert reply is not None, "who took the message said so"
        return OK(f"2.0.0 {_shortened(reply.text)}")
    if kept:
        number = sum(len(trial.recipients) for trial in trials)
        what = f"for {kept} of {number} recipients it is queued or will be reported"
        return OK(f"2.0.0 Message taken; {what} ({uuid})")
    return OK(f"2.0.0 Message taken for all recipients ({uuid})")


def _denial(trials: Sequence[_Trial]) -> Verdict:
    """The answer where nobody took the message."""
    refused = [
        (recipient, ending)
        for trial in trials
        for recipient, ending in zip(trial.recipients, trial.endings, strict=True)
        if ending is not None
    ]
    put_off = [each for each in refused if not each[1].is_refused]
    told = put_off or refused
    ending = told[0][1]
    reply = ending.answer.reply
    codes, usual = (_SOFT_CODES, 451) if put_off else (_HARD_CODES, 550)
    code = reply.code if reply is not None and reply.code in codes else usual
    texts = list(dict.fromkeys(_text(ending) for _, ending in told))
    if len(texts) > 1:
        texts = list(dict.fromkeys(f"<{recipient}> {_text(ending)}" for recipient, ending in told))
    status = ending.judgement.diagnostic.status
    assert status is not None, "a judgement always has one"
    verdict = DENYSOFT if put_off else DENY
    return verdict("\n".join([f"{status} {texts[0]}", *texts[1:MAX_LINES]]), code=code)


def _text(ending: Ending) -> str:
    """What the client may read: what was said about its mail, but not how our connections fare."""
    answer = ending.answer
    if answer.phase not in _ABOUT_MAIL:
        return "The next server takes no mail" if ending.is_refused else _UNREACHED
    if answer.reply is not None:
        return _shortened(answer.reply.text)
    status = answer.status
    if status is not None and status.is_permanent:
        return _shortened(answer.text)
    return "The next server did not answer, try again later"


def _shortened(text: str) -> str:
    text = neutralise(" ".join(text.split()))
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 3]}..."
