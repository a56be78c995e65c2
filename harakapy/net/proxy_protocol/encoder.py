"""PROXY headers as a proxy sends them: for tests, and for whoever puts a proxy in front of something."""

import struct
from ipaddress import ip_address
from typing import Final

from harakapy.net.proxy_protocol.fields import TlvType, crc32c, join_tlvs, pack_tls
from harakapy.net.proxy_protocol.header import ProxyCommand, ProxyFamily, ProxyHeader
from harakapy.net.stream import SocketAddress

_V2_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V1_NAMES: Final = {ProxyFamily.INET: "TCP4", ProxyFamily.INET6: "TCP6"}
# Family in the high half, stream transport in the low one.
_V2_FAMILIES: Final = {
    ProxyFamily.UNSPEC: 0x00,
    ProxyFamily.INET: 0x11,
    ProxyFamily.INET6: 0x21,
    ProxyFamily.UNIX: 0x31,
}


def encode_v1(header: ProxyHeader) -> bytes:
    """The header as a line of text; what version 1 has no word for is UNKNOWN."""
    name = _V1_NAMES.get(header.family)
    if name is None or header.source is None or header.destination is None:
        return b"PROXY UNKNOWN\r\n"
    source, destination = header.source, header.destination
    line = f"PROXY {name} {source.host} {destination.host} {source.port} {destination.port}\r\n"
    return line.encode("ascii")


def encode_v2(header: ProxyHeader, *, checksum: bool = False) -> bytes:
    """The header in binary, with a CRC-32C if ``checksum``."""
    tlvs = [(int(kind), value) for kind, value in header.tlvs.items()]
    if header.authority:
        tlvs.append((TlvType.AUTHORITY, header.authority.encode()))
    if header.unique_id:
        tlvs.append((TlvType.UNIQUE_ID, header.unique_id))
    if header.tls is not None:
        tlvs.append((TlvType.SSL, pack_tls(header.tls)))
    if checksum:
        tlvs.append((TlvType.CRC32C, bytes(4)))
    body = _pack_addresses(header.family, header.source, header.destination) + join_tlvs(tlvs)
    command = 0x20 if header.command is ProxyCommand.LOCAL else 0x21
    wire = _V2_SIGNATURE + struct.pack("!BBH", command, _V2_FAMILIES[header.family], len(body)) + body
    return wire[:-4] + crc32c(wire).to_bytes(4, "big") if checksum else wire


def _pack_addresses(
    family: ProxyFamily, source: SocketAddress | None, destination: SocketAddress | None
) -> bytes:
    if family is ProxyFamily.UNIX:
        return bytes(2 * 108)
    if source is None or destination is None:
        return b""
    hosts = (ip_address(source.host).packed, ip_address(destination.host).packed)
    return b"".join(hosts) + struct.pack("!HH", source.port, destination.port)
