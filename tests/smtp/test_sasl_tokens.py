"""OAUTHBEARER and XOAUTH2: tokens in, reasons out."""

from __future__ import annotations

import json

import pytest

from harakapy.smtp.errors import RemoteProtocolError
from harakapy.smtp.sasl import (
    Challenge,
    Failed,
    Failure,
    OAuthBearerClient,
    OAuthBearerServer,
    ServerMechanism,
    Step,
    TokenCredentials,
    XOAuth2Client,
    XOAuth2Server,
)

TOKEN = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
# RFC 7628 4.1
BEARER = (
    f"n,a=user@example.com,\x01host=server.example.com\x01port=587\x01auth=Bearer {TOKEN}\x01\x01".encode()
)
X = f"user=user@example.com\x01auth=Bearer {TOKEN}\x01\x01".encode()

BEARER_CREDENTIALS = TokenCredentials("OAUTHBEARER", "user@example.com", "", TOKEN, "server.example.com", 587)


def told(result: Step) -> dict[str, str]:
    assert isinstance(result, Challenge)
    answer = json.loads(result.data)
    assert isinstance(answer, dict)
    return answer


def failed(result: Step) -> Failure:
    assert isinstance(result, Failed)
    return result.failure


def test_oauthbearer_takes_the_example_of_its_rfc() -> None:
    assert OAuthBearerServer().step(BEARER) == BEARER_CREDENTIALS
    exchange = OAuthBearerServer()
    assert exchange.step(None) == Challenge(b"")
    assert exchange.step(BEARER) == BEARER_CREDENTIALS


@pytest.mark.parametrize(
    ("message", "credentials"),
    [
        (b"n,,\x01auth=Bearer a\x01\x01", TokenCredentials("OAUTHBEARER", "", "", "a")),
        (b"y,,\x01AUTH=bearer  a\x01\x01", TokenCredentials("OAUTHBEARER", "", "", "a")),
        (
            b"n,a=u=2Cv=3D,\x01auth=Bearer a\x01mthd=POST\x01qs=\x01\x01",
            TokenCredentials("OAUTHBEARER", "u,v=", "", "a"),
        ),
    ],
)
def test_oauthbearer_messages(message: bytes, credentials: TokenCredentials) -> None:
    assert OAuthBearerServer().step(message) == credentials


def test_xoauth2_takes_name_and_token() -> None:
    assert XOAuth2Server().step(X) == TokenCredentials("XOAUTH2", "user@example.com", "", TOKEN)
    exchange = XOAuth2Server()
    assert exchange.step(None) == Challenge(b"")
    assert exchange.step("user=m\u00fcller\x01auth=Bearer t\x01\x01".encode()) == TokenCredentials(
        "XOAUTH2", "m\u00fcller", "", "t"
    )


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x01",
        b"\x01\x01",
        b"n,,",
        b"n,,\x01\x01",
        b"n,,\x01auth=Bearer a",
        b"n,,\x01auth=Bearer a\x01",
        b"n,,\x01auth=Bearer a\x01\x01\x01",
        b"n,,\x01\x01auth=Bearer a\x01\x01",
        b"n,,auth=Bearer a\x01\x01",
        b"p=tls-exporter,,\x01auth=Bearer a\x01\x01",
        b"n,user,\x01auth=Bearer a\x01\x01",
        b"n,,\x01auth=Basic a\x01\x01",
        b"n,,\x01auth=Bearer\x01\x01",
        b"n,,\x01auth=Bearer \x01\x01",
        b"n,,\x01auth=Bearer a b\x01\x01",
        b"n,,\x01auth=Bearer a\r\nX: y\x01\x01",
        b"n,,\x01auth=Bearer a=b\x01\x01",
        b"n,,\x01auth=Bearer a\x01auth=Bearer b\x01\x01",
        b"n,,\x01auth=Bearer a\x01host\x01\x01",
        b"n,,\x01auth=Bearer a\x01host=a b\x01\x01",
        b"n,,\x01auth=Bearer a\x01host=a\r\nb\x01\x01",
        b"n,,\x01auth=Bearer a\x01port=smtp\x01\x01",
        b"n,,\x01auth=Bearer a\x01port=0\x01\x01",
        b"n,,\x01auth=Bearer a\x01port=123456\x01\x01",
        b"n,,\x01auth=Bearer a\x01h0st=x\x01\x01",
    ],
)
def test_malformed_oauthbearer_gets_a_reason_and_then_a_refusal(message: bytes) -> None:
    exchange = OAuthBearerServer(scope="mail")
    assert told(exchange.step(message)) == {"status": "invalid_request", "scope": "mail"}
    assert failed(exchange.step(b"\x01")) is Failure.WRONG


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"user=a\x01auth=Bearer t\x01",
        b"user=a\x01\x01",
        b"auth=Bearer t\x01\x01",
        b"user=a\x01auth=t\x01\x01",
        b"user=a\x01user=b\x01auth=Bearer t\x01\x01",
        b"user=a\0\x01auth=Bearer t\x01\x01",
    ],
)
def test_malformed_xoauth2_gets_a_reason_and_then_a_refusal(message: bytes) -> None:
    exchange = XOAuth2Server(scope="mail")
    assert told(exchange.step(message)) == {"status": "400", "schemes": "bearer", "scope": "mail"}
    assert failed(exchange.step(b"")) is Failure.WRONG


@pytest.mark.parametrize(
    "message",
    [
        b"n,a=a=b,\x01auth=Bearer t\x01\x01",
        b"n,a=\x1b,\x01auth=Bearer t\x01\x01",
        b"n,a=\xff,\x01auth=Bearer t\x01\x01",
        b"n,a=" + b"u" * 256 + b",\x01auth=Bearer t\x01\x01",
    ],
)
def test_an_impossible_name_ends_oauthbearer_at_once(message: bytes) -> None:
    assert failed(OAuthBearerServer().step(message)) is Failure.MALFORMED


@pytest.mark.parametrize(
    "message", [b"user=\x01auth=Bearer t\x01\x01", b"user=\xff\x01auth=Bearer t\x01\x01"]
)
def test_an_impossible_name_ends_xoauth2_at_once(message: bytes) -> None:
    assert failed(XOAuth2Server().step(message)) is Failure.MALFORMED


def test_a_token_meant_for_another_host_is_refused() -> None:
    here, there = OAuthBearerServer({"server.example.com"}), OAuthBearerServer({"mx.example.org"})
    assert here.step(BEARER) == BEARER_CREDENTIALS
    assert told(there.step(BEARER)) == {"status": "invalid_token"}
    assert failed(there.step(b"\x01")) is Failure.WRONG
    assert isinstance(there_without_host(), TokenCredentials)


def there_without_host() -> Step:
    return OAuthBearerServer({"mx.example.org"}).step(b"n,,\x01auth=Bearer a\x01\x01")


@pytest.mark.parametrize(
    ("exchange", "message", "filler", "reason"),
    [
        (OAuthBearerServer(), BEARER, b"\x01", {"status": "invalid_token"}),
        (OAuthBearerServer(), BEARER, b"anything", {"status": "invalid_token"}),
        (XOAuth2Server(), X, b"", {"status": "401", "schemes": "bearer", "scope": ""}),
    ],
)
def test_a_rejected_token_gets_a_reason_and_then_a_refusal(
    exchange: ServerMechanism, message: bytes, filler: bytes, reason: dict[str, str]
) -> None:
    assert isinstance(exchange.step(message), TokenCredentials)
    assert told(exchange.reject()) == reason
    assert failed(exchange.step(filler)) is Failure.WRONG


def test_clients_say_what_the_servers_read() -> None:
    assert (
        OAuthBearerClient("user@example.com", TOKEN, "server.example.com", 587).initial_response() == BEARER
    )
    assert XOAuth2Client("user@example.com", TOKEN).initial_response() == X
    credentials = OAuthBearerServer().step(OAuthBearerClient("a,b=c", "t").initial_response())
    assert credentials == TokenCredentials("OAUTHBEARER", "a,b=c", "", "t")


@pytest.mark.parametrize(
    ("client", "filler"), [(OAuthBearerClient("u", TOKEN), b"\x01"), (XOAuth2Client("u", TOKEN), b"")]
)
def test_a_client_keeps_the_reason_and_answers_with_a_filler(
    client: OAuthBearerClient | XOAuth2Client, filler: bytes
) -> None:
    client.initial_response()
    was_complete = client.is_complete
    assert client.step(b'{"status":"401"}' + b"x" * 10_000) == filler
    assert client.error.startswith('{"status":"401"}')
    assert len(client.error) == 512
    assert (was_complete, client.is_complete) == (True, False)
    with pytest.raises(RemoteProtocolError):
        client.step(b"")


def test_no_token_is_shown() -> None:
    client = OAuthBearerClient("u", TOKEN)
    assert not any(TOKEN[:20] in repr(one) for one in (BEARER_CREDENTIALS, client))
