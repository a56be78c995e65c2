"""Laws of the server's side of a session, whatever the client sends and however it is cut."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from harakapy.smtp import (
    NEED_DATA,
    Auth,
    AuthResponse,
    Bdat,
    ChunkEnd,
    ContentChunk,
    ContentEnd,
    Data,
    EndOfFile,
    Event,
    Noop,
    Quit,
    Rcpt,
    Refused,
    Reply,
    ServerLimits,
    ServerProtocol,
    StartTls,
    State,
)

OFFERED = {"PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING", "BINARYMIME", "STARTTLS", "AUTH", "SIZE", "DSN"}
LIMITS = ServerLimits(max_command_octets=60, max_auth_octets=90)  # small, so that they are met
ACCEPTED = {Data: 354, StartTls: 220, Auth: 334, AuthResponse: 235, Quit: 221}
REPLIES = {code: Reply(code, "so be it") for code in (220, 221, 235, 250, 334, 354, 421, 450, 550)}

COMMANDS = [
    b"EHLO a", b"HELO a", b"RSET", b"NOOP", b"NOOP " + b"x" * 60, b"QUIT", b"VRFY a", b"XYZ", b"GET /",
    b"MAIL FROM:<a@b.c>", b"MAIL FROM:<> body=BINARYMIME", b"MAIL FROM:<\xc3\xa4@b> SMTPUTF8", b"MAIL x",
    b"RCPT TO:<a@b.c>", b"RCPT TO:<no@b.c>", b"RCPT TO:<\xc3\xa4@b>", b"AUTH PLAIN", b"AUTH " + b"x" * 70,
    b"DATA", b"BDAT 0", b"BDAT 3", b"BDAT 5 LAST", b"BDAT 0 LAST", b"BDAT x", b"STARTTLS",
    b"", b".", b"..", b"\x16\x03", b"\xff", b"a\rb",
]  # fmt: skip
USUAL = b"EHLO a\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<a@b.c>\r\n"

lines = st.sampled_from(COMMANDS).map(lambda command: command + b"\r\n")
odd = st.sampled_from([b"\r", b"\n", b".", b"\0", b"x", b"\r\n", b"\r\n.\r\n", b"x" * 100, b"\x16"])
conversations = st.tuples(
    st.sampled_from([b"", b"EHLO a\r\n", USUAL, USUAL + b"DATA\r\n", USUAL + b"BDAT 4\r\n"]),
    st.lists(st.one_of(lines, lines, lines, odd), max_size=15).map(b"".join),
).map(b"".join)


@dataclass
class Outcome:
    """All that a session shows; content in one piece."""

    events: list[Event]
    replies: bytes
    state: State


def accept(event: Event) -> Reply:
    """A fixed policy: everything is welcome but recipients called "no"."""
    if isinstance(event, Refused):
        return event.reply
    if isinstance(event, Rcpt) and event.recipient.user == "no":
        return REPLIES[550]
    return REPLIES[ACCEPTED.get(type(event), 250)]


def serve(blocks: list[bytes]) -> Outcome:
    """Feed the blocks, and answer by the fixed policy."""
    protocol = ServerProtocol(LIMITS, OFFERED)
    protocol.send(REPLIES[220])
    events: list[Event] = []
    replies = protocol.data_to_send()
    for block in blocks:
        protocol.receive_data(block)
        while (event := protocol.next_event()) is not NEED_DATA:
            if isinstance(event, ContentChunk) and events and isinstance(events[-1], ContentChunk):
                events[-1] = ContentChunk(events[-1].data + event.data)
            else:
                events.append(event)
            if not isinstance(event, ContentChunk | Bdat):
                protocol.send(accept(event))
        replies += protocol.data_to_send()
        if protocol.state is State.TLS:
            protocol.reset_for_tls()
    return Outcome(events, replies, protocol.state)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(edges)]


def waits_of(data: bytes) -> list[int]:
    """Where a client waits that must: a client that does not is refused, and that depends on the cut."""
    return [found.end() for found in re.finditer(rb"(?i)(?:DATA|STARTTLS) *\r\n", data)]


@given(conversations, st.lists(st.integers(0, 500), max_size=12))
@example(USUAL + b"DATA\r\nx\r\n.\r\nNOOP\r\n\n", [])
@example(b"\x16\x03" + b"x" * 100, [2])
@example(b"x" * 59 + b"\r\n" + b"x" * 88 + b"\r\n" + b"x" * 89 + b"\r\n", [])
@settings(max_examples=500)
def test_segmentation_changes_nothing(data: bytes, places: list[int]) -> None:
    whole = serve(cut(data, waits_of(data)))
    assert serve(cut(data, waits_of(data) + places)) == whole
    assert serve([data[i : i + 1] for i in range(len(data))]) == whole


@given(conversations)
def test_every_command_has_one_reply(data: bytes) -> None:
    outcome = serve(cut(data, waits_of(data)))
    answered = [event for event in outcome.events if not isinstance(event, ContentChunk | Bdat)]
    finals = [line for line in outcome.replies.split(b"\r\n") if line[3:4] == b" "]
    assert len(finals) == 1 + len(answered)  # and the greeting


@given(conversations)
def test_nothing_follows_the_end_of_a_session(data: bytes) -> None:
    events = serve(cut(data, waits_of(data))).events
    ends = [
        n
        for n, event in enumerate(events)
        if isinstance(event, Quit) or (isinstance(event, Refused) and event.closes)
    ]
    assert not ends or ends == [len(events) - 1]


@given(
    st.lists(st.one_of(st.binary(max_size=100), conversations), max_size=8), st.randoms(use_true_random=False)
)
@settings(max_examples=300)
def test_nothing_a_client_sends_and_no_possible_answer_raises(blocks: list[bytes], random: Random) -> None:
    choose = random.choice
    protocol = ServerProtocol(LIMITS, OFFERED)
    protocol.send(REPLIES[choose([220, 550, 421])])
    for block in [*blocks, b""]:
        protocol.receive_data(block)
        while (event := protocol.next_event()) is not NEED_DATA and not isinstance(event, EndOfFile):
            if isinstance(event, Refused):
                protocol.send(event.reply)
            elif isinstance(event, Bdat):
                if choose([True, False]):
                    protocol.send(REPLIES[choose([450, 550, 421])])
            elif not isinstance(event, ContentChunk):
                protocol.send(REPLIES[choose([ACCEPTED.get(type(event), 250), 450, 550, 550, 421])])
        protocol.data_to_send()
        if protocol.state is State.TLS:
            protocol.reset_for_tls()
        if choose([True, False, False]):
            protocol.abandon_transaction()


@given(st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\r\n", b"\r\n."]), max_size=30).map(b"".join))
def test_whatever_content_holds_it_is_one_message(content: bytes) -> None:
    if b"\r\n.\r\n" in b"\r\n" + content + b"\r\n":
        return
    hidden = content + b"\r\n.\r\nNOOP\r\n"
    outcome = serve([USUAL + b"DATA\r\n", hidden])
    kinds = [type(event) for event in outcome.events]
    assert kinds.count(ContentEnd) == 1
    assert kinds[-1] is Noop


@given(st.binary(max_size=60), st.booleans())
def test_a_chunk_is_passed_on_octet_by_octet(chunk: bytes, is_last: bool) -> None:
    command = b"BDAT %d%s\r\n" % (len(chunk), b" LAST" if is_last else b"")
    events = serve([USUAL + command + chunk + b"NOOP\r\n"]).events
    assert b"".join(event.data for event in events if isinstance(event, ContentChunk)) == chunk
    assert ChunkEnd(is_last) in events
    assert events[-1] == Noop("")


def test_ten_thousand_pipelined_commands_take_linear_time() -> None:
    def seconds(count: int) -> float:
        protocol, data = ServerProtocol(ServerLimits(), OFFERED), b"NOOP\r\n" * count
        protocol.send(REPLIES[220])
        began = time.perf_counter()
        protocol.receive_data(data)
        while protocol.next_event() is not NEED_DATA:
            protocol.send(REPLIES[250])
        duration = time.perf_counter() - began
        assert protocol.data_to_send() == REPLIES[220].encode() + REPLIES[250].encode() * count
        return duration

    few = min(seconds(500) for _ in range(5))
    many = min(seconds(10_000) for _ in range(3))
    assert many < few * 20 * 5  # quadratic would be 400 times
