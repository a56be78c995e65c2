"""The engine between the store and the schedule: what it has in hand, gives back, renews and reports."""

from __future__ import annotations

from pathlib import Path

import trio
import trio.testing

from harakapy import DENY, Plugin, hookimpl
from harakapy.queue import MemoryStore, Selection
from tests.outbound.scene import MESSAGE, NOWHERE, Mailbox, Relaying, receiving, sending


class Kept(MemoryStore):
    """Outlives a server."""

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


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
