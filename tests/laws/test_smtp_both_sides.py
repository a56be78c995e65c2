"""Laws of both sides of a session against each other, however the octets between them are cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from harakapy.smtp import (
    NEED_DATA,
    Address,
    Auth,
    AuthResponse,
    Bdat,
    ChunkEnd,
    ClientProtocol,
    Closed,
    Command,
    ContentChunk,
    ContentEnd,
    Data,
    Ehlo,
    EndOfFile,
    Event,
    LocalProtocolError,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Refused,
    Replied,
    Reply,
    Rset,
    ServerLimits,
    ServerProtocol,
    StartTls,
    State,
)

OFFERED = {"PIPELINING", "CHUNKING", "8BITMIME", "SIZE", "STARTTLS", "AUTH"}
ANSWERS = {Data: 354, StartTls: 220, Auth: 334, AuthResponse: 235, Quit: 221}
SENDER = Address("a", "b.c")
MAIL = Mail(SENDER)

places = st.lists(st.integers(0, 300), max_size=12)
contents = st.lists(
    st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"\r\n.\r\n", b"a", b"\0", b"QUIT\r\n"]),
    max_size=25,
).map(b"".join)


def cut(data: bytes, where: Sequence[int]) -> list[bytes]:
    edges = sorted({place % (len(data) + 1) for place in where} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(edges)]


@dataclass
class Peers:
    """A client and a server that hear each other's octets cut as the law has it."""

    sizes: list[int]
    chunking: bool = False
    refused: frozenset[str] = frozenset()
    messages: list[bytes] = field(default_factory=list)
    envelopes: list[list[str]] = field(default_factory=list)
    replied: list[Replied] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client = ClientProtocol()
        self.server = ServerProtocol(ServerLimits(), OFFERED)
        self._cuts = cycle(self.sizes or [1 << 20])
        self._content = b""
        self._rcpt_to: list[str] = []
        self.server.send(Reply(220, "ready"))
        self.talk()

    def talk(self) -> None:
        """Carry octets to and fro until both have nothing more to say."""
        while (to_client := self.server.data_to_send()) or (to_server := self.client.data_to_send()):
            if to_client:
                self._deliver(to_client, self.client.receive_data, self._hear)
            else:
                self._deliver(to_server, self.server.receive_data, self._serve)

    def _deliver(self, data: bytes, receive: Callable[[bytes], None], take: Callable[[], None]) -> None:
        while data:
            size = next(self._cuts)
            receive(data[:size])
            take()
            data = data[size:]

    def _hear(self) -> None:
        while (event := self.client.next_event()) is not NEED_DATA and not isinstance(event, Closed):
            self.replied.append(event)

    def _serve(self) -> None:
        while (event := self.server.next_event()) is not NEED_DATA and not isinstance(event, EndOfFile):
            if isinstance(event, ContentChunk):
                self._content += event.data
            elif not isinstance(event, Bdat):
                self.server.send(self._answer(event))

    def _answer(self, event: Event) -> Reply:
        if isinstance(event, Ehlo):
            return Reply(250, ["mx.example", *sorted(OFFERED)])
        if isinstance(event, Refused):
            return event.reply
        if isinstance(event, Rcpt):
            if event.recipient.user in self.refused:
                return Reply(550, "no", "5.1.1")
            self._rcpt_to.append(event.recipient.user)
        elif isinstance(event, ContentEnd) or event == ChunkEnd(is_last=True):
            self.messages.append(self._content)
            self.envelopes.append(self._rcpt_to)
        if isinstance(event, Mail):
            self._content, self._rcpt_to = b"", []
        return Reply(ANSWERS.get(type(event), 250), "so be it")

    def say(self, *commands: Command) -> list[int]:
        """Send a group; the codes of its replies."""
        self.replied.clear()
        for command in commands:
            self.client.send(command)
        self.talk()
        return [event.reply.code for event in self.replied]

    def deliver(self, names: list[str], blocks: list[bytes]) -> None:
        envelope: list[Command] = [MAIL, *(Rcpt(Address(name, "b.c")) for name in names)]
        if self.chunking:
            for command in envelope:
                self.client.send(command)
            for block in blocks:
                self.client.send_chunk(block, is_last=False)
            self.client.send_chunk(b"", is_last=True)
        else:
            self.say(*envelope, Data())
            if self.client.state is not State.DATA:
                return
            for block in blocks:
                self.client.send_content(block)
            self.client.end_content()
        self.talk()


sizes = st.lists(st.integers(1, 80), max_size=6)


@given(st.lists(contents, min_size=1, max_size=3), places, sizes, st.booleans())
@settings(max_examples=300)
def test_what_a_client_sends_is_what_a_server_gets(
    messages: list[bytes], where: list[int], sizes: list[int], chunking: bool
) -> None:
    peers = Peers(sizes, chunking=chunking)
    assert peers.say(Ehlo("c")) == [250]
    for content in messages:
        peers.deliver(["r"], cut(content, where))
        assert peers.client.state is peers.server.state is State.READY
    assert peers.say(Quit()) == [221]
    assert peers.client.state is peers.server.state is State.CLOSED
    assert peers.messages == (messages if chunking else [completed(content) for content in messages])


def completed(content: bytes) -> bytes:
    """The content as DATA carries it: its last line has an end."""
    return content if not content or content.endswith(b"\r\n") else content + b"\r\n"


@given(
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=5), st.frozensets(st.sampled_from("abcd")), sizes
)
def test_both_sides_agree_on_who_was_accepted(
    names: list[str], refused: frozenset[str], sizes: list[int]
) -> None:
    peers = Peers(sizes, refused=refused)
    peers.say(Ehlo("c"))
    peers.deliver(names, [b"x\r\n"])
    accepted = [name for name in names if name not in refused]
    if not accepted:
        assert [event.reply.code for event in peers.replied][-1] == 554  # to DATA
        assert peers.say(Rset()) == [250]
    assert peers.envelopes == ([accepted] if accepted else [])
    assert peers.client.state is peers.server.state is State.READY


@given(
    st.lists(
        st.sampled_from([Ehlo("c"), MAIL, Rcpt(SENDER), Rset(), Noop(), StartTls(), Auth("PLAIN")]),
        max_size=12,
    ),
    sizes,
)
@settings(max_examples=200)
def test_what_the_client_may_send_the_server_takes_and_both_are_in_one_state(
    commands: list[Command], sizes: list[int]
) -> None:
    peers = Peers(sizes)
    for command in commands:
        peers.replied.clear()
        try:
            peers.client.send(command)
        except LocalProtocolError:
            continue
        peers.talk()
        assert [event.command for event in peers.replied] == [command]
        assert peers.replied[0].reply.code == ANSWERS.get(type(command), 250)
        assert peers.client.state is peers.server.state
        if peers.client.state is State.TLS:
            peers.client.reset_for_tls()
            peers.server.reset_for_tls()
        elif peers.client.state is State.AUTH:
            peers.client.send_auth_response(b"eA==")
            peers.talk()
