"""A relay in a process of its own under load: who sends to it, what it sends to, and what it has left."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from random import Random

import trio

from harakapy import DENYSOFT, OK, Address, Connection, Plugin, Verdict, hookimpl
from harakapy.log import silent_logger
from harakapy.queue import Selection, SqliteStore
from harakapy.testing import Client
from tests.process.workers_scene import kill_all
from tests.served import Served, serving

SMALL, LARGE = 4000, 150_000
"""Octets of content: most goes into the database, some into a file of its own."""

CONFIGURATION = """
hostname = "relay.test"
workers = {workers}
state_dir = "state"
plugins = ["relay"]

[smtp]
shutdown_timeout = "5s"
max_connections_per_address = 100

[plugin.relay]
acl = ["127.0.0.0/8"]

[queue]
min_free_space = {min_free_space}
min_free_inodes = 0

[outbound]
relay_host = "{hop}"
retry = "1s"
jitter = 0

[[outbound.route]]
domains = ["dead.test"]
to = "lmtp:///nonexistent/socket"
retry = "1h"
"""
"""Mail to dead.test waits for good, all other goes to the receiver."""


class Receiver(Plugin):
    """Takes mail, some of it not the first time, and counts the copies of each recipient.

    ``refuses`` is how often it says later, ``pause_s`` how long it thinks; while it is not ``open`` it takes
    nothing.
    """

    def __init__(self, *, refuses: float = 0.0, pause_s: float = 0.0) -> None:
        super().__init__()
        self.open = trio.Event()
        self.open.set()
        self.copies: Counter[str] = Counter()
        self.damaged: list[str] = []
        self.connections = 0
        self.transactions = 0
        self._refuses = refuses
        self._pause_s = pause_s
        self._dice = Random(1)

    @hookimpl
    def hook_connect(self) -> None:
        self.connections += 1

    @hookimpl
    def hook_disconnect(self) -> None:
        self.connections -= 1

    @hookimpl
    def hook_rcpt(self) -> Verdict:
        return self._answer()

    @hookimpl
    async def hook_queue(self, connection: Connection) -> Verdict:
        self.transactions += 1
        await trio.sleep(self._pause_s)
        await self.open.wait()
        answer = self._answer()
        transaction = connection.transaction
        assert transaction is not None
        if answer is OK:
            content = b"".join(transaction.content.blocks())
            self.copies.update(map(str, transaction.rcpt_to))
            self.damaged += [str(to) for to in transaction.rcpt_to if not content.endswith(content_for(to))]
        return answer

    def _answer(self) -> Verdict:
        return DENYSOFT if self._dice.random() < self._refuses else OK

    async def wait_for(self, condition: Callable[[Receiver], object], *, within_s: float = 60) -> None:
        """Wait until something is true of it."""
        with trio.fail_after(within_s):
            while not condition(self):  # noqa: ASYNC110  # nobody tells of all that may be asked
                await trio.sleep(0.01)


class Senders:
    """Clients that send one message after the other, and know whose mail was accepted.

    With a ``step`` of 25, instead of one in fifty messages every other one is large.
    """

    def __init__(self, *, step: int = 1) -> None:
        self.accepted: list[str] = []
        self.refusals: Counter[str] = Counter()
        self._numbers = count(step, step)

    async def send(self, port: int, *, clients: int = 20, messages: float = float("inf")) -> None:
        """Have them all send so many messages, or until the server is gone."""
        async with trio.open_nursery() as nursery:
            for _ in range(clients):
                nursery.start_soon(self._send, port, messages)

    async def _send(self, port: int, messages: float) -> None:
        try:
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                client = Client(stream)
                await client.reply()
                await client.command("EHLO client.test")
                sent = 0
                while sent < messages:
                    await self._send_one(client)
                    sent += 1
        except (OSError, EOFError, trio.BrokenResourceError):
            pass

    async def _send_one(self, client: Client) -> None:
        number = next(self._numbers)
        domains = ["example.com", "example.org"][: 1 + number % 2] + ["dead.test"] * (number % 10 == 1)
        recipients = [f"user{number}@{domain}" for domain in domains]
        replies = await client.hand_over("me@example.net", recipients, content_for(recipients[0]))
        if replies[-1].code == 250:
            self.accepted += recipients
        else:
            self.refusals[f"{replies[-1].code} {replies[-1].enhanced}"] += 1
            await client.command("RSET")


def content_for(recipient: Address | str) -> bytes:
    """The content of the message to a recipient, which tells whose it is; of every fiftieth a large one."""
    name = str(recipient).partition("@")[0]
    size = LARGE if int(name.removeprefix("user")) % 50 == 0 else SMALL
    return f"Subject: {name}\r\n\r\n".encode() + f"{name} ".encode() * (size // len(name)) + b"\r\n"


@asynccontextmanager
async def relaying(
    folder: Path, hop: str, *, min_free_space: str = "0", workers: str = "1", **variables: str
) -> AsyncIterator[Served]:
    """The relay, with more variables in its environment; it is killed at the end if it still runs."""
    configuration = CONFIGURATION.format(hop=hop, min_free_space=min_free_space, workers=workers)
    scene = serving(folder, configuration, ready=True, listens=True, **variables)
    served = await trio.to_thread.run_sync(scene.__enter__)
    try:
        yield served
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(kill_all, served)
            await trio.to_thread.run_sync(scene.__exit__, None, None, None)


async def stopped(served: Served) -> int:
    """Tell a server to stop as a service manager does; its exit status."""
    served.process.terminate()
    return await trio.to_thread.run_sync(served.wait_stopped)


async def left(folder: Path) -> list[str]:
    """Recipients in the queue of a server that does not run: what it does not count as delivered."""
    async with await SqliteStore.open(folder / "state" / "queue", log=silent_logger()) as store:
        page = await store.select(Selection(), limit=1_000_000)
    return [str(each.recipient.address) for request in page.requests for each in request.deliveries]
