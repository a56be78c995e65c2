"""Forwarding: what the client reads, what becomes of the rest, and where everything goes."""

from __future__ import annotations

from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from harakapy import DENY, DENYSOFT, ConfigError, Connection, NextHop, Plugin, Verdict, Way, hookimpl
from harakapy.config import validate_plugin
from harakapy.plugins.queue_smtp_forward import QueueSmtpForward, QueueSmtpForwardConfig
from harakapy.queue import DeliveryKey, StoreFull, StoreUnavailable
from harakapy.queue.memory_store import MemoryStore
from tests.outbound.hosts import playing
from tests.outbound.scene import MESSAGE, Mailbox, is_worked_off, receiving, wall_clock

from .forwarding import FULL, NO_USER, SENDER, judging, passing
from .scene import Keep, problems


def forward(*hops: str, **settings: Any) -> QueueSmtpForward:
    return QueueSmtpForward(next_hop=list(hops), **settings)


async def test_the_answer_of_the_next_hop_is_passed_back(tmp_path: Path) -> None:
    mailbox = Mailbox()
    async with receiving(tmp_path, mailbox) as hop, passing(tmp_path, forward(hop)) as scene:
        reply = await scene.send("you@example.com", "her@example.net")
        assert (reply.code, reply.enhanced) == (250, "2.0.0")
        assert reply.text.startswith("Message Queued (")
        (mail,) = mailbox.mails
        assert (mail.sender, mail.recipients) == (SENDER, ["you@example.com", "her@example.net"])
        assert mail.content.endswith(MESSAGE)
        assert await scene.waiting() == 0


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (NO_USER, "550 5.1.1 No such user"),
        (FULL, "452 4.2.2 Mailbox full"),
        (DENY("5.7.1 Spam", code=554), "554 5.7.1 Spam"),
        (DENYSOFT("4.7.1 Come back", code=421), "451 4.7.1 Come back"),  # it is not our connection that ends
        (DENY("5.7.0 Log in first", code=530), "451 4.7.0 Log in first"),  # nor the client who has to log in
    ],
)
async def test_a_refusal_of_the_next_hop_is_passed_back_and_nothing_is_kept(
    tmp_path: Path, verdict: Verdict, expected: str
) -> None:
    mailbox = Mailbox(judging(message=verdict))
    async with receiving(tmp_path, mailbox) as hop, passing(tmp_path, forward(hop)) as scene:
        assert str(await scene.send("you@example.com")) == expected
        assert await scene.waiting() == 0
        assert (await scene.client.command("NOOP")).code == 250


async def test_a_message_refused_for_all_names_the_reasons(tmp_path: Path) -> None:
    mailbox = Mailbox(judging(a=NO_USER, b=DENY("5.7.1 Not from you", code=553)))
    async with receiving(tmp_path, mailbox) as hop, passing(tmp_path, forward(hop)) as scene:
        reply = await scene.send("a@example.com", "b@example.com")
    assert reply.code == 550
    assert list(reply.lines) == ["<a@example.com> No such user", "<b@example.com> Not from you"]


async def test_a_message_put_off_for_one_and_refused_for_all_others_is_put_off(tmp_path: Path) -> None:
    mailbox = Mailbox(judging(a=NO_USER, b=FULL))
    async with receiving(tmp_path, mailbox) as hop, passing(tmp_path, forward(hop)) as scene:
        assert str(await scene.send("a@example.com", "b@example.com")) == "452 4.2.2 Mailbox full"
        assert await scene.waiting() == 0


async def test_what_was_put_off_for_some_is_kept_and_tried_again(tmp_path: Path) -> None:
    answers = {"full": FULL}
    mailbox = Mailbox(lambda recipient: answers.get(recipient.user) if recipient else None)
    async with receiving(tmp_path, mailbox) as hop:
        outbound = {"retry": "1s", "relay_host": "lmtp:///nonexistent"}
        async with passing(tmp_path, forward(hop), outbound=outbound) as scene:
            reply = await scene.send("you@example.com", "full@example.com")
            assert reply.code == 250
            assert reply.text.startswith("Message taken; for 1 of 2 recipients")
            answers.clear()
            await mailbox.wait_for(2)
            await is_worked_off(scene.server)
    assert [mail.recipients for mail in mailbox.mails] == [["you@example.com"], ["full@example.com"]]
    assert mailbox.mails[0].content.partition(b"\r\n\r\n")[2] == b"world\r\n"
    assert mailbox.mails[1].content.endswith(MESSAGE)


async def test_who_is_refused_while_others_get_the_message_is_reported(tmp_path: Path) -> None:
    mailbox, postbox = Mailbox(judging(nobody=NO_USER)), Mailbox()
    async with receiving(tmp_path / "a", mailbox) as hop, receiving(tmp_path / "b", postbox) as way_back:
        plugin = QueueSmtpForward(routes={"example.com": hop})
        async with passing(tmp_path, plugin, outbound={"relay_host": way_back}) as scene:
            assert (await scene.send("you@example.com", "nobody@example.com")).code == 250
            (report,) = await postbox.wait_for(1)
            await is_worked_off(scene.server)
    assert [mail.recipients for mail in mailbox.mails] == [["you@example.com"]]
    assert (report.sender, report.recipients) == ("", [SENDER])
    text = message_from_bytes(report.content).as_string()
    assert "nobody@example.com" in text
    assert "Diagnostic-Code: smtp; 550 5.1.1 No such user" in text
    assert "you@example.com" not in text.partition("Final-Recipient")[2].partition("--")[0]


async def test_recipients_go_to_their_next_hops_at_the_same_time(tmp_path: Path) -> None:
    boxes = [Mailbox() for _ in range(4)]
    async with (
        receiving(tmp_path / "0", boxes[0]) as other,
        receiving(tmp_path / "1", boxes[1]) as domain,
        receiving(tmp_path / "2", boxes[2]) as below,
        receiving(tmp_path / "3", boxes[3]) as boss,
    ):
        routes = {"example.com": domain, ".Example.COM": below, "Boss@example.com": boss}
        async with passing(tmp_path, forward(other, routes=routes)) as scene:
            reply = await scene.send(
                "a@example.net", "b@example.com", "c@x.y.example.com", "boss@example.com", "d@example.com"
            )
    assert reply.code == 250
    assert [box.mails[0].recipients for box in boxes] == [
        ["a@example.net"], ["b@example.com", "d@example.com"], ["c@x.y.example.com"], ["boss@example.com"],
    ]  # fmt: skip


async def test_what_is_left_of_two_next_hops_for_one_domain_keeps_its_ways(tmp_path: Path) -> None:
    answers = {"boss": FULL, "full": FULL}
    mailbox, boss = (Mailbox(lambda rcpt: answers.get(rcpt.user) if rcpt else None) for _ in range(2))
    async with receiving(tmp_path / "0", mailbox) as hop, receiving(tmp_path / "1", boss) as its_own:
        plugin = forward(hop, routes={"boss@example.com": its_own})
        async with passing(tmp_path, plugin, outbound={"retry": "1s"}) as scene:
            assert (await scene.send("boss@example.com", "full@example.com", "a@example.com")).code == 250
            answers.clear()
            await boss.wait_for(1)
            await mailbox.wait_for(2)
            await is_worked_off(scene.server)
    assert [mail.recipients for mail in boss.mails] == [["boss@example.com"]]
    assert [mail.recipients for mail in mailbox.mails] == [["a@example.com"], ["full@example.com"]]


async def test_each_recipient_gets_a_message_of_its_own_over_one_connection(tmp_path: Path) -> None:
    mailbox = Mailbox(judging(b=NO_USER))
    async with (
        receiving(tmp_path, mailbox) as hop,
        passing(tmp_path, forward(hop, one_message_per_rcpt=True)) as scene,
    ):
        assert (await scene.send("a@example.com", "b@example.com", "c@example.com")).code == 250
    assert [mail.recipients for mail in mailbox.mails] == [["a@example.com"], ["c@example.com"]]
    assert mailbox.connections == 1


async def test_a_recipient_named_twice_gets_the_message_once(tmp_path: Path) -> None:
    mailbox = Mailbox()
    async with (
        receiving(tmp_path, mailbox) as hop,
        passing(tmp_path, forward(hop, one_message_per_rcpt=True)) as scene,
    ):
        assert (await scene.send("a@example.com", "a@example.com")).code == 250
    assert [mail.recipients for mail in mailbox.mails] == [["a@example.com"]]


async def test_the_next_host_of_a_list_is_tried_and_a_dead_one_remembered(tmp_path: Path) -> None:
    mailbox = Mailbox()
    closed = trio.socket.socket()
    await closed.bind(("127.0.0.1", 0))  # and does not listen
    dead = f"smtp://127.0.0.1:{closed.getsockname()[1]}"
    async with receiving(tmp_path, mailbox) as hop, passing(tmp_path, forward(dead, hop)) as scene:
        for _ in range(2):
            assert (await scene.send("you@example.com")).code == 250
        works = scene.server.outbound.works
        assert works is not None
        hops = [NextHop.parse(dead), NextHop.parse(hop)]
        route = await works.router.route("example.com", hops=hops, now=wall_clock())
        assert [f"smtp://127.0.0.1:{target.port}" for target in route.targets] == [hop, dead]
    assert len(mailbox.mails) == 2
    closed.close()


async def test_hosts_share_the_load(tmp_path: Path) -> None:
    boxes = [Mailbox(), Mailbox()]
    async with (
        receiving(tmp_path / "0", boxes[0]) as one,
        receiving(tmp_path / "1", boxes[1]) as two,
        passing(tmp_path, forward(one, two, share_load=True)) as scene,
    ):
        while not all(box.mails for box in boxes):  # by chance: more than 60 rounds once in 10**18 runs
            assert (await scene.send("you@example.com")).code == 250
            assert len(boxes[0].mails + boxes[1].mails) < 60


async def test_a_next_hop_that_cannot_be_reached_is_not_described_to_the_client(tmp_path: Path) -> None:
    async with passing(tmp_path, forward("lmtp:///nonexistent/socket")) as scene:
        reply = await scene.send("you@example.com")
        assert await scene.waiting() == 0
    assert reply.code == 451
    assert reply.text == "The next server cannot be reached, try again later"


async def test_a_next_hop_that_is_too_slow_leaves_the_message_to_the_client(tmp_path: Path) -> None:
    script = """
        S: 220 slow.test
        C: EHLO*
        S: 250 slow.test
        C: MAIL*
        SILENCE
    """
    async with playing(script) as host:
        plugin = forward(f"smtp://127.0.0.1:{host.port}")
        async with passing(tmp_path, plugin, smtp={"commit_timeout": "1s"}) as scene:
            with trio.fail_after(5):
                reply = await scene.send("you@example.com")
            assert (reply.code, reply.enhanced) == (451, "4.4.1")
            assert await scene.waiting() == 0


async def test_who_is_too_slow_gets_the_message_later_if_others_have_it(tmp_path: Path) -> None:
    script = """
        S: 220 slow.test
        C: EHLO*
        S: 250 slow.test
        C: MAIL*
        SILENCE
    """
    mailbox = Mailbox()
    async with playing(script) as host, receiving(tmp_path, mailbox) as hop:
        plugin = forward(hop, routes={"slow.example": f"smtp://127.0.0.1:{host.port}"})
        async with passing(tmp_path, plugin, smtp={"commit_timeout": "1s"}) as scene:
            assert (await scene.send("a@slow.example", "b@example.com")).code == 250
            assert await scene.waiting() == 1
    assert [mail.recipients for mail in mailbox.mails] == [["b@example.com"]]


class FullStore(MemoryStore):
    """A queue without room."""

    async def commit(self, *arguments: Any, **named: Any) -> None:
        raise StoreFull("no room")


async def test_what_cannot_be_kept_is_sent_again_rather_than_lost(tmp_path: Path) -> None:
    mailbox = Mailbox(judging(full=FULL))
    async with (
        receiving(tmp_path, mailbox) as hop,
        passing(tmp_path, forward(hop), store=FullStore()) as scene,
    ):
        assert (await scene.send("you@example.com")).code == 250  # there is nothing to keep
        reply = await scene.send("you@example.com", "full@example.com")
        assert str(reply) == "452 4.3.1 Insufficient system storage, try again later"


class Forgetful(MemoryStore):
    """A queue that does not take what became of mail when it is told for the first time."""

    told = 0

    async def record(self, *arguments: Any, **named: Any) -> frozenset[DeliveryKey]:
        self.told += 1
        if self.told == 1:
            raise StoreUnavailable("a disk error")
        return await super().record(*arguments, **named)


async def test_what_became_of_the_rest_is_written_down_however_long_it_takes(tmp_path: Path) -> None:
    mailbox, postbox, store = Mailbox(judging(nobody=NO_USER)), Mailbox(), Forgetful()
    async with receiving(tmp_path / "a", mailbox) as hop, receiving(tmp_path / "b", postbox) as way_back:
        plugin = QueueSmtpForward(routes={"example.com": hop})
        async with passing(tmp_path, plugin, store=store, outbound={"relay_host": way_back}) as scene:
            assert (await scene.send("you@example.com", "nobody@example.com")).code == 250
            await postbox.wait_for(1)
            await is_worked_off(scene.server)
    assert store.told > 1
    assert mailbox.connections == 1  # nobody was tried again


class Hold(Plugin):
    """Holds each message back for some time, as FUTURERELEASE can."""

    @hookimpl
    def hook_data_post(self, connection: Connection) -> None:
        transaction = connection.transaction
        assert transaction is not None
        transaction.mail_params = replace(transaction.mail_params, hold_for=1)


async def test_a_message_that_is_to_wait_waits_in_the_queue(tmp_path: Path) -> None:
    mailbox = Mailbox()
    async with receiving(tmp_path, mailbox) as hop, passing(tmp_path, Hold(), forward(hop)) as scene:
        assert (await scene.send("a@example.com", "b@example.com")).code == 250
        assert mailbox.mails == []
        assert await scene.waiting() == 2
        await mailbox.wait_for(1)
        await is_worked_off(scene.server)
    assert mailbox.mails[0].recipients == ["a@example.com", "b@example.com"]


class Careless(Plugin):
    """Forgets all recipients but the first."""

    def __init__(self, hop: str) -> None:
        super().__init__()
        self._hop = NextHop.parse(hop)

    @hookimpl
    async def hook_queue(self, connection: Connection) -> Verdict:
        transaction = connection.transaction
        assert transaction is not None
        ways = [Way((transaction.rcpt_to[0],), (self._hop,))]
        return await self.server.outbound.pass_on(connection, ways)


async def test_no_recipient_can_be_forgotten(tmp_path: Path) -> None:
    mailbox = Mailbox()
    async with receiving(tmp_path, mailbox) as hop, passing(tmp_path, Careless(hop)) as scene:
        assert (await scene.send("a@example.com")).code == 250
        assert (await scene.send("a@example.com", "b@example.com")).code == 451
    assert len(mailbox.mails) == 1


async def test_mail_without_a_next_hop_is_left_to_other_plugins(tmp_path: Path) -> None:
    mailbox, keep = Mailbox(), Keep()
    async with receiving(tmp_path, mailbox) as hop:
        plugin = QueueSmtpForward(routes={"example.com": hop})
        async with passing(tmp_path, plugin, keep) as scene:
            assert (await scene.send("you@example.com")).code == 250
            assert (await scene.send("you@example.net")).code == 250
            await scene.client.command(f"MAIL FROM:<{SENDER}>")
            assert (await scene.client.command("RCPT TO:<a@example.com>")).code == 250
            apart = await scene.client.command("RCPT TO:<b@example.net>")
            assert (apart.code, apart.enhanced) == (452, "4.5.3")
    assert len(mailbox.mails) == 1
    assert [recipients for _, recipients, _ in keep.taken] == [["you@example.net"]]


async def test_recipients_of_a_relaying_client_without_a_next_hop_go_out(tmp_path: Path) -> None:
    mailbox, world = Mailbox(), Mailbox()
    async with receiving(tmp_path / "0", mailbox) as hop, receiving(tmp_path / "1", world) as relay_host:
        plugin = QueueSmtpForward(routes={"example.com": hop})
        outbound = {"relay_host": relay_host}
        async with passing(tmp_path, plugin, relaying=True, outbound=outbound) as scene:
            assert (await scene.send("a@example.com", "b@example.net")).code == 250
            await world.wait_for(1)
            assert (await scene.send("c@example.net")).code == 250
            await world.wait_for(2)
            await is_worked_off(scene.server)
    assert [mail.recipients for mail in mailbox.mails] == [["a@example.com"]]
    assert [mail.recipients for mail in world.mails] == [["b@example.net"], ["c@example.net"]]


async def test_mail_of_relaying_clients_is_not_forwarded_unless_so_set(tmp_path: Path) -> None:
    mailbox, keep = Mailbox(), Keep()
    async with receiving(tmp_path, mailbox) as hop:
        plugin = QueueSmtpForward(routes={"example.com": hop}, enable_outbound=False)
        async with passing(tmp_path, plugin, keep, relaying=True) as scene:
            assert (await scene.send("a@example.com")).code == 250
    assert mailbox.mails == []
    assert [hook for hook, _, _ in keep.taken] == ["queue_outbound"]


async def test_mail_in_the_queue_finds_the_next_hop_of_its_domain(tmp_path: Path) -> None:
    mailbox = Mailbox()
    async with receiving(tmp_path, mailbox) as hop:
        plugin = QueueSmtpForward(routes={"example.com": hop})
        async with passing(tmp_path, plugin) as scene:
            await scene.server.outbound.send(SENDER, "you@example.com", MESSAGE)
            await mailbox.wait_for(1)


async def test_a_success_is_reported_if_the_next_hop_does_not_report_itself(tmp_path: Path) -> None:
    script = """
        S: 220 old.test
        C: EHLO*
        S: 250 old.test
        C: MAIL*
        S: 250 ok
        C: RCPT*
        S: 250 ok
        C: DATA
        S: 354 go
        CONTENT
        S: 250 taken
    """
    postbox = Mailbox()
    async with playing(script) as host, receiving(tmp_path, postbox) as way_back:
        plugin = QueueSmtpForward(routes={"example.com": f"smtp://127.0.0.1:{host.port}"})
        async with passing(tmp_path, plugin, outbound={"relay_host": way_back}) as scene:
            await scene.client.command(f"MAIL FROM:<{SENDER}>")
            await scene.client.command("RCPT TO:<you@example.com> NOTIFY=SUCCESS")
            await scene.client.command("DATA")
            await scene.client.send(MESSAGE + b".\r\n")
            assert str(await scene.client.reply()) == "250 2.0.0 taken"
            (report,) = await postbox.wait_for(1)
            await is_worked_off(scene.server)
    assert b"Action: relayed" in report.content


async def test_content_that_was_spooled_is_forwarded_as_it_is(tmp_path: Path) -> None:
    mailbox = Mailbox()
    content = b"Subject: large\r\n\r\n" + b".dots and more\r\n" * 200_000
    async with receiving(tmp_path, mailbox) as hop, passing(tmp_path, forward(hop)) as scene:
        assert (await scene.send("you@example.com", content=content)).code == 250
    assert mailbox.mails[0].content.endswith(content)


def test_wrong_settings_are_explained_without_their_passwords() -> None:
    table = {
        "next_hop": "smtp://me:secret@host:99999",
        "routes": {"nonsense domain": "smtp://host", "example.com": []},
    }
    with pytest.raises(ConfigError) as caught:
        validate_plugin("queue_smtp_forward", table, QueueSmtpForwardConfig)
    text = str(caught.value)
    assert "plugin.queue_smtp_forward.next_hop" in text
    assert "secret" not in text
    with pytest.raises(ConfigError) as caught:
        table["next_hop"] = []
        validate_plugin("queue_smtp_forward", table, QueueSmtpForwardConfig)
    assert "must be a mail address, a domain" in problems(caught.value)["plugin.queue_smtp_forward.routes"]
