"""Where a server listens, as people write it: ``127.0.0.1:25``, ``[::]:25``, ``unix:/run/mail.sock``.

``systemd:NAME`` and ``fd:3`` are sockets that whoever started the server has opened.
"""

import ipaddress
import os
import re

from msgspec import Struct

UNIX_PREFIX = "unix:"
SYSTEMD_PREFIX = "systemd:"
DESCRIPTOR_PREFIX = "fd:"
MAX_PORT = 65535
# sun_path is 108 octets on Linux and 104 on the BSDs, with the closing NUL; the smaller one travels.
MAX_UNIX_PATH_OCTETS = 103
# RFC 1123 2.1 names, and the underscore that internal names are known to have.
HOST_NAME = (  # not compiled before there is one to check, which is slow
    r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
# systemd.socket(5), FileDescriptorName=
SOCKET_NAME = r"[!-9;-~]{1,255}"
DESCRIPTOR = r"[0-9]{1,6}"
ALLOWED = (
    '"127.0.0.1:25", "[::]:25", "localhost:2525" (port 0: any free port), "unix:/path/to/socket", '
    '"systemd:NAME" or "fd:3"'
)


class EndpointError(ValueError):
    """The text names no endpoint; the message says what is wrong and what is allowed."""

    def __init__(self, text: str, problem: str) -> None:
        super().__init__(f"{text!r} {problem}; allowed: {ALLOWED}")
        self.text = text
        self.problem = problem


class Endpoint(Struct, frozen=True):
    """One place to listen at: ``host`` and ``port`` for TCP, ``path`` for a unix socket, or ``inherited``.

    ``host`` is an address without brackets in its shortest form, or a name in lower case. Port 0 asks the
    kernel for a free one. With ``path``, host is "" and port is 0. ``inherited`` is ``systemd:NAME`` or
    ``fd:N``, a socket that is open already, and the others are empty then. Use `parse` for text: the
    constructor does not check.
    """

    host: str = ""
    port: int = 0
    path: str = ""
    inherited: str = ""

    @classmethod
    def parse(cls, text: str) -> "Endpoint":
        """Read an endpoint as an operator writes it. Raises EndpointError."""
        if text.startswith(UNIX_PREFIX):
            return cls(path=_parse_path(text))
        if text.startswith((SYSTEMD_PREFIX, DESCRIPTOR_PREFIX)):
            return cls(inherited=_parse_inherited(text))
        host, colon, port = text.rpartition(":")
        if not colon:
            raise EndpointError(text, "has no port")
        return cls(host=_parse_host(text, host), port=_parse_port(text, port))

    @property
    def is_unix(self) -> bool:
        """Whether this is a unix socket."""
        return bool(self.path)

    def __str__(self) -> str:
        if self.path:
            return UNIX_PREFIX + self.path
        if self.inherited:
            return self.inherited
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def _parse_path(text: str) -> str:
    path = text.removeprefix(UNIX_PREFIX)
    if not path or "\0" in path:
        raise EndpointError(text, "names no file")
    if len(os.fsencode(path)) > MAX_UNIX_PATH_OCTETS:
        raise EndpointError(
            text, f"has a path of more than {MAX_UNIX_PATH_OCTETS} octets, which no unix socket can have"
        )
    return path


def _parse_inherited(text: str) -> str:
    kind, _, name = text.partition(":")
    if not re.fullmatch(SOCKET_NAME if kind == "systemd" else DESCRIPTOR, name):
        raise EndpointError(text, "names no socket that is open already")
    return f"{kind}:{int(name)}" if kind == "fd" else text


def _parse_port(text: str, port: str) -> int:
    # isdecimal() alone takes digits of every script.
    if not (port.isascii() and port.isdecimal()) or len(port) > len(str(MAX_PORT)) or int(port) > MAX_PORT:
        raise EndpointError(text, f"has no port from 0 to {MAX_PORT} behind the last colon")
    return int(port)


def _parse_host(text: str, host: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        return _parse_address(text, host[1:-1], ipaddress.IPv6Address)
    if ":" in host:
        raise EndpointError(text, "has an IPv6 address without brackets")
    if re.fullmatch(r"[0-9.]+", host):
        return _parse_address(text, host, ipaddress.IPv4Address)
    if not re.fullmatch(HOST_NAME, host, re.IGNORECASE):
        raise EndpointError(text, "has no valid host before the port")
    return host.lower()


def _parse_address(
    text: str, host: str, kind: type[ipaddress.IPv4Address] | type[ipaddress.IPv6Address]
) -> str:
    try:
        return str(kind(host))
    except ValueError as cause:
        version = "an IPv4" if kind is ipaddress.IPv4Address else "an IPv6"
        raise EndpointError(text, f"has a host that is not {version} address") from cause
