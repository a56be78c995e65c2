"""Sessions as their server sees them: dialogues, and the order between driver and protocol."""

from __future__ import annotations

import pytest

from harakapy.smtp import (
    NEED_DATA,
    Body,
    ContentChunk,
    Data,
    Ehlo,
    EndOfFile,
    Helo,
    LocalProtocolError,
    Mail,
    Noop,
    Quit,
    Refused,
    Reply,
    Rset,
    State,
    Unrecognized,
    Vrfy,
)

from .session import (
    ANSWERS,
    ENVELOPE,
    GO_ON,
    NO,
    OK,
    Session,
    answer,
    commands,
)

# What a client sends after EHLO, group by group; the codes that it gets; the messages that arrive.
DIALOGUES = {
    "one message": (
        [ENVELOPE + b"DATA\r\n", b"Subject: a\r\n\r\n..b\r\n.\r\n"],
        "250 250 354 250",
        [b"Subject: a\r\n\r\n.b\r\n"],
    ),
    "two messages, the second group behind the final dot": (
        [ENVELOPE + b"DATA\r\n", b"a\r\n.\r\n" + ENVELOPE + b"DATA\r\n", b"b\r\n.\r\nQUIT\r\n"],
        "250 250 354 250 250 250 354 250 221",
        [b"a\r\n", b"b\r\n"],
    ),
    "no content at all": (
        [ENVELOPE + b"DATA\r\n", b".\r\n"],
        "250 250 354 250",
        [b""],
    ),
    "an empty line": (
        [ENVELOPE + b"DATA\r\n", b"\r\n.\r\n"],
        "250 250 354 250",
        [b"\r\n"],
    ),
    "only dots": (
        [ENVELOPE + b"DATA\r\n", b"..\r\n...\r\n..x\r\n...x\r\n.\r\n"],
        "250 250 354 250",
        [b".\r\n..\r\n.x\r\n..x\r\n"],
    ),
    "one of three recipients refused": (
        [commands("MAIL FROM:<>", "RCPT TO:<a@x>", "RCPT TO:<no@x>", "RCPT TO:<b@x>", "DATA"), b"a\r\n.\r\n"],
        "250 250 550 250 354 250",
        [b"a\r\n"],
    ),
    "first recipient refused": (
        [commands("MAIL FROM:<>", "RCPT TO:<no@x>", "RCPT TO:<b@x>", "DATA"), b"a\r\n.\r\n"],
        "250 550 250 354 250",
        [b"a\r\n"],
    ),
    "all recipients refused": (
        [commands("MAIL FROM:<>", "RCPT TO:<no@x>", "RCPT TO:<no@y>", "DATA")],
        "250 550 550 554",
        [],
    ),
    "no recipients": (
        [commands("MAIL FROM:<>", "DATA")],
        "250 503",
        [],
    ),
    "no transaction": (
        [commands("RCPT TO:<a@x>", "DATA")],
        "503 503",
        [],
    ),
    "nested MAIL": (
        [commands("MAIL FROM:<>", "MAIL FROM:<>")],
        "250 503",
        [],
    ),
    "RSET between": (
        [ENVELOPE + commands("RSET", "DATA")],
        "250 250 250 503",
        [],
    ),
    "EHLO between": (
        [ENVELOPE + commands("EHLO b", "DATA")],
        "250 250 250 503",
        [],
    ),
    "asking between": (
        [ENVELOPE + commands("NOOP", "VRFY a", "HELP", "XYZ", "DATA"), b".\r\n"],
        "250 250 250 250 250 500 354 250",
        [b""],
    ),
    "bad syntax between": (
        [ENVELOPE + commands("RCPT TO:<a@>", "RSET x", "DATA"), b".\r\n"],
        "250 250 501 501 354 250",
        [b""],
    ),
    "QUIT and more": (
        [commands("QUIT", "NOOP", "QUIT"), commands("NOOP")],
        "221",
        [],
    ),
    "chunks": (
        [ENVELOPE + b"BDAT 3\r\na\r\nBDAT 0\r\nBDAT 7 LAST\r\n.\r\n\n.\r\nNOOP\r\n"],
        "250 250 250 250 250 250",
        [b"a\r\n.\r\n\n.\r\n"],
    ),
    "one empty chunk": (
        [ENVELOPE + b"BDAT 0 LAST\r\n"],
        "250 250 250",
        [b""],
    ),
    "chunks without a transaction": (
        [b"BDAT 6\r\nNOOP\r\nNOOP\r\n"],
        "503 250",
        [],
    ),
    "chunks without recipients": (
        [b"MAIL FROM:<>\r\nBDAT 6 LAST\r\nNOOP\r\nNOOP\r\n"],
        "250 503 250",
        [],
    ),
    "chunks for refused recipients": (
        [b"MAIL FROM:<>\r\nRCPT TO:<no@x>\r\nBDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nRSET\r\n"],
        "250 550 554 554 250",
        [],
    ),
    "RSET between chunks": (
        [ENVELOPE + b"BDAT 1\r\naRSET\r\nBDAT 1 LAST\r\nbNOOP\r\n"],
        "250 250 250 250 503 250",
        [],
    ),
    "DATA between chunks": (
        [ENVELOPE + b"BDAT 1\r\naDATA\r\n", b"BDAT 1 LAST\r\nb"],
        "250 250 250 503 250",
        [b"ab"],
    ),
    "RCPT between chunks": (
        [ENVELOPE + b"BDAT 1\r\naRCPT TO:<a@x>\r\nBDAT 0 LAST\r\n"],
        "250 250 250 503 250",
        [b"a"],
    ),
    "binary content by DATA": (
        [commands("MAIL FROM:<> BODY=BINARYMIME", "RCPT TO:<a@x>", "DATA"), b"BDAT 1 LAST\r\n\0"],
        "250 250 503 250",
        [b"\0"],
    ),
    "AUTH": (
        [b"AUTH PLAIN\r\n", b"\x00\xff any octets\r\n", b"NOOP\r\n"],
        "334 235 250",
        [],
    ),
    "AUTH in a transaction": (
        [commands("MAIL FROM:<>", "AUTH PLAIN")],
        "250 503",
        [],
    ),
}


@pytest.mark.parametrize(("groups", "codes", "messages"), DIALOGUES.values(), ids=DIALOGUES)
@pytest.mark.parametrize("step", [0, 1, 2, 7])
def test_dialogue(groups: list[bytes], codes: str, messages: list[bytes], step: int) -> None:
    session = Session().hello()
    assert " ".join(filter(None, (session.say(group, step) for group in groups))) == codes
    assert session.messages == messages


def test_commands_and_parameters_are_typed() -> None:
    session = Session().greet()
    session.say(commands("helo old.example", "ehlo New.example", "mail from:<a@b.c> size=10 body=8bitmime"))
    helo, ehlo, mail = session.events
    assert helo == Helo("old.example")
    assert ehlo == Ehlo("New.example")
    assert isinstance(mail, Mail)
    assert (mail.sender.address, mail.params.size, mail.params.body) == ("a@b.c", 10, Body.EIGHTBITMIME)


def test_before_ehlo_only_questions_are_answered() -> None:
    session = Session().greet()
    sent = commands(
        "NOOP", "RSET", "VRFY x", "MAIL FROM:<>", "RCPT TO:<a@b>", "DATA", "AUTH X", "EHLO x", "MAIL FROM:<>"
    )
    assert session.say(sent, 5) == "250 250 250 503 503 503 503 250 250"


def test_after_a_refused_greeting_only_quit_is_served() -> None:
    session = Session()
    session.protocol.send(Reply(554, "go away", "5.7.1"))
    assert (
        session.say(commands("EHLO a", "NOOP", "MAIL FROM:<>", "XYZ", "QUIT", "NOOP"))
        == "554 503 503 503 503 221"
    )
    assert session.protocol.state is State.CLOSED


def test_extensions_that_are_not_offered_are_unknown_commands() -> None:
    session = Session(offered=set()).transaction()
    session.say(b"BDAT 2\r\nSTARTTLS\r\nAUTH PLAIN\r\nRSET\r\nMAIL FROM:<a@b> SIZE=1\r\n")
    assert session.kinds == [Unrecognized, Unrecognized, Unrecognized, Rset, Refused]
    assert session.refused[0].reply.code == 555
    session.protocol.extensions = frozenset({"size"})
    assert session.protocol.extensions == {"SIZE"}
    assert session.say(b"MAIL FROM:<a@b> SIZE=1\r\n") == "250"


def test_an_event_is_answered_before_the_next_one() -> None:
    session = Session()
    with pytest.raises(LocalProtocolError, match="answer this first"):
        session.protocol.next_event()
    session.hello().protocol.receive_data(b"NOOP\r\nNOOP\r\n")
    session.protocol.next_event()
    with pytest.raises(LocalProtocolError, match="answer this first"):
        session.protocol.next_event()
    session.protocol.send(OK)
    with pytest.raises(LocalProtocolError, match="is no answer"):
        session.protocol.send(OK)


@pytest.mark.parametrize(
    ("sent", "reply"), [(b"DATA\r\n", OK), (b"NOOP\r\n", GO_ON), (b"BDAT 1\r\n", OK), (b"RSET\r\n", GO_ON)]
)
def test_a_reply_of_the_wrong_class_is_our_mistake_and_changes_nothing(sent: bytes, reply: Reply) -> None:
    protocol = Session().transaction().protocol
    protocol.receive_data(sent)
    protocol.next_event()
    with pytest.raises(LocalProtocolError, match="is no answer"):
        protocol.send(reply)
    protocol.send(NO)
    assert protocol.data_to_send() == NO.encode()


def test_421_ends_the_session_at_any_time() -> None:
    protocol = Session().transaction().protocol
    protocol.receive_data(b"DATA\r\n")
    protocol.next_event()
    protocol.send(GO_ON)
    protocol.receive_data(b"half a mess")
    protocol.next_event()
    protocol.send(Reply(421, "too slow", "4.4.2"))
    assert protocol.state is State.CLOSED
    protocol.receive_data(b"age\r\n.\r\n")
    assert protocol.next_event() is NEED_DATA
    assert not protocol.has_buffered_input


def test_421_in_place_of_the_refusal_ends_the_session_too() -> None:
    session = Session().hello()
    session.answer = lambda event: Reply(421, "too many errors", "4.7.0")
    assert session.say(b"MAIL\r\nNOOP\r\n") == "421"
    assert session.protocol.state is State.CLOSED


def test_end_of_file_is_handed_out_after_what_came_before_it() -> None:
    session = Session().hello()
    session.events.clear()
    session.protocol.receive_data(b"NOOP\r\nNOO")
    session.protocol.receive_data(b"")
    session.take_events()
    assert session.kinds == [Noop, EndOfFile]
    assert isinstance(session.protocol.next_event(), EndOfFile)
    assert session.protocol.has_buffered_input


def test_end_of_file_in_content_is_not_the_end_of_content() -> None:
    session = Session().transaction()
    session.say(b"DATA\r\n")
    session.protocol.receive_data(b"content\r\n.\r")
    session.protocol.receive_data(b"")
    session.take_events()
    assert session.kinds == [Data, ContentChunk, EndOfFile]
    assert session.messages == []


def test_an_unknown_command_may_be_treated_as_another() -> None:
    protocol = Session().hello().protocol
    protocol.receive_data(b"LEAVE\r\nNOOP\r\n")
    protocol.next_event()
    with pytest.raises(LocalProtocolError, match="may not come now"):
        protocol.substitute(Data())
    protocol.substitute(Quit())
    protocol.send(ANSWERS[Quit])
    assert protocol.state is State.CLOSED


def test_what_is_put_in_the_place_of_an_unknown_command_obeys_the_rules() -> None:
    protocol = Session().transaction().protocol
    protocol.receive_data(b"GO\r\nearly content")
    protocol.next_event()
    with pytest.raises(LocalProtocolError, match="may not come now"):
        protocol.substitute(Data())
    protocol.substitute(Rset())
    protocol.send(OK)
    assert protocol.state is State.READY


def test_only_an_unknown_command_may_be_treated_as_another() -> None:
    protocol = Session().hello().protocol
    protocol.receive_data(b"NOOP\r\n")
    protocol.next_event()
    with pytest.raises(LocalProtocolError, match="cannot be made"):
        protocol.substitute(Quit())


def test_the_driver_may_give_up_the_transaction() -> None:
    session = Session().transaction()
    session.answer = lambda event: NO if isinstance(event, Vrfy) else answer(event)
    assert session.say(b"VRFY a\r\n") == "550"
    session.protocol.abandon_transaction()
    session.protocol.abandon_transaction()
    assert session.say(commands("RCPT TO:<a@b>", "MAIL FROM:<>")) == "503 250"


def test_replies_in_utf8_are_only_for_those_who_asked() -> None:
    protocol = Session().hello().protocol
    reply = Reply(250, "gr\xfc\xdf dich")
    protocol.receive_data(b"NOOP\r\nNOOP\r\n")
    protocol.next_event()
    protocol.send(reply)
    protocol.next_event()
    protocol.send(reply, utf8=True)
    assert protocol.data_to_send() == b"250 gr\\xfc\\xdf dich\r\n250 gr\xc3\xbc\xc3\x9f dich\r\n"


def test_utf8_recipients_need_a_transaction_that_allows_them() -> None:
    session = Session().hello()
    recipient = "RCPT TO:<b\xfccher@x.example>"
    assert session.say(commands("MAIL FROM:<>", recipient, "RSET", "MAIL FROM:<> SMTPUTF8", recipient)) == (
        "250 553 250 250 250"
    )
