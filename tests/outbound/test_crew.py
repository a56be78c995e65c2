from collections.abc import Sequence
from typing import cast

import trio
import trio.testing

from harakapy.net import enter_task
from harakapy.outbound.crew import MAX_IDLE, Crew
from harakapy.outbound.turn import Start


def starts(count: int) -> Sequence[Start]:
    """Distinct things to begin; what is in them is nobody's business here."""
    return [cast(Start, object()) for _ in range(count)]


class Diary:
    """Work that notes what it did in which task, and ends when it is told."""

    def __init__(self) -> None:
        self.made: list[Start] = []
        self.tasks: set[trio.lowlevel.Task] = set()
        self.may_end = trio.Event()
        self.following: dict[Start, Start] = {}

    async def make(self, start: Start, scope: trio.CancelScope) -> Start | None:
        self.made.append(start)
        await enter_task()
        self.tasks.add(trio.lowlevel.current_task())
        await self.may_end.wait()
        return self.following.get(start)


async def test_each_start_is_made_once_and_at_the_same_time_as_others(nursery: trio.Nursery) -> None:
    diary = Diary()
    crew, wanted = Crew(nursery, diary.make), starts(3)
    for start in wanted:
        crew.begin(start)
    await trio.testing.wait_all_tasks_blocked()
    assert set(diary.made) == set(wanted)
    assert len(diary.tasks) == 3


async def test_a_task_that_is_done_makes_the_next_start(nursery: trio.Nursery) -> None:
    diary = Diary()
    crew = Crew(nursery, diary.make)
    diary.may_end.set()
    for start in starts(5):
        crew.begin(start)
        await trio.testing.wait_all_tasks_blocked()
    assert len(diary.made) == 5
    assert len(diary.tasks) == 1


async def test_what_follows_is_made_by_the_same_task(nursery: trio.Nursery) -> None:
    diary = Diary()
    first, second = starts(2)
    diary.following[first] = second
    diary.may_end.set()
    Crew(nursery, diary.make).begin(first)
    await trio.testing.wait_all_tasks_blocked()
    assert diary.made == [first, second]
    assert len(diary.tasks) == 1


async def test_no_more_tasks_stay_than_a_busy_server_has_use_for(nursery: trio.Nursery) -> None:
    diary = Diary()
    crew = Crew(nursery, diary.make)
    for start in starts(MAX_IDLE + 10):
        crew.begin(start)
    await trio.testing.wait_all_tasks_blocked()
    diary.may_end.set()
    await trio.testing.wait_all_tasks_blocked()
    assert len(nursery.child_tasks) == MAX_IDLE


async def test_tasks_that_wait_end_with_their_nursery() -> None:
    diary = Diary()
    diary.may_end.set()
    async with trio.open_nursery() as nursery:
        crew = Crew(nursery, diary.make)
        crew.begin(starts(1)[0])
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert len(diary.made) == 1


async def test_a_task_that_was_woken_when_all_ends_does_not_keep_it_alive() -> None:
    diary = Diary()
    diary.may_end.set()
    async with trio.open_nursery() as nursery:
        crew = Crew(nursery, diary.make)
        crew.begin(starts(1)[0])
        await trio.testing.wait_all_tasks_blocked()
        diary.may_end = trio.Event()
        crew.begin(starts(1)[0])
        nursery.cancel_scope.cancel()
    assert len(diary.made) == 2


async def test_one_that_is_called_when_all_ends_does_not_keep_it_alive() -> None:
    diary = Diary()
    diary.may_end.set()
    first, last = starts(2)
    async with trio.open_nursery() as nursery:
        crew = Crew(nursery, diary.make)

        def call() -> None:
            if crew._idle:  # unless its task came first
                crew.begin(last)

        async def cancel(start: Start, scope: trio.CancelScope) -> Start | None:
            if start is first:  # outside of its task
                nursery.cancel_scope.cancel()
                trio.lowlevel.current_trio_token().run_sync_soon(call)
                return None
            return await diary.make(start, scope)

        crew.begin(starts(1)[0])
        await trio.testing.wait_all_tasks_blocked()
        crew._work = cancel
        crew.begin(first)
    assert set(diary.made) - {last} == set(diary.made[:1])
