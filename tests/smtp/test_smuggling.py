"""Line ends that are none: a message hidden in another stays there (CVE-2023-51764 and its kin)."""

from __future__ import annotations

import pytest

from harakapy.smtp import (
    LineRules,
    Noop,
    Refused,
    State,
)

from .session import (
    Session,
    commands,
)

SMUGGLED = [
    b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\n", b"\n.\r", b"\r.\r\n", b"\r\n.\r",
    b"\r\n.\r\r\n", b"\r\r\n.\r\r\n", b"\r\n\x00.\r\n", b"\r\n.\x00\r\n", b"\n\n.\n\n", b"\r\n.\n\r\n",
]  # fmt: skip


@pytest.mark.parametrize("sequence", SMUGGLED)
@pytest.mark.parametrize("step", [0, 1, 3])
def test_a_message_hidden_in_a_message_stays_there_and_is_flagged(sequence: bytes, step: int) -> None:
    session = Session().transaction()
    assert session.say(b"DATA\r\n") == "354"
    hidden = commands("MAIL FROM:<s@x>", "RCPT TO:<victim@x>", "DATA", "Subject: hidden", "")
    assert session.say(b"first" + sequence + hidden + b"\r\n.\r\n", step) == "250"
    assert len(session.messages) == 1
    assert session.messages[0].endswith(hidden + b"\r\n")
    rules = LineRules()
    rules.feed(session.messages[0])
    assert rules.has_bare_lf or rules.has_bare_cr or rules.has_nul
    assert session.say(b"NOOP\r\n") == "250"


def test_commands_behind_a_false_end_are_content() -> None:
    session = Session().transaction()
    session.say(b"DATA\r\n")
    assert session.say(b"x" * 100_000 + b"\r\n.\nHELP\r\nHELP\r\n.\r\n") == "250"
    assert session.messages[0].endswith(b"\r\n\nHELP\r\nHELP\r\n")


def test_a_chunk_is_not_searched_for_an_end() -> None:
    session = Session().transaction()
    chunk = b"a\r\n.\r\nMAIL FROM:<x@y>\r\n\n.\n"
    assert session.say(b"BDAT %d LAST\r\n%sNOOP\r\n" % (len(chunk), chunk), 3) == "250 250"
    assert session.messages == [chunk]


@pytest.mark.parametrize(
    "line", [b"NOOP\n", b"\n", b"MAIL FROM:<a@b>\nRCPT TO:<c@d>\r\n", b"NOOP\n\r\n", b"NO\nOP\r\n"]
)
@pytest.mark.parametrize("step", [0, 1])
def test_a_bare_lf_between_commands_ends_the_session_and_nothing_is_executed(line: bytes, step: int) -> None:
    session = Session().hello()
    session.events.clear()
    assert session.say(line + b"NOOP\r\n", step) == "500"
    assert [(type(event), event.closes) for event in session.refused] == [(Refused, True)]
    assert session.kinds == [Refused]
    assert session.protocol.state is State.CLOSED


@pytest.mark.parametrize("octet", [b"\r", b"\0", b"\t", b"\v", b"\x1b", b"\x7f", b"\xff"])
@pytest.mark.parametrize("before", [b"NO", b"NOOP ", b"MAIL FROM:<a", b"EHLO a", b"RCPT TO:<a@", b""])
def test_control_characters_and_broken_utf8_are_refused_in_every_command(octet: bytes, before: bytes) -> None:
    session = Session().hello()
    session.events.clear()
    assert session.say(before + octet + b"b\r\nNOOP\r\n") in ("500 250", "501 250")
    assert session.kinds == [Refused, Noop]


@pytest.mark.parametrize("cut", range(1, 6))
def test_the_end_of_content_may_be_cut_anywhere(cut: int) -> None:
    session = Session().transaction()
    session.say(b"DATA\r\n")
    wire = b"content\r\n.\r\n"
    assert session.say(wire[:-cut]) == ""
    assert session.say(wire[-cut:]) == "250"
    assert session.messages == [b"content\r\n"]
