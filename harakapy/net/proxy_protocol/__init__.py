"""The PROXY protocol, versions 1 and 2: where a client behind a proxy really is."""

from harakapy.net.proxy_protocol.encoder import encode_v1, encode_v2
from harakapy.net.proxy_protocol.fields import TlvType
from harakapy.net.proxy_protocol.header import (
    ProxyCommand,
    ProxyFamily,
    ProxyHeader,
    ProxyHeaderError,
    ProxyTls,
)
from harakapy.net.proxy_protocol.parser import (
    MAX_UNIQUE_ID_OCTETS,
    MAX_V1_OCTETS,
    MAX_V2_OCTETS,
    ProxyParser,
)

__all__ = [
    "MAX_UNIQUE_ID_OCTETS",
    "MAX_V1_OCTETS",
    "MAX_V2_OCTETS",
    "ProxyCommand",
    "ProxyFamily",
    "ProxyHeader",
    "ProxyHeaderError",
    "ProxyParser",
    "ProxyTls",
    "TlvType",
    "encode_v1",
    "encode_v2",
]
