"""The PROXY protocol: headers as proxies send them, at any split, and everything that is none."""

from __future__ import annotations

import doctest
import struct
from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harakapy.net.proxy_protocol import (
    MAX_V1_OCTETS,
    MAX_V2_OCTETS,
    ProxyCommand,
    ProxyFamily,
    ProxyHeader,
    ProxyHeaderError,
    ProxyParser,
    ProxyTls,
    TlvType,
    encode_v1,
    encode_v2,
    parser,
)
from harakapy.net.proxy_protocol.fields import crc32c
from harakapy.net.stream import SocketAddress

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
INET4 = bytes([192, 0, 2, 1, 198, 51, 100, 7]) + struct.pack("!HH", 50000, 25)
CLIENT = SocketAddress("192.0.2.1", 50000)
SERVER = SocketAddress("198.51.100.7", 25)
TAIL = b"EHLO there.example\r\n"


def v2(command: int, family: int, body: bytes = b"") -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def inet(source: str, destination: str, version: int = 1) -> ProxyHeader:
    family = ProxyFamily.INET6 if ":" in source else ProxyFamily.INET
    return ProxyHeader(
        version, ProxyCommand.PROXY, family, SocketAddress(source, 50000), SocketAddress(destination, 25)
    )


V1_UNKNOWN = ProxyHeader(1, ProxyCommand.PROXY)
V2_LOCAL = ProxyHeader(2, ProxyCommand.LOCAL)
V2_UNSPEC = ProxyHeader(2, ProxyCommand.PROXY)
UNIX = SocketAddress("", 0)

ACCEPTED = [
    pytest.param(
        b"PROXY TCP4 192.0.2.1 198.51.100.7 50000 25\r\n", inet("192.0.2.1", "198.51.100.7"), id="TCP4"
    ),
    pytest.param(b"PROXY TCP6 2001:DB8::1 ::1 50000 25\r\n", inet("2001:db8::1", "::1"), id="TCP6"),
    pytest.param(b"PROXY UNKNOWN\r\n", V1_UNKNOWN, id="UNKNOWN"),
    pytest.param(
        b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", V1_UNKNOWN, id="UNKNOWN with what must be ignored"
    ),
    pytest.param(
        b"PROXY UNKNOWN " + b"x" * (MAX_V1_OCTETS - 16) + b"\r\n", V1_UNKNOWN, id="the longest line"
    ),
    pytest.param(v2(0x21, 0x11, INET4), inet("192.0.2.1", "198.51.100.7", 2), id="v2 INET"),
    pytest.param(
        v2(
            0x21,
            0x21,
            IPv6Address("2001:db8::1").packed + IPv6Address("::1").packed + struct.pack("!HH", 50000, 25),
        ),
        inet("2001:db8::1", "::1", 2),
        id="v2 INET6",
    ),
    pytest.param(
        v2(0x21, 0x31, b"/run/a.sock".ljust(108, b"\0") + bytes(108)),
        ProxyHeader(2, ProxyCommand.PROXY, ProxyFamily.UNIX, UNIX, UNIX),
        id="v2 UNIX",
    ),
    pytest.param(v2(0x20, 0x00), V2_LOCAL, id="v2 LOCAL"),
    pytest.param(v2(0x20, 0x11, INET4), V2_LOCAL, id="v2 LOCAL with addresses to ignore"),
    pytest.param(v2(0x20, 0xFF, b"\xff" * 7), V2_LOCAL, id="v2 LOCAL with anything to ignore"),
    pytest.param(v2(0x21, 0x00), V2_UNSPEC, id="v2 UNSPEC"),
    pytest.param(v2(0x21, 0x00, b"anything"), V2_UNSPEC, id="v2 UNSPEC with anything to ignore"),
    pytest.param(v2(0x20, 0x00, bytes(MAX_V2_OCTETS - 16)), V2_LOCAL, id="v2 as long as may be"),
]


def feed_whole(data: bytes) -> tuple[ProxyHeader | None, bytes]:
    taker = ProxyParser()
    return taker.feed(data), taker.rest


def feed_bytewise(data: bytes) -> tuple[ProxyHeader | None, bytes]:
    taker = ProxyParser()
    for end in range(1, len(data) + 1):
        header = taker.feed(data[end - 1 : end])
        if header is not None:
            return header, taker.rest + data[end:]
    return None, b""


@pytest.mark.parametrize(("wire", "header"), ACCEPTED)
def test_header_is_taken_whole_byte_by_byte_and_with_a_tail(wire: bytes, header: ProxyHeader) -> None:
    assert feed_whole(wire) == (header, b"")
    assert feed_whole(wire + TAIL) == (header, TAIL)
    assert feed_bytewise(wire) == (header, b"")
    assert feed_bytewise(wire + TAIL) == (header, TAIL)


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        (b"EHLO there\r\n", "no PROXY header"),
        (b"\x16\x03\x01\x02\x00\x01", "no PROXY header"),
        (b"proxy TCP4 192.0.2.1 198.51.100.7 50000 25\r\n", "no PROXY header"),
        (b"PROXY\r\n", "no PROXY header"),
        (b"PROXY \r\n", "malformed PROXY line"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.7 50000 25\n", "malformed PROXY line"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.7 50000 25\r\r\n", "malformed PROXY line"),
        (b"PROXY TCP4  192.0.2.1 198.51.100.7 50000 25\r\n", "malformed PROXY line"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.7 50000 25 \r\n", "malformed PROXY line"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.7 50000\r\n", "malformed PROXY line"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.7 050 25\r\n", "malformed PROXY line"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.7 -1 25\r\n", "malformed PROXY line"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.7 65536 25\r\n", "port out of range"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.7 25 99999\r\n", "port out of range"),
        (b"PROXY TCP4 192.0.2.256 198.51.100.7 50000 25\r\n", "malformed address"),
        (b"PROXY TCP4 192.0.02.1 198.51.100.7 50000 25\r\n", "malformed address"),
        (b"PROXY TCP4 192.0.2 198.51.100.7 50000 25\r\n", "malformed address"),
        (b"PROXY TCP4 ::1 ::1 50000 25\r\n", "malformed address"),
        (b"PROXY TCP6 192.0.2.1 198.51.100.7 50000 25\r\n", "malformed address"),
        (b"PROXY TCP6 fe80::1%eth0 ::1 50000 25\r\n", "malformed PROXY line"),
        (b"PROXY UDP4 192.0.2.1 198.51.100.7 50000 25\r\n", "malformed PROXY line"),
        (b"PROXY UNKNOWNX\r\n", "malformed PROXY line"),
        (b"PROXY UNKNOWN " + b"x" * (MAX_V1_OCTETS - 15) + b"\r\n", "longer than 107"),
        (b"PROXY " + b"x" * 10**6, "longer than 107"),
        (v2(0x11, 0x11, INET4), "unknown version or command"),
        (v2(0x22, 0x11, INET4), "unknown version or command"),
        (v2(0x21, 0x41, INET4), "unknown address family or transport"),
        (v2(0x21, 0x12, INET4), "unknown address family or transport"),
        (v2(0x21, 0x13, INET4), "unknown address family or transport"),
        (v2(0x21, 0x11, INET4[:-1]), "too short"),
        (v2(0x21, 0x21, INET4), "too short"),
        (v2(0x21, 0x31, bytes(215)), "too short"),
        (v2(0x21, 0x11), "too short"),
        (v2(0x20, 0x00, bytes(MAX_V2_OCTETS - 15)), "longer than 4096"),
        (v2(0x21, 0x11, INET4 + b"\x02"), "truncated field"),
        (v2(0x21, 0x11, INET4 + b"\x02\x00\x05mail"), "truncated field"),
        (v2(0x21, 0x11, INET4 + tlv(TlvType.UNIQUE_ID, bytes(129))), "unique id longer"),
        (v2(0x21, 0x11, INET4 + tlv(TlvType.CRC32C, bytes(4))), "wrong checksum"),
        (v2(0x21, 0x11, INET4 + tlv(TlvType.CRC32C, bytes(3))), "wrong checksum"),
        (v2(0x21, 0x11, INET4 + tlv(TlvType.SSL, bytes(4))), "truncated TLS field"),
        (
            v2(0x21, 0x11, INET4 + tlv(TlvType.SSL, b"\x01" + bytes(4) + b"\x21\x00\x09TLS")),
            "truncated field",
        ),
    ],
)
def test_what_is_no_header_is_refused(wire: bytes, message: str) -> None:
    for feed in (feed_whole, feed_bytewise):
        with pytest.raises(ProxyHeaderError, match=message):
            feed(wire)


@pytest.mark.parametrize("stranger", [b"E", b"PR0", b"\r\n\r\n\x00\r\nQUIX", b"\r\nQUIT\r\n", b"\x16\x03"])
def test_a_stranger_is_noticed_at_the_first_octet_that_does_not_fit(stranger: bytes) -> None:
    taker = ProxyParser()
    assert all(taker.feed(stranger[i : i + 1]) is None for i in range(_fitting(stranger)))
    with pytest.raises(ProxyHeaderError):
        taker.feed(stranger[_fitting(stranger) :])


def _fitting(data: bytes) -> int:
    """How many octets at the front of ``data`` could begin a header."""
    starts = (b"PROXY ", SIGNATURE)
    return max(end for end in range(len(data) + 1) if any(s.startswith(data[:end]) for s in starts))


def test_overlong_binary_header_is_refused_before_its_body_comes() -> None:
    with pytest.raises(ProxyHeaderError, match="longer than 4096"):
        ProxyParser().feed(SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 65535))


def test_no_message_repeats_what_the_peer_sent() -> None:
    with pytest.raises(ProxyHeaderError) as caught:
        ProxyParser().feed(b"PROXY TCP4 \x1b[31mevil 198.51.100.7 1 2\r\n")
    assert "evil" not in str(caught.value)


def test_fields_of_version_2_are_read() -> None:
    tls = b"\x07" + bytes(4) + tlv(0x21, b"TLSv1.3") + tlv(0x22, b"client.example") + tlv(0x23, b"AES")
    body = INET4 + b"".join(
        [
            tlv(TlvType.NOOP, b"padding"),
            tlv(TlvType.AUTHORITY, b"mx.example.org"),
            tlv(TlvType.UNIQUE_ID, b"\x00\x01"),
            tlv(TlvType.SSL, tls),
            tlv(0x01, b"smtp"),
            tlv(0xEE, b""),
        ]
    )
    header, _ = feed_whole(v2(0x21, 0x11, body))
    assert header is not None
    assert (header.source, header.destination) == (CLIENT, SERVER)
    assert header.authority == "mx.example.org"
    assert header.unique_id == b"\x00\x01"
    assert header.tls == ProxyTls("TLSv1.3", "AES", "client.example", has_certificate=True, is_verified=True)
    assert header.tlvs == {0x01: b"smtp", 0xEE: b""}


@pytest.mark.parametrize(
    ("client", "verify", "tls"),
    [
        (0x00, 0, None),
        (0x02, 0, None),
        (0x01, 0, ProxyTls()),
        (0x01, 1, ProxyTls()),
        (0x03, 0, ProxyTls(has_certificate=True, is_verified=True)),
        (0x03, 1, ProxyTls(has_certificate=True)),
        (0x05, 0, ProxyTls(has_certificate=True, is_verified=True)),
    ],
)
def test_only_a_shown_certificate_can_be_verified(client: int, verify: int, tls: ProxyTls | None) -> None:
    field = tlv(TlvType.SSL, struct.pack("!BI", client, verify))
    header, _ = feed_whole(v2(0x21, 0x11, INET4 + field))
    assert header is not None
    assert header.tls == tls


def test_unprintable_names_are_cleaned() -> None:
    fields = tlv(TlvType.AUTHORITY, b"a\r\nb\x1b\xff") + tlv(
        TlvType.SSL, b"\x01" + bytes(4) + tlv(0x22, b"x\x00y")
    )
    header, _ = feed_whole(v2(0x21, 0x11, INET4 + fields))
    assert header is not None
    assert header.authority == "a??b?\ufffd"
    assert header.tls is not None
    assert header.tls.common_name == "x?y"


def test_ipv4_in_ipv6_is_given_as_ipv4() -> None:
    header, _ = feed_whole(b"PROXY TCP6 ::ffff:192.0.2.1 ::1 50000 25\r\n")
    assert header is not None
    assert header.source == CLIENT


def test_checksum_is_that_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA


# What stands behind the fixed part, but for the fields' lengths: with others there may be no checksum.
CHECKED_OCTETS = [*range(16, 29), *range(31, 36), *range(38, 44), *range(47, 51)]


@given(flipped=st.sampled_from(CHECKED_OCTETS), bit=st.integers(0, 7))
def test_checksum_notices_every_flipped_bit(flipped: int, bit: int) -> None:
    header = ProxyHeader(
        2, ProxyCommand.PROXY, ProxyFamily.INET, CLIENT, SERVER, tlvs={0x81: b"smtp", 0xEE: b"123456"}
    )
    wire = bytearray(encode_v2(header, checksum=True))
    assert feed_whole(bytes(wire)) == (header, b"")
    wire[flipped] ^= 1 << bit
    with pytest.raises(ProxyHeaderError, match="wrong checksum"):
        feed_whole(bytes(wire))


MAPPED = IPv6Network("::ffff:0:0/96")  # comes back as IPv4
ADDRESSES = {
    ProxyFamily.INET: st.ip_addresses(v=4).map(str),
    ProxyFamily.INET6: st.ip_addresses(v=6).filter(lambda address: address not in MAPPED).map(str),
}
NAMES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x2FF).filter(str.isprintable), max_size=60)


@st.composite
def endpoints(draw: st.DrawFn, family: ProxyFamily) -> SocketAddress:
    return SocketAddress(draw(ADDRESSES[family]), draw(st.integers(0, 65535)))


@st.composite
def tls_sessions(draw: st.DrawFn) -> ProxyTls:
    shown = draw(st.booleans())
    verified = shown and draw(st.booleans())
    return ProxyTls(draw(NAMES), draw(NAMES), draw(NAMES), has_certificate=shown, is_verified=verified)


@st.composite
def v2_headers(draw: st.DrawFn) -> ProxyHeader:
    family = draw(st.sampled_from([ProxyFamily.INET, ProxyFamily.INET6]))
    other_types = st.integers(0x80, 0xFF)
    return ProxyHeader(
        2,
        ProxyCommand.PROXY,
        family,
        draw(endpoints(family)),
        draw(endpoints(family)),
        draw(st.none() | tls_sessions()),
        draw(NAMES),
        draw(st.binary(max_size=128)),
        draw(st.dictionaries(other_types, st.binary(max_size=40), max_size=5)),
    )


@given(header=v2_headers(), checksum=st.booleans(), tail=st.binary(max_size=20), data=st.data())
def test_binary_header_comes_back_at_any_split(
    header: ProxyHeader, checksum: bool, tail: bytes, data: st.DataObject
) -> None:
    wire = encode_v2(header, checksum=checksum)
    cut = data.draw(st.integers(0, len(wire) - 1))
    taker = ProxyParser()
    assert taker.feed(wire[:cut]) is None
    assert taker.rest == b""
    assert taker.feed(wire[cut:] + tail) == header
    assert taker.rest == tail


@given(family=st.sampled_from(list(ADDRESSES)), data=st.data())
def test_text_header_comes_back(family: ProxyFamily, data: st.DataObject) -> None:
    header = ProxyHeader(
        1, ProxyCommand.PROXY, family, data.draw(endpoints(family)), data.draw(endpoints(family))
    )
    wire = encode_v1(header)
    assert len(wire) <= MAX_V1_OCTETS
    assert feed_whole(wire + TAIL) == (header, TAIL)


@pytest.mark.parametrize(
    ("header", "wire"),
    [
        (V1_UNKNOWN, b"PROXY UNKNOWN\r\n"),
        (V2_LOCAL, v2(0x20, 0x00)),
        (V2_UNSPEC, v2(0x21, 0x00)),
        (ProxyHeader(2, ProxyCommand.PROXY, ProxyFamily.UNIX, UNIX, UNIX), v2(0x21, 0x31, bytes(216))),
    ],
)
def test_headers_without_addresses_are_encoded(header: ProxyHeader, wire: bytes) -> None:
    assert (encode_v1(header) if header.version == 1 else encode_v2(header)) == wire


GARBAGE = st.one_of(
    st.binary(max_size=200),
    st.binary(max_size=120).map(lambda tail: b"PROXY " + tail),
    st.text("TCP46UNKOW 0123456789abcdef.:\r\n", max_size=110).map(lambda t: b"PROXY " + t.encode()),
    st.builds(v2, st.sampled_from([0x20, 0x21]), st.integers(0, 255), st.binary(max_size=300)),
    st.binary(max_size=60).map(lambda tlvs: v2(0x21, 0x11, INET4 + tlvs)),
    st.binary(max_size=40).map(lambda inner: v2(0x21, 0x11, INET4 + tlv(TlvType.SSL, inner))),
)


@given(data=GARBAGE, split=st.integers(0, 300))
@example(data=b"", split=0)
def test_any_bytes_give_a_header_a_wish_for_more_or_the_documented_error(data: bytes, split: int) -> None:
    assert outcome([data]) == outcome([data[:split], data[split:]])


def outcome(parts: list[bytes]) -> tuple[ProxyHeader | None, bytes] | None:
    """Header and rest; None for the documented error."""
    taker = ProxyParser()
    header = None
    rest = b""
    try:
        for part in parts:
            if header is None:
                header = taker.feed(part)
                rest = taker.rest
            else:
                rest += part
    except ProxyHeaderError:
        return None
    return header, rest


def test_a_complete_parser_takes_no_more() -> None:
    taker = ProxyParser()
    taker.feed(b"PROXY UNKNOWN\r\n")
    with pytest.raises(AssertionError):
        taker.feed(b"more")


def test_the_example_in_the_documentation_is_true() -> None:
    assert doctest.testmod(parser).failed == 0


def test_headers_are_values() -> None:
    one = ProxyHeader(2, ProxyCommand.PROXY, ProxyFamily.INET, CLIENT, SERVER, tlvs={1: b"x"})
    other = ProxyHeader(2, ProxyCommand.PROXY, ProxyFamily.INET, CLIENT, SERVER, tlvs={1: b"x"})
    assert one == other
    assert hash(one) == hash(other)
