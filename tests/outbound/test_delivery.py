"""From a message that is accepted to the next hop, or back to its sender."""

from __future__ import annotations

from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
import trio

from harakapy import DELAY, DENY, DENYSOFT, OK, Address, Plugin, Verdict, hookimpl
from harakapy.outbound import Deferral, HMail
from harakapy.queue import Selection
from harakapy.testing import connect
from tests.outbound.scene import (
    MESSAGE,
    NOWHERE,
    Mailbox,
    Relaying,
    is_worked_off,
    receiving,
    sending,
)


def report_in(content: bytes) -> tuple[Message, Message]:
    """A delivery report, and its fields about the first recipient."""
    report = message_from_bytes(content)
    assert report.get_content_type() == "multipart/report"
    parts = [part for part in report.walk() if "Action" in part]
    return report, parts[0]


async def test_a_message_relayed_by_smtp_arrives_and_leaves_the_queue(tmp_path: Path) -> None:
    mailbox, relaying = Mailbox(), Relaying()
    async with (
        receiving(tmp_path, mailbox) as hop,
        sending(tmp_path, relaying, outbound={"relay_host": hop}) as server,
        connect(server) as client,
    ):
        await client.reply()
        await client.command("EHLO client.test")
        replies = await client.hand_over("me@example.org", ["you@example.com"], MESSAGE)
        assert replies[-1].code == 250
        (mail,) = await mailbox.wait_for(1)
        assert (mail.sender, mail.recipients) == ("me@example.org", ["you@example.com"])
        assert mail.content.endswith(MESSAGE)
        await is_worked_off(server)
        (handover,) = relaying.handed_over
        assert handover.reply.code == 250
        assert [str(each) for each in handover.rcpt_to] == ["you@example.com"]


async def test_a_message_that_a_program_sends_is_completed(tmp_path: Path) -> None:
    mailbox = Mailbox()
    async with receiving(tmp_path, mailbox) as hop, sending(tmp_path, outbound={"relay_host": hop}) as server:
        await server.outbound.send(
            "me@example.org", ["you@example.com", "her@example.com"], "Subject: hi\n\n.x\n"
        )
        (mail,) = await mailbox.wait_for(1)
        assert mail.recipients == ["you@example.com", "her@example.com"]
        message = message_from_bytes(mail.content)
        assert {"Subject", "Date", "Message-ID", "Received"} <= set(message)
        assert mail.content.endswith(b"\r\n\r\n.x\r\n")


async def test_one_connection_serves_many_messages(tmp_path: Path) -> None:
    mailbox = Mailbox()
    async with (
        receiving(tmp_path, mailbox) as hop,
        sending(tmp_path, outbound={"relay_host": hop, "max_connections_per_destination": 1}) as server,
    ):
        for number in range(20):
            await server.outbound.send("me@example.org", f"user{number}@example.com", MESSAGE)
        await mailbox.wait_for(20)
        assert mailbox.connections == 1


async def test_a_refused_recipient_is_reported_and_the_others_get_the_mail(tmp_path: Path) -> None:
    def refuse(recipient: Address | None) -> Verdict | None:
        return DENY("5.1.1 no such user") if recipient and recipient.user == "nobody" else None

    mailbox, relaying = Mailbox(refuse), Relaying()
    async with (
        receiving(tmp_path, mailbox) as hop,
        sending(tmp_path, relaying, outbound={"relay_host": hop, "reports": {"collect": 0}}) as server,
    ):
        await server.outbound.send("me@example.org", ["you@example.com", "nobody@example.com"], MESSAGE)
        first, second = await mailbox.wait_for(2)
        assert first.recipients == ["you@example.com"]
        assert (second.sender, second.recipients) == ("", ["me@example.org"])
        report, recipient = report_in(second.content)
        assert report["To"] == "<me@example.org>"
        assert recipient["Action"] == "failed"
        assert recipient["Status"] == "5.1.1"
        assert recipient["Final-Recipient"] == "rfc822; nobody@example.com"
        assert "no such user" in recipient["Diagnostic-Code"]
        await is_worked_off(server)
        assert [bounce.status and str(bounce.status) for bounce in relaying.bounces] == ["5.1.1"]


async def test_a_plugin_can_suppress_a_report(tmp_path: Path) -> None:
    class Silence(Plugin):
        @hookimpl
        def hook_bounce(self) -> Verdict:
            return OK

    mailbox, relaying = Mailbox(lambda recipient: DENY), Relaying()
    async with (
        receiving(tmp_path, mailbox) as hop,
        sending(tmp_path, relaying, Silence(), outbound={"relay_host": hop}) as server,
    ):
        await server.outbound.send("me@example.org", "you@example.com", MESSAGE)
        await is_worked_off(server)
        assert len(relaying.stored) == 1


async def test_what_is_deferred_comes_again_when_it_is_due(tmp_path: Path) -> None:
    refusals = [DENYSOFT("4.2.1 not now"), DENYSOFT("4.2.1 nor now")]

    def refuse(recipient: Address | None) -> Verdict | None:
        return refusals.pop() if refusals and recipient else None

    mailbox, relaying = Mailbox(refuse), Relaying()
    async with (
        receiving(tmp_path, mailbox) as hop,
        sending(
            tmp_path, relaying, outbound={"relay_host": hop, "retry": "0.2s, 0.1s", "jitter": 0}
        ) as server,
    ):
        await server.outbound.send("me@example.org", "you@example.com", MESSAGE)
        await mailbox.wait_for(1)
        assert [deferral.error for deferral in relaying.deferrals] == [
            "450 4.2.1 nor now",
            "450 4.2.1 not now",
        ]
        assert [deferral.delay_s for deferral in relaying.deferrals] == pytest.approx([0.2, 0.1])


async def test_a_plugin_can_choose_when_to_try_again_and_put_attempts_off(tmp_path: Path) -> None:
    class Patience(Plugin):
        def __init__(self) -> None:
            super().__init__()
            self.attempts: list[int] = []

        @hookimpl
        def hook_send_email(self, hmail: HMail) -> Verdict | None:
            self.attempts.append(hmail.attempts)
            return DELAY(0.1) if len(self.attempts) == 1 else None

        @hookimpl
        def hook_deferred(self, deferral: Deferral) -> Verdict:
            return DELAY(0.1)

    refusals = [DENYSOFT]
    mailbox, patience = Mailbox(lambda recipient: refusals.pop() if refusals else None), Patience()
    async with (
        receiving(tmp_path, mailbox) as hop,
        sending(tmp_path, patience, outbound={"relay_host": hop, "retry": "1h"}) as server,
    ):
        await server.outbound.send("me@example.org", "you@example.com", MESSAGE)
        await mailbox.wait_for(1)
        assert patience.attempts == [1, 1, 2]


@pytest.mark.parametrize("given", ["url", "list", "haraka"])
async def test_a_plugin_says_where_mail_goes(tmp_path: Path, given: str) -> None:
    mailbox, relaying = Mailbox(), Relaying()
    async with receiving(tmp_path, mailbox) as hop, sending(tmp_path, relaying) as server:
        forms: dict[str, Any] = {
            "url": hop,
            "list": [NOWHERE, hop],
            "haraka": {"exchange": "127.0.0.1", "port": int(hop.rpartition(":")[2])},
        }
        relaying.next_hops["example"] = forms[given]
        await server.outbound.send("me@example.org", "you@example.com", MESSAGE)
        await mailbox.wait_for(1)


async def test_a_next_hop_that_is_none_puts_the_mail_off_and_loses_nothing(tmp_path: Path) -> None:
    relaying = Relaying(example="no://hop")
    async with sending(tmp_path, relaying) as server:
        await server.outbound.send("me@example.org", "you@example.com", MESSAGE)
        with trio.fail_after(5):
            await relaying.deferred.wait()
        store = await server.outbound.open()
        assert (await store.count(Selection())).recipients == 1


async def test_faulty_plugins_lose_nothing(tmp_path: Path) -> None:
    class Faulty(Plugin):
        @hookimpl
        def hook_pre_send_trans_email(self) -> None:
            raise RuntimeError

        @hookimpl
        def hook_send_email(self) -> None:
            raise RuntimeError

        @hookimpl
        def hook_delivered(self) -> None:
            raise RuntimeError

    mailbox = Mailbox()
    async with (
        receiving(tmp_path, mailbox) as hop,
        sending(tmp_path, Faulty(), outbound={"relay_host": hop}) as server,
    ):
        await server.outbound.send("me@example.org", "you@example.com", MESSAGE)
        await mailbox.wait_for(1)
        await is_worked_off(server)


async def test_five_days_of_a_dead_host_bring_one_report_of_delay_and_one_of_failure(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    relaying = Relaying(example=NOWHERE)
    async with sending(tmp_path, relaying) as server:
        began = trio.current_time()
        await server.outbound.send("me@example.org", "you@example.com", MESSAGE)
        await is_worked_off(server, within_s=10 * 86400)
        days = (trio.current_time() - began) / 86400
    original, *reports = relaying.stored
    assert original.endswith(b"\r\n\r\nworld\r\n")
    told = [report_in(report)[1] for report in reports]
    assert [each["Action"] for each in told] == ["delayed", "failed"]
    assert all(each["Status"].startswith("4.") for each in told)  # it might have come to work (RFC 3463 3.5)
    assert 5 <= days < 7
