"""The other end of the socket for messages of this machine's users: plain and blocking, for the command."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any, Self

from harakapy.process.control_wire import encode
from harakapy.process.intake_wire import MAX_ANSWER, IntakeProblem, IntakeRefused, IntakeTerms, Submission
from harakapy.process.socket_client import SocketClient

__all__ = ["IntakeClient", "IntakeLost"]


class IntakeLost(Exception):
    """The server does not answer any more, or not sensibly; a message that was sent is taken, or not."""


class IntakeClient(SocketClient):
    """A connection on which one message can be sent."""

    silence_s = 300.0
    """It may need `smtp.commit_timeout` to store a message, and plugins some time before that. Picked."""
    max_answer = MAX_ANSWER

    def __init__(self, connection: socket.socket) -> None:
        """Made by `connect`."""
        super().__init__(connection)
        self.terms = IntakeTerms("", 0, 0)
        """What the server has said of itself."""

    @classmethod
    def connect(cls, path: Path) -> Self:
        """Connect to the server with this socket, and read its terms.

        Raises OSError as `SocketClient.connect` does, IntakeRefused if it is too busy, IntakeLost.
        """
        client = super().connect(path)
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
            answer = self._next_answer()
        except (OSError, ValueError) as error:
            raise IntakeLost(f"the server's answer does not come: {error}") from error
        match answer:
            case {"error": {"problem": str(problem), "text": str(text)}}:
                raise IntakeRefused(_problem(problem), text)
            case dict():
                return answer
        raise IntakeLost("the server has closed the connection without an answer")


def _problem(name: str) -> IntakeProblem:
    """The problem of this name; one that a newer server knows is temporary for us."""
    try:
        return IntakeProblem(name)
    except ValueError:
        return IntakeProblem.INTERNAL
