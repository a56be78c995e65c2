"""We deliver to mail servers of others: what goes in here comes out there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from harakapy.plugins.queue_lmtp import QueueLmtp
from harakapy.plugins.queue_smtp_forward import QueueSmtpForward
from tests.live.next_hops import DOMAIN, POLL_S, Aiosmtpd, DovecotLmtp, Exim, MailServer, Postfix
from tests.outbound.scene import Relaying, is_worked_off, sending
from tests.plugins.forwarding import passing
from tests.served import PATIENCE_S

pytestmark = pytest.mark.live

SENDER = "sender@example.org"
SERVERS = [Postfix, Exim, Aiosmtpd, DovecotLmtp]


@pytest.fixture(scope="module", params=SERVERS, ids=[server.name for server in SERVERS])
def receiver(request: pytest.FixtureRequest) -> Iterator[MailServer]:
    """A server that runs, in a folder that the users it has can enter."""
    with tempfile.TemporaryDirectory(prefix="harakapy-live-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        server: MailServer = request.param(folder)
        with server.running():
            yield server


async def arrived(receiver: MailServer, subject: str, count: int) -> list[bytes]:
    """The copies of a message, once there are so many."""
    with trio.move_on_after(PATIENCE_S):
        while len(receiver.copies(subject)) < count:  # noqa: ASYNC110  # nobody tells when a file is there
            await trio.sleep(POLL_S)
    copies = receiver.copies(subject)
    assert len(copies) == count
    return copies


async def delivered(
    tmp_path: Path, receiver: MailServer, subject: str, body: bytes, *users: str, sender: str = SENDER
) -> Relaying:
    """Send a message by the queue, and see it arrive for each of the users as it was."""
    relaying = Relaying()
    raw = f"From: {SENDER}\nSubject: {subject}\nMIME-Version: 1.0\n".encode()
    raw += b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + body
    outbound = {"relay_host": receiver.hop}
    async with sending(tmp_path, relaying, outbound=outbound) as server:
        await server.outbound.send(sender, [f"{user}@{DOMAIN}" for user in users], raw)
        await is_worked_off(server, within_s=PATIENCE_S)
    assert not relaying.bounces
    assert not relaying.deferrals
    assert sum(len(each.rcpt_to) for each in relaying.handed_over) == len(users)
    for copy in await arrived(receiver, subject, len(users)):
        assert copy.partition(b"\n\n")[2].rstrip(b"\n") == body.rstrip(b"\n")
    return relaying


async def test_a_message_with_8_bit_text_arrives(tmp_path: Path, receiver: MailServer) -> None:
    await delivered(tmp_path, receiver, "8 bit", "Grüße aus Köln: 10 €\n".encode() * 5, "user")


async def test_lines_with_dots_arrive(tmp_path: Path, receiver: MailServer) -> None:
    await delivered(tmp_path, receiver, "dots", b".\n..\n...three\n.end\n\n.\nlast .\n", "user")


async def test_a_message_of_5_mb_arrives(tmp_path: Path, receiver: MailServer) -> None:
    body = b"".join(b".%06d %s\n" % (number, b"x" * 64) for number in range(70_000))
    assert len(body) > 5_000_000
    await delivered(tmp_path, receiver, "large", body, "user")


async def test_a_message_for_many_arrives_for_each(tmp_path: Path, receiver: MailServer) -> None:
    users = [f"user{number}" for number in range(250)]
    relaying = await delivered(tmp_path, receiver, "many", b"for all\n", *users)
    names = sorted(str(address) for each in relaying.handed_over for address in each.rcpt_to)
    assert names == sorted(f"{user}@{DOMAIN}" for user in users)


async def test_addresses_in_utf8_arrive_or_are_refused_for_good(tmp_path: Path, receiver: MailServer) -> None:
    if receiver.has_smtputf8:
        await delivered(tmp_path, receiver, "utf8", b"hello\n", "jürgen", sender="björn@example.org")
        return
    relaying = Relaying()
    outbound = {"relay_host": receiver.hop, "reports": {"collect": 0}}
    async with sending(tmp_path, relaying, outbound=outbound) as server:
        await server.outbound.send("", f"jürgen@{DOMAIN}", b"Subject: utf8\n\nhello\n")
        await is_worked_off(server, within_s=PATIENCE_S)
    (bounce,) = relaying.bounces
    assert str(bounce.status) == "5.6.7"


async def test_many_messages_arrive_over_kept_connections(tmp_path: Path, receiver: MailServer) -> None:
    relaying = Relaying()
    outbound = {"relay_host": receiver.hop, "max_connections_per_destination": 2}
    async with sending(tmp_path, relaying, outbound=outbound) as server:
        for number in range(100):
            await server.outbound.send(SENDER, f"user{number}@{DOMAIN}", b"Subject: one of many\n\nhello\n")
        await is_worked_off(server, within_s=PATIENCE_S)
    assert not relaying.bounces
    assert not relaying.deferrals
    await arrived(receiver, "one of many", 100)


async def test_a_message_is_handed_over_while_its_client_waits(tmp_path: Path, receiver: MailServer) -> None:
    kind = QueueLmtp if receiver.scheme == "lmtp" else QueueSmtpForward
    async with passing(tmp_path, kind(next_hop=receiver.hop)) as scene:
        recipients = [f"one@{DOMAIN}", f"two@{DOMAIN}"]
        content = b"Subject: handed over\r\n\r\n.dot\r\n"
        assert (await scene.send(*recipients, content=content, sender=SENDER)).code == 250
        assert await scene.waiting() == 0
    assert all(copy.endswith(b"\n\n.dot\n") for copy in await arrived(receiver, "handed over", 2))
