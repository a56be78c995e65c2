"""Who is at the other end of a unix socket, as the kernel says."""

from __future__ import annotations

import socket
import struct
from typing import Final, Self

from msgspec import Struct

from harakapy.net import SocketStream

__all__ = ["Peer"]

_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid


class Peer(Struct, frozen=True):
    """The process that has connected, with the user it was then; nobody can claim to be another."""

    pid: int
    uid: int

    @classmethod
    def of(cls, stream: SocketStream) -> Self:
        """Ask the kernel. Raises OSError if the peer has gone."""
        raw = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(raw)
        return cls(pid, uid)
