"""The client's side: what it may send and when, and which reply belongs to what."""

from __future__ import annotations

import pytest

from harakapy.smtp import (
    NEED_DATA,
    NO_CAPABILITIES,
    Auth,
    AuthResponse,
    Bdat,
    ClientProtocol,
    Closed,
    Command,
    Connect,
    ContentEnd,
    Data,
    Ehlo,
    Expn,
    Helo,
    Help,
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
    Unrecognized,
    Vrfy,
)

from .client_session import MAIL, ClientSession, codes, commands, rcpt

ENDS_A_GROUP: list[Command] = [
    Helo("c"), Ehlo("c"), Data(), Vrfy("x"), Expn("x"), Help(), Noop(), Quit(), StartTls(), Auth("PLAIN"),
    Unrecognized("XYZ"),
]  # fmt: skip


@pytest.fixture(params=[0, 1, 3], ids=["whole", "octet by octet", "by three"])
def session(request: pytest.FixtureRequest) -> ClientSession:
    return ClientSession(step=request.param)


def test_the_greeting_comes_first(session: ClientSession) -> None:
    assert session.is_in(State.GREETING)
    assert session.take() == []
    assert session.hear("220-hello", "220 there") == [Replied(Connect(), Reply(220, ["hello", "there"]))]
    assert session.is_in(State.FRESH)


def test_nothing_is_sent_before_the_greeting(session: ClientSession) -> None:
    with pytest.raises(LocalProtocolError, match="must wait"):
        session.protocol.send(Ehlo("client"))
    assert session.say() == b""


@pytest.mark.parametrize("code", [450, 554])
def test_after_a_refused_greeting_only_quit_may_be_sent(session: ClientSession, code: int) -> None:
    assert codes(session.hear(f"{code} go away")) == [code]
    assert session.is_in(State.REJECTED)
    with pytest.raises(LocalProtocolError):
        session.protocol.send(Ehlo("client"))
    session.protocol.send(Quit())
    assert session.say() == b"QUIT\r\n"


def test_a_greeting_that_asks_for_more_is_none(session: ClientSession) -> None:
    with pytest.raises(RemoteProtocolError, match="354 is no reply to Connect"):
        session.hear("354 go on")


def test_the_answer_to_ehlo_tells_the_capabilities(session: ClientSession) -> None:
    assert session.protocol.capabilities is NO_CAPABILITIES
    session.hello("SIZE 1000", "PIPELINING")
    assert session.is_in(State.READY)
    assert session.protocol.capabilities.domain == "mx.example"
    assert (session.protocol.capabilities.size, session.protocol.capabilities.pipelining) == (1000, True)


def test_helo_tells_none_and_a_refused_ehlo_changes_none(session: ClientSession) -> None:
    session.hello("SIZE 1000").protocol.send(Ehlo("again"))
    session.hear("550 once is enough")
    assert session.protocol.capabilities.size == 1000
    session.protocol.send(Helo("client"))
    session.hear("250 mx.example")
    assert session.protocol.capabilities is NO_CAPABILITIES


def test_helo_follows_a_refused_ehlo(session: ClientSession) -> None:
    session.hear("220 ready")
    session.protocol.send(Ehlo("client"))
    session.hear("502 what?")
    session.protocol.send(Helo("client"))
    assert session.say() == b"EHLO client\r\nHELO client\r\n"
    session.hear("250 hello")
    assert session.is_in(State.READY)


@pytest.mark.parametrize("command", [MAIL, rcpt(), Data(), StartTls(), Auth("PLAIN")])
def test_what_needs_a_hello_is_not_sent_before_it(session: ClientSession, command: Command) -> None:
    session.hear("220 ready")
    with pytest.raises(LocalProtocolError, match="send EHLO first"):
        session.protocol.send(command)
    assert session.say() == b""


def test_a_command_out_of_order_is_not_sent(session: ClientSession) -> None:
    session.hello("PIPELINING")
    for command in (rcpt(), Data()):
        with pytest.raises(LocalProtocolError, match="send MAIL first"):
            session.protocol.send(command)
    session.protocol.send(MAIL)
    with pytest.raises(LocalProtocolError, match="nested MAIL"):
        session.protocol.send(MAIL)
    with pytest.raises(LocalProtocolError, match="send RCPT first"):
        session.protocol.send(Data())
    assert session.say() == b"MAIL FROM:<s@x.example>\r\n"


def test_bdat_has_a_method_of_its_own_and_lhlo_is_another_dialect(session: ClientSession) -> None:
    session.hello("CHUNKING")
    for command in (Bdat(1), Lhlo("client")):
        with pytest.raises(LocalProtocolError):
            session.protocol.send(command)


def test_a_command_that_cannot_be_written_changes_nothing(session: ClientSession) -> None:
    session.hello("PIPELINING")
    with pytest.raises(LocalProtocolError, match="control characters"):
        session.protocol.send(Noop("x\r\nQUIT"))
    session.protocol.send(MAIL)
    assert session.say() == b"MAIL FROM:<s@x.example>\r\n"
    assert session.protocol.waiting == 1


def test_without_pipelining_every_command_waits(session: ClientSession) -> None:
    session.hello("SIZE").protocol.send(MAIL)
    with pytest.raises(LocalProtocolError, match="Rcpt must wait"):
        session.protocol.send(rcpt())
    session.hear("250 ok")
    session.protocol.send(rcpt())
    assert session.protocol.waiting == 1


@pytest.mark.parametrize("last", ENDS_A_GROUP, ids=lambda command: command.verb)
def test_some_commands_end_a_group(session: ClientSession, last: Command) -> None:
    session.hello("PIPELINING", "AUTH PLAIN", "STARTTLS")
    if isinstance(last, Data):
        session.protocol.send(MAIL)
        session.protocol.send(rcpt())
    session.protocol.send(last)
    with pytest.raises(LocalProtocolError, match="Rset must wait"):
        session.protocol.send(Rset())


def test_a_group_is_one_write_and_its_replies_come_in_order(session: ClientSession) -> None:
    session.hello("PIPELINING").group("a", "b")
    assert session.say() == (
        b"MAIL FROM:<s@x.example>\r\nRCPT TO:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n"
    )
    events = session.hear("250 2.1.0 ok", "550 5.1.1 no", "250-2.1.5 yes", "250 2.1.5 yes", "354 go on")
    assert events == [
        Replied(MAIL, Reply(250, "ok", "2.1.0")),
        Replied(rcpt("a"), Reply(550, "no", "5.1.1")),
        Replied(rcpt("b"), Reply(250, ["yes", "yes"], "2.1.5")),
        Replied(Data(), Reply(354, "go on")),
    ]
    assert session.is_in(State.DATA)


def test_what_follows_a_refused_mail_in_a_group_may_get_any_answer(session: ClientSession) -> None:
    session.hello("PIPELINING").group("a", "b")
    assert codes(session.hear("451 later", "503 what?", "250 a broken server", "554 no")) == [
        451, 503, 250, 554
    ]  # fmt: skip
    assert session.is_in(State.READY)
    session.protocol.send(MAIL)


def test_content_that_was_asked_for_without_recipients_is_a_dot(session: ClientSession) -> None:
    session.hello("PIPELINING").group().say()
    assert codes(session.hear("250 ok", "550 no", "354 go on")) == [250, 550, 354]
    assert session.is_in(State.DATA)
    session.protocol.end_content()
    assert session.say() == b".\r\n"
    assert commands(session.hear("554 no recipients")) == [ContentEnd]
    assert session.is_in(State.READY)


def test_without_recipients_and_pipelining_data_is_not_sent(session: ClientSession) -> None:
    session.hello().protocol.send(MAIL)
    session.hear("250 ok")
    session.protocol.send(rcpt())
    session.hear("550 no")
    with pytest.raises(LocalProtocolError, match="no valid recipients"):
        session.protocol.send(Data())
    session.protocol.send(Rset())
    session.hear("250 ok")
    assert session.is_in(State.READY)


def test_content_is_stuffed_and_ended(session: ClientSession) -> None:
    session.hello("PIPELINING").in_content()
    for block in (b".a\r", b"\n.", b"b\r\n..c\r\n", b"", b"d"):
        session.protocol.send_content(block)
    session.protocol.end_content()
    assert session.say() == b"..a\r\n..b\r\n...c\r\nd\r\n.\r\n"
    assert session.hear("250 2.0.0 queued") == [Replied(ContentEnd(), Reply(250, "queued", "2.0.0"))]
    assert session.is_in(State.READY)


def test_a_block_alone_in_its_write_is_not_copied() -> None:
    session = ClientSession().hello("PIPELINING").in_content()
    block = b"line without dots\r\n" * 1000
    session.protocol.send_content(block)
    assert session.say() is block


def test_content_is_sent_only_where_it_was_asked_for(session: ClientSession) -> None:
    session.hello("PIPELINING").group()
    with pytest.raises(LocalProtocolError, match="354"):
        session.protocol.send_content(b"x")
    with pytest.raises(LocalProtocolError, match="354"):
        session.protocol.end_content()
    session.hear("250 ok", "250 ok", "354 go on")
    session.protocol.end_content()
    with pytest.raises(LocalProtocolError, match="354"):
        session.protocol.send_content(b"x")


def test_no_command_is_sent_within_content(session: ClientSession) -> None:
    session.hello("PIPELINING").in_content()
    with pytest.raises(LocalProtocolError, match="may not come now"):
        session.protocol.send(Quit())


def test_the_next_message_may_follow_the_content_at_once(session: ClientSession) -> None:
    session.hello("PIPELINING").in_content()
    session.protocol.send_content(b"x\r\n")
    session.protocol.end_content()
    session.group()
    assert session.say() == (b"x\r\n.\r\nMAIL FROM:<s@x.example>\r\nRCPT TO:<r@x.example>\r\nDATA\r\n")
    events = session.hear("250 queued", "250 ok", "250 ok", "354 go on")
    assert commands(events) == [ContentEnd, Mail, Rcpt, Data]
    assert session.is_in(State.DATA)


def test_a_refusal_before_the_end_of_the_content_ends_the_session(session: ClientSession) -> None:
    session.hello("PIPELINING").in_content()
    session.protocol.send_content(b"much" * 1000)
    session.say()
    assert session.hear("552 5.3.4 too big") == [
        Replied(ContentEnd(), Reply(552, "too big", "5.3.4")),
        Closed(),
    ]
    with pytest.raises(LocalProtocolError):
        session.protocol.end_content()


def test_content_is_not_accepted_before_its_end(session: ClientSession) -> None:
    session.hello("PIPELINING").in_content()
    with pytest.raises(RemoteProtocolError, match="nothing was sent that 250 answers"):
        session.hear("250 thanks")
    assert session.take() == [Closed()]


def test_a_message_is_one_write_with_chunking(session: ClientSession) -> None:
    session.hello("PIPELINING", "CHUNKING").protocol.send(MAIL)
    session.protocol.send(rcpt())
    session.protocol.send_chunk(b".\r\n\0", is_last=True)
    session.protocol.send(Quit())
    assert session.say() == (
        b"MAIL FROM:<s@x.example>\r\nRCPT TO:<r@x.example>\r\nBDAT 4 LAST\r\n.\r\n\0QUIT\r\n"
    )
    events = session.hear("250 ok", "250 ok", "250 queued", "221 bye")
    assert commands(events) == [Mail, Rcpt, Bdat, Quit, Closed]


def test_chunks_lead_to_the_last_one(session: ClientSession) -> None:
    session.hello("PIPELINING", "CHUNKING").protocol.send(MAIL)
    session.protocol.send(rcpt())
    session.protocol.send_chunk(b"abc", is_last=False)
    session.protocol.send_chunk(b"", is_last=True)
    assert session.say().endswith(b"BDAT 3\r\nabcBDAT 0 LAST\r\n")
    session.hear("250 ok", "250 ok", "250 3 octets")
    assert session.is_in(State.CHUNKS)
    assert session.hear("250 queued") == [Replied(Bdat(0, is_last=True), Reply(250, "queued"))]
    assert session.is_in(State.READY)


def test_between_chunks_there_is_no_other_command_but_rset(session: ClientSession) -> None:
    session.hello("PIPELINING", "CHUNKING").protocol.send(MAIL)
    session.protocol.send(rcpt())
    session.protocol.send_chunk(b"abc", is_last=False)
    for command in (rcpt(), Data(), MAIL):
        with pytest.raises(LocalProtocolError):
            session.protocol.send(command)
    session.protocol.send(Rset())
    session.hear("250 ok", "250 ok", "250 ok", "250 ok")
    assert session.is_in(State.READY)


def test_a_refused_chunk_ends_the_transaction(session: ClientSession) -> None:
    session.hello("PIPELINING", "CHUNKING").protocol.send(MAIL)
    session.protocol.send(rcpt())
    session.protocol.send_chunk(b"abc", is_last=False)
    session.protocol.send_chunk(b"def", is_last=True)
    session.protocol.send(MAIL)
    assert codes(session.hear("250 ok", "250 ok", "452 full", "503 what?", "250 ok")) == [
        250, 250, 452, 503, 250
    ]  # fmt: skip
    assert session.is_in(State.MAIL)


def test_a_server_that_forgot_a_transaction_may_begin_another(session: ClientSession) -> None:
    session.hello("PIPELINING", "CHUNKING").protocol.send(MAIL)
    session.protocol.send(rcpt())
    session.protocol.send_chunk(b"abc", is_last=True)
    session.protocol.send(MAIL)
    session.hear("250 ok", "550 no", "503 no recipients", "250 ok")
    assert session.is_in(State.MAIL)


@pytest.mark.parametrize("code", [250, 220, 235])
def test_content_needs_354(session: ClientSession, code: int) -> None:
    session.hello("PIPELINING").group()
    with pytest.raises(RemoteProtocolError, match=f"{code} is no reply to Data"):
        session.hear("250 ok", "250 ok", f"{code} hm")
    assert session.take() == [Closed()]


def test_421_is_the_last_answer(session: ClientSession) -> None:
    session.hello("PIPELINING").group()
    events = session.hear("250 ok", "421 4.3.2 going down", "503 and more", "garbage")
    assert events[1:] == [Replied(rcpt(), Reply(421, "going down", "4.3.2")), Closed()]
    assert session.is_in(State.CLOSED)
    assert session.take() == [Closed()]


def test_421_may_come_when_nothing_waits(session: ClientSession) -> None:
    session.hello("PIPELINING")
    assert session.hear("421 too long idle") == [Replied(None, Reply(421, "too long idle")), Closed()]


def test_421_may_greet_and_may_come_within_content() -> None:
    assert commands(ClientSession().hear("421 busy")) == [Connect, Closed]
    session = ClientSession().hello("PIPELINING").in_content()
    assert session.hear("421 shutting down") == [Replied(None, Reply(421, "shutting down")), Closed()]


def test_nothing_is_sent_after_the_end(session: ClientSession) -> None:
    session.hello("PIPELINING").group()
    session.hear("421 bye")
    assert session.say() == b""  # not even what had been queued
    with pytest.raises(LocalProtocolError):
        session.protocol.send(Quit())
    session.protocol.receive_data(b"250 ok\r\n")
    assert not session.protocol.has_buffered_input


@pytest.mark.parametrize("line", ["250 ok", "354 go on", "554 go away"])
def test_a_reply_to_nothing_ends_the_session(session: ClientSession, line: str) -> None:
    session.hello("PIPELINING")
    with pytest.raises(RemoteProtocolError, match="nothing was sent") as raised:
        session.hear(line)
    assert (raised.value.reply.code, raised.value.closes) == (451, True)
    assert session.take() == [Closed()]


@pytest.mark.parametrize("early", [b"250 twice\r\n", b"250 tw", b"550 no\r\n"])
def test_a_reply_that_came_before_the_command_is_no_answer_to_it(early: bytes) -> None:
    session = ClientSession().hello("PIPELINING")
    session.protocol.send(Noop())
    session.protocol.receive_data(b"250 once\r\n" + early)
    assert codes([session.protocol.next_event()]) == [250]  # type: ignore[list-item]
    session.protocol.send(MAIL)
    with pytest.raises(RemoteProtocolError, match="nothing was sent"):
        session.hear("" if early.endswith(b"\n") else "ice", "250 ok")
    assert session.take() == [Closed()]


def test_421_that_came_before_the_command_is_not_its_answer() -> None:
    session = ClientSession().hello("PIPELINING")
    session.protocol.receive_data(b"421 idle\r\n")
    session.protocol.send(MAIL)
    assert session.take() == [Replied(None, Reply(421, "idle")), Closed()]


def test_a_refusal_that_came_before_the_end_of_the_content_is_its_answer() -> None:
    session = ClientSession().hello("PIPELINING").in_content()
    session.protocol.receive_data(b"552 too big\r\n")
    session.protocol.end_content()
    assert session.take() == [Replied(ContentEnd(), Reply(552, "too big")), Closed()]


@pytest.mark.parametrize(
    "garbage",
    [
        b"hello\r\n",
        b"99 x\r\n",
        b"600 x\r\n",
        b"250-a\r\n251 b\r\n",
        b"x" * 5000,
        b"250-x\r\n" * 200,
        b"\r\n",
    ],
)
def test_what_is_no_reply_ends_the_session(session: ClientSession, garbage: bytes) -> None:
    session.hello("PIPELINING").group()
    with pytest.raises(RemoteProtocolError) as raised:
        session.receive(b"250 ok\r\n" + garbage)
    assert raised.value.reply.is_transient
    assert session.take() == [Closed()]


def test_a_lost_connection_is_told_each_time(session: ClientSession) -> None:
    session.hello("PIPELINING").group()
    assert codes(session.hear("250 ok")) == [250]
    session.receive(b"250-part of")
    assert session.hang_up() == [Closed()]
    assert session.take() == [Closed()]
    assert session.protocol.waiting == 0


def test_replies_that_came_before_the_end_are_not_lost() -> None:
    session = ClientSession().hello("PIPELINING").group()
    session.protocol.receive_data(b"250 ok\r\n550 no\r\n")
    session.protocol.receive_data(b"")
    assert codes(session.take()) == [250, 550, None]


def test_quit_ends_the_session(session: ClientSession) -> None:
    session.hello().protocol.send(Quit())
    assert session.say() == b"QUIT\r\n"
    assert session.hear("221 bye") == [Replied(Quit(), Reply(221, "bye")), Closed()]


def test_starttls_forgets_what_came_before(session: ClientSession) -> None:
    session.hello("STARTTLS", "SIZE 1000").protocol.send(StartTls())
    session.hear("220 go ahead")
    assert session.is_in(State.TLS)
    with pytest.raises(LocalProtocolError):
        session.protocol.send(Ehlo("client"))
    session.protocol.reset_for_tls()
    assert session.is_in(State.FRESH)
    assert session.protocol.capabilities is NO_CAPABILITIES
    session.protocol.send(Ehlo("client"))


def test_a_refused_starttls_leaves_the_session_as_it_was(session: ClientSession) -> None:
    session.hello("STARTTLS", "SIZE 1000").protocol.send(StartTls())
    session.hear("454 not now")
    assert session.is_in(State.READY)
    with pytest.raises(LocalProtocolError, match="no STARTTLS"):
        session.protocol.reset_for_tls()


@pytest.mark.parametrize("behind", [b"220 ready\r\n", b"2", b"\x16\x03"])
def test_octets_behind_the_answer_to_starttls_are_not_believed(behind: bytes) -> None:
    session = ClientSession().hello("STARTTLS")
    session.protocol.send(StartTls())
    assert codes(session.receive(b"220 go ahead\r\n" + behind)) == [220]
    assert session.take() == []
    with pytest.raises(RemoteProtocolError, match="octets behind the reply to STARTTLS"):
        session.protocol.reset_for_tls()
    assert session.take() == [Closed()]


def test_octets_of_the_handshake_are_not_taken() -> None:
    session = ClientSession().hello("STARTTLS")
    session.protocol.send(StartTls())
    session.hear("220 go ahead")
    with pytest.raises(LocalProtocolError, match="TLS handshake"):
        session.protocol.receive_data(b"\x16\x03")
    session.protocol.receive_data(b"")
    assert session.take() == [Closed()]


def test_a_login_goes_to_and_fro(session: ClientSession) -> None:
    session.hello("AUTH LOGIN").protocol.send(Auth("LOGIN"))
    for challenge, response in (("VXNlcm5hbWU6", b"c2FtZQ=="), ("UGFzc3dvcmQ6", b"c2VjcmV0")):
        assert session.hear(f"334 {challenge}")[0].reply.text == challenge  # type: ignore[union-attr]
        assert session.is_in(State.AUTH)
        session.protocol.send_auth_response(response)
    assert session.say() == b"AUTH LOGIN\r\nc2FtZQ==\r\nc2VjcmV0\r\n"
    assert commands(session.hear("235 2.7.0 welcome")) == [AuthResponse]
    assert session.is_in(State.READY)


def test_no_secret_is_shown_in_what_was_replied_to(session: ClientSession) -> None:
    session.hello("AUTH PLAIN").protocol.send(Auth("PLAIN", b"\0same\0s3cret"))
    shown = repr(session.hear("334 "))
    session.protocol.send_auth_response(b"czNjcmV0")
    shown += repr(session.hear("535 no"))
    assert "s3cret" not in shown
    assert "czNjcmV0" not in shown


def test_a_line_of_auth_is_sent_only_when_asked_for(session: ClientSession) -> None:
    session.hello("AUTH PLAIN", "PIPELINING")
    with pytest.raises(LocalProtocolError, match="nothing asked"):
        session.protocol.send_auth_response(b"x")
    session.protocol.send(Auth("PLAIN"))
    with pytest.raises(LocalProtocolError, match="nothing asked"):
        session.protocol.send_auth_response(b"x")
    session.hear("334 ")
    with pytest.raises(LocalProtocolError, match="one line"):
        session.protocol.send_auth_response(b"x\r\nQUIT")
    session.protocol.send_auth_response(b"*")
    with pytest.raises(LocalProtocolError, match="nothing asked"):
        session.protocol.send_auth_response(b"x")
    session.hear("501 given up")
    assert session.is_in(State.READY)


def test_a_plugins_verb_may_be_answered_with_anything(session: ClientSession) -> None:
    session.hello()
    for code in (250, 334, 450, 550):
        session.protocol.send(Unrecognized("XVERB", "x"))
        assert codes(session.hear(f"{code} x")) == [code]
        assert session.is_in(State.READY)


def test_a_new_protocol_object_has_nothing_to_say() -> None:
    protocol = ClientProtocol()
    assert protocol.next_event() is NEED_DATA
    assert protocol.data_to_send() == b""
    assert protocol.waiting == 1
