"""What holds for every mechanism: any bytes give a documented result, both sides understand each other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harakapy.smtp.errors import RemoteProtocolError
from harakapy.smtp.reply import MAX_REPLY_LINE, Reply
from harakapy.smtp.sasl import (
    MECHANISMS,
    Challenge,
    ChannelBinding,
    ClientMechanism,
    CramMd5Client,
    CramMd5Credentials,
    Credentials,
    ExternalClient,
    Failed,
    Failure,
    LoginClient,
    OAuthBearerClient,
    PasswordCredentials,
    PlainClient,
    SaslSession,
    ScramClient,
    ScramDecoy,
    ScramPlusClient,
    ScramSecret,
    SecretRequest,
    ServerMechanism,
    Step,
    TokenCredentials,
    XOAuth2Client,
    decode_initial_response,
    decode_response,
    encode_message,
    saslprep,
    start_exchange,
)

BINDING = ChannelBinding("tls-server-end-point", b"\x07" * 32)
SESSION = SaslSession(
    "mx.example.org",
    MECHANISMS,
    ScramDecoy(b"k" * 32, iterations=4096),
    {BINDING.kind: (BINDING.data,)},
    ("client.example.org",),
)
SECRET = ScramSecret.derive("pencil", salt=b"NaCl", iterations=4096)


def start(name: str) -> ServerMechanism:
    exchange = start_exchange(name, SESSION)
    assert exchange is not None
    return exchange


def settle(exchange: ServerMechanism, result: Step, is_known: bool) -> Step:
    """Do what the server does where no word from the client is needed: look up, reject."""
    if isinstance(result, SecretRequest):
        return exchange.supply(SECRET if is_known else None)
    return exchange.reject() if isinstance(result, Credentials) else result


FRAGMENTS = st.sampled_from(
    [
        b"\0", b"\x01", b",", b"=", b" ", b"n,,", b"y,,", b"p=tls-server-end-point,,", b"n=user", b"a=root",
        b"r=abc", b"c=biws", b"p=AAAA", b"m=x", b"x=y", b"auth=Bearer ", b"user=", b"host=", b"port=587",
        b"user", b"pencil", b"\xff", b"\xc2\xaa", b"\r\n", b"0" * 32,
    ]
)  # fmt: skip
MESSAGES = st.binary(max_size=60) | st.lists(FRAGMENTS, max_size=12).map(b"".join)


@pytest.mark.parametrize("name", MECHANISMS)
@given(initial=st.none() | MESSAGES, responses=st.lists(MESSAGES, max_size=4), is_known=st.booleans())
def test_any_bytes_end_in_a_documented_result_and_log_nobody_in_unasked(
    name: str, initial: bytes | None, responses: list[bytes], is_known: bool
) -> None:
    exchange = start(name)
    result = settle(exchange, exchange.step(initial), is_known)
    for response in responses:
        if not isinstance(result, Challenge):
            break
        assert len(Reply(334, encode_message(result.data)).encode()) <= MAX_REPLY_LINE
        result = settle(exchange, exchange.step(response), is_known)
    assert isinstance(result, Challenge | Failed)
    if isinstance(result, Failed):
        assert result.reply.is_permanent
        assert result.reason.isascii()


@pytest.mark.parametrize("name", MECHANISMS)
@given(line=st.binary(max_size=80))
def test_any_line_is_decoded_or_refused(name: str, line: bytes) -> None:
    decoded = decode_initial_response(line)
    if not isinstance(decoded, Failed):
        assert isinstance(start(name).step(decoded), Challenge | Failed | Credentials | SecretRequest)


@pytest.mark.parametrize("name", MECHANISMS)
def test_the_longest_messages_are_answered(name: str) -> None:
    for message in (b"A" * 9216, b"\0" * 9216, b"n,,n=" + b"a" * 9000 + b",r=abc", b"=2C" * 3000):
        exchange = start(name)
        assert isinstance(exchange.step(message), Challenge | Failed)


@pytest.mark.parametrize("name", MECHANISMS)
def test_cancelling_works_at_the_first_challenge(name: str) -> None:
    assert isinstance(start(name).step(None), Challenge)
    assert decode_response(b"*") == Failed(Failure.CANCELLED, "the client cancelled the exchange")


def run(client: ClientMechanism, is_right: Callable[[Credentials], bool]) -> Step:
    """One exchange over the wire, both sides being ours."""
    exchange = start(client.name)
    initial = client.initial_response()
    result = exchange.step(initial)
    while True:
        if isinstance(result, Challenge):
            response = encode_message(client.step(decoded(encode_message(result.data))))
            result = exchange.step(decoded(response))
        elif isinstance(result, SecretRequest):
            result = exchange.supply(SECRET)
        elif isinstance(result, Credentials) and not is_right(result):
            result = exchange.reject()
        else:
            return result


def decoded(text: str) -> bytes:
    data = decode_response(text.encode())
    assert isinstance(data, bytes)
    return data


def knows_pencil(credentials: Credentials) -> bool:
    match credentials:
        case PasswordCredentials(password=password):
            return password == "pencil"
        case CramMd5Credentials():
            return credentials.verify("pencil")
        case TokenCredentials(token=token):
            return token == "pencil"
    return True


CLIENTS: list[Callable[[str, str], ClientMechanism]] = [
    PlainClient,
    LoginClient,
    CramMd5Client,
    ScramClient,
    lambda user, password: ScramPlusClient(user, password, BINDING),
    OAuthBearerClient,
    XOAuth2Client,
]


@pytest.mark.parametrize("client", CLIENTS)
def test_both_sides_understand_each_other(client: Callable[[str, str], ClientMechanism]) -> None:
    right = client("user", "pencil")
    result = run(right, knows_pencil)
    assert isinstance(result, Credentials)
    assert (result.mechanism, result.authcid, result.authzid) == (right.name, "user", "")
    assert right.is_complete

    result = run(client("user", "pen"), knows_pencil)
    assert isinstance(result, Failed)
    assert result.failure is Failure.WRONG


def test_both_sides_of_external_understand_each_other() -> None:
    result = run(ExternalClient("root"), knows_pencil)
    assert isinstance(result, Credentials)
    assert (result.authcid, result.authzid) == ("client.example.org", "root")


@given(
    name=st.text(min_size=1, max_size=40).filter(lambda text: "\0" not in text),
    password=st.text(min_size=1, max_size=40).filter(lambda text: "\0" not in text),
)
def test_any_name_and_password_come_through_plain_and_login(name: str, password: str) -> None:
    try:
        name.encode(), password.encode()
        prepared = saslprep(name)
    except ValueError:
        return
    for client in (PlainClient(name, password), LoginClient(name, password)):
        result = run(client, lambda _: True)
        if prepared:
            assert result == PasswordCredentials(client.name, prepared, "", password)
        else:
            assert isinstance(result, Failed)


@pytest.mark.parametrize("client", CLIENTS)
@given(challenges=st.lists(MESSAGES, max_size=5))
def test_any_challenges_give_a_response_or_the_documented_error(
    client: Callable[[str, str], ClientMechanism], challenges: list[bytes]
) -> None:
    exchange = client("user", "pencil")
    exchange.initial_response()
    with contextlib.suppress(RemoteProtocolError):
        assert all(isinstance(exchange.step(challenge), bytes) for challenge in challenges)
