"""Whatever hosts, the store, operators and the clock do, each recipient gets the mail once, or is reported.

Days pass in these scenarios, on a virtual clock; hosts are played where messages are carried to them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path
from random import Random
from typing import Any

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from harakapy import Server, Settings
from harakapy.log import silent_logger
from harakapy.mail.envelope import Envelope
from harakapy.net import enter_task
from harakapy.outbound.attempt import Answer, Phase
from harakapy.outbound.courier import Courier, Ending, Source
from harakapy.outbound.failure import Action, judge
from harakapy.outbound.hop import NextHop, Target
from harakapy.outbound.route import Route
from harakapy.queue import Selection, Store, StoreError, StoreFull, StoreUnavailable
from harakapy.queue.memory_store import MemoryStore
from harakapy.smtp import Reply
from tests.outbound.scene import EPOCH, MESSAGE

HOUR = 3600.0
SENDER = "me@sender.test"
"""Gets all the reports."""

TARGET = Target(NextHop(host="mx.test"), "mx.test", "192.0.2.1")
ANSWERS = (
    Answer(Phase.DOT, Reply(250, "taken", "2.0.0")),
    Answer(Phase.RCPT, Reply(450, "not now", "4.2.1")),
    Answer(Phase.RCPT, Reply(550, "nobody", "5.1.1")),
    Answer(Phase.MAIL, Reply(421, "too many", "4.7.0")),
    Answer(Phase.CONNECT, text="connection refused"),
    Answer(Phase.DOT, text="the connection was lost"),
    Answer(Phase.DOT, Reply(554, "spam", "5.7.1")),
)
METHODS = frozenset(Store.__abstractmethods__) - {"aclose"}


class Hosts(Courier):
    """Answers for all hosts, as the dice have it; sees that no recipient is tried twice at a time."""

    def __init__(self, dice: Random) -> None:
        self.delivered: Counter[str] = Counter()
        self.tried_at_once: set[str] = set()
        self._trying: set[str] = set()
        self._dice = dice
        self._tempers: dict[str, list[float]] = {}

    async def carry_from(
        self, source: Source, envelope: Envelope, route: Route, *, deliver_by: float | None = None
    ) -> list[Ending]:
        if self._dice.random() < 0.9:  # else the host does not answer
            await source()
        tried = {str(recipient.address) for recipient in envelope.rcpt_to} - {SENDER}
        self.tried_at_once |= tried & self._trying  # raised here, it would be a defect that puts mail off
        self._trying |= tried
        await enter_task()
        await trio.sleep(self._dice.choice([0.0, 0.5, 30.0, 1200.0]))
        self._trying -= tried
        if self._dice.random() < 0.03:
            raise self._dice.choice([OSError("no content"), RuntimeError("a defect")])
        return self._endings(envelope)

    def _endings(self, envelope: Envelope) -> list[Ending]:
        domain = envelope.rcpt_to[0].address.host
        if domain not in self._tempers or self._dice.random() < 0.1:
            self._tempers[domain] = [self._dice.random() ** 4 for _ in ANSWERS]
        endings = []
        for recipient in envelope.rcpt_to:
            (answer,) = self._dice.choices(ANSWERS, self._tempers[domain])
            judgement = judge(answer, has_more_hosts=False)
            if judgement.action is Action.DELIVERED:
                self.delivered[str(recipient.address)] += 1
            endings.append(Ending(judgement, answer, TARGET))
        return endings


def unreliable(store: Store, dice: Random, rate: float, reported: Counter[str]) -> Store:
    """A store of which any call fails now and then; it counts the failures that its reports tell of."""

    class Unreliable(type(store)):  # type: ignore[misc]  # the class of an object
        async def commit(self, message: Any, deliveries: Any, content: Any, *, settles: Any = None) -> None:
            await super().commit(message, deliveries, content, settles=settles)
            if settles is not None:
                reported.update(failures_in(b"".join(content.blocks())))

    def fails(name: str) -> Callable[..., Any]:
        async def call(self: Store, *arguments: Any, **named: Any) -> Any:
            await enter_task()
            await trio.lowlevel.checkpoint()
            if dice.random() < rate:
                raise dice.choice([StoreUnavailable, StoreFull])(f"{name} fails")
            return await getattr(super(failing, self), name)(*arguments, **named)

        return call

    failing: Any = type("Failing", (Unreliable,), {name: fails(name) for name in METHODS})
    store.__class__ = failing
    return store


def failures_in(report: bytes) -> list[str]:
    """Recipients that a report says have failed."""
    return [
        part["Final-Recipient"].partition("; ")[2]
        for part in message_from_bytes(report).walk()
        if part["Action"] == "failed"
    ]


class Scenario:
    """Some days of a server."""

    def __init__(self, seed: int, folder: Path, *, jumps: bool) -> None:
        self.dice = Random(seed)
        self.folder = folder
        self.hosts = Hosts(self.dice)
        self.reported: Counter[str] = Counter()
        self.accepted: list[str] = []
        self.clock_offset = EPOCH
        self._jumps = jumps
        self._is_over = False

    def now(self) -> float:
        return self.clock_offset + trio.current_time()

    async def run(self) -> None:
        store = unreliable(MemoryStore(), self.dice, self.dice.choice([0, 0.02, 0.2]), self.reported)
        settings = Settings.default(
            hostname="sender.test",
            state_dir=str(self.folder),
            listen=[],
            dns={"rdns": False},
            outbound={
                "relay_host": self.dice.choice([None, "smtp://relay.test"]),
                "route": [{"domains": ["*"], "to": "smtp://192.0.2.1"}],
                "max_age": self.dice.choice(["10m", "1d", "5d"]),
                "max_deliveries": self.dice.choice([1, 3, 200]),
                "max_connections_per_destination": self.dice.choice([1, 20]),
                "reports": {"max_per_hour": self.dice.choice([0, 3])},
            },
        )
        server = Server(settings, log=silent_logger(), store=store, clock=self.now)
        async with server.running(), trio.open_nursery() as nursery:
            works = None
            while works is None:
                try:
                    await server.outbound.open()
                    works = server.outbound.works
                except StoreError:
                    pass
            works.engine.attempts._courier = self.hosts
            nursery.start_soon(self._meddle, server)
            await self._send(server)
            self._is_over = True
            with trio.fail_after(60 * 24 * HOUR):
                while await self._left(store):  # noqa: ASYNC110  # nobody tells when it is empty
                    await trio.sleep(HOUR)
            nursery.cancel_scope.cancel()

    async def _send(self, server: Server) -> None:
        for number in range(self.dice.randint(1, 30)):
            domains = self.dice.choices(["a.test", "b.test", "c.test"], k=self.dice.randint(1, 4))
            recipients = [f"user{number}.{place}@{domain}" for place, domain in enumerate(domains)]
            try:
                await server.outbound.send(SENDER, recipients, MESSAGE)
            except StoreError:
                continue
            self.accepted += recipients
            await trio.sleep(self.dice.choice([0, 0, 1, HOUR]))

    async def _meddle(self, server: Server) -> None:
        """What operators do, and who sets the clock."""
        works = server.outbound.works
        assert works is not None
        while not self._is_over:
            await trio.sleep(self.dice.choice([1, 100, HOUR]))
            try:
                match self.dice.randrange(5):
                    case 0:
                        await works.store.flush(Selection(), now=self.now())
                        server.outbound.wake()
                    case 1:
                        await works.engine.withdraw(Selection(domain="a.test"))
                    case 2:
                        works.try_all_again(trio.current_time())
                    case 3:
                        await works.store.hold(Selection())
                        await trio.sleep(self.dice.choice([1, HOUR]))
                        await works.store.release(Selection())
                    case 4 if self._jumps:
                        self.clock_offset += self.dice.choice([-1, 1]) * self.dice.choice(
                            [10, 1000, 40 * HOUR]
                        )
            except StoreError:
                pass
        while True:  # what is held must not stay so
            try:
                await works.store.release(Selection())
            except StoreError:
                continue
            return

    async def _left(self, store: Store) -> int:
        try:
            return (await store.count(Selection())).recipients
        except StoreError:
            return 1


def check(seed: int, folder: Path, *, jumps: bool) -> None:
    """Play a scenario, and see what became of each recipient."""
    scenario = Scenario(seed, folder, jumps=jumps)
    trio.run(scenario.run, clock=trio.testing.MockClock(autojump_threshold=0))
    assert not scenario.hosts.tried_at_once
    ends = scenario.hosts.delivered + scenario.reported
    del ends[SENDER]
    assert ends == Counter(scenario.accepted)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_each_recipient_gets_the_mail_once_or_its_sender_one_report(seed: int, tmp_path_factory: Any) -> None:
    check(seed, tmp_path_factory.mktemp("state"), jumps=False)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_that_holds_when_the_clock_is_set_forward_and_back(seed: int, tmp_path_factory: Any) -> None:
    check(seed, tmp_path_factory.mktemp("state"), jumps=True)
