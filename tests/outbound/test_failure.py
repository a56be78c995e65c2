"""What follows from an answer."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harakapy.mail.status import EnhancedStatus
from harakapy.outbound.attempt import Answer, Phase
from harakapy.outbound.concurrency import Feedback
from harakapy.outbound.failure import RULES, Action, Judgement, Scope, judge, rule_for, sum_up
from harakapy.queue import Diagnostic
from harakapy.smtp import Reply

OPENING = (Phase.CONNECT, Phase.TLS, Phase.GREETING, Phase.HELLO)
SESSION = (*OPENING, Phase.AUTH)
TRANSACTION = (Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.CONTENT, Phase.DOT)
REQUIRETLS = EnhancedStatus(5, 7, 30)


def said(phase: Phase, code: int, text: str = "") -> Answer:
    return Answer(phase, Reply.parse_text(code, text), host="mx.example[192.0.2.1]")


def happened(phase: Phase, status: str = "") -> Answer:
    return Answer(phase, None, "it broke", EnhancedStatus.parse(status) if status else None)


def actions(answer: Answer) -> tuple[Action, Action]:
    """What is done with it while there are more hosts, and at the last one."""
    return judge(answer, has_more_hosts=True).action, judge(answer, has_more_hosts=False).action


NEXT = (Action.NEXT_HOST, Action.DEFER)
LATER = (Action.DEFER, Action.DEFER)
NEVER = (Action.FAIL, Action.FAIL)


def test_what_the_host_has_taken_is_delivered() -> None:
    judgement = judge(said(Phase.DOT, 250, "2.0.0 queued as 1"), has_more_hosts=True)
    status = EnhancedStatus(2, 0, 0)
    expected = Diagnostic("250 2.0.0 queued as 1", status, "mx.example[192.0.2.1]", is_reply=True)
    assert judgement == Judgement(Action.DELIVERED, Scope.RECIPIENT, expected, Feedback.HEALTHY)


@pytest.mark.parametrize("phase", SESSION)
@pytest.mark.parametrize("code", [421, 450, 454, 500, 535, 550, 554])
def test_a_refused_session_is_tried_at_the_next_host_and_then_later(phase: Phase, code: int) -> None:
    assert actions(said(phase, code)) == NEXT


@pytest.mark.parametrize("phase", SESSION)
@pytest.mark.parametrize("status", ["", "4.4.2", "4.5.0", "5.7.11"])
def test_a_session_that_cannot_be_had_is_tried_at_the_next_host_and_then_later(
    phase: Phase, status: str
) -> None:
    assert actions(happened(phase, status)) == NEXT


@pytest.mark.parametrize("phase", [Phase.GREETING, Phase.HELLO])
def test_a_host_that_never_takes_mail_ends_it_if_no_other_one_may(phase: Phase) -> None:
    answer = said(phase, 521)
    assert actions(answer) == (Action.NEXT_HOST, Action.FAIL)
    assert judge(answer, has_more_hosts=False, others_may_recover=True).action is Action.DEFER


def test_a_domain_without_mail_fails_at_once_and_one_without_answer_does_not() -> None:
    assert actions(happened(Phase.LOOKUP, "5.1.10")) == NEVER
    assert actions(happened(Phase.LOOKUP, "5.4.6")) == NEVER
    assert actions(happened(Phase.LOOKUP, "4.4.3")) == LATER
    assert actions(happened(Phase.LOOKUP)) == LATER


@pytest.mark.parametrize("phase", TRANSACTION)
def test_4xx_is_tried_at_the_next_host_and_then_later(phase: Phase) -> None:
    for text in ("", "4.3.1 full", "4.7.1 greylisted", "4.7.28 too fast"):
        assert actions(said(phase, 451, text)) == NEXT
    assert actions(said(phase, 421)) == NEXT


@pytest.mark.parametrize("phase", TRANSACTION)
def test_5xx_is_for_good(phase: Phase) -> None:
    judgement = judge(said(phase, 550, "5.7.1 no"), has_more_hosts=True)
    assert judgement.action is Action.FAIL
    assert judgement.scope is (Scope.RECIPIENT if phase is Phase.RCPT else Scope.MESSAGE)
    assert judgement.feedback is Feedback.HEALTHY


def test_552_for_a_recipient_means_too_many_and_for_a_message_too_large() -> None:
    many = judge(said(Phase.RCPT, 552, "5.5.3 too many"), has_more_hosts=False)
    assert many.action is Action.DEFER
    assert str(many.diagnostic.status) == "4.5.3"
    assert actions(said(Phase.RCPT, 552)) == NEXT
    assert actions(said(Phase.MAIL, 552, "5.3.4 too large")) == NEVER
    assert actions(said(Phase.DOT, 552, "5.2.2 mailbox full")) == NEVER


def test_what_may_have_been_delivered_goes_to_no_other_host() -> None:
    assert actions(happened(Phase.DOT)) == LATER
    assert actions(happened(Phase.DOT, "4.4.2")) == LATER
    assert actions(happened(Phase.DOT, "4.5.0")) == LATER
    assert actions(said(Phase.DOT, 354)) == LATER


@pytest.mark.parametrize("phase", [Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.CONTENT])
def test_a_connection_lost_before_the_dot_is_tried_at_the_next_host(phase: Phase) -> None:
    judgement = judge(happened(phase, "4.4.2"), has_more_hosts=True)
    assert (judgement.action, judgement.scope) == (Action.NEXT_HOST, Scope.SESSION)


@pytest.mark.parametrize("phase", [Phase.MAIL, Phase.RCPT, Phase.DATA])
@pytest.mark.parametrize("code", [250, 354, 503])
def test_a_session_out_of_step_means_later(phase: Phase, code: int) -> None:
    judgement = judge(said(phase, code), has_more_hosts=False)
    assert (judgement.action, judgement.scope) == (Action.DEFER, Scope.SESSION)
    assert judgement.diagnostic.status is not None
    assert judgement.diagnostic.status.is_transient


@pytest.mark.parametrize("code", [530, 535])
def test_a_missing_login_is_our_fault_and_not_the_sender_s(code: int) -> None:
    judgement = judge(said(Phase.MAIL, code, "5.7.0 log in first"), has_more_hosts=False)
    assert (judgement.action, judgement.scope) == (Action.DEFER, Scope.HOST)
    assert str(judgement.diagnostic.status) == "4.7.0"


@pytest.mark.parametrize("status", ["5.7.30", "5.6.7", "5.6.3"])
@pytest.mark.parametrize("phase", [Phase.TLS, Phase.HELLO, Phase.MAIL])
def test_what_one_host_cannot_do_another_one_may(phase: Phase, status: str) -> None:
    answer = happened(phase, status)
    assert actions(answer) == (Action.NEXT_HOST, Action.FAIL)
    assert judge(answer, has_more_hosts=False, others_may_recover=True).action is Action.DEFER


def test_tls_that_a_sender_does_not_trust_may_be_better_at_another_host() -> None:
    answer = happened(Phase.TLS, "5.7.10")
    assert actions(answer) == (Action.NEXT_HOST, Action.FAIL)
    assert judge(answer, has_more_hosts=False, others_may_recover=True).action is Action.DEFER


def test_a_message_that_is_too_large_for_a_host_fails() -> None:
    judgement = judge(happened(Phase.MAIL, "5.3.4"), has_more_hosts=True, others_may_recover=True)
    assert judgement.action is Action.FAIL
    assert not judgement.diagnostic.is_reply


@pytest.mark.parametrize(
    ("answer", "feedback"),
    [
        (happened(Phase.LOOKUP), Feedback.DEAD),
        (happened(Phase.LOOKUP, "5.1.10"), Feedback.NOTHING),
        (happened(Phase.CONNECT), Feedback.DEAD),
        (said(Phase.GREETING, 554), Feedback.DEAD),
        (said(Phase.GREETING, 421), Feedback.BUSY),
        (said(Phase.AUTH, 535), Feedback.DEAD),
        (happened(Phase.CONTENT), Feedback.BUSY),
        (said(Phase.MAIL, 451), Feedback.BUSY),
        (said(Phase.MAIL, 451, "4.7.1 greylisted"), Feedback.HEALTHY),
        (said(Phase.DOT, 451, "4.3.0 busy"), Feedback.BUSY),
        (said(Phase.RCPT, 450), Feedback.HEALTHY),
        (said(Phase.RCPT, 452, "4.3.1 full"), Feedback.BUSY),
        (said(Phase.RCPT, 450, "4.7.28 too fast"), Feedback.BUSY),
        (said(Phase.RCPT, 421), Feedback.BUSY),
        (said(Phase.RCPT, 550), Feedback.HEALTHY),
    ],
)
def test_an_answer_tells_how_the_destination_is(answer: Answer, feedback: Feedback) -> None:
    assert judge(answer, has_more_hosts=False).feedback is feedback


@pytest.mark.parametrize(
    ("answers", "feedback"),
    [
        ([], Feedback.NOTHING),
        ([happened(Phase.CONNECT)], Feedback.DEAD),
        ([said(Phase.RCPT, 550), happened(Phase.CONNECT)], Feedback.HEALTHY),
        ([said(Phase.DOT, 250), said(Phase.RCPT, 421)], Feedback.BUSY),
    ],
)
def test_the_answers_for_all_recipients_make_one_feedback(answers: list[Answer], feedback: Feedback) -> None:
    assert sum_up(judge(each, has_more_hosts=False) for each in answers) is feedback


def test_a_reply_without_a_status_gets_one() -> None:
    answers = [said(Phase.RCPT, 550), said(Phase.MAIL, 421), said(Phase.RCPT, 556), happened(Phase.CONNECT)]
    statuses = [str(judge(each, has_more_hosts=False).diagnostic.status) for each in answers]
    assert statuses == ["5.0.0", "4.3.2", "5.1.10", "4.4.1"]


def test_a_status_with_leading_zeros_is_read() -> None:
    assert str(judge(said(Phase.RCPT, 550, "5.01.001 no"), has_more_hosts=False).diagnostic.status) == "5.1.1"


def test_an_endless_reply_is_cut() -> None:
    text = judge(said(Phase.RCPT, 550, "x\n" * 20_000), has_more_hosts=False).diagnostic.text
    assert len(text) == 1000
    assert text.endswith("...")


def test_what_a_stranger_said_is_safe_to_print() -> None:
    text = judge(said(Phase.RCPT, 550, "a\x1b[2J\u2028b\x00"), has_more_hosts=False).diagnostic.text
    assert text.isprintable()


def test_what_happened_has_words_even_if_nobody_gave_any() -> None:
    diagnostic = judge(Answer(Phase.GREETING), has_more_hosts=False).diagnostic
    assert diagnostic.text == "it failed while waiting for the greeting"


def test_every_rule_is_used_and_has_its_source() -> None:
    used = {rule_for(answer) for answer in every_answer()}
    assert [rule.source for rule in RULES if rule not in used] == []
    assert all(rule.source for rule in RULES)


def every_answer() -> list[Answer]:
    texts = ["", "3.1", "7.28", "7.1", "5.0"]
    codes = [250, 354, 421, 451, 503, 521, 530, 552, 550]
    replies = [
        said(phase, code, f"{code // 100}.{text} x" if text else "x")
        for phase, code, text in product(Phase, codes, texts)
    ]
    statuses = ["", "4.4.2", "5.3.4", "5.7.30", "5.7.10", "5.1.10"]
    return replies + [happened(phase, status) for phase in Phase for status in statuses]


ANSWERS = st.builds(
    Answer,
    st.sampled_from(Phase),
    st.none()
    | st.builds(
        Reply.parse_text, st.integers(200, 599), st.text(max_size=30) | st.just("5.7.1 x\n4.07.28 y")
    ),
    st.just("what happened"),
    st.none() | st.builds(EnhancedStatus, st.sampled_from([4, 5]), st.integers(0, 10), st.integers(0, 30)),
)


@given(ANSWERS, st.booleans(), st.booleans())
def test_every_answer_is_judged_and_unknown_is_never_final(answer: Answer, more: bool, others: bool) -> None:
    judgement = judge(answer, has_more_hosts=more, others_may_recover=others)
    status = judgement.diagnostic.status
    assert status is not None
    assert (judgement.action is Action.DELIVERED) == answer.is_delivered == status.is_success
    assert (judgement.action is Action.FAIL) == status.is_permanent
    if judgement.action is Action.NEXT_HOST:
        assert more
    if judgement.action is Action.FAIL:
        is_permanent = answer.status if answer.reply is None else answer.reply
        assert is_permanent is not None
        assert is_permanent.is_permanent
