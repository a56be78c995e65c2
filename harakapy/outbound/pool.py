"""Sessions that are kept open for the next message to the same host.

Theory of operation. A session belongs to whoever acquired it until it is given back. Idle ones lie on a stack
for each place (address and port), the last used on top: so under falling load the surplus at the bottom is
what gets too old. How many connections a host may have is not decided here, only counted.

A host may end an idle session at any time. Before one is handed out again its socket is asked whether the
host has closed it or said something (421); that costs one system call, and leaves only the moment between
question and MAIL in which a session can turn out to be gone.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Final

import trio
from msgspec import Struct

from harakapy.net import enter_task
from harakapy.outbound.facilities import Facilities
from harakapy.outbound.hop import Target
from harakapy.outbound.terms import Terms

if TYPE_CHECKING:
    from harakapy.outbound.session import Session

__all__ = ["Pool"]

IDLE_S: Final = 5.0
"""How long a session waits for another message. Picked: hosts wait for minutes, at the cost of a process."""
MAX_MESSAGES: Final = 100
"""Messages of one session; many hosts end it there with a 421, and others deserve their turn."""
FRESH_S: Final = 0.1
"""A session that was used so recently is not asked whether it still stands: that costs a system call for each
message of a busy server, and if it does not, another one is opened. Picked."""
MAX_IDLE: Final = 200
"""Idle sessions in all: each is a file descriptor. Picked."""

Place = tuple[str, int]


class _Idle(Struct):
    session: Session
    since: float
    until: float


class Pool:
    """The sessions of a server. `run` must be running for idle ones to be closed in time.

    ``idle_s``, ``max_messages`` and ``max_idle`` may be changed at any time.
    """

    def __init__(
        self,
        facilities: Facilities,
        *,
        idle_s: float = IDLE_S,
        max_messages: int = MAX_MESSAGES,
        max_idle: int = MAX_IDLE,
    ) -> None:
        self.idle_s = idle_s
        self.max_messages = max_messages
        self.max_idle = max_idle
        self._facilities = facilities
        self._idle: dict[Place, list[_Idle]] = {}
        self._idle_count = 0
        self._open: Counter[Place] = Counter()  # idle or in use, or being opened
        self._leaving: list[Session] = []  # to be closed politely
        self._wake_up = trio.Event()
        self._sleeps_until = math.inf  # when `run` looks next; it is woken only for what is earlier
        self._is_closed = False

    def open_count(self, target: Target) -> int:
        """How many sessions there are with the place of a target: idle, in use, or being opened."""
        return self._open[target.place]

    @property
    def idle_count(self) -> int:
        """How many sessions wait for a message."""
        return self._idle_count

    async def acquire(self, target: Target, terms: Terms) -> Session:
        """A session with a target on these terms: an idle one, else a new one. Raises HostFailed.

        The caller gives it back with `release`, whatever happened to it.
        """
        return self._take(target, terms) or await self._open_new(target, terms)

    async def _open_new(self, target: Target, terms: Terms) -> Session:
        from harakapy.outbound.session import Session  # the client side of SMTP: late, or with the first one

        place = target.place
        await enter_task()
        self._open[place] += 1
        try:
            return await Session.open(target, terms, self._facilities)
        except BaseException:  # it is raised again
            self._forget(place)
            raise

    def release(self, session: Session) -> None:
        """Give a session back: it is kept if it can be used again."""
        if not session.is_usable:
            self.discard(session)
        elif self._is_closed or session.messages_sent >= self.max_messages or self._is_full():
            self._let_go(session)
        else:
            now = trio.current_time()
            until = now + self.idle_s
            self._idle.setdefault(session.target.place, []).append(_Idle(session, now, until))
            self._idle_count += 1
            if until < self._sleeps_until:
                self._wake_up.set()

    def discard(self, session: Session) -> None:
        """Give a session back that is of no use any more: it is closed at once."""
        session.abort()
        self._forget(session.target.place)

    async def run(self) -> None:
        """Close what has been idle too long, until cancelled; at the end close everything that is idle."""
        try:
            while True:
                self._sleeps_until = self._next_end()
                with trio.move_on_at(self._sleeps_until):
                    await self._wake_up.wait()
                self._wake_up = trio.Event()
                self._collect(trio.current_time())
                await self._say_goodbye()
        finally:
            self.close()

    def close(self) -> None:
        """Close all idle sessions at once, without waiting for an answer, and later ones when released."""
        self._is_closed = True
        self._collect(math.inf)
        for session in self._leaving:
            session.abort()
            self._forget(session.target.place)
        self._leaving.clear()

    def _take(self, target: Target, terms: Terms) -> Session | None:
        """The idle session used last that fits and still stands."""
        stack = self._idle.get(target.place, [])
        for at in range(len(stack) - 1, -1, -1):
            session, since = stack[at].session, stack[at].since
            if session.target == target and session.terms == terms:
                self._remove(stack, at, target.place)
                if trio.current_time() - since < FRESH_S or session.is_fresh:
                    return session
                self.discard(session)
        return None

    def _remove(self, stack: list[_Idle], at: int, place: Place) -> None:
        del stack[at]
        self._idle_count -= 1
        if not stack:
            del self._idle[place]

    def _is_full(self) -> bool:
        return self._idle_count >= self.max_idle

    def _let_go(self, session: Session) -> None:
        self._leaving.append(session)
        self._wake_up.set()

    def _forget(self, place: Place) -> None:
        self._open[place] -= 1
        if not self._open[place]:
            del self._open[place]

    def _next_end(self) -> float:
        return min((idle.until for stack in self._idle.values() for idle in stack), default=math.inf)

    def _collect(self, now: float) -> None:
        """Take out what has been idle until now."""
        for place, stack in list(self._idle.items()):
            for at in range(len(stack) - 1, -1, -1):
                if stack[at].until <= now:
                    self._leaving.append(stack[at].session)
                    self._remove(stack, at, place)

    async def _say_goodbye(self) -> None:
        """Close what leaves, all at a time: each waits up to two seconds for its host."""
        leaving, self._leaving = self._leaving, []
        async with trio.open_nursery() as nursery:
            for session in leaving:
                nursery.start_soon(self._part, session)

    async def _part(self, session: Session) -> None:
        try:
            await session.close()
        finally:
            self._forget(session.target.place)
