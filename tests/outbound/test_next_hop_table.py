"""Next hops by recipient, as plugins have them in their settings."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from harakapy import Address, Settings
from harakapy.outbound import DomainPattern, NextHopRoutes, NextHopTable, NextHopUrls, domain_patterns

SETTINGS = Settings.default(hostname="mx.test")


class Model(BaseModel):
    routes: NextHopRoutes = {}
    hops: NextHopUrls = ()
    domains: tuple[DomainPattern, ...] = ()


def table(routes: dict[str, Any], *default: str) -> NextHopTable:
    model = Model.model_validate({"routes": routes, "hops": list(default)})
    return NextHopTable(model.routes, model.hops, settings=SETTINGS)


def hosts(table: NextHopTable, recipient: str) -> list[str]:
    return [hop.host for hop in table.for_recipient(Address.parse(recipient))]


ROUTES = {
    "boss@Example.com": "boss",
    "example.com": "domain",
    ".example.com": "below",
    ".a.example.com": ["nearer", "second"],
    "Bücher.example": "books",
    "[192.0.2.1]": "literal",
    "mx.test": "ours",
}


@pytest.mark.parametrize(
    ("recipient", "expected"),
    [
        ("BOSS@example.com", ["boss"]),
        ("ann@EXAMPLE.com", ["domain"]),
        ("boss@x.example.com", ["below"]),
        ("ann@x.y.a.example.com", ["nearer", "second"]),
        ("ann@a.example.com", ["below"]),
        ("ann@xn--bcher-kva.example", ["books"]),
        ("ann@bücher.example", ["books"]),
        ("ann@[192.0.2.1]", ["literal"]),
        ("ann@[192.0.2.2]", ["default"]),
        ("ann@notexample.com", ["default"]),
        ("postmaster", ["ours"]),
    ],
)
def test_the_most_exact_pattern_counts(recipient: str, expected: list[str]) -> None:
    found = table(ROUTES, "default")
    address = Address("postmaster", "") if recipient == "postmaster" else Address.parse(recipient)
    assert [hop.host for hop in found.for_recipient(address)] == expected


def test_all_others_have_the_star_rather_than_the_default() -> None:
    found = table({"*": "star", "example.com": "domain"}, "default")
    assert hosts(found, "ann@example.net") == ["star"]
    assert [hop.host for hop in found.for_domain("example.net")] == ["star"]


def test_a_domain_alone_has_no_default() -> None:
    assert table(ROUTES, "default").for_domain("example.net") == ()
    assert table({}).for_recipient(Address.parse("ann@example.net")) == ()


def test_the_patterns_of_a_domain_are_in_order() -> None:
    assert domain_patterns("A.example.com") == ["a.example.com", ".example.com", ".com", "*"]
    assert domain_patterns("[192.0.2.1]") == ["[192.0.2.1]", "*"]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"routes": {"a b": "host"}}, "must be a mail address, a domain"),
        ({"routes": {"": "host"}}, "must be a mail address, a domain"),
        ({"routes": {"a@": "host"}}, "must be a mail address, a domain"),
        ({"routes": {"example.com": "host", "Example.COM": "other"}}, "twice"),
        ({"routes": {"example.com": []}}, "no next hop"),
        ({"hops": "smtp://"}, "is no next hop"),
        ({"domains": ["ann@example.com"]}, "must be a domain"),
        ({"domains": ["."]}, "must be a domain"),
    ],
)
def test_what_is_none_is_an_error_without_a_password(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Model.model_validate(values)


def test_a_url_is_kept_secret_and_the_hop_has_its_password() -> None:
    model = Model.model_validate({"hops": "smtp://me:secret@host"})
    assert "secret" not in repr(model)
    found = NextHopTable({}, [SecretStr("smtp://me:secret@host")], settings=SETTINGS)
    (hop,) = found.for_recipient(Address.parse("a@example.com"))
    assert hop.password == "secret"
