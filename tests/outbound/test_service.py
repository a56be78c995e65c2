"""``server.outbound`` by itself: when it opens the queue, and what it takes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from harakapy import Settings
from harakapy.hooks import Registry
from harakapy.log import silent_logger
from harakapy.mail import Content
from harakapy.net import Resolver
from harakapy.outbound import Outbound
from harakapy.queue import Selection, Store, StoreUnavailable
from harakapy.queue.memory_store import MemoryStore
from tests.outbound.hosts import envelope
from tests.outbound.scene import MESSAGE, Mailbox, receiving, wall_clock


class SlowToOpen(MemoryStore):
    """Takes a while to open, and says whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.is_closed = False
        self.openings = 0

    async def opened(self) -> Store:
        self.openings += 1
        with trio.CancelScope(shield=True):  # as a thread does
            await trio.sleep(0.1)
        return self

    async def aclose(self) -> None:
        self.is_closed = True
        await super().aclose()


@asynccontextmanager
async def running(store: SlowToOpen, **outbound: Any) -> AsyncIterator[Outbound]:
    """An outbound side that runs."""
    settings = Settings.default(hostname="sender.test", outbound=outbound)
    hooks = Registry().freeze(strict=True)
    service = Outbound(
        settings, hooks, silent_logger(), open_store=store.opened, resolver=Resolver, now=wall_clock
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run)
        yield service
        nursery.cancel_scope.cancel()


async def test_who_gives_up_while_the_queue_opens_does_not_keep_it_from_working(tmp_path: Path) -> None:
    mailbox = Mailbox()
    async with receiving(tmp_path, mailbox) as hop, running(SlowToOpen(), relay_host=hop) as outbound:
        with trio.move_on_after(0.05) as patience:
            await outbound.send("me@example.org", "you@example.com", MESSAGE)
        assert patience.cancelled_caught
        await outbound.send("me@example.org", "you@example.com", MESSAGE)
        await mailbox.wait_for(1)


async def test_who_gives_up_while_leases_of_the_dead_end_leaves_no_second_queue_open(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = SlowToOpen()
    async with running(store) as outbound:
        outbound.share(owner="me", heir_of=["predecessor"])
        with trio.move_on_after(0.05):
            await outbound.open()
        await outbound.open()
        assert store.openings == 1


async def test_a_queue_that_opens_after_the_end_is_closed_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = SlowToOpen()
    refused = []

    async def open_it(outbound: Outbound) -> None:
        with pytest.raises(StoreUnavailable) as caught:
            await outbound.open()
        refused.append(caught.value)

    async with trio.open_nursery() as nursery, running(store) as outbound:
        nursery.start_soon(open_it, outbound)
        await trio.sleep(0.05)
    assert store.is_closed
    assert refused


async def test_a_template_that_has_gone_since_the_start_is_no_fault_of_the_mail(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    template = tmp_path / "report.txt"
    template.write_text("Subject: sorry\n\n$recipients\n")
    store = SlowToOpen()
    async with running(store, reports={"template": str(template)}) as outbound:
        template.unlink()
        with pytest.raises(StoreUnavailable):
            await outbound.open()
        assert store.is_closed


async def test_mail_waits_in_the_queue_until_the_engine_runs(autojump_clock: trio.testing.MockClock) -> None:
    async with running(SlowToOpen(), relay_host="lmtp:///nonexistent/socket") as outbound:
        await outbound.send("me@example.org", "you@example.com", MESSAGE)
        store = await outbound.open()
        assert (await store.count(Selection())).recipients == 1


async def test_a_next_hop_that_is_none_is_refused_before_the_message_is_taken(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running(SlowToOpen()) as outbound:
        with pytest.raises(ValueError, match="allowed"):
            await outbound.enqueue("A1", envelope(), Content.from_bytes(MESSAGE), next_hop="no://hop")
        store = await outbound.open()
        assert (await store.count(Selection())).recipients == 0
