"""Next hops as people write them."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harakapy.outbound.hop import NextHop, NextHopError, Protocol, Target, TlsLevel

SMTP, SMTPS, LMTP = Protocol.SMTP, Protocol.SMTPS, Protocol.LMTP


@pytest.mark.parametrize(
    ("text", "hop"),
    [
        ("mail.example.com", NextHop(host="mail.example.com", port=25)),
        ("Mail.Example.com.", NextHop(host="mail.example.com", port=25)),
        ("bücher.example", NextHop(host="xn--bcher-kva.example", port=25)),
        ("localhost:2525", NextHop(host="localhost", port=2525)),
        ("192.0.2.1:26", NextHop(host="192.0.2.1", port=26)),
        ("[192.0.2.1]", NextHop(host="192.0.2.1", port=25)),
        ("[2001:DB8::1]:25", NextHop(host="2001:db8::1", port=25)),
        ("[IPv6:2001:db8::1]", NextHop(host="2001:db8::1", port=25)),
        ("smtp://host", NextHop(host="host", port=25)),
        ("SMTP://host/", NextHop(host="host", port=25)),
        ("smtp://me:secret@host:587", NextHop(host="host", port=587, user="me", password="secret")),
        (
            "smtps://me@example.com:se%20c%3Aret%40@host",
            NextHop(host="host", port=465, protocol=SMTPS, user="me@example.com", password="se c:ret@"),
        ),
        ("lmtp://host", NextHop(host="host", port=24, protocol=LMTP)),
        ("lmtp:///run/lmtp.sock", NextHop(path="/run/lmtp.sock", protocol=LMTP)),
        ("unix:/run/my%20socket", NextHop(path="/run/my socket", protocol=LMTP)),
        ("smtp:///run/smtp", NextHop(path="/run/smtp", protocol=SMTP)),
        (
            "smtp://host?tls=verify&helo=mx.example&bind=2001:db8:0::2&preference=10&auth_without_tls=true",
            NextHop(
                host="host",
                tls=TlsLevel.VERIFY,
                helo="mx.example",
                bind="2001:db8::2",
                preference=10,
                auth_without_tls=True,
            ),
        ),
        ("host:26?tls=none", NextHop(host="host", port=26, tls=TlsLevel.NONE)),
    ],
)
def test_next_hop_is_read(text: str, hop: NextHop) -> None:
    assert NextHop.parse(text) == hop


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "either a host or the path"),
        ("http://host", "begins with http://, which is not spoken here"),
        ("mail example", "has a space"),
        ("mail\r\n.example", "has a space or a control character"),
        ("2001:db8::1", "IPv6 address without brackets"),
        ("[example.com]", "something in brackets that is not an address"),
        ("host:0", "port that is not from 1 to 65535"),
        ("host:65536", "port that is not from 1 to 65535"),
        ("host:smtp", "no valid host and port"),
        ("host:٢٥", "no valid host and port"),
        ("1.2.3", "neither an address nor a name"),
        ("smtp://\u00b9", "neither an address nor a name"),
        ("a..b", "is malformed"),
        ("-a.example", "is malformed"),
        ("smtp://", "either a host or the path"),
        ("smtp://host/path", "either a host or the path"),
        ("smtps:///run/socket", "no TLS from the start"),
        ("lmtp:///run/", "names no folder"),
        ("unix:/a%0Ab", "is printable"),
        ("unix:run/lmtp", "either a host or the path"),
        ("unix:/" + "x" * 103, "at most 103 octets"),
        ("smtp://:secret@host", "nothing without a user"),
        ("smtp://a%b@host", "a % must be written as %25"),
        ("smtp://a%0Db@host", "made of printable characters"),
        ("smtp://a%FFb@host", "is no next hop"),
        ("host?tls", "not written as name=value"),
        ("host?tls=maybe", "'maybe' is not a valid TlsLevel"),
        ("host?tls=may&tls=none", "or one twice"),
        ("host?tsl=may", "has options other than tls, helo"),
        ("host?preference=-1", "preference is a whole number"),
        ("host?auth_without_tls=1", "auth_without_tls is true or false"),
        ("host?bind=elsewhere", "'elsewhere' does not appear to be an IPv4 or IPv6 address"),
        ("smtps://host?tls=none", "cannot go without"),
        ("host#part", "is no URL"),
    ],
)
def test_what_is_no_next_hop_is_told_with_what_is_allowed(text: str, problem: str) -> None:
    with pytest.raises(NextHopError, match=re.escape(problem)) as caught:
        NextHop.parse(text)
    assert 'allowed: "mail.example.com", ' in str(caught.value)


@pytest.mark.parametrize(
    "text", ["smtp://me:secret@host:0", "me:secret@a b", "ftp://me:se@cret@h", "smtp://me:a/secret@h:x"]
)
def test_a_password_is_not_in_the_error(text: str) -> None:
    with pytest.raises(NextHopError) as caught:
        NextHop.parse(text)
    assert "secret" not in str(caught.value)
    assert "cret@" not in str(caught.value)


def test_a_password_is_in_the_url_for_programs_only() -> None:
    hop = NextHop.parse("smtp://me:secret@host?tls=encrypt")
    assert str(hop) == "smtp://me@host?tls=encrypt"
    assert "secret" not in repr(hop)
    assert hop.to_url() == "smtp://me:secret@host?tls=encrypt"


def test_tokens_are_not_shown() -> None:
    hop = NextHop(host="h", user="me", token_command=("get-token", "--key=secret"), token_file=Path("/t"))
    assert "secret" not in repr(hop) + str(hop) + hop.to_url()


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"host": "a", "path": "/b"},
        {"host": "a", "port": 65536},
        {"host": "a", "port": -1},
        {"path": "/b", "port": 25},
        {"host": "a", "token_file": Path("/t")},
        {"host": "a", "helo": "x\r\nQUIT"},
        {"host": "a\r\n"},
        {"host": "a", "bind": "b"},
    ],
)
def test_values_that_do_not_fit_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        NextHop(**values)  # type: ignore[arg-type]  # as a plugin may do


labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True).filter(lambda x: x[2:4] != "--")
hosts = st.one_of(
    st.lists(labels, min_size=1, max_size=3).map(".".join).filter(lambda name: not name[-1].isdigit()),
    st.ip_addresses().map(str),
)
printable = st.text(st.characters(exclude_categories=["C", "Z"])).filter(str.isprintable)


@st.composite
def next_hops(draw: st.DrawFn) -> NextHop:
    user = draw(printable)
    protocol = draw(st.sampled_from(Protocol))
    return NextHop(
        host=draw(hosts),
        port=draw(st.integers(0, 65535)),
        protocol=protocol,
        preference=draw(st.integers(0, 65535)),
        tls=draw(st.sampled_from([None, TlsLevel.MAY, TlsLevel.ENCRYPT, TlsLevel.VERIFY])),
        user=user,
        password=draw(printable) if user else "",
        auth_without_tls=draw(st.booleans()),
        bind=draw(st.sampled_from(["", "192.0.2.1", "2001:db8::1"])),
        helo=draw(printable),
    )


@given(next_hops())
def test_url_is_read_back_as_the_same_next_hop(hop: NextHop) -> None:
    assert NextHop.parse(hop.to_url()) == hop
    assert not NextHop.parse(str(hop)).password


@given(st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=40))
def test_path_is_read_back(name: str) -> None:
    try:
        hop = NextHop(path=f"/{name}", protocol=LMTP)
    except ValueError:
        assert name.endswith("/") or len(name.encode()) > 100 or not name.isprintable()
        return
    assert NextHop.parse(hop.to_url()) == hop


@given(st.text())
def test_any_text_is_a_next_hop_or_an_error(text: str) -> None:
    try:
        hop = NextHop.parse(text)
    except NextHopError:
        return
    assert NextHop.parse(hop.to_url()) == hop


@pytest.mark.parametrize(
    ("text", "name", "address", "shown"),
    [
        ("mx.example", "mx.example", "192.0.2.1", "mx.example[192.0.2.1]"),
        ("mx.example:26", "mx.example", "2001:db8::1", "mx.example[2001:db8::1]:26"),
        ("[192.0.2.1]", "192.0.2.1", "192.0.2.1", "[192.0.2.1]"),
        ("unix:/run/lmtp", "", "", "/run/lmtp"),
    ],
)
def test_target_says_who_it_is(text: str, name: str, address: str, shown: str) -> None:
    target = Target(NextHop.parse(text), name, address)
    assert str(target) == shown
    assert target.place == (address or "/run/lmtp", target.port)


def test_next_hop_knows_whether_something_must_be_looked_up() -> None:
    assert NextHop.parse("[::1]").address == "::1"
    assert NextHop.parse("mx.example").address == ""
    assert NextHop.parse("unix:/run/lmtp").address == ""
    assert NextHop.parse("unix:/run/lmtp").is_unix
