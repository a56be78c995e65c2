"""Takes the PROXY header off a connection, in both versions, without I/O.

Theory of operation. The header is the first thing on a connection, before greeting and TLS, and nothing of it
may be believed unless the connection comes from a proxy that the operator named: that is the caller's
duty. The parser collects bytes until the header is whole and gives the rest back, because behind the
header may already stand a TLS hello. It refuses at the first byte that cannot belong to a header, so
a stranger who speaks SMTP to such a port is told at once. The text of the specification is HAProxy's
`proxy-protocol.txt`; section numbers below are of that text.
"""

import re
import struct
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from types import MappingProxyType
from typing import Final

from harakapy.net.proxy_protocol.fields import TlvType, check_crc32c, parse_tls, printable, split_tlvs
from harakapy.net.proxy_protocol.header import ProxyCommand, ProxyFamily, ProxyHeader, ProxyHeaderError
from harakapy.net.stream import SocketAddress

MAX_V1_OCTETS: Final = 107
"""The longest header of version 1, CRLF included (2.1)."""
MAX_V2_OCTETS: Final = 4096
"""The longest header of version 2 that we take. The format allows 65551 octets; addresses, TLS details and a
client certificate's name need a few hundred, and a certificate as a whole is of no use to us."""
MAX_UNIQUE_ID_OCTETS: Final = 128
"""The longest identifier of a connection (2.2.5)."""

_V1_START: Final = b"PROXY "
_V2_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_FIXED_OCTETS: Final = 16  # signature, version and command, family and transport, length
_V1_LINE: Final = re.compile(
    rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\r\n"
)
_V1_UNKNOWN: Final = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?\r\n")

_STREAM: Final = 1  # the transport nibble of version 2; 2 is datagrams, and SMTP has none
_NO_TRANSPORT: Final = 0
_UNIX_PATH_OCTETS: Final = 108


class ProxyParser:
    """Takes one PROXY header off the front of a byte stream, at any split of the bytes.

    >>> parser = ProxyParser()
    >>> header = parser.feed(b"PROXY TCP4 192.0.2.1 198.51.100.1 5")
    >>> header = parser.feed(b"0000 25\\r\\nEHLO there\\r\\n")
    >>> header.source, parser.rest
    (SocketAddress(host='192.0.2.1', port=50000), b'EHLO there\\r\\n')
    """

    __slots__ = ("_buffer", "_header")

    def __init__(self) -> None:
        self._buffer = b""
        self._header: ProxyHeader | None = None

    @property
    def rest(self) -> bytes:
        """What came behind the header; b"" before the header is whole."""
        return self._buffer if self._header is not None else b""

    def feed(self, data: bytes) -> ProxyHeader | None:
        """Add bytes; the header, or None if more bytes are needed.

        Raises ProxyHeaderError as soon as what came cannot become a header.
        """
        if self._header is not None:
            raise AssertionError("the header was complete")
        self._buffer += data
        found = _take_header(self._buffer)
        if found is None:
            return None
        self._header, size = found
        self._buffer = self._buffer[size:]
        return self._header


def _take_header(data: bytes) -> tuple[ProxyHeader, int] | None:
    """The header at the front of ``data`` and its length in octets; None if it is not whole."""
    for start, take in ((_V1_START, _take_v1), (_V2_SIGNATURE, _take_v2)):
        if data.startswith(start):
            return take(data)
        if start.startswith(data):
            return None
    raise ProxyHeaderError("no PROXY header at the start of the connection")


def _take_v1(data: bytes) -> tuple[ProxyHeader, int] | None:
    size = data.find(b"\n", 0, MAX_V1_OCTETS) + 1
    if size:
        return _parse_v1(data[:size]), size
    if len(data) >= MAX_V1_OCTETS:
        raise ProxyHeaderError(f"PROXY line longer than {MAX_V1_OCTETS} octets")
    return None


def _parse_v1(line: bytes) -> ProxyHeader:
    found = _V1_LINE.fullmatch(line)
    if found is None:
        if _V1_UNKNOWN.fullmatch(line):
            return ProxyHeader(1, ProxyCommand.PROXY)
        raise ProxyHeaderError("malformed PROXY line")
    family = ProxyFamily.INET if found[1] == b"TCP4" else ProxyFamily.INET6
    source, destination = (_text_address(family, found[i].decode(), int(found[i + 2])) for i in (2, 3))
    return ProxyHeader(1, ProxyCommand.PROXY, family, source, destination)


def _text_address(family: ProxyFamily, host: str, port: int) -> SocketAddress:
    if port > 65535:
        raise ProxyHeaderError("port out of range in the PROXY line")
    try:
        address = IPv4Address(host) if family is ProxyFamily.INET else IPv6Address(host)
    except AddressValueError as cause:
        raise ProxyHeaderError("malformed address in the PROXY line") from cause
    return _socket_address(address, port)


def _socket_address(address: IPv4Address | IPv6Address, port: int) -> SocketAddress:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return SocketAddress(str(mapped or address), port)


def _take_v2(data: bytes) -> tuple[ProxyHeader, int] | None:
    if len(data) < _V2_FIXED_OCTETS:
        return None
    version_and_command, family_and_transport, length = struct.unpack_from("!BBH", data, 12)
    size = _V2_FIXED_OCTETS + length
    if version_and_command not in (0x20, 0x21):
        raise ProxyHeaderError("unknown version or command in the PROXY header")
    if size > MAX_V2_OCTETS:
        raise ProxyHeaderError(f"PROXY header longer than {MAX_V2_OCTETS} octets")
    if len(data) < size:
        return None
    if version_and_command == 0x20:  # all that follows must be skipped, whatever it is (2.2)
        return ProxyHeader(2, ProxyCommand.LOCAL), size
    return _parse_v2(data[:size], *divmod(family_and_transport, 16)), size


def _parse_v2(header: bytes, family_number: int, transport: int) -> ProxyHeader:
    if family_number not in _ADDRESS_OCTETS or transport not in (_NO_TRANSPORT, _STREAM):
        raise ProxyHeaderError("unknown address family or transport in the PROXY header")
    if not (family_number and transport):  # "the receiver should ignore address information" (2.2)
        return ProxyHeader(2, ProxyCommand.PROXY)
    end = _V2_FIXED_OCTETS + _ADDRESS_OCTETS[family_number]
    if len(header) < end:
        raise ProxyHeaderError("PROXY header too short for its addresses")
    source, destination = _binary_addresses(family_number, header[_V2_FIXED_OCTETS:end])
    tlvs = dict(split_tlvs(header[end:]))
    if TlvType.CRC32C in tlvs:
        check_crc32c(header, end, tlvs[TlvType.CRC32C])
    return _with_fields(_FAMILIES[family_number], source, destination, tlvs)


def _with_fields(
    family: ProxyFamily, source: SocketAddress, destination: SocketAddress, tlvs: dict[int, bytes]
) -> ProxyHeader:
    for spent in (TlvType.CRC32C, TlvType.NOOP):
        tlvs.pop(spent, None)
    tls = parse_tls(tlvs.pop(TlvType.SSL)) if TlvType.SSL in tlvs else None
    authority = printable(tlvs.pop(TlvType.AUTHORITY, b""))
    unique_id = tlvs.pop(TlvType.UNIQUE_ID, b"")
    if len(unique_id) > MAX_UNIQUE_ID_OCTETS:
        raise ProxyHeaderError(f"unique id longer than {MAX_UNIQUE_ID_OCTETS} octets in the PROXY header")
    rest = MappingProxyType(tlvs)
    return ProxyHeader(2, ProxyCommand.PROXY, family, source, destination, tls, authority, unique_id, rest)


_FAMILIES: Final = {1: ProxyFamily.INET, 2: ProxyFamily.INET6, 3: ProxyFamily.UNIX}
_ADDRESS_OCTETS: Final = {0: 0, 1: 12, 2: 36, 3: 2 * _UNIX_PATH_OCTETS}


def _binary_addresses(family_number: int, packed: bytes) -> tuple[SocketAddress, SocketAddress]:
    if family_number == 3:  # the path of a client's socket says nothing about the client
        return SocketAddress("", 0), SocketAddress("", 0)
    kind, layout = (IPv4Address, "!4s4sHH") if family_number == 1 else (IPv6Address, "!16s16sHH")
    source, destination, source_port, destination_port = struct.unpack(layout, packed)
    return _socket_address(kind(source), source_port), _socket_address(kind(destination), destination_port)
