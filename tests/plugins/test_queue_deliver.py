"""Accepted mail that is delivered through the queue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harakapy import ConfigError
from harakapy.config import validate_plugin
from harakapy.plugins.queue_deliver import QueueDeliver, QueueDeliverConfig
from harakapy.queue import StoreError, StoreFull, StoreUnavailable
from harakapy.queue.memory_store import MemoryStore
from tests.outbound.scene import MESSAGE, Mailbox, is_worked_off, receiving

from .forwarding import SENDER, passing
from .scene import Keep, problems


async def test_a_message_is_queued_and_delivered(tmp_path: Path) -> None:
    mailbox = Mailbox()
    async with (
        receiving(tmp_path, mailbox) as hop,
        passing(tmp_path, QueueDeliver(), outbound={"relay_host": hop}) as scene,
    ):
        reply = await scene.send("a@example.com", "b@example.net")
        assert reply.text.startswith("Message Queued (")
        await mailbox.wait_for(2)
        await is_worked_off(scene.server)
    assert sorted(mail.recipients for mail in mailbox.mails) == [["a@example.com"], ["b@example.net"]]
    assert all(mail.content.endswith(MESSAGE) for mail in mailbox.mails)


async def test_domains_have_their_next_hops_for_mail_from_everywhere(tmp_path: Path) -> None:
    mailbox, world = Mailbox(), Mailbox()
    async with receiving(tmp_path / "0", mailbox) as hop, receiving(tmp_path / "1", world) as relay_host:
        plugin = QueueDeliver(domains=["example.com"], next_hop={"example.com": hop})
        async with passing(tmp_path, plugin, relaying=True, outbound={"relay_host": relay_host}) as scene:
            assert (await scene.send("a@example.com", "b@example.net")).code == 250
            await scene.server.outbound.send(SENDER, "c@example.com", MESSAGE)
            await mailbox.wait_for(2)
            await world.wait_for(1)
    assert sorted(mail.recipients for mail in mailbox.mails) == [["a@example.com"], ["c@example.com"]]
    assert [mail.recipients for mail in world.mails] == [["b@example.net"]]


async def test_mail_for_other_domains_is_left_to_other_plugins(tmp_path: Path) -> None:
    mailbox, keep = Mailbox(), Keep()
    async with receiving(tmp_path, mailbox) as hop:
        plugin = QueueDeliver(domains=["Bücher.example", ".example.com"])
        async with passing(tmp_path, plugin, keep, outbound={"relay_host": hop}) as scene:
            assert (await scene.send("a@example.com")).code == 250
            assert (await scene.send("b@xn--bcher-kva.example", "c@x.example.com")).code == 250
            await scene.client.command(f"MAIL FROM:<{SENDER}>")
            assert (await scene.client.command("RCPT TO:<a@x.example.com>")).code == 250
            apart = await scene.client.command("RCPT TO:<b@example.net>")
            assert (apart.code, apart.enhanced) == (452, "4.5.3")
            await mailbox.wait_for(2)
    assert [recipients for _, recipients, _ in keep.taken] == [["a@example.com"]]


class Broken(MemoryStore):
    """A queue that takes nothing."""

    def __init__(self, error: StoreError) -> None:
        super().__init__()
        self._error = error

    async def commit(self, *arguments: Any, **named: Any) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (StoreFull("no room"), "452 4.3.1 Insufficient system storage, try again later"),
        (StoreUnavailable("a disk error"), "451 4.3.0 The queue takes no mail now, try again later"),
    ],
)
async def test_a_queue_that_takes_nothing_is_a_temporary_failure(
    tmp_path: Path, error: StoreError, expected: str
) -> None:
    async with passing(tmp_path, QueueDeliver(), store=Broken(error)) as scene:
        assert str(await scene.send("a@example.com")) == expected


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"domains": ["a b"]}, "must be a domain"),
        ({"next_hop": {"a@example.com": "lmtp://host"}}, "by domains, not by mail addresses"),
        ({"next_hop": {"example.com": "ftp://host"}}, "ftp"),
    ],
)
def test_wrong_settings_are_explained(table: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate_plugin("queue_deliver", table, QueueDeliverConfig)
    (problem,) = problems(caught.value).values()
    assert text in problem
