"""BDAT: chunks accepted, refused, swallowed (RFC 3030)."""

from __future__ import annotations

import pytest

from harakapy.smtp import (
    NEED_DATA,
    Bdat,
    ChunkEnd,
    Noop,
    Refused,
    Reply,
    State,
)

from .session import (
    NO,
    Session,
    answer,
)


@pytest.mark.parametrize(
    ("command", "codes"),
    [
        (b"BDAT -1", "501"),
        (b"BDAT 1e3", "501"),
        (b"BDAT", "501"),
        (b"BDAT 10 LAST x", "501"),
        (b"bdat 99999999999999999999", "501"),
        (b"BDAT 10 LAST\0", "501"),
    ],
)
def test_a_chunk_of_unreadable_size_ends_the_session(command: bytes, codes: str) -> None:
    session = Session().transaction()
    assert session.say(command + b"\r\nRSET\r\nMAIL FROM:<hidden@x>\r\n") == codes
    assert session.kinds == [Refused]
    assert session.protocol.state is State.CLOSED


def test_a_chunk_may_be_refused_before_its_octets_come() -> None:
    session = Session().transaction()
    protocol = session.protocol
    protocol.receive_data(b"BDAT 12\r\nQUIT")
    assert protocol.next_event() == Bdat(12, is_last=False)
    protocol.send(Reply(552, "too big", "5.3.4"))
    assert protocol.next_event() is NEED_DATA
    assert protocol.data_to_send() == b"552 5.3.4 too big\r\n"
    assert session.say(b"\r\nQUIT\r\nBDAT 4 LAST\r\nQUITNOOP\r\n", 1) == "503 250"
    assert session.messages == []


def test_a_refused_chunk_of_no_octets_swallows_nothing() -> None:
    session = Session().transaction()
    session.protocol.receive_data(b"BDAT 0 LAST\r\nNOOP\r\n")
    session.protocol.next_event()
    session.protocol.send(NO)
    assert session.protocol.next_event() == Noop("")


def test_a_refused_chunk_ends_the_transaction() -> None:
    session = Session().transaction()
    session.answer = lambda event: NO if isinstance(event, ChunkEnd) else answer(event)
    assert session.say(b"BDAT 1\r\naBDAT 1 LAST\r\nbRSET\r\n") == "550 503 250"


def test_a_refused_chunk_is_told_behind_its_octets() -> None:
    session = Session().hello()
    assert session.say(b"BDAT 4\r\nQU") == ""
    assert session.say(b"IT") == "503"
