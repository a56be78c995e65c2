"""The one table of order: which command may come when, and where its reply leads (RFC 5321 4.1.4).

A session is in one ``State``. ``TABLE[state][kind]`` is a cell for a kind of event (a command class, or one
of the events that are answered besides): either the states that follow, by the first digit of the reply, or
the ``Reply`` that refuses it. This is all that moves a session, on either side of it: a server looks up what
it received and then sends a reply, a client looks up what it sends and then receives one.

How to read the states that follow:

- a 4 or 5 that is not listed leaves the state as it was: a refused command has not happened (RFC 5321 4.1.4);
- a 2 or 3 that is not listed is no reply to such an event;
- ``AT_ONCE`` (for the last chunk of BDAT, ``LAST``) is entered without a reply;
- 421 closes, always (RFC 5321 3.8), so it is not in the table.

A kind that is not in a row cannot occur in that state.

The side that sends may send a group of commands before it knows the first reply (RFC 2920), so some of them
stand behind one that was refused. `next_state_of_sender` adds that one case to the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from harakapy.smtp.event import Abandon, AuthResponse, ChunkEnd, Connect, ContentEnd
from harakapy.smtp.reply import Reply
from harakapy.smtp.verbs import (
    Auth,
    Bdat,
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

__all__ = ["AT_ONCE", "LAST", "NEXT", "TABLE", "Cell", "State", "next_state", "next_state_of_sender"]


class State(Enum):
    """Where a session stands."""

    GREETING = "the greeting has not been sent"
    REJECTED = "the greeting was a refusal"
    FRESH = "greeted, by one side only"
    READY = "no transaction"
    MAIL = "a transaction without recipients"
    REFUSED = "a transaction whose recipients were all refused"
    RCPT = "a transaction with a recipient"
    DATA = "content, up to its final dot"
    CHUNK = "content, as many octets as BDAT said"
    LAST_CHUNK = "the same, and nothing more"
    CHUNKS = "between two chunks"
    AUTH = "in an AUTH exchange"
    TLS = "a TLS handshake must follow"
    CLOSED = "over"

    __hash__ = object.__hash__  # identity, as for equality; that of Enum is written in Python and slow


AT_ONCE: Final = 0
"""The key of the state that an event without a reply of its own leads to."""
LAST: Final = 1
"""The same for the last chunk of BDAT."""

Cell = Mapping[int, State] | Reply


def _out_of_order(text: str) -> Reply:
    return Reply(503, text, "5.5.1")


_NO_SERVICE = _out_of_order("no service here, send QUIT")
_NO_HELLO = _out_of_order("send EHLO first")
_NO_MAIL = _out_of_order("send MAIL first")
_NO_RCPT = _out_of_order("send RCPT first")
_NO_VALID_RCPT = Reply(554, "no valid recipients", "5.5.1")
_NESTED_MAIL = _out_of_order("nested MAIL, send RSET to begin anew")
_NOT_IN_TRANSACTION = _out_of_order("not during a mail transaction")
_CHUNKS_FOLLOW = _out_of_order("a chunk was sent, go on with BDAT or send RSET")


def _row(here: State, cells: Mapping[type, Cell]) -> Mapping[type, Cell]:
    """A row with what is allowed between any two commands."""
    stays = {2: here}
    anywhere: dict[type, Cell] = {
        Noop: stays,
        Vrfy: stays,
        Expn: stays,
        Help: stays,
        Unrecognized: {2: here, 3: here},  # a plugin may know the verb, and ask for a further line
        Quit: {2: State.CLOSED},
    }
    return {**anywhere, **cells}


def _transaction(here: State, cells: Mapping[type, Cell]) -> Mapping[type, Cell]:
    """A row within a transaction: EHLO, HELO and RSET end it, as the handshake will do after STARTTLS."""
    within: dict[type, Cell] = {
        Abandon: {AT_ONCE: State.READY},
        Helo: {2: State.READY},
        Ehlo: {2: State.READY},
        Lhlo: {2: State.READY},
        Rset: {2: State.READY},
        StartTls: {2: State.TLS},
        Auth: _NOT_IN_TRANSACTION,  # RFC 4954 4
        XClient: _NOT_IN_TRANSACTION,
        Mail: _NESTED_MAIL,
    }
    return _row(here, {**within, **cells})


_END_OF_MESSAGE: Cell = {2: State.READY, 4: State.READY, 5: State.READY}

# The octets of a chunk follow whatever the reply. After a refused chunk the transaction is over (RFC 3030 2).
_CHUNK: Cell = {AT_ONCE: State.CHUNK, LAST: State.LAST_CHUNK, 4: State.READY, 5: State.READY}

TABLE: Final[Mapping[State, Mapping[type, Cell]]] = {
    State.GREETING: {
        Connect: {2: State.FRESH, 4: State.REJECTED, 5: State.REJECTED},
    },
    State.REJECTED: {  # RFC 5321 3.1: wait for QUIT, and refuse everything else
        **dict.fromkeys(
            (Helo, Ehlo, Lhlo, Mail, Rcpt, Data, Bdat, Rset, StartTls, Auth, XClient), _NO_SERVICE
        ),
        **dict.fromkeys((Noop, Vrfy, Expn, Help, Unrecognized), _NO_SERVICE),
        Quit: {2: State.CLOSED},
    },
    State.FRESH: _row(
        State.FRESH,
        {
            Helo: {2: State.READY},
            Ehlo: {2: State.READY},
            Lhlo: {2: State.READY},
            Rset: {2: State.FRESH},
            XClient: {2: State.FRESH},
            StartTls: _NO_HELLO,
            Auth: _NO_HELLO,
            Mail: _NO_HELLO,
            Rcpt: _NO_HELLO,
            Data: _NO_HELLO,
            Bdat: _NO_HELLO,
        },
    ),
    State.READY: _row(
        State.READY,
        {
            Helo: {2: State.READY},
            Ehlo: {2: State.READY},
            Lhlo: {2: State.READY},
            Rset: {2: State.READY},
            StartTls: {2: State.TLS},
            Auth: {2: State.READY, 3: State.AUTH},
            XClient: {2: State.FRESH},  # the reply is a greeting
            Mail: {2: State.MAIL},
            Rcpt: _NO_MAIL,
            Data: _NO_MAIL,
            Bdat: _NO_MAIL,
        },
    ),
    State.MAIL: _transaction(
        State.MAIL,
        {
            Rcpt: {2: State.RCPT, 4: State.REFUSED, 5: State.REFUSED},
            Data: _NO_RCPT,
            Bdat: _NO_RCPT,
        },
    ),
    State.REFUSED: _transaction(
        State.REFUSED,
        {
            Rcpt: {2: State.RCPT},
            Data: _NO_VALID_RCPT,
            Bdat: _NO_VALID_RCPT,
        },
    ),
    State.RCPT: _transaction(
        State.RCPT,
        {
            Rcpt: {2: State.RCPT},
            Data: {3: State.DATA, 4: State.READY, 5: State.READY},  # refused: the transaction is over
            Bdat: _CHUNK,
        },
    ),
    State.DATA: {
        ContentEnd: _END_OF_MESSAGE,
    },
    State.CHUNK: {
        ChunkEnd: {2: State.CHUNKS, 4: State.READY, 5: State.READY},
    },
    State.LAST_CHUNK: {
        ChunkEnd: _END_OF_MESSAGE,
    },
    State.CHUNKS: _transaction(
        State.CHUNKS,
        {
            Rcpt: _CHUNKS_FOLLOW,
            Data: _CHUNKS_FOLLOW,
            Bdat: _CHUNK,
        },
    ),
    State.AUTH: {
        AuthResponse: {2: State.READY, 3: State.AUTH, 4: State.READY, 5: State.READY},
    },
    State.TLS: {},
    State.CLOSED: {},
}


NEXT: Final[Mapping[tuple[State, type, int], State]] = {
    (state, kind, digit): cell.get(digit, state)
    for state, row in TABLE.items()
    for kind, cell in row.items()
    if not isinstance(cell, Reply)
    for digit in (2, 3, 4, 5)
    if digit in cell or digit >= 4
}
"""The states of the table as they are looked up: by state, kind and first digit at once. 421 is not in it."""
_CLOSED: Final = State.CLOSED


def next_state(state: State, kind: type, code: int) -> State | None:
    """The state after an event of ``kind`` was answered with ``code``; None if that is not possible.

    It is not if the code is no reply to such an event, or the event cannot occur in ``state``.
    """
    return _CLOSED if code == 421 else NEXT.get((state, kind, code // 100))


_BEHIND_A_REFUSAL: Final[Mapping[tuple[type, int], State]] = {(Data, 3): State.DATA, (Mail, 2): State.MAIL}


def next_state_of_sender(state: State, sent: type, code: int, *, chunk: int = AT_ONCE) -> State | None:
    """The same for the side that sent the event, and now has the reply to it.

    What the table refuses in ``state`` was sent in a group, before the refusal of what it needed was known:
    whatever its reply, nothing has happened. But a 354 to DATA must be followed by content, though all
    recipients were refused (RFC 2920 3.1), and a 250 to MAIL begins a transaction.

    A BDAT has one reply, to its octets; ``chunk`` is `LAST` if it is the last one.
    """
    following = next_state(state, sent, code)
    if (following is not None and sent is not Bdat) or code == 421:
        return following
    cell = TABLE[state].get(sent)
    if isinstance(cell, Reply):
        return _BEHIND_A_REFUSAL.get((sent, code // 100), state if code // 100 != 3 else None)
    return next_state(cell[chunk], ChunkEnd, code) if sent is Bdat and cell is not None else None
