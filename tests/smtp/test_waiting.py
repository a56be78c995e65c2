"""Pipelining, and the commands after which a client must wait."""

from __future__ import annotations

import pytest

from harakapy.smtp import (
    NEED_DATA,
    Data,
    LocalProtocolError,
    Noop,
    Refused,
    Reply,
    StartTls,
    State,
)

from .session import (
    ANSWERS,
    ENVELOPE,
    GO_ON,
    NO,
    OK,
    Session,
    commands,
)


@pytest.mark.parametrize("behind", [b"Subject: x\r\n\r\nx\r\n.\r\n", b".\r\n", b"a", b"RSET\r\n"])
def test_content_before_354_ends_the_session(behind: bytes) -> None:
    session = Session().transaction()
    assert session.say(b"DATA\r\n" + behind) == "554"
    assert session.kinds == [Refused]
    assert session.refused[0].closes
    assert session.protocol.state is State.CLOSED
    assert session.messages == []


def test_content_that_arrives_while_354_is_being_decided_ends_the_session_too() -> None:
    protocol = Session().transaction().protocol
    protocol.receive_data(b"DATA\r\n")
    assert isinstance(protocol.next_event(), Data)
    protocol.receive_data(b"early\r\n")
    protocol.send(GO_ON)
    event = protocol.next_event()
    assert isinstance(event, Refused)
    assert event.closes
    protocol.send(event.reply)
    assert protocol.data_to_send().startswith(b"554 5.5.0 wait for 354")
    assert protocol.state is State.CLOSED


def test_input_while_data_is_refused_is_a_new_command() -> None:
    protocol = Session().transaction().protocol
    protocol.receive_data(b"DATA\r\n")
    protocol.next_event()
    protocol.receive_data(b"NOOP\r\n")
    protocol.send(NO)
    assert protocol.next_event() == Noop("")


@pytest.mark.parametrize("behind", [b"NOOP\r\n", b"EHLO a\r\nMAIL FROM:<x>\r\n", b"\x16\x03\x01"])
def test_input_behind_starttls_ends_the_session(behind: bytes) -> None:
    session = Session().hello()
    session.events.clear()
    assert session.say(b"STARTTLS\r\n" + behind) == "554"
    assert session.kinds == [Refused]
    assert session.protocol.state is State.CLOSED


def test_input_while_starttls_is_being_decided_ends_the_session_too() -> None:
    protocol = Session().hello().protocol
    protocol.receive_data(b"STARTTLS\r\n")
    protocol.next_event()
    protocol.receive_data(b"NOOP\r\n")
    protocol.send(ANSWERS[StartTls])
    assert protocol.next_event() == Refused(
        Reply(554, "wait for 220 before the TLS handshake", "5.5.0"),
        b"STARTTLS",
        "input behind STARTTLS",
        closes=True,
    )


def test_after_the_handshake_everything_before_it_is_forgotten() -> None:
    session = Session().transaction()
    assert session.say(b"STARTTLS\r\n") == "220"
    protocol = session.protocol
    assert protocol.state is State.TLS
    assert protocol.next_event() is NEED_DATA
    with pytest.raises(LocalProtocolError):
        protocol.receive_data(b"\x16\x03\x01")
    protocol.reset_for_tls()
    assert session.say(commands("MAIL FROM:<>", "RCPT TO:<a@b>", "DATA")) == "503 503 503"
    assert session.say(commands("EHLO a", "DATA")) == "250 503"
    with pytest.raises(LocalProtocolError):
        protocol.reset_for_tls()


def test_starttls_with_an_argument_changes_nothing() -> None:
    session = Session().hello()
    assert session.say(commands("STARTTLS x", "NOOP")) == "501 250"


def test_who_talks_before_the_greeting_is_noticed_and_answered_after_it() -> None:
    session = Session()
    session.protocol.receive_data(b"EHLO early\r\nNO")
    assert session.protocol.early_talker
    session.protocol.send(Reply(220, "ready"))
    assert session.say(b"OP\r\n") == "220 250 250"
    assert not Session().hello().protocol.early_talker


def test_unread_input_is_bounded() -> None:
    session = Session()
    for _ in range(100):
        session.protocol.receive_data(b"NOOP\r\n" * 10_000)
    session.protocol.send(Reply(220, "ready"))
    assert session.say(b"NOOP\r\n") == "220 554"
    assert session.refused[0].closes
    assert session.protocol.state is State.CLOSED


def test_a_group_of_commands_is_answered_in_order_in_one_write() -> None:
    protocol = Session().hello().protocol
    protocol.receive_data(ENVELOPE + b"NOOP\r\n")
    for reply in (OK, NO, OK):
        protocol.next_event()
        protocol.send(reply)
    replies = OK.encode() + NO.encode() + OK.encode()
    assert protocol.pipelined
    assert protocol.pending_octets == len(replies)
    assert protocol.data_to_send() == replies
    assert protocol.pending_octets == 0
    assert Session().protocol.pending_octets == 0
    assert protocol.data_to_send() == b""


def test_who_waits_for_each_reply_has_not_pipelined() -> None:
    session = Session().hello()
    for _ in range(3):
        session.say(b"NOOP\r\n")
    assert not session.protocol.pipelined
