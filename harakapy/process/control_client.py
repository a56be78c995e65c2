"""The other end of the control socket, for commands: it waits as plain programs do, without an event loop."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from harakapy.outbound.steering_request import Problem, RequestRefused
from harakapy.process.control_wire import MAX_ANSWER, decode, encode, reachable

__all__ = ["ControlClient", "ControlLost", "ServerNotRunning"]

SILENCE_S: Final = 120.0
"""How long the server may say nothing; it tells of its progress, so more means that it hangs. Picked."""


class ServerNotRunning(Exception):
    """Nobody answers at the control socket."""


class ControlLost(Exception):
    """The server does not answer any more, or not sensibly; what was asked for may be done in part."""


class ControlClient:
    """A connection to a running server. To be closed; a context manager."""

    def __init__(self, connection: socket.socket) -> None:
        """Made by `connect`."""
        self._socket = connection
        self._lines = connection.makefile("rb")

    @classmethod
    def connect(cls, path: Path) -> Self:
        """Connect to the server with this control socket.

        Raises ServerNotRunning; PermissionError if the server is another user's; OSError.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(SILENCE_S)
            with reachable(path) as short:
                connection.connect(str(short))
        except (FileNotFoundError, ConnectionRefusedError) as error:
            connection.close()
            raise ServerNotRunning(f"no server answers at {path}") from error
        except OSError:
            connection.close()
            raise
        return cls(connection)

    def execute(self, request: dict[str, Any], on_part: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Have a request carried out; ``on_part`` gets the parts of the answer, and the last one is given.

        Raises RequestRefused, ControlLost, and what ``on_part`` raises: then the connection is of no more
        use, and closing it ends the work.
        """
        try:
            with suppress(BrokenPipeError):  # the server has said why already
                self._socket.sendall(encode(request))
        except OSError as error:
            raise ControlLost(f"the server does not listen any more: {error}") from error
        while True:
            answer = self._receive()
            if "done" in answer:
                done: dict[str, Any] = answer["done"]
                return done
            if "error" in answer:
                raise RequestRefused(Problem(answer["error"]["problem"]), answer["error"]["text"])
            on_part(answer)

    def _receive(self) -> dict[str, Any]:
        try:
            line = self._lines.readline(MAX_ANSWER)
            answer = decode(line) if line.endswith(b"\n") else None
        except (OSError, ValueError) as error:
            raise ControlLost(f"the server's answer does not come: {error}") from error
        if not isinstance(answer, dict):
            raise ControlLost("the server has closed the connection, or talks nonsense")
        return answer

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
