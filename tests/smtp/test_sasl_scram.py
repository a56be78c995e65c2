"""SCRAM: the RFCs' examples, each way to cheat, and users who do not exist."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harakapy.smtp.errors import LocalProtocolError, RemoteProtocolError
from harakapy.smtp.sasl import (
    Challenge,
    ChannelBinding,
    Failed,
    Failure,
    ScramClient,
    ScramCredentials,
    ScramDecoy,
    ScramPlusClient,
    ScramPlusServer,
    ScramSecret,
    ScramServer,
    SecretRequest,
    ServerMechanism,
    Step,
)

DECOY = ScramDecoy(b"k" * 32, iterations=4096)
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
SECRET = ScramSecret.derive("pencil", salt=SALT, iterations=4096)

# RFC 7677 3
CLIENT_NONCE = "rOprNGfwEbeRWgbNEkqO"
SERVER_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
NONCE = CLIENT_NONCE + SERVER_NONCE
CLIENT_FIRST = f"n,,n=user,r={CLIENT_NONCE}".encode()
SERVER_FIRST = f"r={NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".encode()
CLIENT_FINAL = f"c=biws,r={NONCE},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=".encode()
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

BINDINGS = {"tls-exporter": (b"\x01" * 32,), "tls-server-end-point": (b"rsa", b"ecdsa")}


class Sha1Server(ScramServer):
    """For the examples of RFC 5802, which know only this hash."""

    hash_name = "sha1"


class Sha1Client(ScramClient):
    hash_name = "sha1"


def server(**options: bool) -> ScramServer:
    return ScramServer(DECOY, nonce=SERVER_NONCE, **options)


def failed(result: Step) -> Failure:
    assert isinstance(result, Failed)
    return result.failure


def data(result: Step) -> bytes:
    assert isinstance(result, Challenge)
    return result.data


def after_first(exchange: ServerMechanism, first: bytes, secret: ScramSecret | None = SECRET) -> bytes:
    """The server's first message."""
    assert isinstance(exchange.step(first), SecretRequest)
    return data(exchange.supply(secret))


def test_server_follows_the_example_of_rfc_7677() -> None:
    exchange = server()
    assert exchange.step(CLIENT_FIRST) == SecretRequest("SCRAM-SHA-256", "user", "")
    assert exchange.supply(SECRET) == Challenge(SERVER_FIRST)
    assert exchange.step(CLIENT_FINAL) == Challenge(SERVER_FINAL)
    assert exchange.step(b"") == ScramCredentials("SCRAM-SHA-256", "user", "")


def test_client_follows_the_example_of_rfc_7677() -> None:
    client = ScramClient("user", "pencil", nonce=CLIENT_NONCE)
    assert client.initial_response() == CLIENT_FIRST
    assert client.step(SERVER_FIRST) == CLIENT_FINAL
    assert not client.is_complete  # a yes before the server's signature would be worth nothing
    assert client.step(SERVER_FINAL) == b""
    assert client.is_complete


def test_both_sides_follow_the_example_of_rfc_5802() -> None:
    secret = ScramSecret.derive(
        "pencil", salt=base64.b64decode("QSXCR+Q6sek8bf92"), iterations=4096, hash_name="sha1"
    )
    client = Sha1Client("user", "pencil", nonce="fyko+d2lbbFgONRv9qkxdawL")
    exchange = Sha1Server(DECOY, nonce="3rfcNHYJY1ZVvWVs7j")
    nonce = b"fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j"

    first = client.initial_response()
    assert first == b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL"
    server_first = after_first(exchange, first, secret)
    assert server_first == b"r=" + nonce + b",s=QSXCR+Q6sek8bf92,i=4096"
    final = client.step(server_first)
    assert final == b"c=biws,r=" + nonce + b",p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
    server_final = data(exchange.step(final))
    assert server_final == b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ="
    assert isinstance(exchange.step(client.step(server_final)), ScramCredentials)


def test_without_an_initial_response_the_server_asks_for_one() -> None:
    exchange = server()
    assert exchange.step(None) == Challenge(b"")
    assert isinstance(exchange.step(CLIENT_FIRST), SecretRequest)


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (b"", Failure.MALFORMED),
        (b"n=user,r=abc", Failure.MALFORMED),
        (b"n,,n=user", Failure.MALFORMED),
        (b"n,,n=,r=abc", Failure.MALFORMED),
        (b"n,,r=abc,n=user", Failure.MALFORMED),
        (b"n,,n=user,r=", Failure.MALFORMED),
        (b"n,,n=user,r=a b", Failure.MALFORMED),
        (b"n,,n=user,r=" + b"a" * 129, Failure.MALFORMED),
        (b"x,,n=user,r=abc", Failure.MALFORMED),
        (b"n,b=user,n=user,r=abc", Failure.MALFORMED),
        (b"n,,n=us=er,r=abc", Failure.MALFORMED),
        (b"n,,n=us=2cer,r=abc", Failure.MALFORMED),
        (b"n,,n=us\0er,r=abc", Failure.MALFORMED),
        (b"n,,n=us\r\ner,r=abc", Failure.MALFORMED),
        (b"n,,n=us\xff,r=abc", Failure.MALFORMED),
        (b"n,a=ro=ot,n=user,r=abc", Failure.MALFORMED),
        (b"n,,m=must,n=user,r=abc", Failure.MALFORMED),
        (b"n,,n=" + b"u" * 256 + b",r=abc", Failure.MALFORMED),
        (b"p=tls-exporter,,n=user,r=abc", Failure.WRONG),
        (b"p=,,n=user,r=abc", Failure.MALFORMED),
    ],
)
def test_first_messages_that_are_refused(first: bytes, expected: Failure) -> None:
    assert failed(server().step(first)) is expected


def test_escaped_names_and_unknown_extensions_are_taken() -> None:
    request = server().step(b"n,a=r=3Doot,n=us=2Cer=3D2C,r=abc,x=whatever")
    assert request == SecretRequest("SCRAM-SHA-256", "us,er=2C", "r=oot")


def altered(pattern: str, replacement: str) -> Callable[[bytes], bytes]:
    return lambda message: re.sub(pattern.encode(), replacement.encode(), message)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (altered("p=.", "p=A"), Failure.WRONG),
        (altered("p=.*", "p=AAAA"), Failure.WRONG),
        (altered("p=.*", "p=" + "A" * 64), Failure.WRONG),
        (altered("r=[^,]*", "r=" + CLIENT_NONCE), Failure.WRONG),
        (altered("r=.", "r=X"), Failure.WRONG),
        (altered("c=biws", "c=eSws"), Failure.WRONG),  # "y,,": not what it said first
        (altered("c=biws", "c=biwsYWJj"), Failure.WRONG),
        (altered(",p=", ",x=unsigned,p="), Failure.WRONG),
        (altered("c=biws", "c=biw"), Failure.MALFORMED),
        (altered("c=biws,", ""), Failure.MALFORMED),
        (altered(",p=.*", ""), Failure.MALFORMED),
        (altered("=$", ""), Failure.MALFORMED),
        (altered("^.*$", ""), Failure.MALFORMED),
        (altered("^.*$", "n,,n=user,r=abc"), Failure.MALFORMED),
    ],
)
@pytest.mark.parametrize("secret", [SECRET, None])
def test_altered_final_messages_are_refused(
    change: Callable[[bytes], bytes], expected: Failure, secret: ScramSecret | None
) -> None:
    exchange = server()
    after_first(exchange, CLIENT_FIRST, secret)
    assert change(CLIENT_FINAL) != CLIENT_FINAL
    assert failed(exchange.step(change(CLIENT_FINAL))) is expected


def test_nothing_may_follow_the_end() -> None:
    exchange = server()
    after_first(exchange, CLIENT_FIRST)
    exchange.step(CLIENT_FINAL)
    assert failed(exchange.step(b"more")) is Failure.MALFORMED


def test_a_secret_of_another_hash_is_a_bug_of_who_supplied_it() -> None:
    exchange = server()
    exchange.step(CLIENT_FIRST)
    with pytest.raises(ValueError):
        exchange.supply(ScramSecret.derive("pencil", iterations=1, hash_name="sha1"))


def test_a_secret_supplied_out_of_turn_is_a_bug() -> None:
    exchange = server()
    with pytest.raises(LocalProtocolError):
        exchange.supply(SECRET)
    after_first(exchange, CLIENT_FIRST)
    with pytest.raises(LocalProtocolError):
        exchange.supply(SECRET)


# Users who do not exist


def test_an_unknown_user_looks_like_a_wrong_password() -> None:
    known, unknown = server(), server()
    shape = re.compile(rb"r=[!-~]+,s=[A-Za-z0-9+/]{22}==,i=4096")
    assert shape.fullmatch(after_first(known, CLIENT_FIRST))
    assert shape.fullmatch(after_first(unknown, CLIENT_FIRST, None))
    wrong = CLIENT_FINAL.replace(b"p=d", b"p=e")
    assert known.step(wrong) == unknown.step(wrong)


def test_an_unknown_user_has_the_same_salt_for_ever() -> None:
    def salt(decoy: ScramDecoy, name: bytes) -> bytes:
        exchange = ScramServer(decoy)
        return after_first(exchange, b"n,,n=" + name + b",r=abc", None).split(b",")[1]

    assert salt(DECOY, b"nobody") == salt(DECOY, b"nobody")
    assert salt(DECOY, b"nobody") != salt(DECOY, b"nobody2")
    assert salt(DECOY, b"nobody") != salt(ScramDecoy(b"l" * 32), b"nobody")


class GuessedDecoy(ScramDecoy, frozen=True):
    """A decoy to which, against all odds, somebody has found the password."""

    def secret_for(self, name: str) -> ScramSecret:
        return SECRET


def test_nobody_logs_in_as_an_unknown_user_even_with_the_password_of_the_decoy() -> None:
    exchange = ScramServer(GuessedDecoy(b"k" * 32), nonce=SERVER_NONCE)
    client = ScramClient("user", "pencil", nonce=CLIENT_NONCE)
    final = client.step(after_first(exchange, client.initial_response() or b"", None))
    assert failed(exchange.step(final)) is Failure.WRONG


# Channel binding

PLUS_FIRST = b"p=tls-exporter,,n=user,r=abc"


def plus(first: bytes, nonce: str | None = None) -> tuple[ScramPlusServer, Step]:
    exchange = ScramPlusServer(DECOY, BINDINGS, nonce=nonce)
    return exchange, exchange.step(first)


@pytest.mark.parametrize("kind", list(BINDINGS))
def test_plus_binds_to_the_channel(kind: str) -> None:
    for binding in BINDINGS[kind]:
        client = ScramPlusClient("user", "pencil", ChannelBinding(kind, binding), "root")
        exchange, request = plus(client.initial_response() or b"")
        assert request == SecretRequest("SCRAM-SHA-256-PLUS", "user", "root")
        server_final = exchange.step(client.step(data(exchange.supply(SECRET))))
        credentials = exchange.step(client.step(data(server_final)))
        assert credentials == ScramCredentials("SCRAM-SHA-256-PLUS", "user", "root")
        assert client.is_complete


def test_plus_fails_on_another_channel() -> None:
    client = ScramPlusClient("user", "pencil", ChannelBinding("tls-exporter", b"\x02" * 32))
    exchange, _ = plus(client.initial_response() or b"")
    assert failed(exchange.step(client.step(data(exchange.supply(SECRET))))) is Failure.WRONG


@pytest.mark.parametrize(
    "first", [b"n,,n=user,r=abc", b"y,,n=user,r=abc", b"p=tls-unique,,n=user,r=abc", b"p=x,,n=user,r=abc"]
)
def test_plus_refuses_clients_that_do_not_bind(first: bytes) -> None:
    assert failed(plus(first)[1]) is Failure.WRONG


def test_a_downgrade_is_noticed() -> None:
    client = ScramClient("user", "pencil", has_binding=True)
    first = client.initial_response() or b""
    assert first.startswith(b"y,,")
    assert failed(server(offers_plus=True).step(first)) is Failure.WRONG
    assert isinstance(server(offers_plus=False).step(first), SecretRequest)


# The client and a server that cheats


@pytest.mark.parametrize(
    "server_first",
    [
        b"",
        b"e=unknown-user",
        SERVER_FIRST.replace(b"r=r", b"r=x"),
        f"r={CLIENT_NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".encode(),
        SERVER_FIRST.replace(b"4096", b"4095"),
        SERVER_FIRST.replace(b"4096", b"1000001"),
        SERVER_FIRST.replace(b"4096", b"-1"),
        SERVER_FIRST.replace(b"4096", b"99999999999"),
        SERVER_FIRST.replace(b"gQ==", b"gQ="),
        b"m=must," + SERVER_FIRST,
        SERVER_FIRST + b"\xff",
    ],
)
def test_client_refuses_a_first_message(server_first: bytes) -> None:
    client = ScramClient("user", "pencil", nonce=CLIENT_NONCE)
    client.initial_response()
    with pytest.raises(RemoteProtocolError):
        client.step(server_first)


@pytest.mark.parametrize(
    "server_final",
    [b"", b"e=invalid-proof", SERVER_FINAL.replace(b"v=6", b"v=7"), b"v=", b"v=AAAA", SERVER_FINAL + b"="],
)
def test_client_refuses_a_server_that_does_not_know_the_password(server_final: bytes) -> None:
    client = ScramClient("user", "pencil", nonce=CLIENT_NONCE)
    client.initial_response()
    client.step(SERVER_FIRST)
    with pytest.raises(RemoteProtocolError):
        client.step(server_final)
    assert not client.is_complete


# What is stored


def test_a_secret_comes_back_from_its_text() -> None:
    text = SECRET.to_text()
    assert text.startswith("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$")
    assert ScramSecret.parse(text) == SECRET


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pencil",
        SECRET.to_text().replace("256", "1"),
        SECRET.to_text().replace("4096", "0"),
        SECRET.to_text().replace("4096", "-1"),
        SECRET.to_text().replace("==$", "$"),
        SECRET.to_text() + ":AAAA",
        SECRET.to_text().rpartition(":")[0],
        SECRET.to_text() + "\n",
        "SCRAM-SHA-256$4096:$:",
    ],
)
def test_what_is_no_secret_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="SCRAM") as caught:
        ScramSecret.parse(text)
    assert not text or text not in str(caught.value)


def test_new_secrets_are_salted_and_shown_by_nobody() -> None:
    one, other = ScramSecret.derive("pencil", iterations=1), ScramSecret.derive("pencil", iterations=1)
    assert one.salt != other.salt
    assert repr(one.stored_key) not in repr(one)
    assert repr(one.server_key) not in repr(one)
    assert "kkkk" not in repr(DECOY)
    assert "pencil" not in repr(ScramClient("user", "pencil"))


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=30)


def is_preparable(text: str) -> bool:
    try:
        ScramClient(text, "x")
    except ValueError:
        return False
    return True


@settings(deadline=None)  # 4096 iterations are what they are
@given(
    name=NAMES.filter(is_preparable),
    password=st.text(min_size=1, max_size=30).filter(is_preparable),
    typed=st.none() | st.text(max_size=10).filter(is_preparable),
)
def test_both_sides_agree_exactly_if_the_password_is_right(
    name: str, password: str, typed: str | None
) -> None:
    secret = ScramSecret.derive(password, iterations=4096)
    client, exchange = ScramClient(name, password if typed is None else typed), ScramServer(DECOY)
    request = exchange.step(client.initial_response())
    if isinstance(request, Failed):
        assert len(name.encode()) > 200 or not name.strip()
        return
    result = exchange.step(client.step(data(exchange.supply(secret))))
    if typed is None:
        assert isinstance(exchange.step(client.step(data(result))), ScramCredentials)
    elif typed != password:
        assert failed(result) is Failure.WRONG
