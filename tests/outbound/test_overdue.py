"""Mail for a host that is dead: each message hears of its time, though few of them are tried."""

from __future__ import annotations

from pathlib import Path

import trio
import trio.testing

from harakapy import OK, Plugin, Verdict, hookimpl
from harakapy.queue import Selection
from tests.outbound.scene import MESSAGE, NOWHERE, Relaying, is_worked_off, sending

HOUR, DAY = 3600, 86400
MESSAGES = 500
"""Far more than a host that is dead is tried in the time that is given it."""


class Discreet(Plugin):
    """Lets nobody hear of failures, and writes down when they are."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[float] = []

    @hookimpl
    def hook_bounce(self) -> Verdict:
        self.failures.append(trio.current_time())
        return OK


async def test_all_mail_for_a_dead_host_is_given_up_when_its_time_is_over(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    discreet = Discreet()
    settings = {"max_age": "2d", "delay_warning": 0}
    async with sending(tmp_path, Relaying(example=NOWHERE), discreet, outbound=settings) as server:
        began = trio.current_time()
        for _ in range(MESSAGES):
            await server.outbound.send("me@example.org", "you@example.com", MESSAGE)
        await is_worked_off(server, within_s=20 * DAY)
    assert len(discreet.failures) == MESSAGES
    assert min(discreet.failures) - began >= 2 * DAY
    assert max(discreet.failures) - began < 2 * DAY + HOUR


async def test_senders_of_mail_for_a_dead_host_are_all_told_that_it_takes_long(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    relaying, reports = Relaying(example=NOWHERE), Selection(mail_from="")
    async with sending(tmp_path, relaying) as server:
        for _ in range(40):
            await server.outbound.send("me@example.org", "you@example.com", MESSAGE)
        store = await server.outbound.open()
        await trio.sleep(4 * HOUR - 60)
        assert (await store.count(reports)).messages == 0
        with trio.fail_after(DAY):  # the clock runs on while a thread composes a report
            while (await store.count(reports)).messages < 40:  # noqa: ASYNC110  # nobody tells of them
                await trio.sleep(60)
        await trio.sleep(2 * HOUR)
        assert (await store.count(reports)).messages == 40
        assert all(b"Action: delayed" in report for report in relaying.stored[40:])
        assert (await store.count(Selection(recipient="you@example.com"))).recipients == 40
