"""What is agreed about a session."""

from __future__ import annotations

from harakapy.outbound.hop import NextHop, TlsLevel
from harakapy.outbound.terms import Terms

TERMS = Terms(helo="me.example.com", bind=("192.0.2.1", "2001:db8::1"))


def test_a_next_hop_without_wishes_takes_the_terms_as_they_are() -> None:
    assert TERMS.for_hop(NextHop(host="mx.example.org")) is TERMS


def test_a_next_hop_may_have_a_name_an_address_and_a_level_of_its_own() -> None:
    terms = TERMS.for_hop(NextHop.parse("smtp://mx.example.org?helo=you.example.com&bind=192.0.2.2&tls=none"))
    assert (terms.helo, terms.bind, terms.tls) == ("you.example.com", ("192.0.2.2",), TlsLevel.NONE)


def test_requiretls_verifies() -> None:
    terms = TERMS.requiring_tls()
    assert terms.tls is TlsLevel.VERIFY
    assert terms.requiring_tls() is terms
