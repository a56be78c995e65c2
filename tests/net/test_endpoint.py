from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harakapy.net import Endpoint, EndpointError
from harakapy.net.endpoint import ALLOWED

PORTS = st.integers(0, 65535)
LABELS = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
HOSTS = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.lists(LABELS, min_size=1, max_size=5).map(".".join),
)
PATHS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=25)
NAMES = st.from_regex(r"[!-9;-~]{1,30}", fullmatch=True)
ENDPOINTS = st.one_of(
    st.builds(Endpoint, HOSTS, PORTS),
    PATHS.map(lambda path: Endpoint(path=path)),
    NAMES.map(lambda name: Endpoint(inherited=f"systemd:{name}")),
    st.integers(0, 999_999).map(lambda number: Endpoint(inherited=f"fd:{number}")),
)


@given(ENDPOINTS)
def test_what_is_written_is_read_again(endpoint: Endpoint) -> None:
    assert Endpoint.parse(str(endpoint)) == endpoint


@given(st.text())
def test_any_text_is_an_endpoint_or_an_endpoint_error(text: str) -> None:
    with suppress(EndpointError):
        assert isinstance(Endpoint.parse(text), Endpoint)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("127.0.0.1:2525", Endpoint("127.0.0.1", 2525)),
        ("[::]:25", Endpoint("::", 25)),
        ("[2001:DB8:0:0::1]:587", Endpoint("2001:db8::1", 587)),
        ("[fe80::1%eth0]:25", Endpoint("fe80::1%eth0", 25)),
        ("LocalHost:0", Endpoint("localhost", 0)),
        ("mail_1.internal:25", Endpoint("mail_1.internal", 25)),
        ("unix:/run/mail.sock", Endpoint(path="/run/mail.sock")),
        ("unix:mail.sock", Endpoint(path="mail.sock")),
        ("unix:a:25", Endpoint(path="a:25")),
        ("systemd:harakapy.socket", Endpoint(inherited="systemd:harakapy.socket")),
        ("systemd:25", Endpoint(inherited="systemd:25")),
        ("fd:03", Endpoint(inherited="fd:3")),
    ],
)
def test_each_form_is_understood(text: str, endpoint: Endpoint) -> None:
    assert Endpoint.parse(text) == endpoint


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has no port"),
        ("25", "has no port"),
        ("localhost", "has no port"),
        ("localhost:", "has no port from 0 to 65535 behind the last colon"),
        ("localhost:smtp", "has no port from 0 to 65535 behind the last colon"),
        ("localhost:65536", "has no port from 0 to 65535 behind the last colon"),
        ("localhost:-1", "has no port from 0 to 65535 behind the last colon"),
        ("localhost:٢٥", "has no port from 0 to 65535 behind the last colon"),
        ("localhost:" + "1" * 5000, "has no port from 0 to 65535 behind the last colon"),
        ("::1:25", "has an IPv6 address without brackets"),
        ("[::g]:25", "has a host that is not an IPv6 address"),
        ("[127.0.0.1]:25", "has a host that is not an IPv6 address"),
        ("127.0.0.256:25", "has a host that is not an IPv4 address"),
        ("1.2.3:25", "has a host that is not an IPv4 address"),
        (":25", "has no valid host before the port"),
        ("a b:25", "has no valid host before the port"),
        ("-a.example:25", "has no valid host before the port"),
        ("a..b:25", "has no valid host before the port"),
        ("systemd:", "names no socket that is open already"),
        ("systemd:a:b", "names no socket that is open already"),
        ("systemd:a b", "names no socket that is open already"),
        ("systemd:" + "a" * 256, "names no socket that is open already"),
        ("fd:", "names no socket that is open already"),
        ("fd:x", "names no socket that is open already"),
        ("fd:-1", "names no socket that is open already"),
        ("fd:٣", "names no socket that is open already"),
        ("unix:", "names no file"),
        ("unix:a\0b", "names no file"),
        ("unix:/" + "x" * 103, "has a path of more than 103 octets, which no unix socket can have"),
        ("unix:/" + "é" * 52, "has a path of more than 103 octets, which no unix socket can have"),
    ],
)
def test_an_error_says_what_is_wrong_and_what_is_allowed(text: str, problem: str) -> None:
    with pytest.raises(EndpointError) as caught:
        Endpoint.parse(text)
    assert caught.value.problem == problem
    assert str(caught.value).endswith(f"allowed: {ALLOWED}")


def test_only_a_unix_socket_is_one() -> None:
    assert Endpoint.parse("unix:x").is_unix
    assert not Endpoint.parse("localhost:25").is_unix
