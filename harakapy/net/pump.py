"""A coroutine that runs where its octets arrive.

Theory of operation. A dialogue consists of small answers to small questions, and most need no waiting at all.
To wake a task for each is most of the work then: the scheduler, the context, the way down a stack of
coroutines. So the coroutine of a dialogue is not the task's own. It is an object of its own, with two places
to run at:

- *in its task*, which is the ordinary case: whatever it awaits is handed on to trio;
- *inline*: while it waits for octets, or for work that is under way elsewhere, such as a commit, the task is
  parked. The poller, or who does the work, goes on with the coroutine itself, up to its next wait.

Code that runs inline must not await anything of trio's: it has no task. So before it does, it says
``await enter_task()``, which moves it there if need be, and nothing else happens. From then on it stays in
its task, until ``leave_task()`` allows it to leave at its next wait for octets. That must not be within a
cancel scope or a nursery, which belong to the task that has opened them. Both may be said anywhere, and mean
nothing where no pump runs the code.

In both places it runs in the context (contextvars) of its task. A cancellation of the task reaches it at its
wait for octets, as it would otherwise. Work is given up for it only if that is possible and the pump not
``is_shielded``; else the cancellation is due at the next wait. What it raises inline comes out of `run`, in
the task.
"""

from __future__ import annotations

import enum
import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, Final, Generic, TypeVar, cast

import trio
from trio.lowlevel import Abort, RaiseCancelT, Task, current_task, reschedule, wait_task_rescheduled

_Result = TypeVar("_Result")


class _Wait(enum.Enum):
    """What the coroutine says to whoever runs it; everything else it yields is for trio."""

    OUTSIDE = "go on when octets have come, or work is done"
    TASK = "go on in the task"


# Looked up for each wait: a member of an Enum takes longer than a name of the module.
_OUTSIDE: Final = _Wait.OUTSIDE
_TASK: Final = _Wait.TASK

running: Pump[Any] | None = None
"""The pump whose coroutine runs now, inline or in its task; None for all that no pump runs."""


def current_pump() -> Pump[Any] | None:
    """The pump whose coroutine runs now, inline or in its task; None for all that no pump runs."""
    return running


def inline_pump() -> Pump[Any] | None:
    """The pump whose coroutine runs inline now; None for everything that runs in a task."""
    return running if running is not None and running.is_inline else None


async def enter_task() -> None:
    """Have what follows run in a task, wherever it runs now: to be said before anything of trio's."""
    if running is not None:
        await running.enter_task()


def leave_task() -> None:
    """Allow what follows to run inline from its next wait on, if a pump runs it: see `Pump.leave_task`."""
    if running is not None:
        running.leave_task()


class Pump(Generic[_Result]):
    """Runs one coroutine. ``is_in_task`` tells that it must stay in its task, ``is_inline`` where it runs.

    While it ``is_shielded`` no cancellation of its task has work given up, and only `cancel` does.
    """

    __slots__ = (
        "_context", "_coroutine", "_error", "_give_up", "_has_ended", "_is_cancel_due", "_is_done", "_result",
        "_task", "_wait", "is_in_task", "is_inline", "is_shielded",
    )  # fmt: skip

    def __init__(self, coroutine: Coroutine[Any, Any, _Result]) -> None:
        self._coroutine = coroutine
        self._context: Context | None = None
        self._has_ended = False  # inline; then one of the next two counts
        self._result: _Result | None = None
        self._error: BaseException | None = None
        self._task: Task | None = None  # while it is parked
        self._wait = _TASK  # what the coroutine waited for when the task was woken
        self._give_up: Callable[[], bool] | None = None  # while it waits for work
        self._is_cancel_due = False  # it was refused while there was work to wait for
        self._is_done = False  # the work, while the task was on its way to tell of a cancellation
        self.is_in_task = True
        self.is_inline = False
        self.is_shielded = False

    async def run(self) -> _Result:
        """Run the coroutine to its end in the calling task, and give what it returns. Called once."""
        global running  # there is one event loop in a process
        coroutine = self._coroutine
        self._context = current_task().context
        go_on: Callable[[Any], Any] = coroutine.send
        what: object = None
        wait: Any = _TASK
        try:
            while True:
                try:
                    if wait is _OUTSIDE and not self._is_done:
                        self._task, self._is_cancel_due = current_task(), False
                        await wait_task_rescheduled(self._unpark)
                        wait = self._wait
                        if wait is _OUTSIDE and not self._has_ended:  # a cancellation is due
                            continue
                    elif wait is not _OUTSIDE and wait is not _TASK:
                        what = await _hand_on(wait)
                except BaseException as error:  # noqa: BLE001  # a cancellation too is the coroutine's
                    if self._must_wait():
                        continue
                    go_on, what = coroutine.throw, error
                if self._has_ended:
                    break
                self._is_done = False
                outer, running = running, self
                try:
                    wait = go_on(what)
                except StopIteration as stop:
                    self._result = stop.value
                    break
                finally:
                    running = outer
                go_on, what = coroutine.send, None
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
        yield _OUTSIDE

    @types.coroutine
    def wait_for(self, give_up: Callable[[], bool]) -> Generator[_Wait, None, None]:
        """Wait for work after which `go_on` is called; ``give_up`` drops it, and tells whether it could.

        Raises trio.Cancelled or trio.TooSlowError if it was given up.
        """
        self._give_up = give_up
        try:
            yield _OUTSIDE
        finally:
            self._give_up = None

    def go_on(self) -> None:
        """Octets have come, or work is done: run the coroutine inline to its next wait. Raises nothing."""
        if self._task is not None:
            self._run_inline(self._coroutine.send, None)
        elif self._give_up is not None:  # it was cancelled, and its task is about to tell it
            self._is_done = True

    def cancel(self) -> None:
        """Raise trio.TooSlowError in the coroutine if it waits for work that can be given up."""
        if self._task is not None and self._give_up is not None and self._give_up():
            self._run_inline(self._coroutine.throw, trio.TooSlowError())

    def _run_inline(self, resume: Callable[[Any], Any], what: object) -> None:
        global running  # as in `run`
        outer, running = running, self
        self.is_inline = True
        assert self._context is not None, "it has a task"
        try:
            wait = self._context.run(resume, what)
            if wait is not _OUTSIDE and wait is not _TASK:
                wait = self._context.run(self._coroutine.throw, _NotInTask(wait))
            if wait is _OUTSIDE and not self._is_cancel_due:
                return
            self._wait = wait
        except StopIteration as stop:
            self._has_ended, self._result = True, stop.value
        except BaseException as error:  # noqa: BLE001  # raised in the task
            self._has_ended, self._error = True, error
        finally:
            running = outer
            self.is_inline = False
        if self._task is not None:
            task, self._task = self._task, None
            reschedule(task)

    def _unpark(self, _: RaiseCancelT) -> Abort:
        if self._must_wait():
            self._is_cancel_due = True
            return Abort.FAILED
        self._task = None
        return Abort.SUCCEEDED

    def _must_wait(self) -> bool:
        """Whether a cancellation comes while there is work to wait for; else that is given up."""
        if self._give_up is None or self._has_ended:
            return False
        if self._is_done or self.is_shielded or not self._give_up():
            return True
        self._give_up = None
        return False


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
