"""Long lines, endless ones, and what is no SMTP at all."""

from __future__ import annotations

import pytest

from harakapy.smtp import (
    ContentChunk,
    ServerLimits,
    State,
)

from .session import (
    Session,
)


@pytest.mark.parametrize("step", [0, 1, 1000])
@pytest.mark.parametrize(
    ("length", "codes", "is_closed"),
    [
        (98, "250 250", False),
        (99, "500 250", False),
        (298, "500 250", False),
        (299, "500", True),
    ],
)
def test_a_long_line_is_refused_and_an_endless_one_ends_the_session(
    length: int, codes: str, is_closed: bool, step: int
) -> None:
    session = Session(limits=ServerLimits(max_command_octets=100, max_auth_octets=300)).hello()
    assert session.say(b"NOOP " + b"x" * (length - 5) + b"\r\nNOOP\r\n", step) == codes
    assert (session.protocol.state is State.CLOSED) is is_closed


def test_credentials_may_be_longer_than_commands() -> None:
    session = Session(limits=ServerLimits(max_command_octets=100, max_auth_octets=300)).hello()
    assert session.say(b"AUTH X " + b"QUJD" * 60 + b"\r\n") == "334"
    assert session.say(b"Q" * 298 + b"\r\n") == "235"
    assert session.say(b"AUTH X\r\n") == "334"
    assert session.say(b"Q" * 299 + b"\r\n") == "500"
    assert session.protocol.state is State.CLOSED


def test_memory_stays_flat_on_an_endless_line() -> None:
    session = Session().hello()
    for _ in range(1000):
        session.say(b"x" * 1000)
    assert not session.protocol.has_buffered_input
    assert session.protocol.state is State.CLOSED


@pytest.mark.parametrize("length", [998, 999, 100_000, 10_000_000])
def test_content_lines_of_any_length_pass_in_blocks_as_they_came(length: int) -> None:
    session = Session().transaction()
    session.say(b"DATA\r\n")
    content = b"X-Long: " + b"x" * length + b"\r\n"
    assert session.say(content + b".\r\n", 65536) == "250"
    assert session.messages == [content]
    assert all(len(event.data) <= 65536 for event in session.events if isinstance(event, ContentChunk))


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\r\n",
        b"\x16\x03\x03\r\nNOOP\r\n",
        b"\x16\x03" + b"x" * 20_000,
        b"\x16\x03" + b"x" * 3_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\nMAIL FROM:<a@b>\r\n",
        b"POST /x HTTP/1.0\r\n\r\n",
    ],
)
def test_tls_and_http_on_the_plain_port_end_the_session(sent: bytes, step: int) -> None:
    session = Session().greet()
    assert session.say(sent, step) == "500"
    assert session.refused[0].closes
    assert session.protocol.state is State.CLOSED


def test_a_tls_handshake_is_noticed_at_its_second_octet() -> None:
    session = Session().greet()
    assert session.say(b"\x16") == ""
    assert session.say(b"\x03") == "500"


def test_what_looks_like_tls_or_http_within_a_session_is_only_wrong() -> None:
    session = Session().greet()
    assert session.say(b"EHLO \xff\r\nEHLO a\r\n\x16\x03 x\r\nGET /\r\nNOOP\r\n") == "501 250 500 500 250"
    assert not any(event.closes for event in session.refused)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [(b"NOOP x\nNOOP y\r\n", b"NOOP x"), (b"x" * 20_000, b"x" * 80), (b"NOOP \0\r\nNOOP\r\n", b"NOOP \0")],
)
def test_a_refusal_has_the_line_for_the_log(sent: bytes, shown: bytes) -> None:
    session = Session().hello()
    session.say(sent)
    assert session.refused[0].line == shown


def test_the_limits_unless_others_are_given_are_those_of_the_standards() -> None:
    session = Session().hello()
    assert session.say(b"NOOP " + b"x" * 2041 + b"\r\n") == "250"
    assert session.say(b"NOOP " + b"x" * 2042 + b"\r\n") == "500"
    assert session.say(b"AUTH X " + b"QUJD" * 3069 + b"\r\n") == "334"
    assert session.say(b"x" * 12286 + b"\r\n") == "235"
    assert session.say(b"x" * 12288) == "500"
