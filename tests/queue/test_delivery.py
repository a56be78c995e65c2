"""Deliveries as they enter the queue: which queue they stand in, and whose they are."""

from __future__ import annotations

import pytest

from harakapy.mail import Recipient
from harakapy.queue import deliveries_to
from harakapy.smtp.address import Address

from .samples import MINE, NOW, recipient


@pytest.mark.parametrize(
    ("address", "domain"),
    [
        ("<a@Example.ORG>", "example.org"),
        ("<a@example.org.>", "example.org"),
        ("<a@Bücher.example>", "xn--bcher-kva.example"),
        ("<a@[192.0.2.1]>", "[192.0.2.1]"),
        ("<a@[IPv6:2001:DB8::1]>", "[ipv6:2001:db8::1]"),
        ("<Postmaster>", "here.example"),
    ],
)
def test_all_spellings_of_a_domain_stand_in_one_queue(address: str, domain: str) -> None:
    to = [Recipient(Address.parse(address))]
    (delivery,) = deliveries_to("A.1", to, due=NOW, local_domain="here.example")
    assert (delivery.domain, delivery.destination) == (domain, domain)
    assert delivery.recipient.address.original == address[1:-1]


def test_recipients_are_numbered_in_their_order() -> None:
    to = [recipient(each) for each in ("b@x.example", "a@x.example", "b@x.example")]
    deliveries = deliveries_to("A.1", to, due=NOW, local_domain="x")
    assert [each.number for each in deliveries] == [0, 1, 2]
    assert [each.recipient for each in deliveries] == to


def test_deliveries_can_be_claimed_from_the_start() -> None:
    to = [recipient("a@x.example")]
    (free,) = deliveries_to("A.1", to, due=NOW, local_domain="x")
    (claimed,) = deliveries_to("A.1", to, due=NOW, local_domain="x", lease=MINE)
    assert claimed == free.claimed(MINE, now=NOW)
    assert (free.ready, claimed.ready) == (NOW, MINE.until)
