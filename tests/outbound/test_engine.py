"""The engine between the store and the schedule: what it has in hand, gives back, renews and reports."""

from __future__ import annotations

from pathlib import Path

import trio
import trio.testing

from harakapy import DENY
from harakapy.queue import MemoryStore
from tests.outbound.scene import MESSAGE, NOWHERE, Relaying, sending


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
