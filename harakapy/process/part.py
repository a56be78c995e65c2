"""What one process does of a server that is several."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from msgspec import Struct

from harakapy.net import Listener
from harakapy.net.count_board import Column

__all__ = ["Part", "Post", "Role"]


class Role(Enum):
    """What a worker is for; the value begins its name."""

    INBOUND = "in"
    """Receives mail, and puts what is to go out into the queue."""
    OUTBOUND = "out"
    """Works off the queue, and answers operators. There is one: two would only get into each other's way."""


class Post(Struct, frozen=True):
    """A place that one worker fills at a time. ``number`` counts from 0 within the role."""

    role: Role
    number: int = 0

    def __str__(self) -> str:
        return self.role.value if self.role is Role.OUTBOUND else f"{self.role.value}{self.number + 1}"


class Part(Struct, frozen=True, kw_only=True):
    """What a worker is given.

    ``listeners`` are sockets, each with the number of its ``[[listen]]`` table; ``column`` is where it counts
    connections. ``owner`` is whose leases it has in the queue, ``heir_of`` are owners that are dead.
    ``announce`` tells the process that delivers of mail in the queue; None if it is this one.
    """

    post: Post
    column: Column
    listeners: tuple[tuple[int, Listener], ...]
    owner: str
    heir_of: tuple[str, ...] = ()
    announce: Callable[[], None] | None = None

    @property
    def delivers(self) -> bool:
        """Whether this process works off the queue."""
        return self.announce is None
