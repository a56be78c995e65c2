"""SASL on the wire: base64 with one spelling, cancelling, SASLprep, and which mechanisms are offered."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harakapy.smtp.sasl import (
    MAX_RESPONSE_OCTETS,
    MECHANISMS,
    Failed,
    Failure,
    SaslSession,
    ScramDecoy,
    decode_initial_response,
    decode_response,
    encode_message,
    saslprep,
    start_exchange,
    workable_mechanisms,
)

SESSION = SaslSession("mx.example.org", MECHANISMS, ScramDecoy(bytes(32)))


@pytest.mark.parametrize(
    ("line", "data"),
    [(b"", b""), (b"AA==", b"\0"), (b"AGEAYg==", b"\0a\0b"), (b"+/+/", b"\xfb\xff\xbf")],
)
def test_base64_is_decoded(line: bytes, data: bytes) -> None:
    assert decode_response(line) == data


@pytest.mark.parametrize(
    "line",
    [
        b"=",
        b"A",
        b"AA",
        b"AA=",
        b"AA===",
        b"AAA=A",
        b"AA==AA==",
        b" AA==",
        b"AA== ",
        b"AA\t==",
        b"A A=",
        b"AB==",  # bits behind the end
        b"-_-_",
        b"**",
        b"AA*=",
        b"\xff\xfe",
        b"AA\0=",
    ],
)
def test_what_is_not_the_one_spelling_is_malformed(line: bytes) -> None:
    result = decode_response(line)
    assert isinstance(result, Failed)
    assert result.failure is Failure.MALFORMED
    assert (result.reply.code, result.reply.enhanced) == (501, "5.5.2")


def test_a_star_cancels() -> None:
    result = decode_response(b"*")
    assert isinstance(result, Failed)
    assert result.failure is Failure.CANCELLED
    assert result.reply.code == 501


def test_a_response_over_the_limit_is_not_decoded() -> None:
    assert decode_response(b"A" * MAX_RESPONSE_OCTETS) == bytes(MAX_RESPONSE_OCTETS // 4 * 3)
    result = decode_response(b"A" * (MAX_RESPONSE_OCTETS + 4))
    assert isinstance(result, Failed)
    assert (result.reply.code, result.reply.enhanced) == (500, "5.5.6")


def test_initial_response_tells_none_from_empty() -> None:
    assert decode_initial_response(None) is None
    assert decode_initial_response(b"=") == b""
    assert decode_initial_response(b"AA==") == b"\0"
    for argument in (b"", b"==", b"A"):
        assert isinstance(decode_initial_response(argument), Failed)


@given(st.binary(max_size=300))
def test_messages_come_back(data: bytes) -> None:
    assert decode_response(encode_message(data).encode()) == data
    assert encode_message(data) == base64.b64encode(data).decode()


@given(st.binary(max_size=40) | st.text("AB+/=* \n", max_size=12).map(str.encode))
def test_what_decodes_is_what_would_be_encoded(line: bytes) -> None:
    data = decode_response(line)
    if isinstance(data, bytes):
        assert encode_message(data).encode() == line


# RFC 4013 3, and one of each kind of prohibited character.


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("\u0627\u0628", "\u0627\u0628"),
        ("pass\U0001f600", "pass\U0001f600"),
        ("", ""),
        ("\u00ad", ""),
    ],
)
def test_saslprep_maps_and_normalises(text: str, prepared: str) -> None:
    assert saslprep(text) == prepared


@pytest.mark.parametrize(
    "text",
    [
        "\x07",
        "a\r\nb",
        "\x7f",
        "\x85",
        "a\u0627",
        "\u0627\u0031",
        "\ue000",
        "\ufdd0",
        "\ufffd",
        "\u2ff0",
        "\u202e",
        "\U000e0001",
    ],
)
def test_saslprep_prohibits(text: str) -> None:
    with pytest.raises(ValueError):
        saslprep(text)


@given(st.text())
def test_saslprep_of_prepared_text_changes_nothing_and_leaves_no_control_character(text: str) -> None:
    try:
        prepared = saslprep(text)
    except ValueError:
        return
    assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in prepared)
    assert saslprep(prepared) == prepared


def test_only_what_can_work_is_offered_and_the_strongest_first() -> None:
    wanted = ["PLAIN", "SCRAM-SHA-256-PLUS", "EXTERNAL", "SCRAM-SHA-256", "NTLM"]
    assert workable_mechanisms(wanted, has_channel_binding=False, has_peer_names=False) == (
        "SCRAM-SHA-256",
        "PLAIN",
    )
    assert workable_mechanisms(wanted, has_channel_binding=True, has_peer_names=True) == (
        "EXTERNAL",
        "SCRAM-SHA-256-PLUS",
        "SCRAM-SHA-256",
        "PLAIN",
    )


@pytest.mark.parametrize("name", MECHANISMS)
def test_every_mechanism_can_be_started_in_any_case(name: str) -> None:
    exchange = start_exchange(name.lower(), SESSION)
    assert exchange is not None
    assert exchange.name == name


def test_a_mechanism_that_was_not_offered_does_not_start() -> None:
    session = SaslSession("mx.example.org", ("PLAIN", "NTLM"), ScramDecoy(bytes(32)))
    assert start_exchange("LOGIN", session) is None
    assert start_exchange("NTLM", session) is None
    assert start_exchange("", session) is None
