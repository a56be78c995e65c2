"""Domain names: ASCII for the wire, Unicode for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harakapy.mail.domain import is_same_domain, to_ascii, to_unicode


@pytest.mark.parametrize(
    ("domain", "name"),
    [
        ("Example.COM.", "example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.Example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),  # IDNA 2008; IDNA 2003 had strasse
        ("例え。example", "xn--r8jz45g.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("_dmarc.bücher.example", "_dmarc.xn--bcher-kva.example"),
        ("my_host.example", "my_host.example"),
        ("localhost", "localhost"),
    ],
)
def test_names_for_the_wire(domain: str, name: str) -> None:
    assert to_ascii(domain) == name


@pytest.mark.parametrize(
    "domain",
    [
        "",
        ".",
        "a..b",
        ".a",
        "-a.example",
        "a b",
        "a\r\nb",
        "[192.0.2.1]",
        "x" * 64,
        "a." * 128 + "b",
        "ü" * 256,
        "\u2488.example",
        "ü" * 60 + ".example",
        "a@b",
        "\u0378ü.example",
        "ü\x00.example",
        ("ü" * 40 + ".") * 6 + "a",
    ],
)
def test_what_is_no_name_is_refused(domain: str) -> None:
    with pytest.raises(ValueError, match="domain name"):
        to_ascii(domain)


@pytest.mark.parametrize(
    ("domain", "shown"),
    [
        ("xn--bcher-kva.example.", "bücher.example"),
        ("XN--BCHER-KVA.example", "bücher.example"),
        ("xn--zzzzzzzz.example", "xn--zzzzzzzz.example"),
        ("example.com", "example.com"),
        ("bücher.example", "bücher.example"),
    ],
)
def test_names_for_people(domain: str, shown: str) -> None:
    assert to_unicode(domain) == shown


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Example.com", "example.COM.", True),
        ("bücher.example", "xn--bcher-kva.example", True),
        ("bücher.example", "bucher.example", False),
        ("[IPv6:::1]", "[ipv6:::1]", True),
        ("a..b", "a.b", False),
    ],
)
def test_comparison(one: str, other: str, same: bool) -> None:
    assert is_same_domain(one, other) is same


@given(st.text())
def test_only_value_errors_come_out(text: str) -> None:
    to_unicode(text)
    is_same_domain(text, text + ".")
    try:
        name = to_ascii(text)
    except ValueError:
        return
    assert name.isascii()
    assert to_ascii(name) == name


@given(st.text("abcäöüßéøxn-.", min_size=1, max_size=20))
def test_both_forms_mean_the_same(text: str) -> None:
    try:
        name = to_ascii(text)
    except ValueError:
        return
    assert to_ascii(to_unicode(name)) == name
    assert is_same_domain(name, to_unicode(name))
