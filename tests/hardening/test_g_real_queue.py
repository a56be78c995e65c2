"""A server with its queue on a disk: when that is full, when DNS fails, when a plugin does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from harakapy import Plugin, Server, hookimpl
from harakapy.log import silent_logger
from harakapy.net import SocketAddress
from harakapy.queue import FileSystem, FreeSpace, Selection, SqliteStore
from harakapy.testing import Client, connect
from harakapy.testing.dns import FakeDns
from tests.inbound.scene import MESSAGE, settings
from tests.outbound.scene import Mailbox, Relaying, is_worked_off, receiving

from .scene import in_step

NEIGHBOUR = SocketAddress("198.51.100.1", 40000)
FULL, ROOMY = FreeSpace(0, 0), FreeSpace(1 << 40, 1 << 30)


class SmallDisk(FileSystem):
    """A disk that is as full as a test has it."""

    space = ROOMY

    def free_space(self, path: Path) -> FreeSpace:
        """What is left."""
        return self.space


@asynccontextmanager
async def relaying(
    folder: Path, *plugins: object, disk: FileSystem | None = None, resolver: Any = None, **values: Any
) -> AsyncIterator[tuple[Server, Client, Client]]:
    """A server whose queue is on a disk, a client of it, and the client's neighbour."""
    store = await SqliteStore.open(folder / "queue", log=silent_logger(), file_system=disk)
    server = Server(
        settings(folder, **values), plugins=plugins, log=silent_logger(), store=store, resolver=resolver
    )
    async with server.running(), connect(server) as client, connect(server, NEIGHBOUR) as neighbour:
        for each in (client, neighbour):
            await each.reply()
            assert (await each.command("EHLO client.test")).code == 250
        yield server, client, neighbour


async def sent(client: Client, recipient: str = "you@example.com", content: bytes = MESSAGE) -> str:
    return str((await client.hand_over("me@example.org", [recipient], content))[-1])


async def is_down_to_one(server: Server) -> None:
    with trio.fail_after(20):
        while await waiting(server) != 1:  # noqa: ASYNC110  # nobody tells
            await trio.sleep(0.01)


async def waiting(server: Server) -> int:
    return (await (await server.outbound.open()).count(Selection())).recipients


@pytest.mark.parametrize("octets", [10, 2 << 20], ids=["small", "in a file of its own"])
async def test_a_full_queue_is_a_452_and_keeps_nothing_until_there_is_room(
    octets: int, tmp_path: Path
) -> None:
    mailbox, disk = Mailbox(), SmallDisk()
    content = MESSAGE + b"x" * octets + b"\r\n"
    async with (
        receiving(tmp_path, mailbox) as hop,
        relaying(tmp_path, Relaying(), disk=disk, outbound={"relay_host": hop}) as (
            server,
            client,
            neighbour,
        ),
    ):
        disk.space = FULL
        assert (await sent(client, content=content)).startswith("452 4.3.1 ")
        assert await waiting(server) == 0
        assert [path for path in (tmp_path / "queue" / "content").rglob("*") if path.is_file()] == []
        assert (await neighbour.command("NOOP")).code == 250
        disk.space = ROOMY
        assert (await sent(neighbour, content=content)).startswith("250 ")
        assert (await sent(client, content=content)).startswith("250 ")
        await mailbox.wait_for(2)
        await is_worked_off(server)
        assert await in_step(client)
    assert all(mail.content.endswith(content) for mail in mailbox.mails)


@pytest.mark.parametrize("trouble", ["failing", "nonsense"])
async def test_mail_waits_in_the_queue_while_dns_fails(trouble: str, tmp_path: Path) -> None:
    names = FakeDns()
    getattr(names, trouble).update({"down.test"})
    mailbox = Mailbox()
    async with receiving(tmp_path, mailbox) as hop, names.running() as fake_dns:
        plugin = Relaying(up=hop)
        async with relaying(tmp_path, plugin, resolver=fake_dns.resolver()) as (server, client, neighbour):
            assert (await sent(client, "you@down.test")).startswith("250 ")
            with trio.fail_after(30):
                await plugin.deferred.wait()
            assert (await sent(neighbour, "you@up.test")).startswith("250 ")
            await mailbox.wait_for(1)
            assert await in_step(client)
            await is_down_to_one(server)
    assert plugin.bounces == []
    assert [str(each) for each in plugin.deferrals[0].rcpt_to] == ["you@down.test"]


class Faulty(Plugin):
    """Fails in one hook for clients from one address."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self._how = how

    @hookimpl(timeout_s=0.05, tryfirst=True)
    async def hook_queue_outbound(self, connection: Any) -> Any:
        if connection.remote.ip == NEIGHBOUR.host:
            return None
        if self._how == "raises":
            raise RuntimeError("the fault under test")
        if self._how == "hangs":
            await trio.sleep_forever()
        return 42


@pytest.mark.parametrize("how", ["raises", "hangs", "answers nonsense"])
async def test_a_message_for_which_a_plugin_fails_is_not_queued(how: str, tmp_path: Path) -> None:
    mailbox = Mailbox()
    async with (
        receiving(tmp_path, mailbox) as hop,
        relaying(tmp_path, Relaying(), Faulty(how), outbound={"relay_host": hop}) as (
            server,
            client,
            neighbour,
        ),
    ):
        assert (await sent(client)).startswith("451 4.3.0 ")
        assert await waiting(server) == 0
        assert (await sent(neighbour)).startswith("250 ")
        await mailbox.wait_for(1)
        await is_worked_off(server)
        assert await in_step(client)
    assert len(mailbox.mails) == 1


class FaultyRouter(Plugin):
    """Fails when it is asked for the way to one domain."""

    @hookimpl(tryfirst=True)
    def hook_get_mx(self, domain: str) -> Any:
        if domain == "bad.test":
            raise RuntimeError("the fault under test")
        return None


async def test_a_message_whose_way_a_plugin_cannot_tell_waits(tmp_path: Path) -> None:
    mailbox = Mailbox()
    async with receiving(tmp_path, mailbox) as hop:
        plugin = Relaying(up=hop)
        async with relaying(tmp_path, plugin, FaultyRouter()) as (server, client, neighbour):
            assert (await sent(client, "you@bad.test")).startswith("250 ")
            with trio.fail_after(30):
                await plugin.deferred.wait()
            assert (await sent(neighbour, "you@up.test")).startswith("250 ")
            await mailbox.wait_for(1)
            assert await in_step(client)
            await is_down_to_one(server)
    assert plugin.bounces == []
