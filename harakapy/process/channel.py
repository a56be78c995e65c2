"""What a supervisor and a worker say to each other: lines over a pair of sockets.

Signals would do for orders, but those that a terminal or a service manager sends go to all processes of a
group at once, and a worker could not tell them from its supervisor's. The pair is a lifeline, too: it closes
when the other end dies, however it dies.
"""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from enum import Enum
from typing import Final

__all__ = ["Channel", "News", "Order"]

READ_OCTETS: Final = 4096
MAX_TEXT: Final = 1000  # characters of what a worker says of its failure; picked


class Order(Enum):
    """What a supervisor says."""

    RELOAD = "reload"
    REOPEN_LOG = "reopen log"
    GIVE_WAY = "give way"
    """Another worker has taken over the sockets: stop, and lose nobody."""
    STOP = "stop"
    CUT = "cut"
    """Stop without waiting for clients."""


class News(Enum):
    """What a worker says."""

    READY = "ready"
    RELOADED = "reloaded"
    """The order was carried out, or the log says why not."""
    FAILED = "failed"
    """It cannot start; the text says why."""


class Channel:
    """One end. Nothing here waits."""

    def __init__(self, end: socket.socket) -> None:
        """Takes over the socket."""
        self.socket = end
        self._buffer = b""
        end.setblocking(False)

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Two ends. Raises OSError."""
        one, other = socket.socketpair()
        return cls(one), cls(other)

    def send(self, word: Order | News, text: str = "") -> None:
        """Say something; nothing happens if nobody is there any more, or has not listened for long."""
        line = json.dumps([word.value, text[:MAX_TEXT]]).encode() + b"\n"
        with suppress(OSError):
            self.socket.send(line)

    def receive(self) -> list[tuple[str, str]] | None:
        """What has been said since the last call, (word, text) each; None if there is no other end."""
        while True:
            try:
                octets = self.socket.recv(READ_OCTETS)
            except BlockingIOError:
                break
            except OSError:
                octets = b""
            if not octets:
                return self._lines() or None
            self._buffer += octets
        return self._lines()

    def close(self) -> None:
        """Close this end."""
        self.socket.close()

    def _lines(self) -> list[tuple[str, str]]:
        *lines, self._buffer = self._buffer.split(b"\n")
        return [tuple(json.loads(line)) for line in lines]
