"""Sockets that listen: opened before anything else starts, with or without an event loop."""

import errno
import os
import socket
import stat
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from .endpoint import Endpoint
from .inherited import NotInherited, bound_endpoint, inherited_sockets

# Connections the kernel keeps for us while we are busy; it cuts the number to net.core.somaxconn itself.
# trio's and asyncio's 100 or so is overrun by one burst of a mailing list.
BACKLOG: Final = 1024
# How often another free port is tried when the one found for the first address of a name is taken at the
# next.
FREE_PORT_TRIES: Final = 8
# This machine lacks the address: no reason to fail if the host name has others (localhost where IPv6 is off).
ABSENT: Final = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}

LOW_PORTS: Final = "not permitted; ports below 1024 need root or the capability CAP_NET_BIND_SERVICE"
IN_USE: Final = "another program listens there; stop it or choose another port or path"
ADVICE: Final = {
    errno.EADDRINUSE: IN_USE,
    errno.EACCES: f"{LOW_PORTS}, a unix socket a directory that may be written to",
    errno.EPERM: LOW_PORTS,
    errno.EADDRNOTAVAIL: "this machine has no such address; `ip address` shows those it has",
    errno.EAFNOSUPPORT: "this machine does not speak this version of IP",
    errno.ENOENT: "the directory of the socket does not exist; create it",
}


class ListenError(Exception):
    """An endpoint cannot be listened at; the message names it and says what to do."""

    def __init__(self, endpoint: Endpoint, advice: str) -> None:
        super().__init__(f"cannot listen on {endpoint}: {advice}")
        self.endpoint = endpoint
        self.advice = advice


class Listener(Struct, frozen=True, eq=False):
    """A socket that listens: connections queue up in the kernel from now on, accepted or not.

    ``endpoint`` is the bound one: with the address that a name stood for, the port found for port 0, and
    where a socket listens that was open already.
    """

    endpoint: Endpoint
    socket: socket.socket
    file_identity: tuple[int, int] | None = None  # device and inode of a unix socket's file

    def close(self) -> None:
        """Stop listening, and remove a unix socket's file if it is still ours. May be called again.

        Cancel the task that accepts first: it would not notice.
        """
        if self.socket.fileno() < 0:
            return
        self.socket.close()
        if self.file_identity is not None:
            path = Path(self.endpoint.path)
            with suppress(OSError):  # gone, or in a directory that we may not write to any more
                if _identity(path) == self.file_identity:
                    path.unlink()


def open_listeners(
    endpoints: Iterable[Endpoint], *, socket_mode: int | None = None, is_shared: bool = False
) -> list[Listener]:
    """Listen at all ``endpoints``, in their order; a host name gives a listener for each of its addresses.

    ``socket_mode`` is the mode of the files of unix sockets; None leaves it to the umask. ``is_shared`` lets
    more sockets of this user listen at the same ports, among which the kernel spreads clients (SO_REUSEPORT).
    Blocks while a host name is looked up. All or none: raises ListenError for the first that fails.
    """
    listeners: list[Listener] = []
    with ExitStack() as opened:
        for endpoint in endpoints:
            for listener in _listen(endpoint, socket_mode, is_shared):
                opened.callback(listener.close)
                listeners.append(listener)
        opened.pop_all()
    return listeners


def _listen(endpoint: Endpoint, socket_mode: int | None, is_shared: bool) -> list[Listener]:
    try:
        if endpoint.inherited:
            return [Listener(bound_endpoint(each), each) for each in inherited_sockets(endpoint)]
        return [_listen_unix(endpoint, socket_mode)] if endpoint.is_unix else _listen_tcp(endpoint, is_shared)
    except NotInherited as cause:
        raise ListenError(endpoint, str(cause)) from cause
    except socket.gaierror as cause:
        raise ListenError(endpoint, f"no address found for {endpoint.host!r}; check the name") from cause
    except OSError as cause:
        raise ListenError(endpoint, ADVICE.get(cause.errno or 0, str(cause.strerror))) from cause


def _listen_tcp(endpoint: Endpoint, is_shared: bool) -> list[Listener]:
    found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
    for _ in range(FREE_PORT_TRIES):
        try:
            return _bind_all(addresses, endpoint.port, is_shared)
        except OSError as cause:
            if endpoint.port or cause.errno != errno.EADDRINUSE:
                raise
    raise ListenError(endpoint, "no port is free at all its addresses; choose one")


def _bind_all(
    addresses: Sequence[tuple[socket.AddressFamily, Any]], port: int, is_shared: bool
) -> list[Listener]:
    """Listen at one port of all addresses but those that this machine lacks; it must have one."""
    listeners: list[Listener] = []
    lacking: OSError | None = None
    with ExitStack() as opened:
        for family, (host, _, *scope) in addresses:
            try:
                listener = _bind(family, (host, port, *scope), is_shared)
            except OSError as cause:
                if cause.errno not in ABSENT:
                    raise
                lacking = cause
                continue
            opened.callback(listener.close)
            listeners.append(listener)
            port = listener.endpoint.port
        if not listeners and lacking is not None:
            raise lacking
        opened.pop_all()
    return listeners


def _bind(family: socket.AddressFamily, address: tuple[Any, ...], is_shared: bool) -> Listener:
    with ExitStack() as opened:
        listening = opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
        listening.setblocking(False)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Accepted sockets inherit it: a system call less for each connection.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:
            # [::]:25 beside 0.0.0.0:25, and no IPv4 address in IPv6 clothes past an access list.
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
        opened.pop_all()
    host, port = listening.getsockname()[:2]
    return Listener(Endpoint(host, port), listening)


def _listen_unix(endpoint: Endpoint, mode: int | None) -> Listener:
    path = Path(endpoint.path)
    with ExitStack() as opened:
        listening = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        listening.setblocking(False)
        try:
            listening.bind(endpoint.path)
        except OSError as cause:
            if cause.errno != errno.EADDRINUSE:
                raise
            _remove_stale(endpoint, path)
            listening.bind(endpoint.path)
        if mode is not None:
            path.chmod(mode)  # nobody can connect before it listens
        listening.listen(BACKLOG)
        opened.pop_all()
    return Listener(endpoint, listening, _identity(path))


def _remove_stale(endpoint: Endpoint, path: Path) -> None:
    """Remove the file that a server which is gone left behind; raise ListenError if it is anything else."""
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise ListenError(
            endpoint, "a file that is no socket has this name; remove it or choose another path"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(endpoint.path)
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError:  # EAGAIN, its backlog is full; EPROTOTYPE, it is of another kind: somebody is there
            pass
    raise ListenError(endpoint, IN_USE)


def _identity(path: Path) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino
