"""Replies: what is sent, and what is read from a server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harakapy.smtp.errors import RemoteProtocolError
from harakapy.smtp.reply import MAX_REPLY_LINE, Reply, ReplyParser, parse_reply

CODES = st.integers(200, 599)


@st.composite
def replies(draw: st.DrawFn) -> Reply:
    code = draw(CODES)
    enhanced = None
    if code // 100 != 3 and draw(st.booleans()):
        enhanced = f"{code // 100}.{draw(st.integers(0, 999))}.{draw(st.integers(0, 999))}"
    lines = draw(st.lists(st.text(max_size=700), max_size=5))
    return Reply(code, lines, enhanced)


@pytest.mark.parametrize(
    ("reply", "wire"),
    [
        (Reply(250, "done", "2.0.0"), b"250 2.0.0 done\r\n"),
        (Reply(354, "go on"), b"354 go on\r\n"),
        (
            Reply(250, ["a.example", "PIPELINING", "SIZE 10"]),
            b"250-a.example\r\n250-PIPELINING\r\n250 SIZE 10\r\n",
        ),
        (Reply(550, "no\nnever", "5.7.1"), b"550-5.7.1 no\r\n550 5.7.1 never\r\n"),
        (Reply(550, ["no\r\n\r\n", "", "   ", "never\r"]), b"550-no\r\n550 never\r\n"),
        (Reply(250), b"250 \r\n"),
        (Reply(250, (), "2.0.0"), b"250 2.0.0\r\n"),
        (Reply(550, "a\x00b\x1b[31m\x7f\tc\x85"), b"550 a?b?[31m? c?\r\n"),
        (Reply(550, "\x1f \x20~\x80\x9f\xa0"), b"550 ?  ~??\\xa0\r\n"),
        (Reply(550, "k\xe4se \u20ac \udcff"), b"550 k\\xe4se \\u20ac \\udcff\r\n"),
    ],
)
def test_wire_form(reply: Reply, wire: bytes) -> None:
    assert reply.encode() == wire
    assert reply.encode() is reply.encode()


def test_utf8_is_sent_only_when_asked_for() -> None:
    reply = Reply(550, "k\xe4se \udcff", "5.1.1")
    assert reply.encode(utf8=True) == b"550 5.1.1 k\xc3\xa4se \\udcff\r\n"
    assert reply.encode() == b"550 5.1.1 k\\xe4se \\udcff\r\n"


def test_long_lines_are_wrapped_at_spaces() -> None:
    wire = Reply(554, "word " * 300, "5.7.1").encode()
    lines = wire.splitlines(keepends=True)
    assert len(lines) == 3
    assert all(len(line) <= MAX_REPLY_LINE and line[4:].startswith(b"5.7.1 word") for line in lines)
    assert b"".join(line[10:] for line in lines).count(b"word") == 300


def test_a_line_may_have_all_512_octets() -> None:
    text = "x" * (MAX_REPLY_LINE - len("554 5.7.1 \r\n"))
    assert Reply(554, text, "5.7.1").encode() == f"554 5.7.1 {text}\r\n".encode()
    assert len(Reply(554, text + "x", "5.7.1").encode().splitlines()) == 2
    assert Reply(554, text[1:] + " y", "5.7.1").encode().splitlines()[1] == b"554 5.7.1 y"


@pytest.mark.parametrize("character", ["\u20ac", "\U0001f603", "\xbf", "\u0fff"])
@pytest.mark.parametrize("before", range(4))
def test_long_words_are_cut_between_characters(character: str, before: int) -> None:
    text = "x" * before + character * 600
    lines = Reply(554, text).encode(utf8=True).splitlines()
    assert len(lines) > 1
    assert "".join(line[4:].decode() for line in lines) == text
    assert all(len(line) > 500 for line in lines[:-1])


@given(replies(), st.booleans())
def test_what_is_sent_is_clean_and_bounded(reply: Reply, utf8: bool) -> None:
    wire = reply.encode(utf8=utf8)
    lines = wire.split(b"\r\n")
    assert lines.pop() == b""
    for number, line in enumerate(lines, 1):
        assert len(line) + 2 <= MAX_REPLY_LINE
        assert line[:3] == str(reply.code).encode()
        assert line[3:4] == (b" " if number == len(lines) else b"-")
        assert not any(octet < 0x20 or octet == 0x7F for octet in line)
        assert utf8 or line.isascii()
        line.decode()


@given(replies(), st.booleans())
def test_a_reply_that_was_sent_is_read_as_itself(reply: Reply, utf8: bool) -> None:
    wire = reply.encode(utf8=utf8)
    read = parse_reply(wire)
    assert (read.code, read.encode(utf8=True)) == (reply.code, wire)
    if reply.enhanced:
        assert read.enhanced == reply.enhanced


@pytest.mark.parametrize("code", [199, 600, 0, -250])
def test_code_out_of_range_is_our_mistake(code: int) -> None:
    with pytest.raises(ValueError, match="not between"):
        Reply(code, "x")


@pytest.mark.parametrize("enhanced", ["4.7.1", "5.7", "5.7.1 ", "5.1000.1", "5.7.\u0661", "", "x"])
def test_enhanced_code_must_fit(enhanced: str) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Reply(550, "x", enhanced)


def test_enhanced_code_never_goes_with_an_intermediate_reply() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Reply(354, "go on", "3.0.0")


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (550, "5.7.1 not here", Reply(550, "not here", "5.7.1")),
        (550, "4.7.1 not here", Reply(550, "4.7.1 not here")),
        (550, "5.7.1", Reply(550, (), "5.7.1")),
        (550, "5.7.10x", Reply(550, "5.7.10x")),
        (550, "5.7.1 a\n5.7.1 b\n5.7.2 c\nd", Reply(550, ["a", "b", "5.7.2 c", "d"], "5.7.1")),
        (550, ["5.7.1 a", "b"], Reply(550, ["a", "b"], "5.7.1")),
        (334, "3.0.0 x", Reply(334, "3.0.0 x")),
        (450, "", Reply(450)),
    ],
)
def test_enhanced_code_is_split_off_a_text(code: int, text: str | list[str], expected: Reply) -> None:
    assert Reply.parse_text(code, text) == expected


def test_reply_class_is_the_first_digit() -> None:
    def kinds(code: int) -> tuple[bool, bool, bool, bool]:
        reply = Reply(code)
        return reply.is_positive, reply.is_intermediate, reply.is_transient, reply.is_permanent

    for first, last, expected in (
        (200, 299, (True, False, False, False)),
        (300, 399, (False, True, False, False)),
        (400, 499, (False, False, True, False)),
        (500, 599, (False, False, False, True)),
    ):
        assert kinds(first) == kinds(last) == expected


def test_replies_are_values() -> None:
    sent, fresh = Reply(250, "a\nb", "2.0.0"), Reply(250, ["a", "b"], "2.0.0")
    sent.encode()
    assert sent == fresh
    assert hash(sent) == hash(fresh)
    assert sent != Reply(250, "a\nb")
    assert str(sent) == "250 2.0.0 a b"
    assert sent.text == "a\nb"
    with pytest.raises(AttributeError):
        sent.code = 251  # type: ignore[misc]  # that it cannot be assigned is the point


READABLE = [
    (b"250 ok\r\n", [Reply(250, "ok")]),
    (b"250\r\n", [Reply(250)]),
    (b"250-a\r\n250-\r\n250 b\r\n221 bye\r\n", [Reply(250, ["a", "b"]), Reply(221, "bye")]),
    (b"550-5.7.1 a\r\n550 5.7.1 b\r\n", [Reply(550, ["a", "b"], "5.7.1")]),
    (b"250 with LF only\n220 x\r\n", [Reply(250, "with LF only"), Reply(220, "x")]),
    (b"550 a\x1b[2J\xff\r\n", [Reply(550, "a?[2J\\xff")]),
]


@pytest.mark.parametrize(("wire", "expected"), READABLE)
def test_replies_are_read_whole_and_byte_by_byte_and_with_a_tail(wire: bytes, expected: list[Reply]) -> None:
    for step in (1, 2, len(wire)):
        for tail in (b"", b"25"):
            parser, seen = ReplyParser(), []
            data = wire + tail
            for start in range(0, len(data), step):
                parser.receive_data(data[start : start + step])
                while (reply := parser.next_reply()) is not None:
                    seen.append(reply)
            assert seen == expected
            assert parser.has_buffered_input is bool(tail)


@pytest.mark.parametrize(
    "wire",
    [
        b"250-a\r\n550 b\r\n",
        b"hello\r\n",
        b"\r\n",
        b"150 x\r\n",
        b"600 x\r\n",
        b"2500 x\r\n",
        b"250_x\r\n",
        b"\xb2\xb5\xb0 x\r\n",
        b"250 " + b"x" * 4096 + b"\r\n",
        b"250 " + b"x" * 5000,
        b"250-x\r\n" * 128 + b"250 x\r\n",
        (b"250-" + b"x" * 4000 + b"\r\n") * 17,
    ],
)
def test_malformed_or_endless_replies_are_refused_at_any_split(wire: bytes) -> None:
    for step in (1, len(wire)):
        parser = ReplyParser()
        with pytest.raises(RemoteProtocolError) as caught:
            for start in range(0, len(wire), step):
                parser.receive_data(wire[start : start + step])
                while parser.next_reply():
                    pass
        assert caught.value.reply.code == 451
        assert caught.value.closes


def test_replies_up_to_the_bounds_are_read() -> None:
    longest = b"250-" + b"x" * 4092 + b"\n"
    assert len(parse_reply(longest[:3] + b" " + longest[4:]).text) == 4092
    assert len(parse_reply(longest * 15 + b"250 " + b"x" * 4092 + b"\n").lines) == 16
    assert len(parse_reply(b"250-x\r\n" * 127 + b"250 x\r\n").lines) == 128
    with pytest.raises(RemoteProtocolError, match="too long"):
        parse_reply(longest * 15 + b"250-x\n250 " + b"x" * 4088 + b"\n")


def test_an_empty_line_is_no_reply_wherever_it_comes() -> None:
    for wire in (b"\n", b"250-a\r\n\n", b"250 a\r\n\n250 b\r\n"):
        with pytest.raises(RemoteProtocolError):
            parse_reply(wire)


@pytest.mark.parametrize("wire", [b"", b"250-a\r\n", b"250 a", b"250 a\r\n250 b\r\n", b"250 a\r\nx"])
def test_one_reply_is_neither_less_nor_more(wire: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="not exactly one"):
        parse_reply(wire)


@given(st.lists(st.binary(max_size=50)))
def test_garbage_is_only_ever_a_remote_error(blocks: list[bytes]) -> None:
    parser = ReplyParser()
    try:
        for block in blocks:
            parser.receive_data(block)
            while (reply := parser.next_reply()) is not None:
                assert 200 <= reply.code <= 599
    except RemoteProtocolError:
        pass
