"""The other end of the control socket, for commands: it waits as plain programs do, without an event loop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from harakapy.outbound.steering_request import Problem, RequestRefused
from harakapy.process.control_wire import MAX_ANSWER, encode
from harakapy.process.socket_client import SocketClient

__all__ = ["ControlClient", "ControlLost", "ServerNotRunning"]


class ServerNotRunning(Exception):
    """Nobody answers at the control socket."""


class ControlLost(Exception):
    """The server does not answer any more, or not sensibly; what was asked for may be done in part."""


class ControlClient(SocketClient):
    """A connection to a running server."""

    silence_s = 120.0
    """It tells of its progress, so more means that it hangs. Picked."""
    max_answer = MAX_ANSWER

    @classmethod
    def connect(cls, path: Path) -> Self:
        """Connect to the server with this control socket.

        Raises ServerNotRunning; PermissionError if the server is another user's; OSError.
        """
        try:
            return super().connect(path)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise ServerNotRunning(f"no server answers at {path}") from error

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
            answer = self._next_answer()
        except (OSError, ValueError) as error:
            raise ControlLost(f"the server's answer does not come: {error}") from error
        if not isinstance(answer, dict):
            raise ControlLost("the server has closed the connection, or talks nonsense")
        return answer
