"""XCLIENT: what may be said of another client, and how it is written."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harakapy.smtp import ClientClaims, RemoteProtocolError, Unrecognized, XClient, parse_command
from harakapy.smtp.xclient import TEMPORARILY_UNAVAILABLE, UNAVAILABLE

from .session import Session

OFFERED = {"XCLIENT"}


def claims(text: str) -> ClientClaims:
    command = parse_command(f"XCLIENT {text}".encode(), extensions=OFFERED)
    assert isinstance(command, XClient)
    return command.claims


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NAME=spike.Example.org ADDR=192.0.2.7", ClientClaims(name="spike.example.org", addr="192.0.2.7")),
        ("name=a.test. addr=IPV6:2001:DB8:0::1", ClientClaims(name="a.test", addr="2001:db8::1")),
        ("ADDR=ipv6:::ffff:192.0.2.7", ClientClaims(addr=str(IPv6Address("::ffff:c000:207")))),
        ("NAME=[unavailable] ADDR=[UNAVAILABLE]", ClientClaims(name=UNAVAILABLE, addr="")),
        ("NAME=[TEMPUNAVAIL]", ClientClaims(name=TEMPORARILY_UNAVAILABLE)),
        ("PORT=1  DESTPORT=65535", ClientClaims(port=1, destport=65535)),
        ("PORT=[UNAVAILABLE]", ClientClaims(port=0)),
        ("PROTO=esmtp HELO=[192.0.2.7]", ClientClaims(proto="ESMTP", helo="[192.0.2.7]")),
        ("HELO=[UNAVAILABLE] LOGIN=[UNAVAILABLE]", ClientClaims(helo="", login="")),
        ("LOGIN=ann+40example.com", ClientClaims(login="ann@example.com")),
        ("LOGIN=j+C3+B6rg+2B1", ClientClaims(login="jörg+1")),
        ("DESTADDR=198.51.100.25", ClientClaims(destaddr="198.51.100.25")),
    ],
)
def test_attributes_are_read(text: str, expected: ClientClaims) -> None:
    assert claims(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "NAME", "=", "NAME=", "FOO=bar", "NAME=a NAME=b", "NAME=a name=b",
        "NAME=a+0D+0Ab", "NAME=a+1B[31m", "NAME=a b", "NAME=-a", "NAME=a..b", "NAME=+0g",
        "NAME=" + "a." * 128,
        "ADDR=2001:db8::1", "ADDR=IPV6:192.0.2.1", "ADDR=192.0.2", "ADDR=192.0.2.256", "ADDR=[192.0.2.1]",
        "ADDR=localhost", "ADDR=[TEMPUNAVAIL]", "ADDR=192.0.2.1+00",
        "PORT=0", "PORT=65536", "PORT=-1", "PORT=+2B1", "PORT=1e3", "PORT=2525x", "DESTPORT=smtp",
        "PROTO=HTTP", "PROTO=[UNAVAILABLE]", "HELO=a+20b", "HELO=a+0D", "HELO=+C3+A4",
        "LOGIN=a+00b", "LOGIN=a+0Ab", "LOGIN=+C2+AD", "DESTADDR=x", "LOGIN=+C3",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        claims(text)
    assert (caught.value.reply.code, caught.value.reply.enhanced) == (501, "5.5.4")


def test_where_it_is_not_offered_it_is_no_command() -> None:
    assert isinstance(parse_command(b"XCLIENT ADDR=192.0.2.1"), Unrecognized)


NAMES = st.from_regex(r"[a-z0-9]{1,20}(\.[a-z0-9]{1,20}){0,3}", fullmatch=True)
ADDRESSES = st.one_of(st.just(""), st.ip_addresses().map(str))
PORTS = st.integers(0, 65535)
CLAIMS = st.builds(
    ClientClaims,
    name=st.none() | NAMES | st.sampled_from([UNAVAILABLE, TEMPORARILY_UNAVAILABLE]),
    addr=st.none() | ADDRESSES,
    port=st.none() | PORTS,
    proto=st.none() | st.sampled_from(["SMTP", "ESMTP"]),
    helo=st.none() | st.just("") | NAMES,
    login=st.none() | st.just("") | st.from_regex(r"[a-z0-9@=+]{1,40}", fullmatch=True),
    destaddr=st.none() | ADDRESSES,
    destport=st.none() | PORTS,
).filter(lambda made: made != ClientClaims())


@given(CLAIMS)
def test_what_is_written_is_read_again(made: ClientClaims) -> None:
    assert parse_command(XClient(made).to_bytes(), extensions=OFFERED) == XClient(made)


@given(CLAIMS, CLAIMS)
def test_later_claims_win_and_a_name_stays_with_its_address(first: ClientClaims, later: ClientClaims) -> None:
    both = first.followed_by(later)
    assert both.addr == (first.addr if later.addr is None else later.addr)
    assert both.login == (first.login if later.login is None else later.login)
    kept = first.name if later.addr is None else None
    assert both.name == (kept if later.name is None else later.name)


def test_what_came_behind_it_can_be_taken_once() -> None:
    protocol = Session(offered=OFFERED).greet().protocol
    protocol.receive_data(b"XCLIENT ADDR=192.0.2.1\r\nEHLO a\r\nNO")
    assert protocol.next_event() == XClient(ClientClaims(addr="192.0.2.1"))
    assert protocol.take_unread() == b"EHLO a\r\nNO"
    assert protocol.take_unread() == b""
