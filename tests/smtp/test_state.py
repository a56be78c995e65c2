"""The table of order: what may come when, and where it leads."""

from __future__ import annotations

from typing import get_args

import pytest

from harakapy.smtp.event import Abandon, AuthResponse, ChunkEnd, Connect, ContentEnd
from harakapy.smtp.reply import Reply
from harakapy.smtp.state import AT_ONCE, LAST, TABLE, State, next_state, next_state_of_sender
from harakapy.smtp.verbs import (
    Auth,
    Bdat,
    Command,
    Data,
    Ehlo,
    Expn,
    Helo,
    Help,
    Lhlo,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Rset,
    StartTls,
    Unrecognized,
    Vrfy,
    XClient,
)

COMMANDS = get_args(Command)
COMMAND_STATES = [
    State.REJECTED,
    State.FRESH,
    State.READY,
    State.MAIL,
    State.REFUSED,
    State.RCPT,
    State.CHUNKS,
]
TRANSACTION = [State.MAIL, State.REFUSED, State.RCPT, State.CHUNKS]


def test_every_state_has_a_row() -> None:
    assert set(TABLE) == set(State)


@pytest.mark.parametrize("state", COMMAND_STATES)
def test_every_command_has_a_cell_wherever_commands_may_come(state: State) -> None:
    assert set(COMMANDS) <= set(TABLE[state])


@pytest.mark.parametrize("state", [state for state in State if state not in COMMAND_STATES])
def test_no_command_comes_where_content_or_credentials_do(state: State) -> None:
    assert not set(COMMANDS) & set(TABLE[state])


def test_what_the_table_refuses_is_refused_for_good() -> None:
    refusals = [cell for row in TABLE.values() for cell in row.values() if isinstance(cell, Reply)]
    assert refusals
    assert {(reply.code, reply.enhanced) for reply in refusals} == {(503, "5.5.1"), (554, "5.5.1")}


def test_every_state_can_be_reached_from_the_greeting() -> None:
    reached, new = set(), {State.GREETING}
    while new:
        reached |= new
        cells = [cell for state in new for cell in TABLE[state].values() if not isinstance(cell, Reply)]
        new = {state for cell in cells for state in cell.values()} - reached
    assert reached == set(State)


@pytest.mark.parametrize(
    ("state", "kind", "code", "following"),
    [
        (State.GREETING, Connect, 220, State.FRESH),
        (State.GREETING, Connect, 554, State.REJECTED),
        (State.GREETING, Connect, 450, State.REJECTED),
        (State.REJECTED, Quit, 221, State.CLOSED),
        (State.FRESH, Ehlo, 250, State.READY),
        (State.FRESH, Ehlo, 550, State.FRESH),
        (State.FRESH, Helo, 250, State.READY),
        (State.FRESH, Rset, 250, State.FRESH),
        (State.READY, Mail, 250, State.MAIL),
        (State.READY, Mail, 450, State.READY),
        (State.READY, Mail, 400, State.READY),
        (State.READY, Noop, 200, State.READY),
        (State.READY, Helo, 250, State.READY),
        (State.READY, Ehlo, 250, State.READY),
        (State.READY, Rset, 250, State.READY),
        (State.FRESH, XClient, 220, State.FRESH),
        (State.FRESH, XClient, 550, State.FRESH),
        (State.READY, XClient, 220, State.FRESH),
        (State.READY, XClient, 550, State.READY),
        (State.READY, StartTls, 220, State.TLS),
        (State.READY, StartTls, 454, State.READY),
        (State.READY, Auth, 334, State.AUTH),
        (State.READY, Auth, 235, State.READY),
        (State.AUTH, AuthResponse, 334, State.AUTH),
        (State.AUTH, AuthResponse, 235, State.READY),
        (State.AUTH, AuthResponse, 535, State.READY),
        (State.AUTH, AuthResponse, 454, State.READY),
        (State.MAIL, Rcpt, 250, State.RCPT),
        (State.MAIL, Rcpt, 550, State.REFUSED),
        (State.MAIL, Rcpt, 450, State.REFUSED),
        (State.REFUSED, Rcpt, 550, State.REFUSED),
        (State.REFUSED, Rcpt, 251, State.RCPT),
        (State.RCPT, Rcpt, 550, State.RCPT),
        (State.RCPT, Data, 354, State.DATA),
        (State.RCPT, Rcpt, 250, State.RCPT),
        (State.RCPT, Data, 550, State.READY),
        (State.RCPT, Data, 451, State.READY),
        (State.DATA, ContentEnd, 250, State.READY),
        (State.DATA, ContentEnd, 451, State.READY),
        (State.DATA, ContentEnd, 554, State.READY),
        (State.CHUNK, ChunkEnd, 250, State.CHUNKS),
        (State.CHUNK, ChunkEnd, 552, State.READY),
        (State.CHUNK, ChunkEnd, 452, State.READY),
        (State.LAST_CHUNK, ChunkEnd, 250, State.READY),
        (State.LAST_CHUNK, ChunkEnd, 451, State.READY),
        (State.RCPT, Bdat, 552, State.READY),
        (State.RCPT, Bdat, 452, State.READY),
        (State.RCPT, Ehlo, 550, State.RCPT),
        (State.RCPT, Noop, 250, State.RCPT),
        (State.RCPT, Noop, 550, State.RCPT),
        (State.RCPT, Unrecognized, 334, State.RCPT),
        (State.RCPT, Quit, 221, State.CLOSED),
    ],
)
def test_a_reply_leads_on(state: State, kind: type, code: int, following: State) -> None:
    assert next_state(state, kind, code) is following


@pytest.mark.parametrize(
    ("state", "kind", "code"),
    [
        (State.READY, Mail, 354),
        (State.RCPT, Data, 250),
        (State.RCPT, Bdat, 250),
        (State.DATA, ContentEnd, 354),
        (State.READY, Noop, 334),
        (State.READY, StartTls, 334),
        (State.READY, Rcpt, 250),
        (State.READY, Rcpt, 550),
        (State.GREETING, Noop, 250),
        (State.CLOSED, Noop, 250),
    ],
)
def test_other_replies_are_not_possible(state: State, kind: type, code: int) -> None:
    assert next_state(state, kind, code) is None


@pytest.mark.parametrize("state", TRANSACTION)
@pytest.mark.parametrize("kind", [Helo, Ehlo, Rset])
def test_greeting_again_and_reset_end_the_transaction(state: State, kind: type) -> None:
    assert next_state(state, kind, 250) is State.READY


@pytest.mark.parametrize("state", TRANSACTION)
def test_a_transaction_can_be_given_up_and_its_client_can_go_to_tls(state: State) -> None:
    assert TABLE[state][Abandon] == {AT_ONCE: State.READY}
    assert next_state(state, StartTls, 220) is State.TLS


@pytest.mark.parametrize("state", COMMAND_STATES[1:])
@pytest.mark.parametrize("kind", [Noop, Vrfy, Expn, Help, Unrecognized])
def test_commands_that_ask_may_come_any_time_and_change_nothing(state: State, kind: type) -> None:
    assert next_state(state, kind, 250) is state
    assert next_state(state, kind, 502) is state


@pytest.mark.parametrize("state", [State.RCPT, State.CHUNKS])
def test_the_octets_of_a_chunk_follow_at_once(state: State) -> None:
    cell = TABLE[state][Bdat]
    assert not isinstance(cell, Reply)
    assert (cell[AT_ONCE], cell[LAST]) == (State.CHUNK, State.LAST_CHUNK)


@pytest.mark.parametrize(
    ("state", "kind", "text"),
    [
        (State.FRESH, Mail, "503 5.5.1 send EHLO first"),
        (State.FRESH, Auth, "503 5.5.1 send EHLO first"),
        (State.FRESH, StartTls, "503 5.5.1 send EHLO first"),
        (State.READY, Rcpt, "503 5.5.1 send MAIL first"),
        (State.READY, Data, "503 5.5.1 send MAIL first"),
        (State.READY, Bdat, "503 5.5.1 send MAIL first"),
        (State.MAIL, Data, "503 5.5.1 send RCPT first"),
        (State.MAIL, Mail, "503 5.5.1 nested MAIL, send RSET to begin anew"),
        (State.MAIL, Auth, "503 5.5.1 not during a mail transaction"),
        (State.RCPT, XClient, "503 5.5.1 not during a mail transaction"),
        (State.REFUSED, Data, "554 5.5.1 no valid recipients"),
        (State.REFUSED, Bdat, "554 5.5.1 no valid recipients"),
        (State.CHUNKS, Data, "503 5.5.1 a chunk was sent, go on with BDAT or send RSET"),
        (State.REJECTED, Noop, "503 5.5.1 no service here, send QUIT"),
    ],
)
def test_a_refusal_says_what_is_missing(state: State, kind: type, text: str) -> None:
    assert str(TABLE[state][kind]) == text


@pytest.mark.parametrize("state", list(State))
def test_421_closes_always(state: State) -> None:
    for kind in (*COMMANDS, Connect, ContentEnd):
        assert next_state(state, kind, 421) is State.CLOSED


def test_lhlo_may_come_where_ehlo_may_and_leads_to_the_same() -> None:
    assert {state: row.get(Lhlo) for state, row in TABLE.items()} == {
        state: row.get(Ehlo) for state, row in TABLE.items()
    }


@pytest.mark.parametrize("state", list(State))
def test_the_side_that_sends_follows_the_same_table(state: State) -> None:
    for kind, cell in TABLE[state].items():
        if not isinstance(cell, Reply) and kind is not Bdat:
            for code in (250, 354, 421, 450, 550):
                assert next_state_of_sender(state, kind, code) is next_state(state, kind, code)


@pytest.mark.parametrize(
    ("state", "sent", "code", "following"),
    [
        (State.READY, Rcpt, 503, State.READY),
        (State.READY, Rcpt, 250, State.READY),
        (State.READY, Rcpt, 354, None),
        (State.READY, Rcpt, 421, State.CLOSED),
        (State.READY, Data, 354, State.DATA),
        (State.READY, Data, 250, State.READY),
        (State.REFUSED, Data, 354, State.DATA),
        (State.REFUSED, Data, 554, State.REFUSED),
        (State.REFUSED, Bdat, 554, State.REFUSED),
        (State.REFUSED, Mail, 250, State.MAIL),
        (State.REFUSED, Mail, 503, State.REFUSED),
    ],
)
def test_what_was_sent_behind_a_refusal_changes_little(
    state: State, sent: type, code: int, following: State | None
) -> None:
    assert next_state_of_sender(state, sent, code) is following


@pytest.mark.parametrize("state", [State.RCPT, State.CHUNKS])
@pytest.mark.parametrize(
    ("chunk", "code", "following"),
    [
        (AT_ONCE, 250, State.CHUNKS),
        (AT_ONCE, 452, State.READY),
        (LAST, 250, State.READY),
        (LAST, 550, State.READY),
        (LAST, 354, None),
        (LAST, 421, State.CLOSED),
    ],
)
def test_the_side_that_sends_has_one_reply_to_a_chunk(
    state: State, chunk: int, code: int, following: State | None
) -> None:
    assert next_state_of_sender(state, Bdat, code, chunk=chunk) is following
