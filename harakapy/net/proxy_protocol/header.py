"""What a PROXY header says, as values."""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from msgspec import Struct, field

from harakapy.net.stream import SocketAddress

_NO_TLVS: Final[Mapping[int, bytes]] = MappingProxyType({})


class ProxyHeaderError(Exception):
    """What came is no PROXY header that we accept; the connection must be closed without a word.

    The message is for the log and holds nothing of what the peer sent.
    """


class ProxyCommand(Enum):
    """What the connection is: somebody's, forwarded, or the proxy's own (a health check)."""

    LOCAL = "LOCAL"
    PROXY = "PROXY"


class ProxyFamily(Enum):
    """What the addresses are. UNSPEC: none were given, or of a kind that we do not know."""

    UNSPEC = "UNSPEC"
    INET = "INET"
    INET6 = "INET6"
    UNIX = "UNIX"


class ProxyTls(Struct, frozen=True):
    """The TLS session between the client and the proxy (2.2.6).

    ``version`` and ``cipher`` are OpenSSL's names ("TLSv1.3"), "" if the proxy did not tell.
    ``is_verified``: the client showed a certificate and the proxy found it good; only then is
    ``common_name`` worth something.
    """

    version: str = ""
    cipher: str = ""
    common_name: str = ""
    has_certificate: bool = False
    is_verified: bool = False


class ProxyHeader(Struct, frozen=True):
    """One PROXY header.

    ``source`` is the client, ``destination`` what it called; both are None unless ``command`` is PROXY and
    ``family`` is INET, INET6 or UNIX: otherwise the connection's own addresses hold. A unix socket is
    ``("", 0)``; an IPv4 address in IPv6's clothes (``::ffff:192.0.2.1``) is given as IPv4, as our own
    listeners see it. ``authority`` is the host name that the client asked for (SNI), "" if not told.
    ``tlvs`` has every other field by its type, undecoded; of a type that comes twice the last counts.
    """

    version: int
    command: ProxyCommand
    family: ProxyFamily = ProxyFamily.UNSPEC
    source: SocketAddress | None = None
    destination: SocketAddress | None = None
    tls: ProxyTls | None = None
    authority: str = ""
    unique_id: bytes = b""
    tlvs: Mapping[int, bytes] = field(default_factory=lambda: _NO_TLVS)

    def __hash__(self) -> int:  # without the tlvs: no mapping has one
        return hash((self.version, self.command, self.family, self.source, self.destination, self.authority))
