"""The workers of a supervisor: who they are, and which posts are free."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Iterator
from typing import Any, Self

from msgspec import Struct

from harakapy.process.channel import Channel
from harakapy.process.part import Post, Role

__all__ = ["Crew", "Worker"]


class Worker(Struct, eq=False):
    """One process. Times are of the monotonic clock.

    ``is_old`` says that a new one is to take its place, ``is_leaving`` that it was told to stop; then it is
    killed when it is ``overdue``. ``failure`` is why it could not start.
    """

    pid: int
    post: Post
    channel: Channel
    column: int
    owner: str
    started: float
    heir_of: tuple[str, ...] = ()
    is_ready: bool = False
    is_old: bool = False
    is_leaving: bool = False
    overdue: float = float("inf")
    failure: str = ""

    def described(self) -> dict[str, Any]:
        """What `restored` needs after exec."""
        return {
            "pid": self.pid,
            "role": self.post.role.value,
            "number": self.post.number,
            "fd": self.channel.socket.fileno(),
            "column": self.column,
            "owner": self.owner,
            "started": self.started,
        }

    @classmethod
    def restored(cls, described: dict[str, Any]) -> Self:
        """A worker of before exec, which is an old one now."""
        end = socket.socket(fileno=described["fd"])
        return cls(
            pid=described["pid"],
            post=Post(Role(described["role"]), described["number"]),
            channel=Channel(end),
            column=described["column"],
            owner=described["owner"],
            started=described["started"],
            is_ready=True,
            is_old=True,
        )

    def has_ended(self) -> int | None:
        """Its wait status if it is dead, which is told once; else None."""
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:  # somebody else has waited for it; how it ended is lost
            return 0
        return status if pid else None


class Crew:
    """All workers that live, and the posts to be filled."""

    def __init__(self, inbound: int, old: Iterable[Worker] = ()) -> None:
        self.inbound = inbound
        self.posts = (*(Post(Role.INBOUND, number) for number in range(inbound)), Post(Role.OUTBOUND))
        self.workers = list(old)

    def __iter__(self) -> Iterator[Worker]:
        return iter(tuple(self.workers))

    def free_posts(self) -> list[Post]:
        """Posts that nobody fills. The one that delivers is free only when the old one is dead."""
        taken = {each.post for each in self.workers if not each.is_old and not each.is_leaving}
        if any(each.post.role is Role.OUTBOUND for each in self.workers):
            taken.add(Post(Role.OUTBOUND))
        return [post for post in self.posts if post not in taken]

    def free_column(self, columns: int) -> int:
        """A column of the count board that nobody uses. Raises OSError if there is none."""
        free = set(range(columns)) - {each.column for each in self.workers}
        if not free:
            raise BlockingIOError(errno.EAGAIN, "workers of earlier restarts are still here")
        return min(free)

    @property
    def has_leaving(self) -> bool:
        """Whether some were told to stop, and have not yet."""
        return any(each.is_leaving for each in self.workers)

    def old(self) -> list[Worker]:
        """Those in whose place others shall come, and who do not know it yet."""
        return [each for each in self.workers if each.is_old and not each.is_leaving]

    def are_ready(self, *roles: Role) -> bool:
        """Whether each post of these roles is filled by one of the new ones, who is ready."""
        ready = {each.post for each in self.workers if each.is_ready and not each.is_old}
        return all(post in ready for post in self.posts if post.role in roles)
