"""What a verdict means on a hook: the reply, and the next step. One table, and no other place.

Codes and texts follow Haraka's, with enhanced status codes (RFC 3463) added and its defects left out. A
verdict's own text and code replace those of the table; its step stays.
"""

from __future__ import annotations

import enum
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import asdict

from harakapy.hooks import Action, Verdict
from harakapy.smtp import Reply


class Step(enum.Enum):
    """What happens besides the reply."""

    PROCEED = "do what was asked"
    REFUSE = "do not do it; everything else stays as it was"
    RESET = "drop the transaction"
    LOOP = "give the same reply to every later command until QUIT"
    CLOSE = "close the connection"


class Words(Struct, frozen=True):
    """What the places in a text stand for, as far as there are such places."""

    hostname: str = ""
    greeting: str = ""
    client: str = ""
    address: str = ""
    uuid: str = ""


NO_WORDS = Words()


class Outcome(Struct, frozen=True, eq=False):
    """One cell of the table, equal to itself alone. ``text`` may hold {hostname}, and the other `Words`."""

    code: int
    enhanced: str | None
    text: str
    step: Step

    def reply(self, verdict: Verdict, words: Words = NO_WORDS) -> Reply:
        """The reply for a verdict: its own text and code if it has any, else those of the table."""
        if not verdict.text and verdict.code is None:
            return _new_reply(self, words) if words.uuid else _known_reply(self, words)
        code = verdict.code or self.code
        reply = Reply.parse_text(code, verdict.text or self.filled(words))
        if reply.enhanced is None and self.enhanced is not None:
            return Reply(code, reply.lines, f"{code // 100}{self.enhanced[1:]}")
        return reply

    def filled(self, words: Words) -> str:
        """The text with the words in their places."""
        return self.text.format(**asdict(words))


def _new_reply(outcome: Outcome, words: Words) -> Reply:
    return Reply(outcome.code, outcome.filled(words), outcome.enhanced)


_known_reply = lru_cache(maxsize=1024)(_new_reply)
"""The same for those that are made again and again, as all are that have no uuid in them; each is small."""


def _denials(
    hard: tuple[int, str, str], soft: tuple[int, str, str], step: Step = Step.REFUSE
) -> dict[Action, Outcome]:
    return {
        Action.DENY: Outcome(*hard, step),
        Action.DENYSOFT: Outcome(*soft, step),
        Action.DENYDISCONNECT: Outcome(*hard, Step.CLOSE),
        Action.DENYSOFTDISCONNECT: Outcome(*soft, Step.CLOSE),
    }


def _passes(code: int, enhanced: str | None, text: str) -> dict[Action, Outcome]:
    outcome = Outcome(code, enhanced, text, Step.PROCEED)
    return {Action.OK: outcome, Action.CONT: outcome}


_RDNS_FAILED = (554, "5.7.25", "rDNS Lookup Failed")  # RFC 7372 3.3
_NOT_WELCOME = (554, "5.7.1", "Your mail is not welcome here")
_SENDER_DENIED = "sender <{address}> denied"
_RECIPIENT_DENIED = "recipient <{address}> denied"
_LOGIN_FAILED = (535, "5.7.8", "authentication credentials invalid")
_LOGIN_UNAVAILABLE = (454, "4.7.0", "Temporary authentication failure")
_UNRECOGNIZED = "Unrecognized command"
_NO_QUEUE = "No queue took the message, try again later ({uuid})"
_QUEUE: dict[Action, Outcome] = {
    Action.OK: Outcome(250, "2.0.0", "Message Queued ({uuid})", Step.PROCEED),
    Action.CONT: Outcome(451, "4.3.0", _NO_QUEUE, Step.RESET),
    **_denials(
        (550, "5.7.1", "Message denied ({uuid})"),
        (450, "4.7.1", "Message denied temporarily ({uuid})"),
        Step.RESET,
    ),
}
_RECIPIENT = {
    Action.OK: Outcome(250, "2.1.5", "recipient <{address}> OK", Step.PROCEED),
    **_denials((550, "5.7.1", _RECIPIENT_DENIED), (450, "4.7.1", _RECIPIENT_DENIED)),
}

OUTCOMES: dict[str, dict[Action, Outcome]] = {
    "lookup_rdns": {
        **_denials(_RDNS_FAILED, (421, "4.7.25", "rDNS Temporary Failure"), Step.LOOP),
        Action.DENYSOFT: Outcome(421, "4.7.25", "rDNS Temporary Failure", Step.CLOSE),
        Action.DISCONNECT: Outcome(*_RDNS_FAILED, Step.CLOSE),
    },
    "connect": {
        **_passes(220, None, "{hostname} {greeting}"),
        **_denials(_NOT_WELCOME, (421, "4.7.0", "Come back later"), Step.LOOP),
        Action.DENYSOFT: Outcome(421, "4.7.0", "Come back later", Step.CLOSE),
        Action.DISCONNECT: Outcome(*_NOT_WELCOME, Step.CLOSE),
    },
    "helo": {
        **_passes(250, None, "{hostname} Hello {client}"),
        **_denials((550, "5.7.1", "HELO denied"), (450, "4.7.1", "HELO denied")),
    },
    "ehlo": {
        **_passes(250, None, "{hostname} Hello {client}"),
        **_denials((550, "5.7.1", "EHLO denied"), (450, "4.7.1", "EHLO denied")),
    },
    "auth_secret": {Action.DENYSOFT: Outcome(*_LOGIN_UNAVAILABLE, Step.REFUSE)},
    "auth": {
        Action.OK: Outcome(235, "2.7.0", "Authentication successful", Step.PROCEED),
        Action.CONT: Outcome(*_LOGIN_FAILED, Step.REFUSE),
        **_denials(_LOGIN_FAILED, _LOGIN_UNAVAILABLE),
    },
    "unrecognized_command": {
        Action.OK: Outcome(250, "2.0.0", "OK", Step.PROCEED),
        Action.CONT: Outcome(500, "5.5.1", _UNRECOGNIZED, Step.REFUSE),
        Action.DENY: Outcome(500, "5.5.1", _UNRECOGNIZED, Step.REFUSE),
        Action.DENYSOFT: Outcome(500, "5.5.1", _UNRECOGNIZED, Step.REFUSE),
        Action.DENYDISCONNECT: Outcome(521, "5.5.1", _UNRECOGNIZED, Step.CLOSE),
        Action.DENYSOFTDISCONNECT: Outcome(421, "4.5.1", _UNRECOGNIZED, Step.CLOSE),
    },
    "vrfy": {
        Action.OK: Outcome(250, "2.1.5", "User OK", Step.PROCEED),
        Action.CONT: Outcome(
            252, "2.1.5", "Cannot verify the user, but will take mail for it and try to deliver", Step.PROCEED
        ),
        **_denials((550, "5.7.1", "Access Denied"), (450, "4.7.1", "Lookup Failed")),
    },
    "noop": {
        **_passes(250, "2.0.0", "OK"),
        **_denials((500, "5.7.1", "Stop wasting my time"), (450, "4.7.1", "Stop wasting my time")),
    },
    "quit": _passes(221, "2.0.0", "{hostname} closing connection"),
    "mail": {
        **_passes(250, "2.1.0", "sender <{address}> OK"),
        **_denials((550, "5.7.1", _SENDER_DENIED), (450, "4.7.1", _SENDER_DENIED), Step.RESET),
    },
    "rcpt": {
        **_RECIPIENT,
        Action.CONT: Outcome(550, "5.7.1", "I cannot deliver mail for <{address}>", Step.REFUSE),
    },
    "rcpt_ok": {**_RECIPIENT, Action.CONT: _RECIPIENT[Action.OK]},
    "data": {
        **_passes(354, None, "go ahead, make my day"),
        **_denials((554, "5.7.1", "Message denied"), (451, "4.7.1", "Message denied"), Step.RESET),
    },
    "data_post": _denials(
        (550, "5.7.1", "Message denied"), (450, "4.7.1", "Message denied temporarily"), Step.RESET
    ),
    "max_data_exceeded": {
        Action.CONT: Outcome(552, "5.3.4", "Message too big!", Step.RESET),
        **_denials((552, "5.3.4", "Message too big!"), (452, "4.3.4", "Message too big!"), Step.RESET),
    },
    "queue": _QUEUE,
    "queue_outbound": _QUEUE,
}
"""{hook: {action: outcome}}; ``data_post`` has no reply of its own when the mail goes on."""
