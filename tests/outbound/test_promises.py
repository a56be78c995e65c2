"""What a sender asks for when it hands mail over is kept until the next hop has it: time, priority, TLS."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from harakapy import ListenSettings, Server
from harakapy.mail import Content
from harakapy.mail.envelope import Envelope, Recipient
from harakapy.queue import Selection
from harakapy.smtp import Address, MailParameters, RcptParameters
from harakapy.smtp.parameters import Notify
from harakapy.testing import connect
from tests.outbound.hosts import playing
from tests.outbound.scene import MESSAGE, NOWHERE, Mailbox, Relaying, is_worked_off, receiving, sending

HOST = """
S: 220 mx.example.org ready
C: EHLO sender.test
S: 250-mx.example.org
S: 250-DELIVERBY
S: 250 MT-PRIORITY
C: {mail}*
S: 250 ok
C: RCPT TO:<you@example.com>
S: 250 ok
C: DATA
S: 354 go
CONTENT
S: 250 taken
"""


async def hand_over(server: Server, parameters: str) -> int:
    """Send a message with these parameters of MAIL; the code of the last reply."""
    listen = ListenSettings.model_validate({"address": "127.0.0.1:0", "extensions": {"futurerelease": True}})
    async with connect(server, listen=listen) as client:
        await client.reply()
        await client.command("EHLO client.test")
        reply = await client.command(f"MAIL FROM:<me@example.org> {parameters}")
        assert reply.code == 250, reply
        await client.command("RCPT TO:<you@example.com>")
        await client.command("DATA")
        await client.send(MESSAGE + b".\r\n")
        last = await client.reply()
    assert last is not None
    return last.code


@pytest.mark.parametrize(
    ("parameters", "passed_on"),
    [("BY=600;N", "BY=59"), ("BY=600;R", "BY=59"), ("MT-PRIORITY=4", "MT-PRIORITY=4")],
)
async def test_the_next_hop_is_told(tmp_path: Path, parameters: str, passed_on: str) -> None:
    mail = f"MAIL FROM:<me@example.org> {passed_on}"
    async with (
        playing(HOST.format(mail=mail)) as host,
        sending(tmp_path, Relaying(), outbound={"relay_host": f"smtp://127.0.0.1:{host.port}"}) as server,
    ):
        assert await hand_over(server, parameters) == 250
        await is_worked_off(server)
        works = server.outbound.works
        assert works is not None
        works.pool.close()


async def test_what_is_to_be_held_is_sent_no_earlier(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    relaying = Relaying(example=NOWHERE)
    async with sending(tmp_path, relaying) as server:
        assert await hand_over(server, "HOLDFOR=3600") == 250
        await trio.sleep(3590)
        assert not relaying.deferrals
        await trio.sleep(20)
        assert len(relaying.deferrals) == 1


async def test_what_must_be_there_in_time_comes_back_when_it_is_over(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    relaying = Relaying(example=NOWHERE)
    async with sending(tmp_path, relaying) as server:
        assert await hand_over(server, "BY=1800;R") == 250
        await trio.sleep(1700)
        assert not relaying.bounces
        await trio.sleep(1100)
        (bounce,) = relaying.bounces
        assert str(bounce.status) == "5.4.7"


async def test_who_only_wants_to_hear_of_it_is_told_and_the_mail_stays(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    relaying = Relaying(example=NOWHERE)
    async with sending(tmp_path, relaying) as server:
        assert await hand_over(server, "BY=1800;N") == 250
        await trio.sleep(1700)
        assert len(relaying.stored) == 1
        # The clock runs on while a thread composes a report, so more may be begun; one is sent.
        store = await server.outbound.open()
        with trio.fail_after(43_200):
            while not (await store.count(Selection(mail_from=""))).messages:  # noqa: ASYNC110  # nobody tells
                await trio.sleep(60)
        await trio.sleep(1100)
        assert (await store.count(Selection(mail_from=""))).messages == 1
        assert all(b"Action: delayed" in report for report in relaying.stored[1:])
        assert not relaying.bounces


LMTP = HOST.replace("EHLO", "LHLO").format(mail="MAIL")
SMTP = HOST.format(mail="MAIL")


@pytest.mark.parametrize("by", ["plugin", "route", "message"])
@pytest.mark.parametrize(
    ("scheme", "script", "action"), [("lmtp", LMTP, "delivered"), ("smtp", SMTP, "relayed")]
)
async def test_what_a_mailbox_server_took_is_reported_as_delivered(
    tmp_path: Path, by: str, scheme: str, script: str, action: str
) -> None:
    async with playing(script) as host:
        hop = f"{scheme}://127.0.0.1:{host.port}"
        relaying = Relaying(back=NOWHERE, **({"example": hop} if by == "plugin" else {}))
        route = [{"domains": ["example.com"], "to": hop}] if by == "route" else []
        outbound = {"reports": {"collect": 0}, "route": route}
        async with sending(tmp_path, relaying, outbound=outbound) as server:
            params = RcptParameters(notify=frozenset({Notify.SUCCESS}))
            recipients = (Recipient(Address.parse("you@example.com"), params),)
            envelope = Envelope(Address.parse("me@back.example"), recipients)
            next_hop = hop if by == "message" else ""
            await server.outbound.enqueue("M1", envelope, Content.from_bytes(MESSAGE), next_hop=next_hop)
            with trio.fail_after(5):
                while len(relaying.stored) < 2:  # noqa: ASYNC110  # nobody tells
                    await trio.sleep(0.01)
            works = server.outbound.works
            assert works is not None
            works.pool.close()
    assert f"Action: {action}".encode() in relaying.stored[1]


async def test_mail_that_requires_tls_is_not_sent_without(tmp_path: Path) -> None:
    mailbox, relaying = Mailbox(), Relaying()
    async with (
        receiving(tmp_path, mailbox) as hop,
        sending(tmp_path, relaying, outbound={"relay_host": hop, "reports": {"collect": 0}}) as server,
    ):
        recipients = (Recipient(Address.parse("you@example.com")),)
        envelope = Envelope(Address.parse("me@example.org"), recipients, MailParameters(requiretls=True))
        await server.outbound.enqueue("M1", envelope, Content.from_bytes(MESSAGE))
        await is_worked_off(server)
        (bounce,) = relaying.bounces
        assert not relaying.deferrals
        assert "must go encrypted" in bounce.error
        assert str(bounce.status) == "5.7.30"
        (report,) = mailbox.mails  # which needs TLS as well, and would be lost without
        assert report.sender == ""
        assert b"Status: 5.7.30" in report.content
        assert b"text/rfc822-headers" in report.content
        assert b"world" not in report.content
