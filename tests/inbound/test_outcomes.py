"""The table of outcomes, and the manual that promises its replies."""

import re

import pytest

from harakapy.hooks import CONT, DENY, DENYSOFT, OK, Action, HookSpec, Kind, hook_specs
from harakapy.hooks.manual import read_manual
from harakapy.inbound import OUTCOMES, Step
from harakapy.inbound.outcomes import Words
from harakapy.smtp import Reply

SPECS = hook_specs()
AB = Words(address="a@b")
PROMISE = re.compile(r"(\d{3}) (?:(\d\.\d+\.\d+) )?([^;]+?)(?:\.|; (.*))?")

STEP_WORDS = {
    Step.CLOSE: "closes.",
    Step.RESET: "ends the transaction.",
    Step.LOOP: "and the same to every later command until QUIT.",
}


@pytest.mark.parametrize("hook", OUTCOMES)
def test_every_verdict_that_a_hook_accepts_has_an_outcome(hook: str) -> None:
    accepted = set(SPECS[hook].accepts) - {Action.HOOK_NEXT}
    if SPECS[hook].kind is Kind.FIND:
        accepted -= {Action.OK, Action.CONT}  # a value is not a reply
    if hook == "data_post":
        accepted -= {Action.OK, Action.CONT}  # the mail goes on to be queued
    assert accepted == set(OUTCOMES[hook])


def _promises() -> list[tuple[HookSpec, Action, str]]:
    found = []
    for hook in OUTCOMES:
        for name, meaning in read_manual(SPECS[hook].manual).answers:
            if name in Action.__members__ and re.match(r"\d{3} ", meaning):
                found.append((SPECS[hook], Action[name], meaning))
    return found


def _name(part: HookSpec | Action | str) -> str:
    """What does not depend on the order of a set, or the workers of a parallel run disagree."""
    return part if isinstance(part, str) else part.name


@pytest.mark.parametrize(("spec", "action", "meaning"), _promises(), ids=_name)
def test_the_manual_gives_the_replies_of_the_table(spec: HookSpec, action: Action, meaning: str) -> None:
    outcome = OUTCOMES[spec.name][action]
    promise = PROMISE.fullmatch(meaning)
    assert promise is not None, meaning
    code, enhanced, text, rest = promise.groups()
    assert (int(code), enhanced) == (outcome.code, outcome.enhanced)
    if not text.startswith(f"{outcome.text}, and the capabilities"):
        assert text == outcome.text
    if outcome.step in STEP_WORDS:
        assert rest == STEP_WORDS[outcome.step]
    else:
        assert rest not in STEP_WORDS.values()


def test_a_verdicts_own_text_replaces_that_of_the_table() -> None:
    outcome = OUTCOMES["rcpt"][Action.DENY]
    assert outcome.reply(DENY("5.1.1 nobody here"), AB) == Reply(550, "nobody here", "5.1.1")


def test_a_text_without_enhanced_code_gets_that_of_the_table() -> None:
    outcome = OUTCOMES["rcpt"][Action.DENY]
    assert outcome.reply(DENY("go away"), AB) == Reply(550, "go away", "5.7.1")


def test_a_verdicts_own_code_replaces_that_of_the_table() -> None:
    outcome = OUTCOMES["mail"][Action.DENYSOFT]
    assert outcome.reply(DENYSOFT("busy", code=451), AB) == Reply(451, "busy", "4.7.1")
    assert outcome.reply(DENYSOFT(code=421), AB) == Reply(421, "sender <a@b> denied", "4.7.1")


def test_a_verdict_of_several_lines_gives_a_reply_of_several_lines() -> None:
    reply = OUTCOMES["mail"][Action.DENY].reply(DENY("5.7.1 no", "and no again"), AB)
    assert reply.encode() == b"550-5.7.1 no\r\n550 5.7.1 and no again\r\n"


def test_a_strangers_text_cannot_begin_a_line_of_its_own() -> None:
    reply = OUTCOMES["mail"][Action.DENY].reply(DENY("no\r\n250 yes"), AB)
    assert reply.encode() == b"550-5.7.1 no\r\n550 5.7.1 250 yes\r\n"


def test_bare_verdicts_get_the_reply_of_the_table() -> None:
    assert OUTCOMES["rcpt"][Action.OK].reply(OK, AB) == Reply(250, "recipient <a@b> OK", "2.1.5")
    assert OUTCOMES["noop"][Action.CONT].reply(CONT) == Reply(250, "OK", "2.0.0")
