"""PLAIN, LOGIN, CRAM-MD5 and EXTERNAL: what the server makes of every kind of answer."""

from __future__ import annotations

import pytest

from harakapy.smtp.errors import LocalProtocolError, RemoteProtocolError
from harakapy.smtp.sasl import (
    Challenge,
    CramMd5Client,
    CramMd5Credentials,
    CramMd5Server,
    ExternalClient,
    ExternalCredentials,
    ExternalServer,
    Failed,
    Failure,
    LoginClient,
    LoginServer,
    PasswordCredentials,
    PlainClient,
    PlainServer,
    ServerMechanism,
)

TIM = PasswordCredentials("PLAIN", "tim", "", "tanstaaftanstaaf")


def failure(exchange: ServerMechanism, *responses: bytes | None) -> Failure | None:
    """How the exchange failed after these responses."""
    result = [exchange.step(response) for response in responses][-1]
    return result.failure if isinstance(result, Failed) else None


# PLAIN; the examples are those of RFC 4616 4


def test_plain_with_an_initial_response_needs_one_step() -> None:
    assert PlainServer().step(b"\0tim\0tanstaaftanstaaf") == TIM


def test_plain_without_an_initial_response_asks_for_one() -> None:
    exchange = PlainServer()
    assert exchange.step(None) == Challenge(b"")
    assert exchange.step(b"\0tim\0tanstaaftanstaaf") == TIM


@pytest.mark.parametrize(
    ("message", "credentials"),
    [
        (b"Ursel\0Kurt\0xipj3plmq", PasswordCredentials("PLAIN", "Kurt", "Ursel", "xipj3plmq")),
        (b"\0a\0b", PasswordCredentials("PLAIN", "a", "", "b")),
        (b"\0a;b,c\0=", PasswordCredentials("PLAIN", "a;b,c", "", "=")),
        (
            b"\0\xc2\xaa\0\xc2\xaa",
            PasswordCredentials("PLAIN", "a", "", "\u00aa"),  # the name is prepared, the password is not
        ),
        (b"\0" + b"u" * 255 + b"\0" + b"p" * 1024, PasswordCredentials("PLAIN", "u" * 255, "", "p" * 1024)),
    ],
)
def test_plain_messages(message: bytes, credentials: PasswordCredentials) -> None:
    assert PlainServer().step(message) == credentials


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"", Failure.MALFORMED),
        (b"tim", Failure.MALFORMED),
        (b"tim\0tanstaaf", Failure.MALFORMED),
        (b"\0tim\0tan\0staaf", Failure.MALFORMED),
        (b"\0\0tanstaaf", Failure.MALFORMED),
        (b"\0tim\xff\0tanstaaf", Failure.MALFORMED),
        (b"\0tim\r\nX: y\0tanstaaf", Failure.MALFORMED),
        (b"\0\xc2\xad\0tanstaaf", Failure.MALFORMED),  # a soft hyphen is nothing
        (b"\x1b\0tim\0tanstaaf", Failure.MALFORMED),
        (b"\0" + b"u" * 256 + b"\0p", Failure.MALFORMED),
        (b"\0tim\0", Failure.WRONG),
        (b"\0tim\0\xff", Failure.WRONG),
        (b"\0tim\0" + b"p" * 1025, Failure.WRONG),
    ],
)
def test_plain_messages_that_cannot_log_anybody_in(message: bytes, expected: Failure) -> None:
    assert failure(PlainServer(), message) is expected
    assert failure(PlainServer(), None, message) is expected


# LOGIN


def test_login_asks_with_the_prompts_that_clients_know() -> None:
    exchange = LoginServer()
    assert exchange.step(None) == Challenge(b"Username:")
    assert exchange.step(b"tim") == Challenge(b"Password:")
    assert exchange.step(b"tanstaaf") == PasswordCredentials("LOGIN", "tim", "", "tanstaaf")


def test_login_takes_the_name_as_initial_response() -> None:
    exchange = LoginServer()
    assert exchange.step(b"tim") == Challenge(b"Password:")
    assert exchange.step(b"t") == PasswordCredentials("LOGIN", "tim", "", "t")


def test_login_refuses_impossible_names_and_passwords() -> None:
    assert failure(LoginServer(), b"") is Failure.MALFORMED
    assert failure(LoginServer(), None, b"a\0b") is Failure.MALFORMED
    assert failure(LoginServer(), None, b"tim", b"") is Failure.WRONG


# CRAM-MD5; the example is that of RFC 2195 2

CRAM_CHALLENGE = b"<1896.697170952@postoffice.reston.mci.net>"
CRAM_RESPONSE = b"tim b913a602c7eda7a495b4e6e7334d3890"


def test_cram_md5_verifies_the_example_of_its_rfc() -> None:
    exchange = CramMd5Server("postoffice.reston.mci.net", CRAM_CHALLENGE)
    assert exchange.step(None) == Challenge(CRAM_CHALLENGE)
    credentials = exchange.step(CRAM_RESPONSE)
    assert isinstance(credentials, CramMd5Credentials)
    assert credentials.authcid == "tim"
    assert credentials.verify("tanstaaftanstaaf")
    assert not credentials.verify("tanstaaftanstaag")
    assert not credentials.verify("")


def test_cram_md5_client_answers_the_example_of_its_rfc() -> None:
    client = CramMd5Client("tim", "tanstaaftanstaaf")
    assert client.initial_response() is None
    assert not client.is_complete
    assert client.step(CRAM_CHALLENGE) == CRAM_RESPONSE
    assert client.is_complete


def test_cram_md5_refuses_an_initial_response() -> None:
    assert failure(CramMd5Server("mx"), b"") is Failure.MALFORMED
    assert failure(CramMd5Server("mx"), CRAM_RESPONSE) is Failure.MALFORMED


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"tim",
        b"b913a602c7eda7a495b4e6e7334d3890",
        b" b913a602c7eda7a495b4e6e7334d3890",
        b"tim b913a602c7eda7a495b4e6e7334d389",
        b"tim b913a602c7eda7a495b4e6e7334d389g",
        b"tim b913a602c7eda7a495b4e6e7334d3890 ",
        b"tim\n b913a602c7eda7a495b4e6e7334d3890",
    ],
)
def test_cram_md5_refuses_what_is_not_a_name_and_a_digest(response: bytes) -> None:
    assert failure(CramMd5Server("mx"), None, response) is Failure.MALFORMED


def test_cram_md5_never_asks_the_same_twice_and_names_the_host() -> None:
    challenges = [CramMd5Server("mx.example.org").step(None) for _ in range(100)]
    data = {challenge.data for challenge in challenges if isinstance(challenge, Challenge)}
    assert len(data) == 100
    assert all(one.endswith(b"@mx.example.org>") for one in data)


# EXTERNAL

PEER = ("client.example.org", "tim@example.org")


def test_external_gives_the_names_of_the_certificate() -> None:
    assert ExternalServer(PEER).step(b"") == ExternalCredentials("EXTERNAL", PEER[0], "", PEER)
    assert ExternalServer(PEER).step(b"tim") == ExternalCredentials("EXTERNAL", PEER[0], "tim", PEER)
    exchange = ExternalServer(PEER)
    assert exchange.step(None) == Challenge(b"")
    assert exchange.step(b"") == ExternalCredentials("EXTERNAL", PEER[0], "", PEER)


def test_external_fails_without_a_certificate_and_with_an_impossible_name() -> None:
    assert failure(ExternalServer(()), b"tim") is Failure.WRONG
    assert failure(ExternalServer(PEER), b"a\0b") is Failure.MALFORMED


# What all have in common


@pytest.mark.parametrize("secret", ["tanstaaftanstaaf", "dGFuc3RhYWZ0YW5zdGFhZg", "b913a602c7eda7a4"])
def test_no_secret_is_shown(secret: str) -> None:
    cram = CramMd5Server("mx", CRAM_CHALLENGE)
    cram.step(None)
    shown = [TIM, PlainClient("tim", "tanstaaftanstaaf"), cram.step(CRAM_RESPONSE), cram, PlainServer()]
    assert not any(secret in repr(one) + str(one) for one in shown)


def test_rejected_credentials_end_the_exchange() -> None:
    exchange = PlainServer()
    exchange.step(b"\0tim\0wrong")
    result = exchange.reject()
    assert isinstance(result, Failed)
    assert result.failure is Failure.WRONG
    assert (result.reply.code, result.reply.enhanced) == (535, "5.7.8")


def test_calls_out_of_turn_are_our_own_errors() -> None:
    fresh, asked, done, over = PlainServer(), PlainServer(), PlainServer(), PlainServer()
    asked.step(None)
    done.step(b"\0tim\0p")
    over.step(b"nonsense")
    for exchange in (fresh, asked, over):
        with pytest.raises(LocalProtocolError):
            exchange.reject()
    for exchange in (fresh, asked, done, over):
        with pytest.raises(LocalProtocolError):
            exchange.supply(None)
    for exchange in (done, over):
        with pytest.raises(LocalProtocolError):
            exchange.step(b"more")
    with pytest.raises(LocalProtocolError):
        asked.step(None)


def test_clients_refuse_a_server_that_never_stops_asking() -> None:
    plain, login, external = PlainClient("tim", "p", "root"), LoginClient("tim", "p"), ExternalClient("root")
    assert plain.initial_response() == b"root\0tim\0p"
    assert external.initial_response() == b"root"
    assert login.initial_response() is None
    assert (login.step(b"User Name"), login.step(b"anything")) == (b"tim", b"p")
    for client in (plain, login, external):
        assert client.is_complete
        for _ in range(2):
            with pytest.raises(RemoteProtocolError) as caught:
                client.step(b"more")
            assert caught.value.reply.is_transient


def test_plain_client_refuses_what_it_cannot_send() -> None:
    with pytest.raises(ValueError):
        PlainClient("tim\0root", "p")
