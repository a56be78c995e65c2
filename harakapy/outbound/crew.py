"""Tasks that make deliveries, one after the other, and stay for the next one when there is none.

To begin a task and to end it costs much more than to go on with one that waits, and each needs a cancel scope
of its own to be shielded with. So some stay; how many is what a busy server has use for.

What a task does runs in a `Pump`: inline while it waits for replies and commits only, which is all that a
delivery over an open session to a known host waits for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from harakapy.net import Pump
from harakapy.outbound.turn import Start

__all__ = ["Crew"]

MAX_IDLE: Final = 50
"""Tasks that stay: some 5 kB each. Picked; what a server with more deliveries at a time begins anew is
little beside what keeps them waiting."""

Work = Callable[[Start, trio.CancelScope], Awaitable[Start | None]]
"""Makes a delivery in a scope that it may shield; gives the next one to make, if there is any.

It runs outside of the task until it says `harakapy.net.enter_task`, as it must before what waits otherwise.
"""


class Crew:
    """Gives each delivery to a task: to one that waits, else to a new one in the nursery."""

    def __init__(self, nursery: trio.Nursery, work: Work) -> None:
        self._nursery = nursery
        self._work = work
        self._idle: list[_Member] = []
        self._called: deque[_Member] = deque()  # no longer idle, and not told yet
        self._is_telling = False

    def begin(self, start: Start) -> None:
        """Have a delivery made: up to its first wait at once, if somebody is idle, else by a new task."""
        if not self._idle:
            self._nursery.start_soon(self._run, start)
            return
        member = self._idle.pop()
        member.start = start
        self._called.append(member)
        if self._is_telling:  # in the middle of another one's, which would grow into a pile
            return
        self._is_telling = True
        while self._called:
            self._called.popleft().pump.go_on()
        self._is_telling = False

    async def _run(self, start: Start) -> None:
        with trio.CancelScope() as scope:
            member = _Member(start)
            member.pump = Pump(self._make_deliveries(member, scope))
            await member.pump.run()

    async def _make_deliveries(self, member: _Member, scope: trio.CancelScope) -> None:
        pump = member.pump
        while True:
            start, member.start = member.start, None
            while start is not None:
                pump.leave_task()
                start = await self._work(start, scope)
            if len(self._idle) >= MAX_IDLE:
                return
            pump.leave_task()
            self._idle.append(member)
            await pump.wait_for(partial(self._excuse, member))

    def _excuse(self, member: _Member) -> bool:
        """Whether a member is cancelled while it is idle, so that no delivery is lost by it."""
        is_idle = member.start is None
        if is_idle:
            self._idle.remove(member)
        return is_idle


class _Member:
    """A task that makes deliveries, and what it is to begin next."""

    __slots__ = ("pump", "start")

    def __init__(self, start: Start) -> None:
        self.start: Start | None = start
        self.pump: Pump[None]
