"""A coroutine that runs where its octets arrive.

Theory of operation. A dialogue consists of small answers to small questions, and most need no waiting at all.
To wake a task for each is most of the work then: the scheduler, the context, the way down a stack of
coroutines. So the coroutine of a connection is not the connection's task. It is an object of its own, with
two places to run at:

- *in its task*, which is the ordinary case: whatever it awaits is handed on to trio; - *inline*: while it
waits for octets, and nothing else, the task is parked, and the poller itself goes on with
  the coroutine when they have come, up to the next wait for octets.

Code that runs inline must not await anything of trio's: it has no task. So before it does, it says
``await pump.enter_task()``, which moves it there if need be, and nothing else happens. From then on it stays
in its task, until ``leave_task()`` allows it to leave at its next wait for octets. That must not be within a
cancel scope or a nursery, which belong to the task that has opened them.

In both places it runs in the context (contextvars) of its task. A cancellation of the task reaches it at its
wait for octets, as it would otherwise. What it raises inline comes out of `run`, in the task.
"""

from __future__ import annotations

import enum
import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, Final, Generic, TypeVar, cast

from trio.lowlevel import Abort, RaiseCancelT, Task, current_task, reschedule, wait_task_rescheduled

_Result = TypeVar("_Result")


class _Wait(enum.Enum):
    """What the coroutine says to whoever runs it; everything else it yields is for trio."""

    OCTETS = "go on when octets have come"
    TASK = "go on in the task"


# Looked up for each wait: a member of an Enum takes longer than a name of the module.
_OCTETS: Final = _Wait.OCTETS
_TASK: Final = _Wait.TASK


class Pump(Generic[_Result]):
    """Runs one coroutine. ``is_in_task`` tells that it must stay in its task for now."""

    __slots__ = ("_context", "_coroutine", "_error", "_has_ended", "_result", "_task", "is_in_task")

    def __init__(self, coroutine: Coroutine[Any, Any, _Result]) -> None:
        self._coroutine = coroutine
        self._context: Context | None = None
        self._has_ended = False  # inline; then one of the next two counts
        self._result: _Result | None = None
        self._error: BaseException | None = None
        self._task: Task | None = None  # while it is parked
        self.is_in_task = True

    async def run(self) -> _Result:
        """Run the coroutine to its end in the calling task, and give what it returns. Called once."""
        coroutine = self._coroutine
        self._context = current_task().context
        go_on: Callable[[Any], Any] = coroutine.send
        what: object = None
        try:
            while True:
                try:
                    wait = go_on(what)
                except StopIteration as stop:
                    self._result = stop.value
                    break
                go_on, what = coroutine.send, None
                if wait is _TASK:
                    continue
                try:
                    if wait is not _OCTETS:
                        what = await _hand_on(wait)
                        continue
                    self._task = current_task()
                    await wait_task_rescheduled(self._unpark)
                except BaseException as error:  # noqa: BLE001  # a cancellation too is the coroutine's
                    go_on, what = coroutine.throw, error
                if self._has_ended:
                    break
        finally:
            coroutine.close()
            self.is_in_task = True
        if self._error is not None:
            raise self._error
        return cast(_Result, self._result)

    async def enter_task(self) -> None:
        """Have what follows run in the task, where it may await what trio offers, until `leave_task`."""
        if not self.is_in_task:
            self.is_in_task = True
            await _yield(_TASK)

    def leave_task(self) -> None:
        """Let the coroutine run inline from its next wait for octets on."""
        self.is_in_task = False

    @types.coroutine
    def wait_octets(self) -> Generator[_Wait, None, None]:
        """Wait until somebody calls `go_on`; for the coroutine alone, unless it must stay in its task."""
        yield _OCTETS

    def go_on(self) -> None:
        """Octets have come: run the coroutine inline, up to its next wait. Raises nothing."""
        task = self._task
        if task is None:  # it was cancelled, and its task is about to tell it
            return
        assert self._context is not None, "it has a task"
        try:
            wait = self._context.run(self._coroutine.send, None)
            if wait is _OCTETS:
                return
            if wait is not _TASK:
                wait = self._context.run(self._coroutine.throw, _NotInTask(wait))
        except StopIteration as stop:
            self._has_ended, self._result = True, stop.value
        except BaseException as error:  # noqa: BLE001  # raised in the task
            self._has_ended, self._error = True, error
        if self._task is not None:
            self._task = None
            reschedule(task)

    def _unpark(self, _: RaiseCancelT) -> Abort:
        self._task = None
        return Abort.SUCCEEDED


class _NotInTask(RuntimeError):
    """Something of trio's was awaited without `Pump.enter_task`: a defect of ours."""

    def __init__(self, trap: object) -> None:
        super().__init__(f"awaited outside of the connection's task: {trap!r}")


@types.coroutine
def _yield(wait: _Wait) -> Generator[_Wait, None, None]:
    yield wait


@types.coroutine
def _hand_on(trap: Any) -> Generator[Any, Any, Any]:
    return (yield trap)
