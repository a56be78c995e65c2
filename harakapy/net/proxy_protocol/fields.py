"""The fields behind the addresses of a version 2 header: type, length, value (section 2.2)."""

import struct
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Final

from harakapy.net.proxy_protocol.header import ProxyHeaderError, ProxyTls

_SPOKE_TLS: Final = 0x01  # bits of the client octet of a TLS field (2.2.6)
_SHOWED_CERTIFICATE: Final = 0x02 | 0x04  # on this connection, or earlier in the same TLS session


class TlvType(IntEnum):
    """The types of the fields that have a meaning here."""

    AUTHORITY = 0x02
    CRC32C = 0x03
    NOOP = 0x04
    UNIQUE_ID = 0x05
    SSL = 0x20
    SSL_VERSION = 0x21
    SSL_CN = 0x22
    SSL_CIPHER = 0x23


def split_tlvs(packed: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of each field; raises ProxyHeaderError if the last one is cut short."""
    position = 0
    while position < len(packed):
        if position + 3 > len(packed):
            raise ProxyHeaderError("truncated field in the PROXY header")
        kind, length = struct.unpack_from("!BH", packed, position)
        position += 3 + length
        if position > len(packed):
            raise ProxyHeaderError("truncated field in the PROXY header")
        yield kind, packed[position - length : position]


def join_tlvs(tlvs: Iterable[tuple[int, bytes]]) -> bytes:
    """The fields as they are sent."""
    return b"".join(struct.pack("!BH", kind, len(value)) + value for kind, value in tlvs)


def parse_tls(value: bytes) -> ProxyTls | None:
    """The TLS field; None if it says that the client did not speak TLS to the proxy."""
    if len(value) < 5:
        raise ProxyHeaderError("truncated TLS field in the PROXY header")
    client, verify = struct.unpack_from("!BI", value)
    fields = dict(split_tlvs(value[5:]))
    if not client & _SPOKE_TLS:
        return None
    has_certificate = bool(client & _SHOWED_CERTIFICATE)
    return ProxyTls(
        printable(fields.get(TlvType.SSL_VERSION, b"")),
        printable(fields.get(TlvType.SSL_CIPHER, b"")),
        printable(fields.get(TlvType.SSL_CN, b"")),
        has_certificate=has_certificate,
        is_verified=has_certificate and verify == 0,
    )


def pack_tls(tls: ProxyTls) -> bytes:
    """The value of the TLS field."""
    client = _SPOKE_TLS | (0x02 if tls.has_certificate else 0)
    texts = (
        (TlvType.SSL_VERSION, tls.version),
        (TlvType.SSL_CIPHER, tls.cipher),
        (TlvType.SSL_CN, tls.common_name),
    )
    fields = join_tlvs((kind, text.encode()) for kind, text in texts if text)
    return struct.pack("!BI", client, not tls.is_verified) + fields


def printable(value: bytes) -> str:
    """Decode a text; the proxy is trusted, but names come from its clients: nothing unprintable passes."""
    text = value.decode("utf-8", "replace")
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def _crc32c_of_octet(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value


_CRC32C_TABLE: Final = tuple(map(_crc32c_of_octet, range(256)))


def crc32c(data: bytes) -> int:
    """The CRC-32C of RFC 3720, appendix B.4; the standard library has only the other CRC-32."""
    crc = 0xFFFFFFFF
    for octet in data:
        crc = crc >> 8 ^ _CRC32C_TABLE[(crc ^ octet) & 0xFF]
    return crc ^ 0xFFFFFFFF


def check_crc32c(header: bytes, tlvs_at: int, claimed: bytes) -> None:
    """Compare the checksum of the whole header, taken with its own value zeroed (2.2.3).

    ``tlvs_at`` is where the fields begin. Raises ProxyHeaderError if it differs.
    """
    position = tlvs_at
    for kind, value in split_tlvs(header[tlvs_at:]):
        position += 3
        if kind == TlvType.CRC32C:
            break
        position += len(value)
    blanked = header[:position] + bytes(len(claimed)) + header[position + len(claimed) :]
    if len(claimed) != 4 or crc32c(blanked) != int.from_bytes(claimed, "big"):
        raise ProxyHeaderError("wrong checksum in the PROXY header")
