"""LMTP: one answer for each recipient after the content (RFC 2033)."""

from __future__ import annotations

import pytest

from harakapy.smtp import (
    Bdat,
    Closed,
    ContentEnd,
    Dialect,
    Ehlo,
    Helo,
    Lhlo,
    LocalProtocolError,
    RemoteProtocolError,
    Replied,
    Reply,
    Rset,
    State,
)

from .client_session import MAIL, ClientSession, codes, rcpt


@pytest.fixture(params=[0, 1], ids=["whole", "octet by octet"])
def session(request: pytest.FixtureRequest) -> ClientSession:
    return ClientSession(dialect=Dialect.LMTP, step=request.param).hello("PIPELINING", "CHUNKING")


def recipients(events: list[Replied | Closed]) -> list[tuple[int, int | None]]:
    return [(event.reply.code, event.recipient) for event in events if isinstance(event, Replied)]


def test_lhlo_is_written_like_ehlo() -> None:
    assert Lhlo("client.example").to_bytes() == b"LHLO client.example"
    with pytest.raises(LocalProtocolError):
        Lhlo("a\nb").to_bytes()


@pytest.mark.parametrize("hello", [Ehlo("client"), Helo("client")])
def test_a_server_of_lmtp_hears_lhlo_only(session: ClientSession, hello: Ehlo | Helo) -> None:
    assert session.protocol.capabilities.pipelining
    with pytest.raises(LocalProtocolError, match="in LMTP"):
        session.protocol.send(hello)


def test_each_accepted_recipient_has_an_answer_of_its_own(session: ClientSession) -> None:
    session.group("a", "b", "c")
    session.hear("250 ok", "250 ok", "550 no", "250 ok", "354 go on")
    session.protocol.send_content(b"x\r\n")
    session.protocol.end_content()
    assert session.hear("250 stored") == [Replied(ContentEnd(), Reply(250, "stored"), 0)]
    assert session.is_in(State.DATA)
    assert session.hear("452 over quota") == [Replied(ContentEnd(), Reply(452, "over quota"), 2)]
    assert session.is_in(State.READY)


def test_the_next_transaction_counts_anew(session: ClientSession) -> None:
    for _ in range(2):
        session.in_content("a", "b")
        session.protocol.end_content()
        assert recipients(session.hear("250 ok", "550 no")) == [(250, 0), (550, 1)]


def test_the_next_message_may_follow_the_content_at_once(session: ClientSession) -> None:
    session.in_content("a", "b").protocol.end_content()
    session.group("c")
    events = session.hear("250 ok", "250 ok", "250 ok", "250 ok", "354 go on")
    assert recipients(events) == [(250, 0), (250, 1), (250, None), (250, None), (354, None)]
    session.protocol.end_content()
    assert recipients(session.hear("250 ok")) == [(250, 0)]


def test_the_last_chunk_is_answered_for_each_and_others_once(session: ClientSession) -> None:
    session.protocol.send(MAIL)
    for name in "abc":
        session.protocol.send(rcpt(name))
    session.protocol.send_chunk(b"x", is_last=False)
    session.protocol.send_chunk(b"y", is_last=True)
    session.protocol.send(MAIL)
    events = session.hear("250 ok", "550 no", "250 ok", "250 ok", "250 1 octet", "250 b", "450 c", "250 mail")
    assert recipients(events)[4:] == [(250, None), (250, 1), (450, 2), (250, None)]
    assert [event.command for event in events[5:7] if isinstance(event, Replied)] == [
        Bdat(1, is_last=True)
    ] * 2
    assert session.is_in(State.MAIL)


def test_after_a_refused_chunk_the_last_is_answered_once(session: ClientSession) -> None:
    session.protocol.send(MAIL)
    session.protocol.send(rcpt("a"))
    session.protocol.send(rcpt("b"))
    session.protocol.send_chunk(b"x", is_last=False)
    session.protocol.send_chunk(b"y", is_last=True)
    session.protocol.send(Rset())
    events = session.hear("250 ok", "250 ok", "250 ok", "452 full", "503 what?", "250 ok")
    assert recipients(events)[3:] == [(452, None), (503, None), (250, None)]
    assert session.protocol.waiting == 0


def test_a_reset_transaction_leaves_no_recipients_behind(session: ClientSession) -> None:
    session.protocol.send(MAIL)
    session.protocol.send(rcpt("a"))
    session.protocol.send(Rset())
    session.hear("250 ok", "250 ok", "250 ok")
    session.in_content("b").protocol.end_content()
    assert recipients(session.hear("250 ok")) == [(250, 0)]
    assert session.is_in(State.READY)


def test_a_transaction_that_begins_behind_a_refused_one_counts_anew(session: ClientSession) -> None:
    for name in "ab":
        session.protocol.send(MAIL)
        session.protocol.send(rcpt(name))
        session.protocol.send_chunk(b"x", is_last=True)
    events = session.hear("250 ok", "550 no", "503 no recipients", "250 ok", "250 ok", "250 stored")
    assert recipients(events)[3:] == [(250, None), (250, None), (250, 0)]


def test_421_speaks_for_the_recipients_that_wait(session: ClientSession) -> None:
    session.in_content("a", "b", "c").protocol.end_content()
    assert session.hear("250 ok", "421 crashed") == [
        Replied(ContentEnd(), Reply(250, "ok"), 0),
        Replied(ContentEnd(), Reply(421, "crashed"), 1),
        Closed(),
    ]


def test_a_refusal_before_the_end_of_the_content_is_for_all(session: ClientSession) -> None:
    session.in_content("a", "b")
    assert session.hear("552 too big") == [Replied(ContentEnd(), Reply(552, "too big")), Closed()]


def test_content_is_not_asked_for_without_recipients(session: ClientSession) -> None:
    session.group("a")
    with pytest.raises(RemoteProtocolError, match="354 is no reply to Data"):  # RFC 2033 4.2
        session.hear("250 ok", "550 no", "354 go on")


def test_a_server_of_smtp_answers_once() -> None:
    session = ClientSession().hello("PIPELINING").in_content("a", "b")
    session.protocol.end_content()
    assert codes(session.hear("250 ok")) == [250]
    assert session.is_in(State.READY)
