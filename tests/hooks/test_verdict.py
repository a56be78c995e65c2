import pytest

from harakapy.hooks import (
    CONT,
    DELAY,
    DENY,
    DENYDISCONNECT,
    DENYSOFT,
    DENYSOFTDISCONNECT,
    DISCONNECT,
    HOOK_NEXT,
    NEXT_HOOK,
    OK,
    Action,
    Verdict,
)
from harakapy.smtp import Reply

DENIALS = (DENY, DENYSOFT, DENYDISCONNECT, DENYSOFTDISCONNECT)


def test_a_bare_verdict_has_no_reply_of_its_own() -> None:
    assert (DENY.action, DENY.text, DENY.code, DENY.value) == (Action.DENY, "", None, None)


def test_there_is_a_name_for_every_action() -> None:
    named = (CONT, OK, *DENIALS, DISCONNECT, HOOK_NEXT, DELAY)
    assert {verdict.action for verdict in named} == set(Action)


def test_hook_next_has_two_names() -> None:
    assert NEXT_HOOK is HOOK_NEXT


def test_calling_a_verdict_gives_it_a_text_and_leaves_the_name_alone() -> None:
    assert DENY("5.7.1 not here") == Verdict(Action.DENY, "5.7.1 not here")
    assert DENY.text == ""


def test_several_texts_make_several_lines() -> None:
    assert DENY("one", "two").text == DENY("one\ntwo").text == "one\ntwo"


def test_a_code_of_its_own_must_say_what_the_verdict_says() -> None:
    assert DENYSOFT("come later", code=452).code == 452
    assert OK("go on", code=334).code == 334
    for verdict, code in [(DENY, 250), (DENY, 450), (DENYSOFT, 550), (OK, 550), (DISCONNECT, 220)]:
        with pytest.raises(ValueError, match=rf"^{verdict.action.name} takes a .* reply code, not {code}$"):
            verdict("text", code=code)


def test_a_whole_reply_is_taken_apart() -> None:
    verdict = DENY(Reply(554, ["go away", "please"], "5.7.1"))
    assert (verdict.text, verdict.code) == ("5.7.1 go away\nplease", 554)
    assert DENY(Reply(554, "go away")).text == "go away"
    assert Reply.parse_text(554, verdict.text) == Reply(554, ["go away", "please"], "5.7.1")


def test_a_reply_must_say_what_the_verdict_says() -> None:
    with pytest.raises(ValueError, match="DENY takes a 5xx reply code, not 250"):
        DENY(Reply(250, "welcome"))


def test_a_value_stands_in_the_place_of_the_text() -> None:
    hops = ["mx.example"]
    assert DELAY(90).value == 90
    assert OK(hops).value is hops
    assert OK(value="mx.example").value == "mx.example"


@pytest.mark.parametrize("denial", DENIALS)
def test_a_denial_takes_no_value(denial: Verdict) -> None:
    with pytest.raises(TypeError, match=f"^{denial.action.name} takes texts or a Reply, not a list$"):
        denial(["not here", "nor there"])
    assert denial(None) == denial


def test_denials_are_known_as_such() -> None:
    assert all(verdict.is_denial for verdict in DENIALS)
    assert not any(verdict.is_denial for verdict in (CONT, OK, DISCONNECT, DELAY, HOOK_NEXT))
    assert [verdict.is_soft for verdict in DENIALS] == [False, True, False, True]


def test_a_verdict_shows_itself_as_its_author_wrote_it() -> None:
    assert str(DENY) == "DENY"
    assert str(DENY("not here")) == "DENY('not here')"
