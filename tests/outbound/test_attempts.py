"""Attempts that come to nothing, and what that says about them."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from harakapy import DELAY, DENY, DENYSOFT, Plugin, Reply, Server, Verdict, hookimpl
from harakapy.mail import Content
from harakapy.mail.envelope import Envelope
from harakapy.outbound import HMail
from harakapy.outbound.attempt import Answer, Phase
from harakapy.outbound.courier import Courier, Ending, Source
from harakapy.outbound.failure import judge
from harakapy.outbound.route import Route
from harakapy.queue import ContentUnreadable, Selection, StoreUnavailable
from harakapy.queue.memory_store import MemoryStore
from tests.outbound.scene import MESSAGE, NOWHERE, Mailbox, Relaying, is_worked_off, receiving, sending
from tests.queue.samples import NOW, put


class Delaying(Plugin):
    """Puts every attempt off."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.attempts: list[int] = []
        self._seconds = seconds

    @hookimpl
    def hook_send_email(self, hmail: HMail) -> Verdict:
        self.attempts.append(hmail.attempts)
        return DELAY(self._seconds)


@pytest.mark.parametrize("seconds", [86000.0, 1e9, math.inf])
async def test_mail_that_a_plugin_puts_off_for_ever_is_given_up_in_time(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, seconds: float
) -> None:
    relaying, delaying = Relaying(), Delaying(seconds)
    async with sending(tmp_path, relaying, delaying, outbound={"max_age": "5d"}) as server:
        began = trio.current_time()
        await server.outbound.send("", "you@example.com", MESSAGE)
        await is_worked_off(server, within_s=20 * 86400)
        assert trio.current_time() - began < 7 * 86400
    (bounce,) = relaying.bounces
    assert str(bounce.status) == "4.4.7"
    assert set(delaying.attempts) == {1}, "what is put off is no attempt"


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (DENY("5.1.1 nobody here"), "5.1.1"),
        (DENY, "5.7.1"),
    ],
)
async def test_a_plugin_that_denies_a_next_hop_fails_the_mail(
    tmp_path: Path, answer: Any, status: str
) -> None:
    relaying = Relaying(example=answer)
    async with sending(tmp_path, relaying, outbound={"reports": {"collect": 0}}) as server:
        await server.outbound.send("", "you@example.com", MESSAGE)
        await is_worked_off(server)
    (bounce,) = relaying.bounces
    assert str(bounce.status) == status
    assert bounce.error


async def test_a_plugin_that_denies_a_next_hop_for_now_defers_the_mail(tmp_path: Path) -> None:
    relaying = Relaying(example=DENYSOFT("4.4.0 later"))
    async with sending(tmp_path, relaying) as server:
        await server.outbound.send("", "you@example.com", MESSAGE)
        with trio.fail_after(5):
            await relaying.deferred.wait()
    assert [str(each.status) for each in relaying.deferrals] == ["4.4.0"]


class Forgetful(MemoryStore):
    """Cannot give contents at first, and never by one look."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self.errors = list(errors)

    async def open_content(self, message_id: str) -> Content:
        if self.errors:
            raise self.errors.pop(0)
        return await super().open_content(message_id)

    async def contents(self, message_ids: Collection[str]) -> dict[str, Content]:
        await trio.lowlevel.checkpoint()
        return {}


class Busy(Courier):
    """A host that answers, and takes nothing now."""

    def __init__(self) -> None:
        """Without what a courier needs to go to real ones."""

    async def carry_from(
        self, source: Source, envelope: Envelope, route: Route, *, deliver_by: float | None = None
    ) -> list[Ending]:
        await source()
        answer = Answer(Phase.RCPT, Reply(450, "not now", "4.2.1"))
        return [Ending(judge(answer, has_more_hosts=False), answer)] * len(envelope.rcpt_to)


async def test_content_that_cannot_be_read_now_is_no_attempt(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    relaying = Relaying(example=NOWHERE)
    store = Forgetful(StoreUnavailable("a disk is away"))
    async with sending(tmp_path, relaying, store=store) as server:
        await queue_unkept(server, store)
        await trio.sleep(30)
        assert not relaying.deferrals
        await trio.sleep(60)
        assert len(relaying.deferrals) == 1
        (request,) = (await store.select(Selection(), limit=1)).requests
        assert request.deliveries[0].attempts == 1


async def test_content_that_is_lost_is_left_to_the_store(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    relaying = Relaying(example=NOWHERE)
    store = Forgetful(ContentUnreadable("A", "damaged"))
    async with sending(tmp_path, relaying, store=store) as server:
        await queue_unkept(server, store)
        await trio.sleep(600)
        assert not relaying.deferrals
        assert not relaying.bounces


async def queue_unkept(server: Server, store: MemoryStore) -> None:
    """Put a message into the queue as another process would."""
    await server.outbound.open()
    assert server.outbound.works is not None
    server.outbound.works.engine.attempts._courier = Busy()
    await put(store, "you@example.com", content=MESSAGE, due=NOW)
    server.outbound.wake()


async def test_a_defect_of_ours_defers_and_says_nothing_of_the_destination(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    relaying, mailbox = Relaying(), Mailbox()
    async with (
        receiving(tmp_path, mailbox) as hop,
        sending(tmp_path, relaying, outbound={"relay_host": hop}) as server,
    ):
        await server.outbound.open()
        works = server.outbound.works
        assert works is not None

        def broken(*args: object, **keywords: object) -> None:
            raise ZeroDivisionError

        with monkeypatch.context() as patched:
            patched.setattr(works.courier, "carry_from", broken)
            await server.outbound.send("", "you@example.com", MESSAGE)
            with trio.fail_after(5):
                await relaying.deferred.wait()
        assert [str(each.status) for each in relaying.deferrals] == ["4.3.0"]
        await server.outbound.send("", "her@example.com", MESSAGE)
        await mailbox.wait_for(1)
