"""How a supervisor becomes a new one without letting go of anything: by exec in the same process.

The process keeps its number, so a service manager or a container notices nothing, its workers stay its
children, and sockets stay open. What it must know of them goes through a file without a name, to which the
environment points.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, MutableMapping, Sequence
from typing import Any, NoReturn

from msgspec import Struct
from msgspec.structs import asdict

from harakapy.net.count_board import anonymous_file

__all__ = ["Handover"]

VARIABLE = "HARAKAPY_HANDOVER"


class Handover(Struct, frozen=True, kw_only=True):
    """What is handed over, as values of JSON; descriptors are numbers, which stay the same.

    ``board`` is (descriptor, columns, connections), ``wakes`` the ends of the pipe of announcements,
    ``dead_owners`` whose leases are still to be ended.
    """

    sockets: list[dict[str, Any]]
    workers: list[dict[str, Any]]
    board: Sequence[int]
    wakes: Sequence[int]
    dead_owners: Sequence[str]

    @classmethod
    def received(cls, environment: MutableMapping[str, str] = os.environ) -> Handover | None:
        """What this process was handed by itself; None if it was started anew. Can be asked once."""
        pid, _, fd = environment.pop(VARIABLE, "").partition(":")
        if pid != str(os.getpid()):
            return None  # a child of a plugin, say, which has the environment and nothing else
        with os.fdopen(int(fd), "rb") as file:
            received = cls(**json.load(file))
        _set_inheritable(received.descriptors, False)
        return received

    @property
    def descriptors(self) -> list[int]:
        """All that goes along."""
        described = [*self.sockets, *self.workers]
        return [*(each["fd"] for each in described), self.board[0], *self.wakes]

    def hand_over(self, program: Sequence[str]) -> NoReturn:
        """Become ``program``. Raises OSError, and nothing has changed then."""
        fd = anonymous_file()
        os.write(fd, json.dumps(asdict(self)).encode())
        os.lseek(fd, 0, os.SEEK_SET)
        handed_over = [*self.descriptors, fd]
        _set_inheritable(handed_over, True)
        try:
            os.execve(program[0], list(program), {**os.environ, VARIABLE: f"{os.getpid()}:{fd}"})
        finally:
            _set_inheritable(handed_over, False)
            os.close(fd)


def _set_inheritable(descriptors: Iterable[int], is_inheritable: bool) -> None:
    for descriptor in descriptors:
        os.set_inheritable(descriptor, is_inheritable)
