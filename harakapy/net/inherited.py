"""Listening sockets that were open before we began: those of systemd (sd_listen_fds(3)), or by number.

A service manager that holds the sockets needs no rights of ours for low ports, and while we restart, clients
wait in its queue instead of being refused.
"""

import os
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final

from .endpoint import DESCRIPTOR_PREFIX, Endpoint

FIRST_DESCRIPTOR: Final = 3  # SD_LISTEN_FDS_START
UNNAMED: Final = "unknown"
"""What systemd calls a socket that has no name (sd_listen_fds_with_names(3))."""


class NotInherited(Exception):
    """There is no such socket; the message says what there is."""


def inherited_sockets(endpoint: Endpoint) -> list[socket.socket]:
    """The sockets of an endpoint ``fd:N`` (one) or ``systemd:NAME`` (one or more); the caller owns them.

    Raises NotInherited, also for a descriptor that is no stream socket that listens.
    """
    if endpoint.inherited.startswith(DESCRIPTOR_PREFIX):
        return [_adopted(int(endpoint.inherited.removeprefix(DESCRIPTOR_PREFIX)))]
    name = endpoint.inherited.partition(":")[2]
    names = _names(os.environ)
    if name not in names:
        known = ", ".join(sorted(set(names))) or "no socket at all"
        raise NotInherited(
            f"systemd has not handed over a socket of that name (FileDescriptorName=), but {known}"
        )
    return [_adopted(FIRST_DESCRIPTOR + number) for number, each in enumerate(names) if each == name]


def _names(environment: Mapping[str, str]) -> list[str]:
    """The names of the sockets that systemd has handed to this process and no other."""
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = environment.get("LISTEN_FDS", "")
    if not (count.isascii() and count.isdecimal()):
        return []
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    return [name or UNNAMED for name in (names + [UNNAMED] * int(count))[: int(count)]]


def _adopted(descriptor: int) -> socket.socket:
    try:
        adopted = socket.socket(fileno=descriptor)
    except OSError as cause:
        raise NotInherited(f"descriptor {descriptor} is no open socket") from cause
    with ExitStack() as failed:
        failed.callback(adopted.detach)  # who has opened it may have other plans for it
        is_stream = adopted.type is socket.SOCK_STREAM
        if not is_stream or not adopted.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise NotInherited(f"descriptor {descriptor} is no stream socket that listens (Accept=no)")
        adopted.set_inheritable(False)
        adopted.setblocking(False)
        if adopted.family in (socket.AF_INET, socket.AF_INET6):
            adopted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        failed.pop_all()
    return adopted


def bound_endpoint(adopted: socket.socket) -> Endpoint:
    """Where a socket listens."""
    name = adopted.getsockname()
    if isinstance(name, tuple):
        return Endpoint(name[0], name[1])
    path = os.fsdecode(name)
    return Endpoint(path=f"@{path[1:]}" if path.startswith("\0") else path)
