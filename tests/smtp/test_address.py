"""Addresses: what is accepted and refused, and how it is kept."""

from __future__ import annotations

import copy
import pickle
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harakapy.smtp.address import (
    NULL_PATH,
    PLAIN_MAILBOX,
    Address,
    parse_forward_path,
    parse_reverse_path,
    plain_address,
)
from harakapy.smtp.errors import RemoteProtocolError

ATOM = "abcxyzABC019!#$%&'*+-/=?^_`{|}~"
LABELS = st.from_regex(r"[a-zA-Z0-9_]([a-zA-Z0-9-]{0,10}[a-z0-9])?", fullmatch=True).filter(
    lambda label: not label.lower().startswith("xn--")
)
HOSTS = st.one_of(
    st.lists(LABELS, min_size=1, max_size=4).map(".".join),
    st.sampled_from(["bücher.example", "xn--bcher-kva.example", "例え.jp", "i❤.example", "straße.de"]),
    st.ip_addresses(v=4).map(lambda ip: f"[{ip}]"),
    st.ip_addresses(v=6).map(lambda ip: f"[IPv6:{ip}]"),
)
PRINTABLE = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=8)
USERS = st.one_of(st.text(ATOM + ".", min_size=1, max_size=20), PRINTABLE)
ADDRESSES = st.builds(Address, USERS, HOSTS)


def refusal(raw: bytes, *, utf8: bool = False, forward: bool = False) -> tuple[int, str | None]:
    parse = parse_forward_path if forward else parse_reverse_path
    with pytest.raises(RemoteProtocolError) as caught:
        parse(raw, utf8=utf8)
    return caught.value.reply.code, caught.value.reply.enhanced


@pytest.mark.parametrize(
    ("raw", "user", "host"),
    [
        (b"<a@b>", "a", "b"),
        (b"<a.b+c=d@Example.COM>", "a.b+c=d", "example.com"),
        (b"<User@host>", "User", "host"),
        (b'<"a b"@c>', "a b", "c"),
        (rb'<"a\"b"@c>', 'a"b', "c"),
        (rb'<"a\\b"@c>', r"a\b", "c"),
        (rb'<"\a\b"@c>', "ab", "c"),
        (b'<"a@b"@c>', "a@b", "c"),
        (b'<"a>b"@c>', "a>b", "c"),
        (b'<""@c>', "", "c"),
        (b'<"a..b"@c>', "a..b", "c"),
        (b"<a@my_host.example>", "a", "my_host.example"),
        (b"<a@example.com.>", "a", "example.com"),
        (b"<a@1.2.3.4>", "a", "1.2.3.4"),
        (b"<a@[127.0.0.1]>", "a", "[127.0.0.1]"),
        (b"<a@[IPv6:::1]>", "a", "[IPv6:::1]"),
        (b"<a@[ipv6:2001:DB8:0::1]>", "a", "[IPv6:2001:db8::1]"),
        (b"<a@xn--strae-oqa.de>", "a", "xn--strae-oqa.de"),
        (b"<a@XN--MNCHEN-3YA.de>", "a", "xn--mnchen-3ya.de"),
        (b"<a@a--b.de>", "a", "a--b.de"),
        # A source route is checked and dropped: nothing is ever relayed to x or y.
        (b"<@x:a@b>", "a", "b"),
        (b"<@x,@y.example:a@b>", "a", "b"),
        (b'<@x:"a:b"@c>', "a:b", "c"),
        # Other people's routing conventions are plain data; so is what a shell or database would read.
        (b"<a%b@localdomain>", "a%b", "localdomain"),
        (b"<a!b@localdomain>", "a!b", "localdomain"),
        (b"<`id`@d>", "`id`", "d"),
        (b"<x'/**/UNION/**/SELECT--@d>", "x'/**/UNION/**/SELECT--", "d"),
        (b"<__proto__@d>", "__proto__", "d"),
        (b"<constructor@d>", "constructor", "d"),
        (b"<-oQ/tmp@d>", "-oQ/tmp", "d"),
        (b"<|cmd@d>", "|cmd", "d"),
        (b"</dev/null@d>", "/dev/null", "d"),
        (b'<"../../etc"@d>', "../../etc", "d"),
        (b'<"$(id)"@d>', "$(id)", "d"),
        (b'<"${jndi:ldap://x}"@d>', "${jndi:ldap://x}", "d"),
    ],
)
def test_path_is_accepted(raw: bytes, user: str, host: str) -> None:
    address = parse_reverse_path(raw, utf8=False)
    assert (address.user, address.host) == (user, host)
    assert parse_forward_path(raw, utf8=False) == address
    assert Address(user, host) == address


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"a@b",
        b"<a@b",
        b"a@b>",
        b"xa@bx",
        b"<a@bx",
        b"xa@b>",
        b"<<a@b>>",
        b"<a@b>>",
        b"<a@b> ",
        b" <a@b>",
        b"<a b@c>",
        b"<a b>",
        b"<a,b>",
        b'<"a"xb>',
        b"<a>",
        b"<a@>",
        b"<@b>",
        b"<@>",
        b"< >",
        b"<a@b@localdomain>",
        b"<a..b@c>",
        b"<.a@c>",
        b"<a.@c>",
        b"<../../etc@d>",
        b"<a@b..c>",
        b"<a@.b>",
        b"<a@.>",
        b"<a@b...>",
        b"<a@-b>",
        b"<a@b->",
        b"<a@b.-c>",
        b"<a@b c>",
        b"<a@b,c>",
        b'<a"b"@c>',
        b'<"a"b@c>',
        b'<"a@c>',
        b'<"a"@>',
        rb'<"a\"@c>',
        b"<$(id)@d>",
        b"<${jndi:ldap}@d>",
        b'<x"@d>',
        b"<a@[1.2.3]>",
        b"<a@[127.0.0.1>",
        b"<a@[127.0.0.11>",
        b"<a@[300.1.1.1]>",
        b"<a@[IPv6:zz]>",
        b"<a@[IPv6:fe80::1%eth0]>",
        b"<a@[::1]>",
        b"<a@[tag:x]>",
        b"<a@[]>",
        b"<a@[127.0.0.1].com>",
        b"<a@xn--->",
        b"<a@xn-->",
        b"<a@xn--abc->",
        b"<a@xn--99999999999>",
        b"<a@xn--a-rc4g>",  # a lone surrogate
        b"<a@xn---ca>",  # xn--ca in another spelling
        b"<@x,y:a@b>",
        b"<@x,@:a@b>",
        b"<@[127.0.0.1]:a@b>",
        b"<@x:>",
        b"<@x:@y:a@b>",
        b"<x:a@b>",
        b"<a\x00@b>",
        b"<a\t@b>",
        b"<a@b\x0b>",
        b'<"a\x1b[31m"@b>',
        b'<"a\x7f"@b>',
        b'<"a\r\nb"@c>',
        b"<a@b\xff>",
        b"<\xc0\xaf@b>",
        b"<\xed\xa0\x80@b>",
    ],
)
@pytest.mark.parametrize("utf8", [False, True])
def test_malformed_path_is_refused_with_the_code_of_its_side(raw: bytes, utf8: bool) -> None:
    assert refusal(raw, utf8=utf8) == (501, "5.1.7")
    assert refusal(raw, utf8=utf8, forward=True) == (501, "5.1.3")


def path_of(octets: int, route: str = "") -> str:
    """A path of so many octets that keeps every other limit."""
    domain = ".".join(["d" * 63] * 3)
    local_part = "a" * (octets - len(f"<{route}@{domain}>"))
    return f"<{route}{local_part}@{domain}>"


@pytest.mark.parametrize(
    ("fits", "too_long"),
    [
        pytest.param("<" + "a" * 64 + "@b>", "<" + "a" * 65 + "@b>", id="local part"),
        pytest.param('<"' + "a" * 62 + '"@b>', '<"' + "a" * 63 + '"@b>', id="quoted local part"),
        pytest.param("<" + "ü" * 32 + "@b>", "<" + "ü" * 32 + "a@b>", id="local part in UTF-8"),
        pytest.param("<a@" + "b" * 63 + ">", "<a@" + "b" * 64 + ">", id="label"),
        pytest.param("<a@c." + "b" * 63 + ">", "<a@c." + "b" * 64 + ">", id="label of a long domain"),
        pytest.param("<a@ü" + "b" * 55 + ">", "<a@ü" + "b" * 56 + ">", id="U-label, by its A-label"),
        pytest.param(path_of(256), path_of(257), id="path with its brackets"),
        pytest.param(path_of(256, route="@x:"), path_of(257, route="@x:"), id="path with its source route"),
    ],
)
def test_length_limits_hold_to_the_octet(fits: str, too_long: str) -> None:
    parse_reverse_path(fits.encode(), utf8=True)
    with pytest.raises(RemoteProtocolError, match="longer than") as caught:
        parse_reverse_path(too_long.encode(), utf8=True)
    assert (caught.value.reply.code, caught.value.reply.enhanced) == (501, "5.1.7")


def test_domain_over_255_octets_is_refused_even_without_a_path() -> None:
    with pytest.raises(ValueError, match="255 octets"):
        Address("a", "b." * 127 + "cc")


@pytest.mark.parametrize(
    ("raw", "user", "host"),
    [
        ("<ü@b>", "ü", "b"),
        ("<a@bücher.example>", "a", "bücher.example"),
        ("<a@BÜCHER.example>", "a", "bücher.example"),
        ("<用户@例え.jp>", "用户", "例え.jp"),
        ('<"ü ö"@b>', "ü ö", "b"),
        ("<👩\u200d🔬@b>", "👩\u200d🔬", "b"),
        ("<a@i❤.example>", "a", "i❤.example"),
        ("<a@straße.de>", "a", "straße.de"),
        ("<a@b\u200cü.example>", "a", "b\u200cü.example"),
        ("<a@क्\u200dष.example>", "a", "क्\u200dष.example"),
        ("<@bücher.example:a@b>", "a", "b"),
    ],
)
def test_utf8_path_needs_smtputf8(raw: str, user: str, host: str) -> None:
    address = parse_reverse_path(raw.encode(), utf8=True)
    assert (address.user, address.host) == (user, host)
    assert address == Address(user, host) == parse_forward_path(raw.encode(), utf8=True)
    assert refusal(raw.encode()) == (553, "5.6.7")
    assert refusal(raw.encode(), forward=True) == (553, "5.6.7")


@pytest.mark.parametrize(
    "raw",
    [
        "<a@example\u3002com>",  # ideographic full stop: another dot to IDNA readers
        "<a@example\uff0ecom>",  # full-width full stop
        "<a@\uff45xample.com>",  # full-width letter
        "<a@\u212aelvin.com>",  # Kelvin sign, whose lower case is ASCII
        "<a@ü\u00a0b>",
        "<a@b\u202ec>",  # right-to-left override
        "<a@\u200d>",
        "<a@\u0308b>",  # combining mark first
        "<a@u\u0308.com>",  # not normalised
        "<a@xn--ü>",
        "<a@ü->",
        "<a\u2028b@c>",
        "<a\x85b@c>",
    ],
)
def test_utf8_that_is_no_address_is_refused(raw: str) -> None:
    assert refusal(raw.encode(), utf8=True) == (501, "5.1.7")


def test_null_path_is_for_senders_only() -> None:
    null = parse_reverse_path(b"<>", utf8=False)
    assert null == NULL_PATH == Address("", "") == Address.parse("<>")
    assert null.is_null
    assert (str(null), null.path) == ("", "<>")
    assert refusal(b"<>", forward=True) == (501, "5.1.3")


def test_empty_local_part_is_not_the_null_path() -> None:
    assert not Address("", "example.com").is_null


@pytest.mark.parametrize("raw", [b"<postmaster>", b"<Postmaster>", b"<POSTMASTER>"])
def test_bare_postmaster_is_for_recipients_only(raw: bytes) -> None:
    postmaster = parse_forward_path(raw, utf8=False)
    assert postmaster == Address("postmaster", "") == Address("PostMaster", "") == Address.parse(raw)
    assert not postmaster.is_null
    assert postmaster.path.encode() == raw
    assert str(postmaster) == "postmaster"
    assert refusal(raw) == (501, "5.1.7")


@pytest.mark.parametrize(
    "mailbox",
    ['"a b"@c', r'"a\"b"@c', '"a@b"@c', '""@c', '"ab"@c', r'"\a"@c', "A.B@Example.COM", "a@[ipv6:::1]"],
)
def test_path_goes_out_as_it_came(mailbox: str) -> None:
    address = parse_reverse_path(f"<{mailbox}>".encode(), utf8=False)
    assert address.original == mailbox
    assert address.path == f"<{mailbox}>"
    assert parse_reverse_path(f"<@route.example:{mailbox}>".encode(), utf8=False).path == f"<{mailbox}>"


def test_final_dot_does_not_go_out() -> None:
    address = parse_reverse_path(b"<a@b.>", utf8=False)
    assert (address.original, address.path, address.address) == ("a@b.", "<a@b>", "a@b")


def test_address_is_quoted_only_if_it_must() -> None:
    assert Address.parse('"ab"@c').address == "ab@c"
    assert Address("a b", "c").address == '"a b"@c'
    assert Address('a"\\b', "c").address == r'"a\"\\b"@c'
    assert Address("", "c").address == '""@c'


def test_equality_is_by_user_and_host() -> None:
    one, other = Address.parse('"ab"@C'), Address.parse("ab@c")
    assert one == other
    assert hash(one) == hash(other)
    assert one.original != other.original
    assert Address.parse("AB@c") != other


def test_value_cannot_be_changed_but_copied_and_pickled() -> None:
    address = Address.parse('"ab"@C')
    with pytest.raises(AttributeError):
        address.user = "x"  # type: ignore[misc]  # that is the point
    for twin in (copy.deepcopy(address), pickle.loads(pickle.dumps(address))):
        assert (twin, twin.original) == (address, address.original)


def test_repr_shows_control_free_parts() -> None:
    assert repr(Address("a\u202eb", "c")) == r"Address('a\u202eb', 'c')"


@pytest.mark.parametrize(
    ("user", "host"),
    [
        ("a", ""),
        ("", " "),
        ("a\r\nb", "c"),
        ("a\x00", "c"),
        ("a\ud800", "c"),
        ("a" * 65, "c"),
        (" " * 63, "c"),
        ("a", "b\ud800"),
        ("a", "b\n"),
        ("a", "b c"),
        ("a", "b>"),
        ("a", "[x]"),
        ("a", "xn---"),
    ],
)
def test_bad_parts_are_a_value_error(user: str, host: str) -> None:
    with pytest.raises(ValueError):
        Address(user, host)


@pytest.mark.parametrize(
    "text", ["", "a", "a@", "<a@b", "a@b>", b"a@\xff", "a@b\n", "\ud800@b", path_of(257).strip("<>")]
)
def test_text_that_is_no_address_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        Address.parse(text)


def test_parse_takes_text_and_bytes_with_and_without_brackets() -> None:
    expected = Address("ü", "b")
    assert Address.parse("ü@b") == Address.parse("<ü@b>") == Address.parse("ü@b".encode()) == expected
    assert expected.is_utf8
    assert Address("a", "ü").is_utf8
    assert not Address("a", "b").is_utf8
    assert Address.parse("a@b", utf8=False) == Address("a", "b")
    with pytest.raises(ValueError, match="not ASCII"):
        Address.parse("ü@b", utf8=False)


@given(ADDRESSES)
def test_law_address_round_trips(address: Address) -> None:
    assert Address.parse(address.address) == address
    assert Address.parse(address.address.encode()) == address
    again = parse_forward_path(address.path.encode(), utf8=True)
    assert (again, again.original) == (address, address.original)
    assert Address(address.user, address.host) == address


@given(st.binary(max_size=80) | st.text(max_size=40).map(str.encode))
@example(b"<a@xn--0000000000000000000000000000000000000000>")
@example(b"<a@[IPv6:" + b":" * 200 + b"]>")
@example(b"<" + b'"\\' * 100_000)
def test_law_garbage_raises_nothing_but_the_remote_protocol_error(raw: bytes) -> None:
    for bracketed in (raw, b"<" + raw + b">", b"<a@" + raw + b">", b"<" + raw + b"@b>"):
        for parse in (parse_reverse_path, parse_forward_path):
            try:
                address = parse(bracketed, utf8=True)
            except RemoteProtocolError:
                continue
            assert parse(address.path.encode(), utf8=True) == address


@given(st.text(ATOM + ".", min_size=1, max_size=70), st.text("abxn0_.-AZ", min_size=1, max_size=70))
def test_law_plain_mailbox_is_parsed_alike_on_both_roads(user: str, host: str) -> None:
    found = re.fullmatch(PLAIN_MAILBOX, f"{user}@{host}".encode())
    quick = plain_address(*found.groups()) if found else None
    if quick is not None:
        slow = parse_reverse_path(f"<{user}@{host}>".encode(), utf8=False)
        assert (quick, quick.original) == (slow, slow.original)
