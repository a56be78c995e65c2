"""Requests to schedule in tests, and a world in which they take time."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from harakapy.outbound.concurrency import Feedback
from harakapy.outbound.schedule import Schedule
from harakapy.outbound.turn import Admission, Start, Wait
from harakapy.queue import DeliveryRequest, deliveries_to
from tests.queue.samples import MINE, NOW, message, recipient

_users = count()


def request(destination: str, *, recipients: int = 1, priority: int = 0) -> DeliveryRequest:
    """A claimed request with recipients nobody else has."""
    queued = message(priority=priority)
    people = [recipient(f"user{next(_users)}@{destination}") for _ in range(recipients)]
    return DeliveryRequest(
        queued, deliveries_to(queued.id, people, due=NOW, local_domain="example.net", lease=MINE)
    )


def starts(schedule: Schedule, now: float, *, hanging: bool = False) -> list[Start]:
    """Everything that may start now; hosts answer at once, unless they hang."""
    found = []
    while isinstance(start := schedule.next(now), Start):
        found.append(start)
        if not hanging:
            schedule.answered(start, now)
    return found


def wait(schedule: Schedule, now: float) -> float | None:
    """How long nothing can start, which must be the case."""
    answer = schedule.next(now)
    assert isinstance(answer, Wait)
    return answer.until


class World:
    """Runs a schedule in time of its own: deliveries take as long as told, and end as told.

    ``behaviour`` gives for a destination and a time how long a delivery takes and what it says. Hosts answer
    at once, but for those that are dead, which never do.
    """

    def __init__(
        self, schedule: Schedule, behaviour: Callable[[str, float], tuple[float, Feedback]], now: float = 0.0
    ) -> None:
        self.schedule = schedule
        self.now = now
        self.started: list[tuple[float, str]] = []
        self.ended: list[tuple[float, str, Feedback]] = []
        self._behaviour = behaviour
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = count()
        self._plans: dict[Start, tuple[float, Feedback]] = {}

    def at(self, time: float, act: Callable[[], None]) -> None:
        """Do something later."""
        heappush(self._events, (time, next(self._serial), act))

    def offer(self, destination: str, *, at: float) -> None:
        """Let a message for a destination come in."""
        self.at(at, lambda: self._offer(destination))

    def run(self, until: float) -> None:
        """Let time pass."""
        while True:
            wake = self._start_all()
            at = min(self._events[0][0] if self._events else until, until if wake is None else wake)
            if at >= until:
                self.now = until
                return
            self.now = max(self.now, at)
            while self._events and self._events[0][0] <= self.now:
                heappop(self._events)[2]()

    def _offer(self, destination: str) -> None:
        self.schedule.offer(request(destination), self.now)

    def _start_all(self) -> float | None:
        while not isinstance(answer := self.schedule.next(self.now), Wait):
            if isinstance(answer, Admission):
                self._work(answer.start)
                continue
            self.started.append((self.now, answer.destination))
            takes_s, feedback = self._behaviour(answer.destination, self.now)
            self._plans[answer] = takes_s, feedback
            if feedback is Feedback.DEAD or self.schedule.answered(answer, self.now):
                self._work(answer)
        return answer.until

    def _work(self, start: Start) -> None:
        takes_s, feedback = self._plans.pop(start)
        self.at(self.now + takes_s, self._end(start, feedback))

    def _end(self, start: Start, feedback: Feedback) -> Callable[[], None]:
        def end() -> None:
            self.ended.append((self.now, start.destination, feedback))
            if self.schedule.finished(start, feedback, self.now) and feedback is Feedback.DEAD:
                for each in self.schedule.withdraw(start.destination, self.now):
                    back = self.schedule.blocked(self.now)[start.site]
                    self.at(back, lambda each=each: self._again(each))  # type: ignore[misc]
            if feedback is not Feedback.HEALTHY:
                self.at(self.now + 300, lambda: self._again(start.request))

        return end

    def _again(self, each: DeliveryRequest) -> None:
        self.schedule.offer(each, self.now)
