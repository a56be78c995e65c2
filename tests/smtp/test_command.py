"""Command lines: what each becomes, what is refused with which reply, and the way back."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harakapy.smtp import (
    Auth,
    Bdat,
    Command,
    Data,
    Ehlo,
    Expn,
    Helo,
    Help,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Rset,
    StartTls,
    Unrecognized,
    Vrfy,
    parse_command,
)
from harakapy.smtp.address import NULL_PATH, Address, parse_forward_path, parse_reverse_path
from harakapy.smtp.errors import LocalProtocolError, RemoteProtocolError
from harakapy.smtp.parameters import Body, MailParameters, Notify, RcptParameters

EVERYTHING = frozenset(
    {"SIZE", "8BITMIME", "BINARYMIME", "SMTPUTF8", "DSN", "AUTH", "REQUIRETLS", "DELIVERBY", "MT-PRIORITY"}
    | {"FUTURERELEASE", "PIPELINING", "CHUNKING", "STARTTLS"}
)


def parse(line: bytes | str, *, utf8_allowed: bool = False) -> Command:
    raw = line.encode() if isinstance(line, str) else line
    return parse_command(raw, extensions=EVERYTHING, utf8_allowed=utf8_allowed)


def refusal(line: bytes | str, *, utf8_allowed: bool = False) -> tuple[int, str | None]:
    with pytest.raises(RemoteProtocolError) as caught:
        parse(line, utf8_allowed=utf8_allowed)
    return caught.value.reply.code, caught.value.reply.enhanced


A_AT_B = Address("a", "b")


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("HELO client.example", Helo("client.example")),
        ("EHLO client.example", Ehlo("client.example")),
        ("ehlo  my_PC ", Ehlo("my_PC")),
        ("EHLO [127.0.0.1]", Ehlo("[127.0.0.1]")),
        ("EHLO [IPv6:::1]", Ehlo("[IPv6:::1]")),
        ("EHLO %s\"<script>'", Ehlo("%s\"<script>'")),
        ("EHLO " + "a" * 255, Ehlo("a" * 255)),
        ("MAIL FROM:<a@b>", Mail(A_AT_B)),
        ("MAIL FROM:<>", Mail(NULL_PATH)),
        ("MAIL FROM: <a@b>", Mail(A_AT_B)),
        ("mail from:<a@b>", Mail(A_AT_B)),
        ("Mail From:   <>  ", Mail(NULL_PATH)),
        ("MAIL FROM:<a@b> ", Mail(A_AT_B)),
        ("MAIL FROM:<a@b> SIZE=10", Mail(A_AT_B, MailParameters(size=10))),
        (
            "MAIL FROM:<>  size=10   BODY=8bitmime ",
            Mail(NULL_PATH, MailParameters(size=10, body=Body.EIGHTBITMIME)),
        ),
        ("MAIL FROM:<a@b> AUTH=<>", Mail(A_AT_B, MailParameters(auth=NULL_PATH))),
        ("MAIL FROM:<@x,@y:a@b> SIZE=1", Mail(A_AT_B, MailParameters(size=1))),
        ('MAIL FROM:<"> "@b> SIZE=1', Mail(Address("> ", "b"), MailParameters(size=1))),
        (r'MAIL FROM:<"\"> SIZE=9"@b> SIZE=1', Mail(Address('"> SIZE=9', "b"), MailParameters(size=1))),
        ("MAIL FROM:<ü@b> SMTPUTF8", Mail(Address("ü", "b"), MailParameters(smtputf8=True))),
        ("MAIL FROM:<a@bücher.de> smtputf8", Mail(Address("a", "bücher.de"), MailParameters(smtputf8=True))),
        ("RCPT TO:<a@b>", Rcpt(A_AT_B)),
        ("rcpt to: <a@b> ", Rcpt(A_AT_B)),
        ("RCPT TO:<postmaster>", Rcpt(Address("postmaster", ""))),
        ("RCPT TO:<a@b> NOTIFY=NEVER", Rcpt(A_AT_B, RcptParameters(notify=frozenset({Notify.NEVER})))),
        ('RCPT TO:<"a b"@c>', Rcpt(Address("a b", "c"))),
        ("DATA", Data()),
        ("data", Data()),
        ("DATA  ", Data()),
        ("BDAT 0", Bdat(0)),
        ("BDAT 0 LAST", Bdat(0, is_last=True)),
        ("bdat 0012   last ", Bdat(12, is_last=True)),
        ("BDAT 9223372036854775807", Bdat(2**63 - 1)),
        ("RSET", Rset()),
        ("rSeT ", Rset()),
        ("NOOP", Noop()),
        ("NOOP  some  thing ", Noop("some  thing")),
        ("NOOP ü", Noop("ü")),
        ("QUIT", Quit()),
        ("VRFY a b", Vrfy("a b")),
        ("VRFY <a@b>", Vrfy("<a@b>")),
        ("VRFY ü SMTPUTF8", Vrfy("ü", smtputf8=True)),
        ("VRFY a  SMTPUTF8", Vrfy("a", smtputf8=True)),
        ("VRFY SMTPUTF8", Vrfy("SMTPUTF8")),
        ("EXPN list", Expn("list")),
        ("EXPN list smtputf8", Expn("list", smtputf8=True)),
        ("HELP", Help()),
        ("HELP mail", Help("mail")),
        ("STARTTLS", StartTls()),
        ("starttls ", StartTls()),
        ("auth plain", Auth("PLAIN")),
        ("auth plain =", Auth("PLAIN", b"")),
        ("auth plain AGEAYg==", Auth("PLAIN", b"\0a\0b")),
        ("AUTH PLAIN =", Auth("PLAIN", b"")),
        ("AUTH SCRAM-SHA-256-PLUS", Auth("SCRAM-SHA-256-PLUS")),
        ("GET / HTTP/1.1", Unrecognized("GET", "/ HTTP/1.1")),
        ("xclient NAME=a  ADDR=b", Unrecognized("XCLIENT", "NAME=a  ADDR=b")),
        ("TURN", Unrecognized("TURN")),
        ("MAILFROM:<a@b>", Unrecognized("MAILFROM:<A@B>")),
        ("DATAX", Unrecognized("DATAX")),
        ("RSETX y", Unrecognized("RSETX", "y")),
        ("FOO ü", Unrecognized("FOO", "ü")),
    ],
)
def test_line_becomes_command(line: str, command: Command) -> None:
    assert parse(line) == command
    assert parse(command.to_bytes()) == command
    assert parse(line).verb == command.verb == command.verb.upper()


def test_recipient_may_be_utf8_once_the_transaction_is() -> None:
    assert parse("RCPT TO:<ü@b>", utf8_allowed=True) == Rcpt(Address("ü", "b"))
    assert refusal("RCPT TO:<ü@b>") == (553, "5.6.7")
    assert refusal("RCPT TO:<ü@b> SMTPUTF8", utf8_allowed=True) == (555, "5.5.4")


@pytest.mark.parametrize(
    "line",
    [
        "MAIL FROM:<ü@b>",
        "MAIL FROM:<a@bücher.de> SIZE=1",
        "RCPT TO:<ü@b>",
        "VRFY ü",
        "EXPN ü",
        "VRFY a \u017fMTPUTF8",
    ],
)
def test_utf8_that_was_not_asked_for_is_refused(line: str) -> None:
    assert refusal(line) == (553, "5.6.7")


def test_smtputf8_is_of_no_use_unless_offered() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_command("MAIL FROM:<ü@b> SMTPUTF8".encode(), extensions=EVERYTHING - {"SMTPUTF8"})
    assert caught.value.reply.code == 555


@pytest.mark.parametrize(
    "path",
    [
        "<a@b",
        "a@b>",
        "<<a@b>>",
        "<a@b>>",
        "<a b@c>",
        "<a@b>SIZE=1",
        "<a@b>,<c@d>",
        "<a@b>x <c@d>",
        "",
        "<a@b@localdomain>",
        "<x'\"--@d>",
        "<${jndi:x}@d>",
        "<$(id)@d>",
        "<../../etc@d>",
        "<a@xn--->",
        "<a@[IPv6:zz]>",
        "<a@[1.2.3]>",
        f"<{'a' * 65}@b>",
        f"<a@{'b' * 64}>",
        '<"a@b> SIZE=1',
        "(a)<a@b>",
    ],
)
def test_malformed_path_is_refused_with_the_code_of_its_side(path: str) -> None:
    assert refusal(f"MAIL FROM:{path}") == (501, "5.1.7")
    assert refusal(f"RCPT TO:{path}") == (501, "5.1.3")


BARE = [
    "a@b",
    "A.b+c@D.test",
    "_@b",
    "$A12345@b.test",
    "customer/department=shipping@b.test",
    "prvs=0123456789=a@b.test",
    "mailhost!a@b.test",
    "a@[127.0.0.1]",
    "a@[IPv6:2001:db8::1]",
    "a@xn--bcher-kva.ch",
    '""@b',
    '"a b"@c',
    r'"a\"b\\ SIZE=1"@c',
    '"a@b"@c',
    "postmaster",
    "PostMaster",
]
"""Mailboxes that can be nothing else, though they have no angle brackets."""


@pytest.mark.parametrize("mailbox", BARE)
@pytest.mark.parametrize("tail", ["", " ", " SIZE=1", "  NOTIFY=NEVER ", " FOO=<a@b>", " x"])
@pytest.mark.parametrize("start", ["MAIL FROM:", "RCPT TO:", "rcpt to:  "])
def test_mailbox_without_brackets_is_read_as_if_it_had_them(start: str, mailbox: str, tail: str) -> None:
    def outcome(line: str) -> object:
        try:
            return parse(line)
        except RemoteProtocolError as error:
            return error.reply

    assert outcome(f"{start}{mailbox}{tail}") == outcome(f"{start}<{mailbox}>{tail}")


@pytest.mark.parametrize("mailbox", BARE)
def test_mailbox_without_brackets_is_refused_where_addresses_are_strict(mailbox: str) -> None:
    for start, enhanced in (("MAIL FROM:", "5.1.7"), ("RCPT TO:", "5.1.3")):
        with pytest.raises(RemoteProtocolError, match="angle brackets") as caught:
            parse_command(f"{start}{mailbox}".encode(), strict_addresses=True)
        assert (caught.value.reply.code, caught.value.reply.enhanced) == (501, enhanced)
    assert parse_command(b"RCPT TO:<a@b>", strict_addresses=True) == Rcpt(A_AT_B)


@pytest.mark.parametrize(
    "path",
    [
        "AUTH=a@b",
        "envid=a@b",
        "SIZE=10",
        "a",
        "a@",
        "@b",
        "a @b",
        "a@ b",
        "a@b@c",
        "a@b,c@d",
        "@x:a@b",
        "Ann <a@b>",
        "Ann<a@b>",
        "a@b<c@d>",
        '"a@b',
        '"a"b@c',
        'a"b"@c',
        'a."b c"@d',
        '"<a@b>"@c',
        "(comment)a@b",
        "a@b(comment)",
        "a\\ b@c",
        "a..b@c",
        ".a@b",
        "a@b..c",
        f"{'a' * 65}@b",
        f"{'a' * 64}@{'b.' * 127}b",
    ],
)
def test_what_without_brackets_is_no_mailbox_or_could_be_another_is_refused(path: str) -> None:
    assert refusal(f"MAIL FROM:{path}") == (501, "5.1.7")
    assert refusal(f"RCPT TO:{path}") == (501, "5.1.3")


def test_utf8_without_brackets_must_be_asked_for_as_with_them() -> None:
    assert parse("MAIL FROM:ü@b SMTPUTF8") == parse("MAIL FROM:<ü@b> SMTPUTF8")
    assert refusal("MAIL FROM:ü@b") == refusal("MAIL FROM:<ü@b>") == (553, "5.6.7")


def test_sender_is_never_the_bare_postmaster() -> None:
    assert refusal("MAIL FROM:postmaster") == refusal("MAIL FROM:<postmaster>") == (501, "5.1.7")


def test_recipient_is_never_null() -> None:
    assert refusal("RCPT TO:<>") == (501, "5.1.3")


@pytest.mark.parametrize(
    "line",
    [
        "MAIL",
        "MAIL ",
        "MAIL FROM",
        "MAIL FROM <a@b>",
        "MAIL FROM :<a@b>",
        "MAIL TO:<a@b>",
        "MAIL  FROM:<a@b>",
        "MAIL <a@b>",
        "RCPT",
        "RCPT TO",
        "RCPT FROM:<a@b>",
        "RCPT TO <a@b>",
        "HELO",
        "EHLO",
        "EHLO  ",
        "VRFY",
        "EXPN ",
        "AUTH",
        "RSET x",
        "QUIT x",
        "DATA x",
        "STARTTLS x",
        "BDAT",
        "BDAT -1",
        "BDAT 1e3",
        "BDAT +1",
        "BDAT 0x1",
        "BDAT 1_0",
        "BDAT ²",
        "BDAT LAST",
        "BDAT 1LAST",
        "BDAT 99999999999999999999",
        "BDAT 9223372036854775808",
        "BDAT 1" + "0" * 20,
        "BDAT " + "9" * 5000,
        "BDAT 10 LAST x",
        "BDAT 10 FIRST",
        "BDAT 10 LA\u017fT",
        "BDAT 1 2",
        "AUTH PLAIN+",
        "AUTH =",
        "AUTH " + "A" * 21,
        "AUTH PLAI\u0148",
        "AUTH \u017fCRAM",
        "MAIL FROM:<a@b> SIZE=-1",
        "MAIL FROM:<a@b> SIZE=abc",
        "MAIL FROM:<a@b> SIZE=",
        "MAIL FROM:<a@b> =",
        "MAIL FROM:<> SIZE=100000000000000000000",
        "MAIL FROM:<a@b> RET=BOTH",
        "MAIL FROM:<a@b> SIZE=1 SIZE=1",
        "MAIL FROM:<a@b> ENVID=ab+0D+0AX-Inject:1",
        "MAIL FROM:<a@b> HOLDFOR=1 HOLDUNTIL=2030-01-01T00:00:00Z",
        "MAIL FROM:<a@b> BY=0;R",
        "MAIL FROM:<a@b> MT-PRIORITY=10",
        "MAIL FROM:<a@b> XÜ",
        "MAIL FROM:<a@b> SMTPUTF8 ENVID=ü",
        "RCPT TO:<a@b> NOTIFY=NEVER,FAILURE",
        "RCPT TO:<a@b> NOTIFY=",
        "RCPT TO:<a@b> ORCPT=rfc822;a+0D+0Ab",
        "RCPT TO:<a@b> ORCPT=rfc822;+0g",
    ],
)
def test_malformed_argument_is_refused(line: str) -> None:
    assert refusal(line) == (501, "5.5.4")


@pytest.mark.parametrize(
    "line",
    [
        "EHLO a b",
        "EHLO ü",
        "EHLO " + "a" * 256,
        "HELO a\u00a0b",
        "EHLO " + "a" * 10_000,
        "AUTH PLAIN *",
        "AUTH PLAIN A",
        "AUTH PLAIN AGEAYg",
        "AUTH PLAIN AGEAYg===",
        "AUTH PLAIN AGEAYh==",  # bits behind the end
        "AUTH PLAIN AGE AYg==",
        "AUTH PLAIN ====",
        "AUTH PLAIN  AGEAYg==",
        "AUTH PLAIN ü",
        "AUTH PLAIN A" + "A" * 100_000,
    ],
)
def test_argument_with_wrong_characters_is_a_syntax_error(line: str) -> None:
    assert refusal(line) == (501, "5.5.2")


@pytest.mark.parametrize(
    "line", ["", " ", " NOOP", "   x", "ü", "NOÖP", "R\u017fET", "DATA\u00a0", "\ufeffEHLO a"]
)
def test_line_without_a_verb_is_refused(line: str) -> None:
    assert refusal(line) == (500, "5.5.2")


LINES = [
    "HELO a",
    "EHLO a",
    "MAIL FROM:<a@b>",
    "MAIL FROM:<a@b> SIZE=1",
    "RCPT TO:<a@b>",
    "DATA",
    "BDAT 1",
    "RSET",
    "NOOP x",
    "QUIT",
    "VRFY a",
    "EXPN a",
    "HELP x",
    "STARTTLS",
    "AUTH PLAIN AAAA",
]
BAD_OCTETS = [
    b"\x00",
    b"\t",
    b"\n",
    b"\r",
    b"\x0b",
    b"\x1b",
    b"\x7f",
    b"\xc2\x85",
    b"\xe2\x80\xa8",
    b"\xff",
    b"\xc3",
]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("octets", [*BAD_OCTETS, b"\xed\xa0\x80", b"\xc0\x80"])
def test_control_characters_and_broken_utf8_are_refused_anywhere(line: str, octets: bytes) -> None:
    raw = line.encode()
    for position in range(4, len(raw) + 1):
        if raw[:position].isalpha() and position < len(raw) and raw[position:].split(b" ")[0].isalpha():
            continue  # inside STARTTLS: then it is no verb of ours
        assert refusal(raw[:position] + octets + raw[position:]) == (501, "5.5.2")


@pytest.mark.parametrize("octets", BAD_OCTETS)
def test_control_characters_in_an_unknown_command_are_refused_too(octets: bytes) -> None:
    for line in (octets, octets + b"NOOP", b"NO" + octets + b"OP", b"FOO a" + octets):
        assert refusal(line) == (500, "5.5.2")
    assert refusal(b"noop" + octets) == (501, "5.5.2")


@pytest.mark.parametrize("line", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x80\x2e\x01\x00\x02"])
def test_tls_hello_is_no_command(line: bytes) -> None:
    assert refusal(line) == (500, "5.5.2")


@pytest.mark.parametrize(
    ("line", "verb", "argument", "extension"),
    [
        ("STARTTLS", "STARTTLS", "", "STARTTLS"),
        ("starttls x", "STARTTLS", "x", "STARTTLS"),
        ("AUTH PLAIN AAAA", "AUTH", "PLAIN AAAA", "AUTH"),
        ("BDAT 1 LAST", "BDAT", "1 LAST", "CHUNKING"),
    ],
)
def test_command_of_an_extension_not_offered_is_unrecognized(
    line: str, verb: str, argument: str, extension: str
) -> None:
    command = parse_command(line.encode(), extensions=EVERYTHING - {extension})
    assert command == Unrecognized(verb, argument)
    assert parse_command(line.encode()) == command


def test_parameters_are_refused_if_nothing_is_offered() -> None:
    for line in (b"MAIL FROM:<a@b> SIZE=1", b"RCPT TO:<a@b> NOTIFY=NEVER", b'RCPT TO:<"a b"@c> NOTIFY=NEVER'):
        with pytest.raises(RemoteProtocolError) as caught:
            parse_command(line)
        assert (caught.value.reply.code, caught.value.reply.enhanced) == (555, "5.5.4")


def test_initial_response_stays_out_of_repr_and_of_refusals() -> None:
    assert "secret" not in repr(Auth("PLAIN", b"\0me\0secret"))
    with pytest.raises(RemoteProtocolError) as caught:
        parse("AUTH PLAIN secret!")
    assert "secret" not in repr(caught.value)
    with pytest.raises(LocalProtocolError) as ours:
        Auth("PLAIN\r", b"secret").to_bytes()
    assert "secret" not in str(ours.value)


@pytest.mark.parametrize(
    "command",
    [
        Helo("a\r\nRSET"),
        Ehlo("a\nb"),
        Noop("\0"),
        Vrfy("a\r"),
        Expn("\x7f"),
        Help("\u2028"),
        Auth("A\r\nB"),
        Unrecognized("X\n"),
        Unrecognized("X", "\r\nDATA"),
        Noop("\ud800"),
    ],
)
def test_command_never_becomes_two_lines(command: Command) -> None:
    with pytest.raises(LocalProtocolError):
        command.to_bytes()


def test_commands_are_values() -> None:
    command = parse("MAIL FROM:<a@b> SIZE=1 AUTH=<>")
    assert hash(command) == hash(parse("mail from: <a@b>  AUTH=<> SIZE=1"))
    assert copy.deepcopy(command) == pickle.loads(pickle.dumps(command)) == command
    with pytest.raises(AttributeError):
        command.sender = NULL_PATH  # type: ignore[misc,union-attr]  # that is the point


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (Mail(NULL_PATH), b"MAIL FROM:<>"),
        (Rcpt(A_AT_B), b"RCPT TO:<a@b>"),
        (Noop(), b"NOOP"),
        (Help(), b"HELP"),
        (Unrecognized("X"), b"X"),
        (Bdat(1, is_last=True), b"BDAT 1 LAST"),
        (Auth("PLAIN", b""), b"AUTH PLAIN ="),
        (Vrfy("ü", smtputf8=True), "VRFY ü SMTPUTF8".encode()),
    ],
)
def test_command_is_written_without_a_word_too_many(command: Command, line: bytes) -> None:
    assert command.to_bytes() == line


def test_path_goes_out_as_it_came() -> None:
    for line in (
        rb'MAIL FROM:<"\a b"@C>',
        rb'RCPT TO:<"ab"@c.example>',
        b"MAIL FROM:<A.b@Example.COM> SIZE=1",
    ):
        assert parse(line).to_bytes() == line


WORDS = st.text("abcXYZ019!#$%&'()*+,-./:;<=>?@[]^_`{|}~\"\\", min_size=1, max_size=12)
PRINTABLE = st.text(st.characters(min_codepoint=32, exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=12)
ARGUMENTS = PRINTABLE.map(lambda text: text.strip(" "))
QUESTIONS = ARGUMENTS.filter(lambda text: bool(text) and not text.upper().endswith("SMTPUTF8"))
HOSTS = st.sampled_from(
    ["b", "Example.COM", "my_host.example", "[127.0.0.1]", "[IPv6:::1]", "xn--bcher-kva.ch"]
)
ADDRESSES = st.builds(Address, PRINTABLE, HOSTS)
COMMANDS: st.SearchStrategy[Command] = st.one_of(
    st.builds(Helo, WORDS),
    st.builds(Ehlo, WORDS),
    st.builds(
        lambda sender, size, body: Mail(sender, MailParameters(size=size, body=body, smtputf8=True)),
        ADDRESSES | st.just(NULL_PATH),
        st.none() | st.integers(0, 10**12),
        st.none() | st.sampled_from(Body),
    ),
    st.builds(Rcpt, ADDRESSES | st.just(Address("postmaster", ""))),
    st.builds(Bdat, st.integers(0, 2**63 - 1), st.booleans()),
    st.builds(Noop, ARGUMENTS),
    st.builds(Help, ARGUMENTS),
    st.builds(Vrfy, QUESTIONS, st.just(value=True)),
    st.builds(Expn, QUESTIONS.filter(str.isascii), st.booleans()),
    st.builds(Auth, st.from_regex(r"[A-Z0-9_-]{1,20}", fullmatch=True), st.none() | st.binary(max_size=40)),
    st.builds(Unrecognized, WORDS.map("X{}".format).map(str.upper), ARGUMENTS),
    st.sampled_from([Data(), Rset(), Quit(), StartTls()]),
)


@given(COMMANDS)
def test_law_command_round_trips(command: Command) -> None:
    assert parse(command.to_bytes(), utf8_allowed=True) == command


@given(
    st.sampled_from(
        [
            b"",
            b"MAIL FROM:",
            b"RCPT TO:",
            b"MAIL FROM:<a@b> ",
            b"RCPT TO:<a@b> ",
            b"BDAT ",
            b"AUTH ",
            b"EHLO ",
            b"VRFY ",
        ]
    ),
    st.binary(max_size=60) | st.text(max_size=40).map(lambda text: text.encode()),
    st.booleans(),
)
@example(b"MAIL FROM:", b"<" + b'"' * 100_001, True)
@example(b"MAIL FROM:", b'<"' + b"\\" * 100_001, True)
@example(b"MAIL FROM:", b"<" + b"a." * 100_000, True)
@example(b"MAIL FROM:", b"<a@" + b"b-" * 100_000 + b">", True)
@example(b"RCPT TO:<a@b>", b" " * 100_000 + b"\x01", True)
@example(b"RCPT TO:<a@b>", b" a" * 100_000, True)
def test_law_garbage_raises_nothing_but_the_remote_protocol_error(
    start: bytes, rest: bytes, utf8_allowed: bool
) -> None:
    try:
        command = parse(start + rest, utf8_allowed=utf8_allowed)
    except RemoteProtocolError as error:
        assert error.reply.is_permanent  # noqa: PT017  # a law: most garbage raises, some does not
        return
    assert parse(command.to_bytes(), utf8_allowed=utf8_allowed) == command


@given(st.text("abZ09!#.+-=/", min_size=1, max_size=70), st.text("abxn0_.-AZ", min_size=1, max_size=70))
@example("a", "xn--bcher-kva.ch")
@example("a", "b.")
@example("a" * 65, "b")
@example("a", "b" * 64)
def test_law_plain_path_is_parsed_alike_on_both_roads(user: str, host: str) -> None:
    path = f"<{user}@{host}>"
    try:
        sender, recipient = (
            parse_reverse_path(path.encode(), utf8=False),
            parse_forward_path(path.encode(), utf8=False),
        )
    except RemoteProtocolError:
        assert refusal(f"MAIL FROM:{path}") == (501, "5.1.7")
        assert refusal(f"RCPT TO:{path}") == (501, "5.1.3")
        return
    assert parse(f"MAIL FROM:{path}") == Mail(sender)
    assert parse(f"RCPT TO:{path} ") == Rcpt(recipient)
    assert parse(f"MAIL FROM:{user}@{host}") == Mail(sender)
    assert parse(f"RCPT TO: {user}@{host}") == Rcpt(recipient)


@given(
    st.sampled_from([b"EHLO", b"ehlo", b"QUIT", b"Quit", b"RSET", b"DATA"]),
    st.lists(
        st.sampled_from([b" ", b"  ", b"a.example", b"[127.0.0.1]", b"~!", b"\t", b"\xc3\xa4", b"x" * 254])
    ),
)
@example(b"EHLO", [b" ", b"x" * 254, b"y"])
@example(b"EHLO", [b" ", b"x" * 254, b"yz"])
def test_law_what_is_taken_at_one_look_is_taken_alike_on_the_slow_road(
    verb: bytes, parts: list[bytes]
) -> None:
    line = verb + b"".join(parts)
    slowly = line + b" "  # nothing that ends so is taken at one look, and what ends a line counts for nothing
    try:
        command = parse(slowly)
    except RemoteProtocolError as error:
        with pytest.raises(RemoteProtocolError) as quickly:
            parse(line)
        assert quickly.value.reply == error.reply  # noqa: PT017  # a law: some are refused, some are not
        return
    assert parse(line) == command
