"""What follows from how attempts ended: retries, reports, and what plugins have to say."""

from __future__ import annotations

from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from harakapy import DELAY, OK, Address, Plugin, Server, Verdict, hookimpl
from harakapy.mail import Content, Envelope, Recipient
from harakapy.outbound import Deferral
from harakapy.smtp import DeliverBy, MailParameters, RcptParameters
from harakapy.smtp.parameters import Notify
from tests.outbound.hosts import playing
from tests.outbound.scene import MESSAGE, NOWHERE, Relaying, is_worked_off, sending

SUCCESS = frozenset({Notify.SUCCESS})
TAKES = """
S: 220 mx
C: {hello} sender.test
S: 250-mx
{dsn}
S: 250 ENHANCEDSTATUSCODES
C: MAIL FROM:<me@back.example>*
S: 250 2.1.0 ok
C: RCPT TO:<you@example.com>*
S: 250 2.1.5 ok
C: DATA
S: 354 go on
CONTENT
S: 250 2.0.0 kept
"""


FAILURE, NEVER = frozenset({Notify.FAILURE}), frozenset({Notify.NEVER})


async def put(
    server: Server, *, params: MailParameters | None = None, notify: frozenset[Notify] | None = None
) -> None:
    """Queue a message with these parameters."""
    recipient = Recipient(Address.parse("you@example.com"), RcptParameters(notify=notify))
    envelope = Envelope(Address.parse("me@back.example"), (recipient,), params or MailParameters())
    await server.outbound.enqueue("A1", envelope, Content.from_bytes(MESSAGE))


def actions(relaying: Relaying) -> list[tuple[str, str]]:
    """Action and status of each report that was stored."""
    parts = (part for stored in relaying.stored for part in message_from_bytes(stored).walk())
    return [(part["Action"], part["Status"]) for part in parts if "Action" in part]


@pytest.mark.parametrize(
    ("scheme", "dsn", "notify", "told"),
    [
        ("smtp", "", SUCCESS, ["relayed"]),
        ("smtp", "S: 250-DSN", SUCCESS, []),  # the next hop tells (RFC 3461 5.2.2)
        ("smtp", "", None, []),
        ("smtp", "", frozenset({Notify.FAILURE}), []),
        ("lmtp", "", SUCCESS, ["delivered"]),
    ],
)
async def test_a_sender_hears_of_success_if_it_asked_and_nobody_else_tells(
    tmp_path: Path, scheme: str, dsn: str, notify: frozenset[Notify] | None, told: list[str]
) -> None:
    relaying = Relaying(back=NOWHERE)
    async with playing(TAKES.format(hello="LHLO" if scheme == "lmtp" else "EHLO", dsn=dsn)) as host:
        relay = {"relay_host": f"{scheme}://127.0.0.1:{host.port}", "reports": {"collect": 0}}
        async with sending(tmp_path, relaying, outbound=relay) as server:
            await put(server, notify=notify)
            with trio.fail_after(5):
                while not relaying.handed_over or len(relaying.stored) <= len(told):  # noqa: ASYNC110
                    await trio.sleep(0.01)
            await trio.testing.wait_all_tasks_blocked(0.05)
    assert [action for action, _ in actions(relaying)] == told


@pytest.mark.parametrize(
    ("scheme", "offered", "by", "notify", "told"),
    [
        ("smtp", "S: 250-DELIVERBY", DeliverBy(900, "R", trace=True), None, ["relayed"]),
        ("smtp", "S: 250-DELIVERBY", DeliverBy(900, "N", trace=True), FAILURE, ["relayed"]),
        ("smtp", "S: 250-DELIVERBY", DeliverBy(900, "N", trace=True), NEVER, []),
        ("smtp", "S: 250-DELIVERBY", DeliverBy(900, "N"), None, []),  # the next hop tells
        ("smtp", "", DeliverBy(900, "N"), None, ["relayed"]),  # nobody will tell
        ("smtp", "", DeliverBy(900, "N"), NEVER, []),
        ("lmtp", "", DeliverBy(900, "N", trace=True), None, []),  # it is there
    ],
)
async def test_a_sender_with_a_time_limit_hears_that_mail_was_relayed(
    tmp_path: Path,
    scheme: str,
    offered: str,
    by: DeliverBy,
    notify: frozenset[Notify] | None,
    told: list[str],
) -> None:
    relaying = Relaying(back=NOWHERE)
    script = TAKES.format(hello="LHLO" if scheme == "lmtp" else "EHLO", dsn=offered)
    async with playing(script) as host:
        relay = {"relay_host": f"{scheme}://127.0.0.1:{host.port}", "reports": {"collect": 0}}
        async with sending(tmp_path, relaying, outbound=relay) as server:
            await put(server, params=MailParameters(by=by), notify=notify)
            with trio.fail_after(5):
                while not relaying.handed_over or len(relaying.stored) <= len(told):  # noqa: ASYNC110
                    await trio.sleep(0.01)
            await trio.testing.wait_all_tasks_blocked(0.05)
    assert [action for action, _ in actions(relaying)] == told


async def test_no_delivery_is_tried_when_its_time_is_over(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    relaying = Relaying(example=NOWHERE, back=NOWHERE)
    async with sending(tmp_path, relaying) as server:
        await put(server, params=MailParameters(by=DeliverBy(1000, "R")))
        await trio.sleep(10_000)
    assert actions(relaying)[0] == ("failed", "5.4.7")
    assert len(relaying.bounces) == 1


async def test_a_sender_that_wants_to_know_hears_when_its_time_is_over_and_the_mail_goes_on(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    relaying = Relaying(example=NOWHERE, back=NOWHERE)
    async with sending(tmp_path, relaying) as server:
        await put(server, params=MailParameters(by=DeliverBy(1000, "N")))
        await trio.sleep(10_000)
        assert [action for action, _ in actions(relaying)] == ["delayed"]
        assert not relaying.bounces


class Patience(Plugin):
    def __init__(self, verdict: Any) -> None:
        super().__init__()
        self.planned: list[float] = []
        self._verdict = verdict

    @hookimpl
    def hook_deferred(self, deferral: Deferral) -> Verdict | None:
        self.planned.append(trio.current_time())
        return self._verdict  # type: ignore[no-any-return]


@pytest.mark.parametrize("verdict", [DELAY(0), DELAY(-5), DELAY(30), DELAY(1e9), OK, None])
async def test_a_plugin_can_choose_the_delay_but_not_how_long_mail_lives(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, verdict: Any
) -> None:
    relaying, patience = Relaying(example=NOWHERE), Patience(verdict)
    limits = {"max_age": "1h", "report_max_age": "1h", "reports": {"collect": 0}, "dead_host_time": 0}
    async with sending(tmp_path, relaying, patience, outbound=limits) as server:
        await server.outbound.send("", "you@example.com", MESSAGE)
        began = trio.current_time()
        await is_worked_off(server, within_s=2 * 86400)
        assert trio.current_time() - began < 2 * 3600
    assert len(relaying.bounces) == 1
    assert patience.planned


async def test_mail_is_tried_a_last_time_when_it_expires(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    relaying = Relaying(example=NOWHERE)
    limits = {"max_age": "1h", "report_max_age": "1h", "retry": "50m", "jitter": 0}
    async with sending(tmp_path, relaying, outbound=limits) as server:
        await server.outbound.send("", "you@example.com", MESSAGE)
        await trio.sleep(3550)
        assert len(relaying.deferrals) == 2
        assert not relaying.bounces
        await trio.sleep(120)
        assert len(relaying.bounces) == 1
