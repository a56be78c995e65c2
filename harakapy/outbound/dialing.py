"""Connecting to a next hop: a TCP or unix socket, from the source address that was asked for."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import trio
from trio.lowlevel import wait_writable

from harakapy.net import Poller, SocketAddress, SocketStream
from harakapy.outbound.hop import Target

__all__ = ["CannotConnect", "dial"]

# A unix socket whose queue is full gives no sign when there is room again: one has to come back.
_FULL_QUEUE_PAUSE_S: Final = 0.05

# From Linux's <linux/in.h>; the socket module has it from Python 3.12 on. With it a bound source address
# costs no port of its own: the same one serves to many hosts at a time.
_IP_BIND_ADDRESS_NO_PORT: Final = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)


class CannotConnect(Exception):
    """There is no connection; ``reason`` says why in words that are safe to print."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


async def dial(
    target: Target, *, bind: Sequence[str] = (), timeout_s: float, poller: Poller | None = None
) -> SocketStream:
    """Connect to a target; nothing is looked up, its address is numeric.

    ``bind`` has source addresses: the first of the target's IP version is used, and the system chooses where
    there is none. ``poller`` is the stream's. Raises CannotConnect, also when ``timeout_s`` is over. If
    cancelled here, nothing is left open.
    """
    try:
        with trio.fail_after(timeout_s):
            return await _connect(target, bind, poller)
    except trio.TooSlowError as cause:
        raise CannotConnect(f"no answer within {timeout_s:g} s") from cause
    except OSError as cause:  # such as a refusal; also a name where an address belongs (gaierror)
        raise CannotConnect((cause.strerror or str(cause)).lower()) from cause


async def _connect(target: Target, bind: Sequence[str], poller: Poller | None) -> SocketStream:
    if target.hop.is_unix:
        family, place, remote = socket.AF_UNIX, target.hop.path, SocketAddress("", 0)
    else:
        family, place = _numeric(target.address, target.port)
        remote = SocketAddress(target.address, target.port)
    ours = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        if family is not socket.AF_UNIX:
            # A command must leave at once even while the peer has not acknowledged the last block of content.
            ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _bind(ours, bind)
        await _wait_connected(ours, place)
    except BaseException:  # it is raised again
        ours.close()
        raise
    return SocketStream(ours, remote, poller)


def _numeric(address: str, port: int) -> tuple[socket.AddressFamily, Any]:
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV  # never asks DNS, so never waits
    found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=flags)
    return found[0][0], found[0][4]


def _bind(ours: socket.socket, addresses: Sequence[str]) -> None:
    for address in addresses:
        family, place = _numeric(address, 0)
        if family is ours.family:
            with suppress(OSError):  # a kernel without it takes a port for each connection
                ours.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            ours.bind(place)
            return


async def _wait_connected(ours: socket.socket, place: Any) -> None:
    await trio.lowlevel.checkpoint_if_cancelled()
    while (problem := ours.connect_ex(place)) == errno.EAGAIN:  # noqa: ASYNC110 - the kernel has no event
        await trio.sleep(_FULL_QUEUE_PAUSE_S)
    if problem == errno.EINPROGRESS:
        await wait_writable(ours)
        problem = ours.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if problem:
        raise OSError(problem, os.strerror(problem))
