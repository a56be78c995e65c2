"""The other end of the server's own sockets, for commands: plain and blocking, without an event loop."""

from __future__ import annotations

import socket
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from harakapy.process.control_wire import decode, reachable

__all__ = ["SocketClient"]


class SocketClient:
    """A connection to a socket of the server, which answers in lines. To be closed; a context manager.

    Another kind says how long the server may say nothing (``silence_s``), and how many octets its answers
    have at most.
    """

    silence_s: ClassVar[float]
    max_answer: ClassVar[int]

    def __init__(self, connection: socket.socket) -> None:
        """Made by `connect`."""
        self._socket = connection
        self._lines = connection.makefile("rb")

    @classmethod
    def connect(cls, path: Path) -> Self:
        """Connect to the server with this socket.

        Raises OSError if it cannot be reached. FileNotFoundError and ConnectionRefusedError: it does not run;
        PermissionError: it is not for this user.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(cls.silence_s)
            with reachable(path) as short:
                connection.connect(str(short))
        except OSError:
            connection.close()
            raise
        return cls(connection)

    def _next_answer(self) -> object:
        """What the next line says, None if the connection was closed before its end.

        Raises OSError, ValueError for what is no answer.
        """
        line = self._lines.readline(self.max_answer)
        return decode(line) if line.endswith(b"\n") else None

    def close(self) -> None:
        """Close the connection. May be called again."""
        self._lines.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
