"""Content: where it is kept, what plugins may do with it, and the commit."""

from pathlib import Path

import pytest
import trio
import trio.testing

from harakapy import DENY, DENYSOFT, OK, Connection, Plugin, Reply, Verdict, hookimpl
from harakapy.testing import connect, play

from .scene import MESSAGE, Accept, greeted, serving, talking

TO_DATA = "C: MAIL FROM:<a@b.test>\nC: RCPT TO:<b@example.com>\nC: DATA\nS: 250 *\nS: 250 *\nS: 354 *"


async def test_content_comes_out_as_it_came_in_behind_a_received_field(tmp_path: Path) -> None:
    accept = Accept()
    content = b"Subject: x\r\n\r\n.dot\r\n..dots\r\n.\xff\r\n\r\n"
    async with talking(tmp_path, accept) as client:
        replies = await client.hand_over("a@b.test", ["b@example.com"], content)
    assert replies[-1].code == 250
    [message] = accept.messages
    assert message.endswith(content)
    assert message.startswith(
        b"Received: from client.test ([192.0.2.1])\r\n\tby mx.test (harakapy) with SMTP id "
    )
    assert b"\tfor <b@example.com>;" in message


async def test_several_recipients_do_not_see_each_other(tmp_path: Path) -> None:
    accept = Accept()
    async with talking(tmp_path, accept) as client:
        await client.hand_over("a@b.test", ["b@example.com", "c@example.com"], MESSAGE)
    assert b"example.com" not in accept.messages[0]


@pytest.mark.parametrize("size", [10, 100, 700_000])
async def test_content_is_whole_wherever_it_was_kept(size: int, tmp_path: Path) -> None:
    accept = Accept()
    content = MESSAGE + b"0123456789\r\n" * (size // 12)
    async with talking(tmp_path, accept, smtp={"spool_after": 100}) as client:
        replies = await client.hand_over("a@b.test", ["b@example.com"], content)
    assert replies[-1].code == 250
    assert accept.messages[0].endswith(content)
    assert list((tmp_path / "spool").iterdir()) == []


async def test_a_spool_that_cannot_be_written_is_a_452_and_the_session_goes_on(tmp_path: Path) -> None:
    accept = Accept()
    async with talking(tmp_path, accept, smtp={"spool_after": 100}) as client:
        (tmp_path / "spool").rmdir()
        replies = await client.hand_over("a@b.test", ["b@example.com"], MESSAGE + b"x" * 600_000 + b"\r\n")
        assert str(replies[-1]) == "452 4.3.1 Insufficient system storage, try again later"
        (tmp_path / "spool").mkdir()
        replies = await client.hand_over("a@b.test", ["b@example.com"], MESSAGE + b"x" * 600_000 + b"\r\n")
        assert replies[-1].code == 250
    assert len(accept.messages) == 1


async def test_plugins_may_change_header_and_body(tmp_path: Path) -> None:
    class Change(Plugin):
        @hookimpl
        def hook_data_post(self, connection: Connection) -> None:
            transaction = connection.transaction
            assert transaction is not None
            assert transaction.header.get("Subject") == "hello"
            transaction.add_header("X-Last", "1")
            transaction.add_leading_header("X-First", "2")
            transaction.remove_header("Subject")
            transaction.replace_body(b"other\r\n")

    accept = Accept()
    async with talking(tmp_path, Change, accept) as client:
        await client.hand_over("a@b.test", ["b@example.com"], MESSAGE)
    message = accept.messages[0]
    assert message.startswith(b"X-First: 2\r\nReceived: ")
    assert message.endswith(b"\r\nX-Last: 1\r\n\r\nother\r\n")
    assert b"Subject" not in message


@pytest.mark.parametrize(
    ("verdict", "reply"),
    [
        (DENY, "550 5.7.1 Message denied"),
        (DENYSOFT, "450 4.7.1 Message denied temporarily"),
        (DENY("5.6.0 no viruses"), "550 5.6.0 no viruses"),
    ],
    ids=str,
)
async def test_data_post_may_refuse(verdict: Verdict, reply: str, tmp_path: Path) -> None:
    class Refuse(Plugin):
        @hookimpl
        async def hook_data_post(self) -> Verdict:
            await trio.lowlevel.checkpoint()
            return verdict

    accept = Accept()
    async with talking(tmp_path, Refuse, accept) as client:
        assert str((await client.hand_over("a@b.test", ["b@example.com"], MESSAGE))[-1]) == reply
        assert (await client.command("MAIL FROM:<a@b.test>")).code == 250
    assert accept.messages == []


async def test_without_a_queue_the_client_is_asked_to_come_back(tmp_path: Path) -> None:
    class AcceptOnly(Plugin):
        @hookimpl
        def hook_rcpt(self) -> Verdict:
            return OK

    async with talking(tmp_path, AcceptOnly) as client:
        reply = (await client.hand_over("a@b.test", ["b@example.com"], MESSAGE))[-1]
    assert str(reply).startswith("451 4.3.0 No queue took the message, try again later (")


async def test_a_relaying_client_uses_the_outbound_queue_and_needs_no_recipient_of_ours(
    tmp_path: Path,
) -> None:
    used: list[str] = []

    class Relay(Plugin):
        @hookimpl
        def hook_connect(self, connection: Connection) -> None:
            connection.relaying = True

        @hookimpl
        def hook_queue_outbound(
            self,
            connection: Connection,
        ) -> Verdict:
            assert connection.transaction is not None
            used.extend(map(str, connection.transaction.rcpt_to))
            return OK

    async with talking(tmp_path, Relay) as client:
        replies = await client.hand_over("a@b.test", ["x@elsewhere.test"], MESSAGE)
    assert replies[-1].code == 250
    assert used == ["x@elsewhere.test"]


async def test_relaying_set_in_a_transaction_ends_with_it(tmp_path: Path) -> None:
    class RelayOne(Plugin):
        @hookimpl
        def hook_mail(self, connection: Connection) -> None:
            if connection.transaction_count == 1:
                connection.relaying = True

        @hookimpl
        def hook_queue_outbound(self) -> Verdict:
            return OK

    async with talking(tmp_path, RelayOne) as client:
        assert (await client.hand_over("a@b.test", ["x@elsewhere.test"], MESSAGE))[-1].code == 250
        assert (await client.hand_over("a@b.test", ["x@elsewhere.test"], MESSAGE))[1].code == 550


async def test_a_commit_goes_on_when_the_client_leaves(tmp_path: Path) -> None:
    stored, leave = trio.Event(), trio.Event()

    class SlowQueue(Plugin):
        @hookimpl
        async def hook_queue(self, connection: Connection) -> Verdict:
            leave.set()
            await trio.testing.wait_all_tasks_blocked(0.01)
            stored.set()
            return OK

    async with serving(tmp_path, SlowQueue, Accept()) as server:
        async with connect(server) as client:
            await greeted(client)
            await play(TO_DATA, client)
            await client.send(b".\r\n")
            await leave.wait()
        assert stored.is_set()


async def test_a_commit_that_takes_too_long_is_deferred(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    class Stuck(Plugin):
        @hookimpl(timeout_s=0)
        async def hook_queue(self) -> Verdict:
            await trio.sleep_forever()

    async with talking(tmp_path, Stuck, Accept()) as client:
        reply = (await client.hand_over("a@b.test", ["b@example.com"], MESSAGE))[-1]
        assert str(reply) == "451 4.3.0 The message could not be stored in time, try again later"
        assert (await client.command("NOOP")).code == 250


async def test_queue_ok_sees_the_reply_and_cannot_hold_it_up(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    seen: list[Reply] = []

    class Watch(Plugin):
        @hookimpl
        async def hook_queue_ok(self, reply: Reply) -> None:
            seen.append(reply)
            await trio.sleep_forever()

    async with talking(tmp_path, Watch, Accept()) as client:
        reply = (await client.hand_over("a@b.test", ["b@example.com"], MESSAGE))[-1]
    assert seen == [reply]
    assert reply.code == 250


async def test_a_client_that_leaves_within_content_leaves_nothing(tmp_path: Path) -> None:
    accept = Accept()
    async with serving(tmp_path, accept, smtp={"spool_after": 10}) as server:
        async with connect(server) as client:
            await greeted(client)
            await play(TO_DATA, client)
            await client.send(b"x" * 600_000)
        assert list((tmp_path / "spool").iterdir()) == []
    assert accept.messages == []


async def test_the_client_is_told_before_a_slow_plugin_sees_the_end_of_the_transaction(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    class SlowReset(Plugin):
        @hookimpl
        async def hook_reset_transaction(self) -> None:
            await trio.sleep(20)

    async with talking(tmp_path, SlowReset, Accept()) as client:
        began = trio.current_time()
        assert (await client.hand_over("a@b.test", ["b@example.com"], MESSAGE))[-1].code == 250
        assert trio.current_time() - began < 1
