"""Next hops in the forms in which plugins give them."""

from __future__ import annotations

from typing import Any

import pytest

from harakapy.outbound.given_hops import NoNextHop, next_hops
from harakapy.outbound.hop import NextHop, Protocol, TlsLevel


@pytest.mark.parametrize(
    ("given", "hop"),
    [
        (NextHop(host="mx.example"), NextHop(host="mx.example")),
        ("mx.example:2525", NextHop(host="mx.example", port=2525)),
        ("lmtp:///run/lmtp", NextHop(path="/run/lmtp", protocol=Protocol.LMTP)),
        ({"exchange": "mx.example"}, NextHop(host="mx.example")),
        ({"exchange": "mx.example", "port": None}, NextHop(host="mx.example")),
        (
            {"exchange": "192.0.2.1", "port": 26, "priority": 5},
            NextHop(host="192.0.2.1", port=26, preference=5),
        ),
        ({"exchange": "mx.example", "using_lmtp": True}, NextHop(host="mx.example", protocol=Protocol.LMTP)),
        ({"exchange": "mx.example", "using_lmtp": False}, NextHop(host="mx.example")),
        ({"path": "/run/lmtp"}, NextHop(path="/run/lmtp", protocol=Protocol.LMTP)),
        (
            {"exchange": "mx.example", "bind": "192.0.2.9", "bind_helo": "me.example", "tls": "verify"},
            NextHop(host="mx.example", bind="192.0.2.9", helo="me.example", tls=TlsLevel.VERIFY),
        ),
        (
            {"exchange": "mx.example", "auth_user": "me", "auth_pass": "secret"},
            NextHop(host="mx.example", user="me", password="secret"),
        ),
    ],
)
def test_a_next_hop_has_several_forms(given: object, hop: NextHop) -> None:
    assert next_hops(given) == (hop,)


def test_several_stay_in_their_order() -> None:
    hops = next_hops(["b.example", {"exchange": "a.example"}, NextHop(host="c.example")])
    assert [hop.host for hop in hops] == ["b.example", "a.example", "c.example"]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ([], "empty"),
        ((), "empty"),
        (5, "int is no next hop"),
        (None, "NoneType is no next hop"),
        ([None], "NoneType is no next hop"),
        ({"mx.example"}, "set is no next hop"),
        (b"mx.example", "bytes is no next hop"),
        ("no://hop", "allowed"),
        ("", "allowed"),
        ({}, "host or the path"),
        ({"exchange": "mx.example", "colour": "blue"}, "colour"),
        ({5: "mx.example"}, "5"),
        ({"exchange": 5}, "host of a next hop is of the wrong type"),
        ({"exchange": "mx.example", "port": "25"}, "port of a next hop is of the wrong type"),
        ({"exchange": "mx.example", "port": True}, "port of a next hop is of the wrong type"),
        ({"exchange": "mx.example", "port": 70000}, "port"),
        ({"exchange": "mx.example", "bind": "here"}, "here"),
        ({"exchange": "mx.example", "tls": "perhaps"}, "perhaps"),
        ({"exchange": "mx.example", "path": "/run/lmtp"}, "either"),
    ],
)
def test_what_is_no_next_hop_is_refused_with_the_reason(given: Any, problem: str) -> None:
    with pytest.raises(NoNextHop, match=problem):
        next_hops(given)


@pytest.mark.parametrize(
    "given",
    [
        "smtp://me:s3cret@mx.example:99999",
        "wrong://me:s3cret@mx.example",
        {"exchange": "mx.example", "auth_pass": "s3cret"},
        {"exchange": "mx.example", "auth_user": "me", "auth_pass": ["s3cret"]},
        {"exchange": "mx.example", "auth_user": "me", "auth_pass": "s3cret\n"},
    ],
)
def test_no_reason_names_a_password(given: Any) -> None:
    with pytest.raises(NoNextHop) as caught:
        next_hops(given)
    assert "s3cret" not in str(caught.value)
