"""Laws of the client's side of a session, whatever the server says and however it is cut."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice, pairwise
from random import Random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from harakapy.smtp import (
    NEED_DATA,
    Address,
    Auth,
    Bdat,
    Capabilities,
    ClientProtocol,
    Closed,
    Data,
    Dialect,
    Ehlo,
    Lhlo,
    LocalProtocolError,
    Mail,
    Noop,
    Quit,
    Rcpt,
    RemoteProtocolError,
    Replied,
    Reply,
    Rset,
    StartTls,
    State,
)

SENDER = Address("a", "b.c")
MAIL = Mail(SENDER)

lines = st.sampled_from(
    [b"250 ok", b"250-ok", b"250", b"354 go", b"550 no", b"450 2.0.0 no", b"421 bye", b"220 x", b"334 eA==",
     b"250-SIZE 1", b"250 PIPELINING", b"250 LIMITS RCPTMAX=1", b"999 x", b"xyz", b"", b"2 5 0", b"\xff",
     b"25", b"250 \xc3\xa4\x00\x1b", b"250 " + b"x" * 4091, b"250 " + b"x" * 4092]
).map(lambda line: line + b"\r\n")  # fmt: skip
odd = st.sampled_from([b"\r", b"\n", b"250", b"-", b"x" * 5000, b"250-y\r\n" * 130, b"\0"])
talk = st.lists(st.one_of(lines, lines, lines, lines, odd), max_size=15).map(b"".join)
places = st.lists(st.integers(0, 6000), max_size=12)
contents = st.lists(
    st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"\r\n.\r\n", b"a", b"\0", b"QUIT\r\n"]),
    max_size=25,
).map(b"".join)


def cut(data: bytes, where: Sequence[int]) -> list[bytes]:
    edges = sorted({place % (len(data) + 1) for place in where} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(edges)]


def ready(dialect: Dialect = Dialect.SMTP) -> ClientProtocol:
    """A client that was greeted and may send groups and chunks."""
    protocol = ClientProtocol(dialect)
    for data, hello in ((b"220 x\r\n", True), (b"250-x\r\n250-PIPELINING\r\n250 CHUNKING\r\n", False)):
        protocol.receive_data(data)
        assert isinstance(protocol.next_event(), Replied)
        if hello:
            protocol.send(Ehlo("c") if dialect is Dialect.SMTP else Lhlo("c"))
    protocol.data_to_send()
    return protocol


def send_group(protocol: ClientProtocol) -> None:
    protocol.send(MAIL)
    for name in "rst":
        protocol.send(Rcpt(Address(name, "b.c")))
    protocol.send_chunk(b"x", is_last=False)
    protocol.send_chunk(b"y", is_last=True)
    protocol.send(MAIL)
    protocol.send(Rset())
    protocol.send(Noop())


def listen(protocol: ClientProtocol, blocks: list[bytes]) -> list[Replied | Closed | str]:
    """All events up to the end of the session, or of what the server says."""
    events: list[Replied | Closed | str] = []
    for block in [*blocks, b""]:
        protocol.receive_data(block)
        try:
            while (event := protocol.next_event()) is not NEED_DATA:
                events.append(event)
                if isinstance(event, Closed):
                    return events
        except RemoteProtocolError as error:
            return [*events, f"{error} {error.closes} {error.reply}"]
    raise AssertionError("the end of file is an event")


@given(talk, places, st.sampled_from(Dialect))
@example(b"250 a\r\n" * 8 + b"250 " + b"x" * 4093 + b"\r\n", [100, 4000], Dialect.SMTP)
@settings(max_examples=400)
def test_segmentation_changes_nothing(data: bytes, where: list[int], dialect: Dialect) -> None:
    def events(blocks: list[bytes]) -> list[Replied | Closed | str]:
        protocol = ready(dialect)
        send_group(protocol)
        return listen(protocol, blocks)

    whole = events([data])
    assert events(cut(data, where)) == whole
    assert events([data[i : i + 1] for i in range(len(data))]) == whole


@given(talk, st.sampled_from(Dialect))
def test_replies_are_given_in_the_order_of_commands_each_once(data: bytes, dialect: Dialect) -> None:
    protocol = ready(dialect)
    send_group(protocol)
    expected = [Mail, Rcpt, Rcpt, Rcpt, Bdat, Bdat, Mail, Rset, Noop]
    answered: list[type] = []
    for event in listen(protocol, [data]):
        if isinstance(event, Replied) and event.command is not None:
            if event.recipient not in (None, 0) and answered[-1:] == [Bdat] and answered.count(Bdat) == 2:
                continue  # LMTP: one more answer to the last chunk
            answered.append(type(event.command))
    assert answered == expected[: len(answered)]


Step = Callable[[ClientProtocol], None]
STEPS: list[Step] = [
    lambda p: p.send(Ehlo("c")),
    lambda p: p.send(MAIL),
    lambda p: p.send(Rcpt(SENDER)),
    lambda p: p.send(Rcpt(SENDER)),
    lambda p: p.send(Data()),
    lambda p: p.send(Data()),
    lambda p: p.send_content(b".\r\n"),
    lambda p: p.end_content(),
    lambda p: p.send_chunk(b"x", is_last=False),
    lambda p: p.send_chunk(b"y", is_last=True),
    lambda p: p.send(Rset()),
    lambda p: p.send(StartTls()),
    lambda p: p.send(Auth("PLAIN", b"x")),
    lambda p: p.send_auth_response(b"*"),
    lambda p: p.send(Quit()),
    lambda p: p.reset_for_tls(),
]


@given(
    st.lists(st.one_of(st.binary(max_size=60), talk, lines, lines), max_size=20),
    st.sampled_from(Dialect),
    st.booleans(),
    st.randoms(use_true_random=False),
)
@settings(max_examples=500)
def test_nothing_but_remote_protocol_errors_comes_of_what_a_server_says(
    blocks: list[bytes], dialect: Dialect, is_ready: bool, random: Random
) -> None:
    protocol = ready(dialect) if is_ready else ClientProtocol(dialect)
    for block in [*blocks, b""]:
        for step in random.sample(STEPS, 6):
            try:
                step(protocol)
            except LocalProtocolError:
                continue
            except RemoteProtocolError:  # by reset_for_tls
                assert protocol.state is State.CLOSED
        protocol.data_to_send()
        if protocol.state is State.TLS and block:
            continue
        protocol.receive_data(block)
        with suppress(RemoteProtocolError):
            while isinstance(protocol.next_event(), Replied):
                pass
    assert protocol.next_event() == Closed()
    assert protocol.data_to_send() == b""


@given(st.lists(st.text(max_size=40) | st.sampled_from(["SIZE x", "AUTH", "LIMITS RCPTMAX=9 =", "AUTH=A"])))
def test_capabilities_are_made_of_any_lines(lines: list[str]) -> None:
    capabilities = Capabilities.parse(lines)
    assert capabilities == Capabilities.parse(Reply(250, lines).lines) or lines != list(
        Reply(250, lines).lines
    )
    assert all(keyword == keyword.upper() for keyword in capabilities.raw)


@given(contents, places)
def test_content_on_the_wire_does_not_depend_on_its_blocks(content: bytes, where: list[int]) -> None:
    def wire(blocks: list[bytes]) -> bytes:
        protocol = ready()
        for command in (MAIL, Rcpt(SENDER), Data()):
            protocol.send(command)
        protocol.data_to_send()
        listen_to = b"250 ok\r\n250 ok\r\n354 go on\r\n"
        protocol.receive_data(listen_to)
        while protocol.next_event() is not NEED_DATA:
            pass
        for block in blocks:
            protocol.send_content(block)
        protocol.end_content()
        return protocol.data_to_send()

    assert wire(cut(content, where)) == wire([content])


def test_ten_thousand_replies_take_linear_time() -> None:
    def seconds(count: int) -> float:
        protocol = ready()
        protocol.send(MAIL)
        for _ in range(count):
            protocol.send(Rcpt(SENDER))
        protocol.data_to_send()
        data = b"250 ok\r\n" * (count + 1)
        began = time.perf_counter()
        protocol.receive_data(data)
        assert len(list(islice(iter(protocol.next_event, NEED_DATA), count + 2))) == count + 1
        return time.perf_counter() - began

    few = min(seconds(500) for _ in range(5))
    many = min(seconds(10_000) for _ in range(3))
    assert many < few * 20 * 5  # quadratic would be 400 times
