"""The other end of the socket for messages of this machine's users: plain and blocking, for the command."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from harakapy.process.control_wire import decode, encode, reachable
from harakapy.process.intake_wire import MAX_ANSWER, IntakeProblem, IntakeRefused, IntakeTerms, Submission

__all__ = ["IntakeClient", "IntakeLost"]

SILENCE_S: Final = 300.0
"""How long the server may say nothing: it may need `smtp.commit_timeout` to store a message, and plugins some
time before that. Picked."""


class IntakeLost(Exception):
    """The server does not answer any more, or not sensibly; a message that was sent is taken, or not."""


class IntakeClient:
    """A connection on which one message can be sent. To be closed; a context manager."""

    def __init__(self, connection: socket.socket) -> None:
        """Made by `connect`."""
        self._socket = connection
        self._lines = connection.makefile("rb")
        self.terms = IntakeTerms("", 0, 0)
        """What the server has said of itself."""

    @classmethod
    def connect(cls, path: Path) -> Self:
        """Connect to the server with this socket, and read its terms.

        Raises OSError if it cannot be reached (FileNotFoundError and ConnectionRefusedError: it does not run;
        PermissionError: it is not for this user), IntakeRefused if it is too busy, IntakeLost.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(SILENCE_S)
            with reachable(path) as short:
                connection.connect(str(short))
        except OSError:
            connection.close()
            raise
        client = cls(connection)
        try:
            client.terms = IntakeTerms.parse(client._receive())
        except ValueError as error:
            client.close()
            raise IntakeLost(f"what answers at {path} is no server of ours: {error}") from error
        except Exception:
            client.close()
            raise
        return client

    def send(self, submission: Submission, content: Iterable[bytes]) -> str:
        """Send a message; its id in the queue, where it is safe on disk.

        Raises IntakeRefused, IntakeLost, and what ``content`` raises.
        """
        for octets in chain([encode(submission.to_json())], content):
            try:
                self._socket.sendall(octets)
            except OSError:  # the server has said why already, or there is no answer either
                break
        match self._receive():
            case {"done": {"id": str(message_id)}}:
                return message_id
        raise IntakeLost("the server talks nonsense")

    def _receive(self) -> dict[str, Any]:
        try:
            line = self._lines.readline(MAX_ANSWER)
            answer = decode(line) if line.endswith(b"\n") else None
        except (OSError, ValueError) as error:
            raise IntakeLost(f"the server's answer does not come: {error}") from error
        match answer:
            case {"error": {"problem": str(problem), "text": str(text)}}:
                raise IntakeRefused(_problem(problem), text)
            case dict():
                return answer
        raise IntakeLost("the server has closed the connection without an answer")

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


def _problem(name: str) -> IntakeProblem:
    """The problem of this name; one that a newer server knows is temporary for us."""
    try:
        return IntakeProblem(name)
    except ValueError:
        return IntakeProblem.INTERNAL
