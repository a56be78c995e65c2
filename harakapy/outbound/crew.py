"""Tasks that make deliveries, one after the other, and stay for the next one when there is none.

To begin a task and to end it costs twice what it costs to wake one that waits, and each needs a cancel scope
of its own to be shielded with. So some stay; how many is what a busy server has use for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from harakapy.outbound.turn import Start

__all__ = ["Crew"]

MAX_IDLE: Final = 50
"""Tasks that stay: some 5 kB each. Picked; what a server with more deliveries at a time begins anew is
little beside what keeps them waiting."""

Work = Callable[[Start, trio.CancelScope], Awaitable[Start | None]]
"""Makes a delivery in a scope that it may shield; gives the next one to make, if there is any."""


class Crew:
    """Gives each delivery to a task: to one that waits, else to a new one in the nursery."""

    def __init__(self, nursery: trio.Nursery, work: Work) -> None:
        self._nursery = nursery
        self._work = work
        self._idle: list[_Idle] = []

    def begin(self, start: Start) -> None:
        """Have a delivery made, from the next step of the event loop on."""
        if self._idle:
            idle = self._idle.pop()
            idle.start = start
            trio.lowlevel.reschedule(idle.task)
        else:
            self._nursery.start_soon(self._run, start)

    async def _run(self, start: Start) -> None:
        with trio.CancelScope() as scope:
            while True:
                following: Start | None = start
                while following is not None:
                    following = await self._work(following, scope)
                if len(self._idle) >= MAX_IDLE:
                    return
                start = await self._next()

    async def _next(self) -> Start:
        """What `begin` has for this task. If cancelled here nothing is lost."""
        idle = _Idle(trio.lowlevel.current_task())
        self._idle.append(idle)

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            self._idle.remove(idle)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        assert idle.start is not None, "only `begin` wakes this task"
        return idle.start


class _Idle:
    """A task that waits, and what it is woken for."""

    __slots__ = ("start", "task")

    def __init__(self, task: trio.lowlevel.Task) -> None:
        self.task = task
        self.start: Start | None = None
