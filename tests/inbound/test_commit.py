"""Relayed mail on its way into the queue: committed outside of the connection's task where that can be."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from harakapy import OK, Connection, Plugin, Server, Verdict, hookimpl
from harakapy.log import silent_logger
from harakapy.net import inline_pump
from harakapy.queue import Selection, SqliteStore, sqlite_commits
from harakapy.queue.sqlite_commits import NewMessage
from harakapy.queue.sqlite_store import INLINE_LIMIT
from harakapy.testing import Client, play
from tests.outbound.scene import NOWHERE

from .scene import MESSAGE, greeted, serving, settings

HERE: dict[str, Any] = {"listen": [{"address": "127.0.0.1:0"}], "outbound": {"relay_host": NOWHERE}}
"""Sockets, for only what comes by one is answered outside of a task; what is in the queue stays there."""

COMMIT_TIMEOUT_S, SHUTDOWN_TIMEOUT_S = 60, 30


class Relay(Plugin):
    """Takes all mail for the queue; writes down where it was before each commit, and after it."""

    def __init__(self) -> None:
        super().__init__()
        self.before: list[bool] = []
        self.after: list[bool] = []
        self._came = trio.Event()

    @hookimpl
    def hook_connect_init(self, connection: Connection) -> None:
        connection.relaying = True

    @hookimpl
    def hook_rcpt(self) -> Verdict:
        return OK

    @hookimpl
    def hook_queue_outbound(self, connection: Connection) -> None:
        self.before.append(inline_pump() is not None)
        self._came.set()
        self._came = trio.Event()

    @hookimpl
    def hook_queue_ok(self, connection: Connection) -> None:
        self.after.append(inline_pump() is not None)

    async def wait_for(self, count: int) -> None:
        """Wait until so many messages are about to be committed, and then for what comes of it at once."""
        while len(self.before) < count:
            await self._came.wait()
        await trio.testing.wait_all_tasks_blocked()


class SlowDisk:
    """Has the writing thread wait in each write from the ``first`` on, until told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.first = 1
        self._insert = sqlite_commits.insert
        self._count = 0
        self._entered = threading.Event()
        self._may_go_on = threading.Event()
        monkeypatch.setattr(sqlite_commits, "insert", self)

    def __call__(self, connection: sqlite3.Connection, new: Sequence[NewMessage]) -> list[tuple[str, ...]]:
        self._count += 1
        if self._count >= self.first:
            self._entered.set()
            assert self._may_go_on.wait(20)
        return self._insert(connection, new)

    async def wait_entered(self) -> None:
        assert await trio.to_thread.run_sync(self._entered.wait, 20)

    def go_on(self) -> None:
        self._may_go_on.set()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SlowDisk:
    return SlowDisk(monkeypatch)


@asynccontextmanager
async def relaying(folder: Path, *plugins: object) -> AsyncIterator[Server]:
    """A server whose queue is open, and on disk."""
    async with serving(folder, *plugins, **HERE) as server:
        await server.outbound.open()
        yield server


@asynccontextmanager
async def calling(server: Server) -> AsyncIterator[Client]:
    async with await trio.open_tcp_stream("127.0.0.1", server.addresses[0].port) as stream:
        client = Client(stream)
        await greeted(client)
        yield client


async def to_the_end_of_data(client: Client, recipient: str) -> None:
    """Send a message, and wait for every reply but the last one."""
    await play(
        f"C: MAIL FROM:<a@b.test>\nC: RCPT TO:<{recipient}>\nC: DATA\nS: 250 *\nS: 250 *\nS: 354 *", client
    )
    await client.send(MESSAGE + b".\r\n")


async def queued(folder: Path) -> list[str]:
    """The recipients in the queue of a server that has ended."""
    async with await SqliteStore.open(settings(folder).queue_dir, log=silent_logger()) as store:
        page = await store.select(Selection(), limit=100)
    return sorted(str(each.recipient.address) for request in page.requests for each in request.deliveries)


async def test_relayed_mail_is_committed_outside_of_the_task(tmp_path: Path) -> None:
    relay = Relay()
    async with relaying(tmp_path, relay) as server, calling(server) as client:
        for name in "xy":
            replies = await client.hand_over("a@b.test", [f"{name}@else.test"], MESSAGE)
            assert replies[-1].code == 250
        assert (await client.command("NOOP")).code == 250
    assert (relay.before, relay.after) == ([True, True], [True, True])
    assert await queued(tmp_path) == ["x@else.test", "y@else.test"]


async def test_the_message_for_which_the_queue_is_opened_is_committed_in_the_task(tmp_path: Path) -> None:
    relay = Relay()
    async with serving(tmp_path, relay, **HERE) as server, calling(server) as client:
        for name in "xy":
            replies = await client.hand_over("a@b.test", [f"{name}@else.test"], MESSAGE)
            assert replies[-1].code == 250
    assert relay.before == [False, True]
    assert await queued(tmp_path) == ["x@else.test", "y@else.test"]


async def test_messages_that_come_at_once_are_committed_one_after_the_other(tmp_path: Path) -> None:
    relay = Relay()
    async with relaying(tmp_path, relay) as server, calling(server) as client:
        assert (await client.command("EHLO client.test")).code == 250
        await play(
            "C: MAIL FROM:<a@b.test>\nC: RCPT TO:<x@else.test>\nC: BDAT 0 LAST\n"
            "C: MAIL FROM:<a@b.test>\nC: RCPT TO:<y@else.test>\nC: BDAT 0 LAST\nC: QUIT\n"
            "S: 250 2.1.0 *\nS: 250 2.1.5 *\nS: 250 2.0.0 *\n"
            "S: 250 2.1.0 *\nS: 250 2.1.5 *\nS: 250 2.0.0 *\nS: 221 *\nS: EOF",
            client,
        )
    assert relay.after == [True, True]
    assert await queued(tmp_path) == ["x@else.test", "y@else.test"]


async def test_the_client_is_told_of_a_message_before_the_next_one_is_committed(
    tmp_path: Path, disk: SlowDisk
) -> None:
    disk.first = 2
    async with relaying(tmp_path, Relay()) as server, calling(server) as client:
        assert (await client.command("EHLO client.test")).code == 250
        group = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<x@else.test>\r\nBDAT 0 LAST\r\n"
        await client.send(group + group)
        await disk.wait_entered()
        await play("S: 250 2.1.0 *\nS: 250 2.1.5 *\nS: 250 2.0.0 *", client)
        disk.go_on()
        await play("S: 250 2.1.0 *\nS: 250 2.1.5 *\nS: 250 2.0.0 *", client)


@pytest.mark.parametrize(("more", "is_inline"), [(-1000, True), (1, False)])
async def test_content_for_which_there_is_a_file_is_committed_in_the_task(
    tmp_path: Path, more: int, is_inline: bool
) -> None:
    relay = Relay()
    content = MESSAGE + b"x" * (INLINE_LIMIT + more - len(MESSAGE) - 2) + b"\r\n"
    async with relaying(tmp_path, relay) as server, calling(server) as client:
        assert (await client.command("EHLO client.test")).code == 250
        assert (await client.command("MAIL FROM:<a@b.test>")).code == 250
        assert (await client.command("RCPT TO:<x@else.test>")).code == 250
        await client.send(b"BDAT %d LAST\r\n" % len(content) + content)
        await play("S: 250 2.0.0 *", client)
        store = await server.outbound.open()
        [request] = (await store.select(Selection(), limit=2)).requests
        with await store.open_content(request.message.id) as kept:
            stored = b"".join(kept.blocks())
    assert relay.after == [is_inline]
    assert stored.endswith(content)


async def test_with_a_plugin_that_sees_what_goes_out_it_is_committed_in_the_task(tmp_path: Path) -> None:
    seen: list[str] = []

    class Seer(Plugin):
        @hookimpl
        async def hook_pre_send_trans_email(self) -> None:
            await trio.lowlevel.checkpoint()
            seen.append("seen")

    relay = Relay()
    async with relaying(tmp_path, relay, Seer) as server, calling(server) as client:
        assert (await client.hand_over("a@b.test", ["x@else.test"], MESSAGE))[-1].code == 250
    assert (seen, relay.after) == (["seen"], [False])
    assert await queued(tmp_path) == ["x@else.test"]


async def test_a_commit_that_fails_is_a_451_and_the_session_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(connection: sqlite3.Connection, new: Sequence[NewMessage]) -> list[tuple[str, ...]]:
        raise sqlite3.OperationalError("disk I/O error")

    relay = Relay()
    async with relaying(tmp_path, relay) as server, calling(server) as client:
        with monkeypatch.context() as patch:
            patch.setattr(sqlite_commits, "insert", fail)
            reply = (await client.hand_over("a@b.test", ["x@else.test"], MESSAGE))[-1]
        assert str(reply) == "451 4.3.0 The message could not be stored, try again later"
        assert (await client.hand_over("a@b.test", ["y@else.test"], MESSAGE))[-1].code == 250
    assert (relay.before, relay.after) == ([True, True], [True])
    assert await queued(tmp_path) == ["y@else.test"]


async def test_a_commit_that_takes_too_long_in_line_is_a_451_and_is_not_made(
    tmp_path: Path, disk: SlowDisk, mock_clock: trio.testing.MockClock
) -> None:
    relay = Relay()
    async with relaying(tmp_path, relay) as server, calling(server) as taken, calling(server) as client:
        await to_the_end_of_data(taken, "taken@else.test")
        await disk.wait_entered()
        for count in (2, 3):  # a deadline that has come may be set again
            await to_the_end_of_data(client, "late@else.test")
            await relay.wait_for(count)
            mock_clock.jump(COMMIT_TIMEOUT_S - 1)
            await trio.testing.wait_all_tasks_blocked()
            assert relay.after == []
            mock_clock.jump(2)
            await play("S: 451 4.3.0 The message could not be stored in time, try again later", client)
        disk.go_on()
        await play("S: 250 2.0.0 *", taken)  # whose time was up as well, but it could not be given up
        mock_clock.jump(COMMIT_TIMEOUT_S)
        await trio.testing.wait_all_tasks_blocked()
        assert (await client.hand_over("a@b.test", ["last@else.test"], MESSAGE))[-1].code == 250
    assert relay.before == [True] * 4
    assert await queued(tmp_path) == ["last@else.test", "taken@else.test"]


async def test_a_server_that_stops_commits_what_it_has_begun_and_tells_the_clients(
    tmp_path: Path, disk: SlowDisk, mock_clock: trio.testing.MockClock
) -> None:
    relay = Relay()
    async with relaying(tmp_path, relay) as server, calling(server) as taken, calling(server) as in_line:
        await to_the_end_of_data(taken, "taken@else.test")
        await disk.wait_entered()
        await to_the_end_of_data(in_line, "line@else.test")
        await relay.wait_for(2)
        server.stop()
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(SHUTDOWN_TIMEOUT_S + 1)  # now all are cancelled
        await trio.testing.wait_all_tasks_blocked()
        disk.go_on()
        for client in (taken, in_line):
            await play("S: 250 2.0.0 *\nS: 421 4.3.2 *\nS: EOF", client)
    assert (relay.before, relay.after) == ([True, True], [True, True])
    assert await queued(tmp_path) == ["line@else.test", "taken@else.test"]


async def test_a_server_that_is_cancelled_commits_what_it_has_begun_and_tells_the_clients(
    tmp_path: Path, disk: SlowDisk
) -> None:
    relay = Relay()
    server = Server(settings(tmp_path, **HERE), plugins=[relay], log=silent_logger())
    scope = trio.CancelScope()

    async def serve(*, task_status: trio.TaskStatus[Server]) -> None:
        with scope:
            await server.serve(task_status=task_status)

    async with trio.open_nursery() as nursery:
        await nursery.start(serve)
        await server.outbound.open()
        async with calling(server) as taken, calling(server) as in_line:
            await to_the_end_of_data(taken, "taken@else.test")
            await disk.wait_entered()
            await to_the_end_of_data(in_line, "line@else.test")
            await relay.wait_for(2)
            scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            disk.go_on()
            for client in (taken, in_line):
                await play("S: 250 2.0.0 *\nS: EOF", client)
    assert (relay.before, relay.after) == ([True, True], [True, True])
    assert await queued(tmp_path) == ["line@else.test", "taken@else.test"]


async def test_a_commit_goes_on_when_the_client_leaves(tmp_path: Path, disk: SlowDisk) -> None:
    relay = Relay()
    async with relaying(tmp_path, relay) as server:
        async with calling(server) as client:
            await to_the_end_of_data(client, "x@else.test")
            await disk.wait_entered()
        await trio.testing.wait_all_tasks_blocked()
        disk.go_on()
    assert relay.after == [True]
    assert await queued(tmp_path) == ["x@else.test"]
