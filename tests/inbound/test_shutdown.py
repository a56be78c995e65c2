"""The end of a server: idle clients are told, busy ones may finish, what is being stored is stored."""

from pathlib import Path

import trio
import trio.testing

from harakapy import OK, Connection, Plugin, Verdict, hookimpl
from harakapy.testing import connect, play

from .scene import Accept, greeted, serving


async def test_an_idle_client_is_sent_away_at_once(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with serving(tmp_path, Accept()) as server, connect(server) as client:
        await greeted(client)
        began = trio.current_time()
        server.stop()
        await play("S: 421 4.3.2 Service shutting down, try again later\nS: EOF", client)
        assert trio.current_time() - began < 5


async def test_a_busy_client_may_finish_its_message(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    accept = Accept()
    async with serving(tmp_path, accept) as server, connect(server) as client:
        await greeted(client)
        assert (await client.command("MAIL FROM:<a@b.test>")).code == 250
        server.stop()
        await trio.sleep(20)
        await play(
            "C: RCPT TO:<b@example.com>\nS: 250 *\nC: DATA\nS: 354 *\nC: .\nS: 250 2.0.0 *\n"
            "S: 421 4.3.2 *\nS: EOF",
            client,
        )
    assert len(accept.messages) == 1


async def test_a_busy_client_is_cut_at_the_deadline(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with serving(tmp_path, Accept()) as server, connect(server) as client:
        await greeted(client)
        assert (await client.command("MAIL FROM:<a@b.test>")).code == 250
        began = trio.current_time()
        server.stop()
        await play("S: 421 4.3.2 *\nS: EOF", client, timeout_s=100)
        assert 29 < trio.current_time() - began < 35


async def test_a_message_that_is_being_stored_is_stored_and_the_client_told(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    stored: list[str] = []

    class SlowQueue(Plugin):
        @hookimpl
        async def hook_queue(self, connection: Connection) -> Verdict:
            await trio.sleep(20)
            stored.append(connection.uuid)
            return OK

    async with (
        serving(tmp_path, SlowQueue, Accept(), smtp={"shutdown_timeout": "1s"}) as server,
        connect(server) as client,
    ):
        await greeted(client)
        await play(
            "C: MAIL FROM:<a@b.test>\nC: RCPT TO:<b@example.com>\nC: DATA\nS: 250 *\nS: 250 *\nS: 354 *",
            client,
        )
        await client.send(b".\r\n")
        await trio.testing.wait_all_tasks_blocked()
        server.stop()
        await play("S: 250 2.0.0 *\nS: 421 4.3.2 *\nS: EOF", client, timeout_s=100)
    assert len(stored) == 1


async def test_plugins_are_told_of_the_end(tmp_path: Path) -> None:
    told: list[str] = []

    class Told(Plugin):
        @hookimpl
        def hook_disconnect(self) -> None:
            told.append("disconnect")

        @hookimpl
        async def hook_shutdown(self) -> None:
            await trio.lowlevel.checkpoint()
            told.append("shutdown")

    async with serving(tmp_path, Told) as server, connect(server) as client:
        await client.reply()
    assert told == ["disconnect", "shutdown"]


async def test_a_reply_that_is_still_owed_comes_before_the_farewell(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    class SlowReset(Plugin):
        @hookimpl
        async def hook_reset_transaction(self) -> None:
            await trio.sleep(20)

    accept = Accept()
    async with (
        serving(tmp_path, SlowReset, accept, smtp={"shutdown_timeout": "1s"}) as server,
        connect(server) as client,
    ):
        await greeted(client)
        await play(
            "C: MAIL FROM:<a@b.test>\nC: RCPT TO:<b@example.com>\nC: DATA\nS: 250 *\nS: 250 *\nS: 354 *",
            client,
        )
        await client.send(b".\r\n")
        await trio.testing.wait_all_tasks_blocked()
        server.stop()
        await play("S: 250 2.0.0 *\nS: 421 4.3.2 *\nS: EOF", client, timeout_s=100)
    assert len(accept.messages) == 1


async def test_replies_to_a_group_come_before_the_farewell(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    class SlowRcpt(Plugin):
        @hookimpl
        async def hook_rcpt(self) -> Verdict:
            await trio.sleep(25)
            return OK

    async with (
        serving(tmp_path, SlowRcpt, smtp={"shutdown_timeout": "1s"}) as server,
        connect(server) as client,
    ):
        await greeted(client)
        await client.send(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<b@example.com>\r\n")
        await trio.testing.wait_all_tasks_blocked()
        server.stop()
        await play("S: 250 2.1.0 *\nS: 421 4.3.2 *\nS: EOF", client, timeout_s=100)
