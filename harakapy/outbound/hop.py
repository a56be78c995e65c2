"""Next hops as values: where mail goes, how to speak there, and what was written for it.

A next hop is written as a URL, ``smtp://user:password@mail.example.com:587?tls=verify``, or as short as
``mail.example.com``. Its host is taken for what it says: the addresses of that name are used, and no MX
records are asked for. Texts shown to people never have the password; `NextHop.to_url` does.

The file is long because a next hop has many parts, and reading and writing it are one matter.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode

from msgspec import Struct
from msgspec.structs import force_setattr, replace

from harakapy.mail.domain import to_ascii

__all__ = ["NextHop", "NextHopError", "Protocol", "Target", "TlsLevel"]

_MAX_PORT: Final = 65535
_MAX_UNIX_PATH_OCTETS: Final = 103
"""sun_path with its closing NUL is 108 octets on Linux and 104 on the BSDs; the smaller one travels."""

_ALLOWED: Final = (
    '"mail.example.com", "[192.0.2.1]:2525", "smtp://user:password@host:587?tls=verify", "smtps://host", '
    '"lmtp://host:24" or "lmtp:///path/to/socket"'
)
_OPTIONS: Final = ("tls", "helo", "bind", "preference", "auth_without_tls")

_URL = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*)://)?([^/?#]*)(/[^?#]*)?(?:\?([^#]*))?")
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_USER_INFO = re.compile(r"^((?:[^/?#]*://)?).*@")  # also of who forgot to escape what is in a password
_UNIX: Final = "unix:"


class TlsLevel(Enum):
    """How much TLS a session must have before mail goes over it."""

    NONE = "none"
    """Never, not even where it is offered."""
    MAY = "may"
    """Where it is offered (RFC 7435); nothing is verified, and mail goes in clear rather than not at all."""
    ENCRYPT = "encrypt"
    """Always, with whom it may be."""
    VERIFY = "verify"
    """Always, and the certificate must be good for the name of the host."""


class Protocol(Enum):
    """What is spoken at a next hop."""

    SMTP = "smtp"
    """RFC 5321, with STARTTLS as the level says."""
    SMTPS = "smtps"
    """The same with TLS from the first octet (RFC 8314 3.3)."""
    LMTP = "lmtp"
    """RFC 2033: one answer for each recipient."""

    @property
    def default_port(self) -> int:
        """The port where it is usually found; RFC 2033 5 leaves LMTP without one, and 24 is what is used."""
        return _DEFAULT_PORTS[self]


_DEFAULT_PORTS: Final = {Protocol.SMTP: 25, Protocol.SMTPS: 465, Protocol.LMTP: 24}


class NextHopError(ValueError):
    """The text names no next hop; the message says what is wrong and what is allowed, without a password."""

    def __init__(self, text: str, problem: str) -> None:
        super().__init__(f"{_without_user(text)!r} {problem}; allowed: {_ALLOWED}")
        self.problem = problem


class NextHop(Struct, frozen=True, kw_only=True):
    """One place that takes mail on: a host and a port, or the ``path`` of a unix socket.

    ``host`` is a domain name, made A-labels in lower case, or an IP address without brackets, and ``""``
    beside a path; ``port`` 0 becomes that of the protocol, and stays 0 beside a path. The lower
    ``preference`` is tried first. What is left empty is the route's or the server's to say: ``tls``,
    ``bind`` (the address we come from) and ``helo`` (our name). To log in: ``user`` with a ``password``, or
    with a token that ``token_command`` writes or ``token_file`` has; never in clear unless
    ``auth_without_tls``.

    Raises ValueError for values that do not fit together.
    """

    host: str = ""
    port: int = 0
    path: str = ""
    protocol: Protocol = Protocol.SMTP
    preference: int = 0
    tls: TlsLevel | None = None
    user: str = ""
    password: str = ""
    token_command: tuple[str, ...] = ()
    token_file: Path | None = None
    auth_without_tls: bool = False
    bind: str = ""
    helo: str = ""

    def __post_init__(self) -> None:
        if bool(self.host) == bool(self.path):
            raise ValueError("a next hop has either a host or the path of a unix socket")
        if self.path:
            _check_path(self.path, self.port, self.protocol)
        else:
            force_setattr(self, "host", _checked_host(self.host))
            force_setattr(self, "port", self.port or self.protocol.default_port)
        if not 0 <= self.port <= _MAX_PORT:
            raise ValueError(f"a port is a number from 1 to {_MAX_PORT}")
        if self.protocol is Protocol.SMTPS and self.tls is TlsLevel.NONE:
            raise ValueError("smtps is SMTP over TLS, so it cannot go without")
        if (self.password or self.token_command or self.token_file) and not self.user:
            raise ValueError("a password or token is nothing without a user")
        if not (self.user + self.password + self.helo).isprintable():
            raise ValueError("user, password and helo are made of printable characters")
        if self.bind:
            force_setattr(self, "bind", str(ipaddress.ip_address(self.bind)))

    def __repr__(self) -> str:
        return f"<NextHop {self}>"

    @classmethod
    def parse(cls, text: str) -> NextHop:
        """Read a next hop as people write it.

        ``smtp://``, ``smtps://`` and ``lmtp://`` with ``user:password@``, a host and a port, each but the
        host optional; a host alone or with a port means SMTP; ``lmtp:///path`` and ``unix:/path`` are LMTP
        over a unix socket, ``smtp:///path`` SMTP. Behind a ``?`` may stand ``tls``, ``helo``, ``bind``,
        ``preference`` and ``auth_without_tls=true``. Users, passwords and paths may have %-escapes.

        Raises NextHopError.
        """
        try:
            return _parsed(text)
        except NextHopError:
            raise
        except ValueError as error:
            raise NextHopError(text, f"is no next hop: {error}") from error

    @property
    def is_unix(self) -> bool:
        """Whether this is a unix socket."""
        return bool(self.path)

    @property
    def address(self) -> str:
        """The host if it is an IP address, so that nothing needs to be looked up; else ``""``."""
        return self.host if _is_address(self.host) else ""

    def to_url(self) -> str:
        """The URL that `parse` reads as this next hop, **with its password**; tokens have no place in it."""
        return self._url(with_password=True)

    def __str__(self) -> str:
        """The URL without the password."""
        return self._url(with_password=False)

    def _url(self, *, with_password: bool) -> str:
        login = quote(self.user, safe="")
        if with_password and self.password:
            login += f":{quote(self.password, safe='')}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = f":{self.port}" if self.host and self.port != self.protocol.default_port else ""
        place = f"{login}@{host}{port}" if login else f"{host}{port}"
        query = f"?{urlencode(self._options(), safe=':[]')}" if self._options() else ""
        return f"{self.protocol.value}://{place}{quote(self.path)}{query}"

    def _options(self) -> dict[str, str]:
        options = {
            "tls": self.tls.value if self.tls else "",
            "helo": self.helo,
            "bind": self.bind,
            "preference": str(self.preference or ""),
            "auth_without_tls": "true" if self.auth_without_tls else "",
        }
        return {name: value for name, value in options.items() if value}


class Target(Struct, frozen=True):
    """One address of a next hop, to connect to.

    ``name`` is the host's, for SNI, certificates and texts; ``address`` an IP address. Both are ``""`` for a
    unix socket.
    """

    hop: NextHop
    name: str
    address: str

    @property
    def port(self) -> int:
        """The port to connect to; 0 for a unix socket."""
        return self.hop.port

    @property
    def place(self) -> tuple[str, int]:
        """What distinguishes it on the network: address or path, and port."""
        return (self.address or self.hop.path, self.hop.port)

    def __str__(self) -> str:
        """``mx.example.com[192.0.2.1]``, with the port unless it is the usual one; or the path."""
        if self.hop.is_unix:
            return self.hop.path
        host = f"{self.name}[{self.address}]" if self.name != self.address else f"[{self.address}]"
        return host if self.port == self.hop.protocol.default_port else f"{host}:{self.port}"


def _parsed(text: str) -> NextHop:
    if not text.isprintable() or " " in text:
        raise NextHopError(text, "has a space or a control character")
    if text.startswith(_UNIX):
        text = f"lmtp://{text.removeprefix(_UNIX)}"
    found = _URL.fullmatch(text)
    if found is None:
        raise NextHopError(text, "is no URL")
    scheme, authority, path, query = found.groups(default="")
    login, _, place = authority.rpartition("@")
    host, port = _host_and_port(text, place)
    user, _, password = login.partition(":")
    path = _unescaped(path)
    hop = NextHop(
        host=host,
        port=port,
        path="" if path == "/" and host else path,
        protocol=_protocol(text, scheme),
        user=_unescaped(user),
        password=_unescaped(password),
    )
    return _with_options(text, hop, query)


def _protocol(text: str, scheme: str) -> Protocol:
    try:
        return Protocol(scheme.lower() or "smtp")
    except ValueError as cause:
        raise NextHopError(text, f"begins with {scheme}://, which is not spoken here") from cause


def _host_and_port(text: str, place: str) -> tuple[str, int]:
    found = _AUTHORITY.fullmatch(place)
    if found is None:
        problem = (
            "has an IPv6 address without brackets" if _is_address(place) else "has no valid host and port"
        )
        raise NextHopError(text, problem)
    host, port = found.groups(default="")
    if port and not 0 < int(port) <= _MAX_PORT:
        raise NextHopError(text, f"has a port that is not from 1 to {_MAX_PORT}")
    if host.startswith("["):
        host = host[1:-1].removeprefix("IPv6:")
        if not _is_address(host):
            raise NextHopError(text, "has something in brackets that is not an address")
    return host, int(port or 0)


def _with_options(text: str, hop: NextHop, query: str) -> NextHop:
    if not query:
        return hop
    _unescaped(query)
    try:
        pairs = parse_qsl(query, strict_parsing=True, keep_blank_values=True, errors="strict")
    except ValueError as cause:
        raise NextHopError(text, "has options that are not written as name=value") from cause
    options = dict(pairs)
    if len(options) < len(pairs) or not options.keys() <= set(_OPTIONS):
        raise NextHopError(text, f"has options other than {', '.join(_OPTIONS)}, or one twice")
    try:
        return replace(
            hop,
            tls=TlsLevel(options["tls"]) if "tls" in options else None,
            helo=options.get("helo", ""),
            bind=options.get("bind", ""),
            preference=_number(options),
            auth_without_tls=_flag(options),
        )
    except ValueError as cause:
        raise NextHopError(text, f"has an option that cannot be used: {cause}") from cause


def _number(options: Mapping[str, str]) -> int:
    value = options.get("preference", "0")
    if not re.fullmatch("[0-9]{1,5}", value):
        raise ValueError("preference is a whole number")
    return int(value)


def _flag(options: Mapping[str, str]) -> bool:
    value = options.get("auth_without_tls", "false")
    if value not in ("true", "false"):
        raise ValueError("auth_without_tls is true or false")
    return value == "true"


def _unescaped(text: str) -> str:
    if _BROKEN_ESCAPE.search(text):
        raise ValueError("a % must be written as %25")
    return unquote(text, errors="strict")


def _checked_host(host: str) -> str:
    if _is_address(host):
        return str(ipaddress.ip_address(host))
    name = to_ascii(host)  # which makes digits of some other characters
    if re.fullmatch(r"[0-9.]+", name):
        raise ValueError(f"{host!r} is neither an address nor a name")
    return name


def _check_path(path: str, port: int, protocol: Protocol) -> None:
    if port or protocol is Protocol.SMTPS:
        raise ValueError("a unix socket has no port and no TLS from the start")
    if not path.startswith("/") or path.endswith("/") or not path.isprintable():
        raise ValueError("the path of a unix socket begins with /, is printable and names no folder")
    if len(os.fsencode(path)) > _MAX_UNIX_PATH_OCTETS:
        raise ValueError(f"the path of a unix socket has at most {_MAX_UNIX_PATH_OCTETS} octets")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _without_user(text: str) -> str:
    return _USER_INFO.sub(r"\1", text)
