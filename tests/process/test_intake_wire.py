"""The envelope that a user hands over: it comes through as it was, and whatever else comes is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harakapy.process.intake_wire import MAX_RECIPIENTS, IntakeProblem, IntakeRefused, IntakeTerms, Submission
from harakapy.smtp import NULL_PATH, Address, Body, Notify, Ret

ME, ANN = Address.parse("me@example.com"), Address.parse("ann@example.org")
GOOD: dict[str, Any] = {"sender": None, "recipients": ["ann@example.org"], "size": 0}


@pytest.mark.parametrize(
    "submission",
    [
        Submission(sender=None, recipients=(ANN,), size=0),
        Submission(sender=NULL_PATH, recipients=(ANN, ME), size=1 << 40),
        Submission(
            sender=Address.parse("jürgen@bücher.example"),
            recipients=(Address.parse('"a b"@[192.0.2.1]'),),
            size=7,
            notify=frozenset({Notify.SUCCESS, Notify.DELAY}),
            ret=Ret.HDRS,
            envid="a+b=c d",
        ),
    ],
)
def test_an_envelope_comes_through_as_it_was(submission: Submission) -> None:
    line = json.dumps(submission.to_json())
    assert Submission.parse(json.loads(line)) == submission


@pytest.mark.parametrize(
    "changes",
    [
        {"recipients": []},
        {"recipients": [""]},
        {"recipients": ["<>"]},
        {"recipients": ["nobody"]},
        {"recipients": ["a@b", 5]},
        {"recipients": "a@example.org"},
        {"recipients": ["a@example.org\r\nRCPT TO:<b@example.org>"]},
        {"recipients": ["\ud800@example.org"]},
        {"recipients": ["a@example.org"] * (MAX_RECIPIENTS + 1)},
        {"sender": "me@@example.com"},
        {"sender": 5},
        {"size": -1},
        {"size": True},
        {"size": 1.5},
        {"size": None},
        {"notify": "SOMETIMES"},
        {"notify": ["NEVER"]},
        {"ret": "ALL"},
        {"envid": "a\nb"},
        {"envid": "\ud800"},
        {"envid": "x" * 101},
    ],
)
def test_a_malformed_envelope_is_refused(changes: dict[str, Any]) -> None:
    assert Submission.parse(GOOD)
    with pytest.raises(IntakeRefused) as refused:
        Submission.parse({**GOOD, **changes})
    assert refused.value.problem is IntakeProblem.REFUSED


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from([*GOOD, "notify", "ret", "envid"]), inner)
    ),
    max_leaves=10,
)


@given(raw=_JSON)
def test_whatever_comes_is_an_envelope_or_refused(raw: Any) -> None:
    with suppress(IntakeRefused):
        assert Submission.parse(raw).recipients


@pytest.mark.parametrize(
    "raw", [None, [], {}, {"terms": 5}, {"terms": {"hostname": "mx.test"}}, {"done": {"id": "1"}}]
)
def test_another_greeting_is_none(raw: Any) -> None:
    terms = IntakeTerms("mx.test", 1, 2)
    assert IntakeTerms.parse(terms.to_json()) == terms
    with pytest.raises(ValueError):
        IntakeTerms.parse(raw)


def test_each_recipient_is_in_the_envelope_once_with_what_was_asked_for() -> None:
    asked = Submission(sender=None, recipients=(ANN, ME, ANN), size=0, notify=frozenset({Notify.NEVER}))
    envelope = asked.envelope(ME, is_7bit=False)
    assert envelope.mail_from == ME
    assert [each.address for each in envelope.rcpt_to] == [ANN, ME]
    assert {each.params.notify for each in envelope.rcpt_to} == {frozenset({Notify.NEVER})}
    assert envelope.body is Body.EIGHTBITMIME
    assert not envelope.is_smtputf8
