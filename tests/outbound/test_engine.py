"""The engine between the store and the schedule: what it has in hand, gives back, renews and reports."""

from __future__ import annotations

import math
import resource
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
import trio
import trio.testing

from harakapy import DENY, Plugin, Reply, hookimpl
from harakapy.mail import Content
from harakapy.mail.envelope import Envelope
from harakapy.mail.status import NO_ANSWER
from harakapy.net import enter_task
from harakapy.outbound.attempt import Answer, Phase
from harakapy.outbound.courier import Courier, Ending, Source
from harakapy.outbound.engine import POLL_S
from harakapy.outbound.failure import judge
from harakapy.outbound.route import Route
from harakapy.outbound.turn import ScheduleLimits
from harakapy.outbound.works import MAX_CALLS, calls_within
from harakapy.queue import Selection, StoreUnavailable
from harakapy.queue.memory_store import MemoryStore
from tests.outbound.scene import MESSAGE, NOWHERE, Mailbox, Relaying, receiving, sending, wall_clock
from tests.queue.samples import MINE, YOURS, claim_all, message, put


class Kept(MemoryStore):
    """Outlives a server."""

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class Hosts(Courier):
    """All but one hang until the time-out; that one takes mail at once."""

    def __init__(self) -> None:
        self.taken: list[float] = []
        self.hanging = 0

    async def carry_from(
        self, source: Source, envelope: Envelope, route: Route, *, deliver_by: float | None = None
    ) -> list[Ending]:
        if envelope.rcpt_to[0].address.host == "well.example":
            await source()
            self.taken.append(trio.current_time())
            answer = Answer(Phase.DOT, Reply(250, "taken", "2.0.0"))
        else:
            self.hanging += 1
            await trio.sleep(30)
            self.hanging -= 1
            answer = Answer(Phase.CONNECT, text="no answer within 30 s", status=NO_ANSWER)
        return [Ending(judge(answer, has_more_hosts=False), answer)] * len(envelope.rcpt_to)


class Addresses(Plugin):
    """Every domain has a host of its own."""

    @hookimpl
    def hook_get_mx(self, domain: str) -> str:
        number = int(domain.partition(".")[0].removeprefix("hanging") or 0) if domain[0] == "h" else 5000
        return f"smtp://10.0.{number // 250}.{number % 250 + 1}"


async def test_a_thousand_hosts_that_hang_do_not_hold_up_one_of_which_nothing_is_known(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    hosts = Hosts()
    async with sending(tmp_path, Addresses()) as server:
        await server.outbound.open()
        works = server.outbound.works
        assert works is not None
        works.engine.attempts._courier = hosts
        works.schedule.reconfigure(ScheduleLimits(max_deliveries=10, max_calls=MAX_CALLS), 0)
        for _ in range(4):
            for number in range(1000):
                await server.outbound.send("me@example.org", f"you@hanging{number}.example", MESSAGE)
        await trio.sleep(1)
        assert (hosts.hanging, works.schedule.calls) == (1000, 1000)
        began = trio.current_time()
        for _ in range(30):
            await server.outbound.send("me@example.org", "you@well.example", MESSAGE)
        await trio.sleep(1)
        assert len(hosts.taken) == 30
        assert trio.current_time() - began <= 1
        assert hosts.hanging == 1000, "and still none of them has failed"


@pytest.mark.parametrize(
    ("descriptors", "calls"),
    [(64, 20), (1024, 256), (4096, 1024), (524_288, MAX_CALLS), (resource.RLIM_INFINITY, MAX_CALLS)],
)
def test_there_are_no_more_calls_than_there_are_descriptors_for(descriptors: int, calls: int) -> None:
    assert calls_within(descriptors) == calls


async def reports_in(relaying: Relaying, count: int) -> None:
    """Wait until so many reports were stored."""
    with trio.fail_after(5):
        while sum(b"multipart/report" in stored for stored in relaying.stored) < count:  # noqa: ASYNC110
            await trio.sleep(0.02)


async def test_each_failure_is_reported_soon_also_those_close_behind_another(tmp_path: Path) -> None:
    relaying = Relaying(gone=DENY("5.1.1 nobody here"), back=NOWHERE)
    async with sending(tmp_path, relaying, outbound={"reports": {"collect": "0.3s"}}) as server:
        for _ in range(3):
            await server.outbound.send("me@back.example", "you@gone.example", MESSAGE)
            await trio.sleep(0.1)
        await reports_in(relaying, 3)


async def test_reports_that_another_process_has_left_are_sent_soon(tmp_path: Path) -> None:
    relaying = Relaying(gone=DENY("5.1.1 nobody here"), back=NOWHERE)
    store = Kept()
    terms = {"reports": {"collect": "0.5s"}}
    async with sending(tmp_path, relaying, store=store, outbound=terms) as server:
        await server.outbound.send("me@back.example", "you@gone.example", MESSAGE)
        await trio.testing.wait_all_tasks_blocked()
    assert len(relaying.stored) == 1
    async with sending(tmp_path, relaying, store=store, outbound=terms) as server:
        await server.outbound.open()
        await reports_in(relaying, 1)


DAY = 86400.0


class Asked(MemoryStore):
    """Counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.next_dues = self.looks = 0

    async def next_due(self, *, after: float = -math.inf) -> float | None:
        self.next_dues += 1
        return await super().next_due(after=after)

    async def due_destinations(self, now: float, *, limit: int, after: str = "") -> tuple[str, ...]:
        self.looks += 1
        return await super().due_destinations(now, limit=limit, after=after)


async def test_an_idle_engine_asks_the_store_one_thing_now_and_then(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    store = Asked()
    async with sending(tmp_path, store=store) as server:
        await server.outbound.open()
        await trio.sleep(DAY)
        assert store.next_dues <= DAY / POLL_S + 2
        assert store.looks == 0


class Read(Kept):
    """Tells how contents are read; by one look, only if it can give them so."""

    def __init__(self, *, gives_at_once: bool) -> None:
        super().__init__()
        self.gives_at_once = gives_at_once
        self.looks: list[list[str]] = []
        self.opened: list[str] = []

    async def contents(self, message_ids: Collection[str]) -> dict[str, Content]:
        self.looks.append(sorted(message_ids))
        if not self.gives_at_once:
            raise StoreUnavailable("not now")
        return await super().contents(message_ids)

    async def open_content(self, message_id: str) -> Content:
        self.opened.append(message_id)
        return await super().open_content(message_id)


@pytest.mark.parametrize("gives_at_once", [True, False])
async def test_contents_of_what_another_process_has_queued_are_read_by_one_look(
    tmp_path: Path, gives_at_once: bool
) -> None:
    mailbox, store = Mailbox(), Read(gives_at_once=gives_at_once)
    names = ["A", "B", "C"]
    for name in names:
        await put(store, "you@well.example", "you@other.example", queued=message(name))
    async with (
        receiving(tmp_path, mailbox) as hop,
        sending(tmp_path, Relaying(well=hop, other=hop), store=store) as server,
    ):
        await server.outbound.open()
        mails = await mailbox.wait_for(6)
        assert [each.content.partition(b"\r\n\r\n")[2] for each in mails] == [b"body\r\n"] * 6
        assert store.looks == [names, names], "once for each destination"
        assert sorted(store.opened) == ([] if gives_at_once else sorted(names * 2))


async def test_contents_of_what_was_tried_before_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    mailbox, store = Mailbox(), Read(gives_at_once=True)
    (delivery,) = await put(store, "you@well.example")
    for lease in (MINE, YOURS):  # of processes that died
        await claim_all(store, "well.example", lease)
        await store.release_leases(lease.owner)
    async with (
        receiving(tmp_path, mailbox) as hop,
        sending(tmp_path, Relaying(well=hop), store=store) as server,
    ):
        await server.outbound.open()
        await mailbox.wait_for(1)
    assert (store.looks, store.opened) == ([], [delivery.message_id])


class Slow(Courier):
    """Delivers once it may; ``hosts`` are those of the recipients of what has begun."""

    def __init__(self) -> None:
        self.may_end = trio.Event()
        self.hosts: list[str] = []

    async def carry_from(
        self, source: Source, envelope: Envelope, route: Route, *, deliver_by: float | None = None
    ) -> list[Ending]:
        await enter_task()
        self.hosts.append(envelope.rcpt_to[0].address.host)
        await self.may_end.wait()
        answer = Answer(Phase.DOT, Reply(250, "taken", "2.0.0"))
        return [Ending(judge(answer, has_more_hosts=False), answer)]


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that happens in a moment."""
    with trio.fail_after(5):
        while not is_so():  # noqa: ASYNC110  # nobody tells of it
            await trio.sleep(0.01)


class Asleep(Plugin):
    """All domains have the same host, which is told when it may be."""

    def __init__(self) -> None:
        super().__init__()
        self.may_tell = trio.Event()

    @hookimpl
    async def hook_get_mx(self) -> str:
        await self.may_tell.wait()
        return "smtp://10.0.0.1"


async def test_what_waits_beside_a_call_begins_when_its_host_turns_out_to_be_known(tmp_path: Path) -> None:
    asleep, hosts, slow = Asleep(), Hosts(), Slow()
    async with sending(tmp_path, asleep) as server:
        await server.outbound.open()
        works = server.outbound.works
        assert works is not None
        works.engine.attempts._courier = hosts
        asleep.may_tell.set()
        await server.outbound.send("me@example.org", "you@well.example", MESSAGE)
        await until(lambda: len(hosts.taken) == 1)
        works.engine.attempts._courier = slow
        asleep.may_tell = trio.Event()
        for _ in range(2):
            await server.outbound.send("me@example.org", "you@other.example", MESSAGE)
        await until(lambda: len(works.schedule.in_hand()) == 2)
        await trio.testing.wait_all_tasks_blocked()
        assert (works.schedule.running, slow.hosts) == (1, [])
        asleep.may_tell.set()
        await until(lambda: len(slow.hosts) == 2)
        slow.may_end.set()


async def test_contents_of_what_an_operator_takes_away_are_not_kept(tmp_path: Path) -> None:
    slow = Slow()
    async with sending(tmp_path, Addresses()) as server:
        await server.outbound.open()
        works = server.outbound.works
        assert works is not None
        works.engine.attempts._courier = slow
        works.schedule.reconfigure(ScheduleLimits(max_deliveries=1, max_calls=1), 0)
        sent = {
            host: await server.outbound.send("me@example.org", f"you@{host}", MESSAGE)
            for host in ("hanging1.example", "hanging2.example")
        }
        kept = works.engine._kept
        await until(lambda: bool(slow.hosts) and all(map(kept.get, sent.values())))
        await works.engine.withdraw(Selection())
        assert kept.get(sent.pop(slow.hosts[0])) is not None
        assert [kept.get(message_id) for message_id in sent.values()] == [None]
        slow.may_end.set()


class Settable:
    """A wall clock that can be set."""

    def __init__(self) -> None:
        self.set_by = 0.0

    def __call__(self) -> float:
        return wall_clock() + self.set_by


@pytest.mark.parametrize("by_s", [30 * DAY, -30 * DAY])
async def test_a_clock_that_is_set_makes_no_mail_old_and_keeps_none_waiting(
    by_s: float, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    clock, relaying, store = Settable(), Relaying(example=NOWHERE), Kept()
    silent = {"delay_warning": 0}
    async with sending(tmp_path, relaying, store=store, clock=clock, outbound=silent) as server:
        await server.outbound.send("me@example.org", "you@example.com", MESSAGE)
        await trio.sleep(DAY)
        tries = len(relaying.deferrals)
        clock.set_by += by_s
        await trio.sleep(DAY)
        assert tries + 20 < len(relaying.deferrals) < tries + 30
        assert not relaying.bounces
        (request,) = (await store.select(Selection(recipient="you@example.com"), limit=1)).requests
        assert clock() - request.message.arrived == pytest.approx(2 * DAY, abs=60)
    async with sending(tmp_path, relaying, store=store, clock=clock, outbound=silent) as server:
        await server.outbound.open()
        await trio.sleep(2.9 * DAY)
        assert not relaying.bounces
        await trio.sleep(0.2 * DAY)
        assert len(relaying.bounces) == 1


async def test_an_attempt_during_which_the_clock_is_set_is_not_the_last(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    class Slow(Plugin):
        @hookimpl
        async def hook_get_mx(self) -> str:
            await trio.sleep(25)
            clock.set_by += 30 * DAY
            server.outbound.wake()
            await trio.sleep(4)
            return NOWHERE

    clock, relaying = Settable(), Relaying()
    async with sending(tmp_path, Slow(), relaying, clock=clock) as server:
        await server.outbound.send("me@example.org", "you@example.com", MESSAGE)
        await trio.sleep(60)
        assert len(relaying.deferrals) == 1
        assert relaying.deferrals[0].delay_s < 1000
        assert not relaying.bounces


async def test_a_message_that_waits_in_hand_while_the_clock_is_set_is_tried_as_before(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    class Slow(Plugin):
        @hookimpl
        async def hook_get_mx(self) -> str:
            await trio.sleep(20)
            return NOWHERE

    clock, relaying = Settable(), Relaying()
    limits = {"max_deliveries": 1}
    async with sending(tmp_path, Slow(), relaying, clock=clock, outbound=limits) as server:
        for name in "abcdef":
            await server.outbound.send("me@example.org", f"you@{name}.example", MESSAGE)
        clock.set_by += 30 * DAY
        server.outbound.wake()
        await trio.sleep(180)
        assert len({each.rcpt_to for each in relaying.deferrals}) == 6
        assert not relaying.bounces


async def test_what_was_delivered_is_written_down_also_if_a_plugin_is_slow_and_the_server_ends(
    tmp_path: Path,
) -> None:
    class Slow(Plugin):
        began = trio.Event()

        @hookimpl
        async def hook_delivered(self) -> None:
            self.began.set()
            await trio.sleep(0.2)

    mailbox, store, slow = Mailbox(), Kept(), Slow()
    async with (
        receiving(tmp_path, mailbox) as hop,
        sending(
            tmp_path, slow, store=store, outbound={"relay_host": hop}, smtp={"shutdown_timeout": 0}
        ) as server,
    ):
        await server.outbound.send("me@example.org", "you@example.com", MESSAGE)
        with trio.fail_after(5):
            await slow.began.wait()
    assert (await store.count(Selection())).recipients == 0
