"""A server that sends, another one that it sends to, and a wall clock that follows trio's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from harakapy import OK, Address, Connection, Plugin, Reply, Server, Settings, Verdict, hookimpl
from harakapy.log import silent_logger
from harakapy.outbound import Bounce, Deferral, Handover, HMail
from harakapy.queue import Selection, Store
from harakapy.queue.memory_store import MemoryStore

EPOCH = 1_800_000_000.0
NOWHERE = "lmtp:///nonexistent/socket"
"""A next hop that fails at once, without a socket: so it works under a virtual clock, too."""

MESSAGE = b"From: me@example.org\r\nSubject: hello\r\n\r\nworld\r\n"


def wall_clock() -> float:
    """Seconds of a wall clock that runs as trio's does."""
    return EPOCH + trio.current_time()


@dataclass
class Mail:
    """A message that arrived."""

    sender: str
    recipients: list[str]
    content: bytes


class Mailbox(Plugin):
    """Takes all mail; ``refuse`` may answer instead, for a recipient or, with None, for the message."""

    def __init__(self, refuse: Callable[[Address | None], Verdict | None] = lambda recipient: None) -> None:
        super().__init__()
        self.mails: list[Mail] = []
        self.connections = 0
        self._refuse = refuse
        self._arrived = trio.Event()

    @hookimpl
    def hook_connect(self) -> None:
        self.connections += 1

    @hookimpl
    def hook_rcpt(self, recipient: Address) -> Verdict:
        return self._refuse(recipient) or OK

    @hookimpl
    def hook_queue(self, connection: Connection) -> Verdict:
        refused = self._refuse(None)
        if refused is not None:
            return refused
        transaction = connection.transaction
        assert transaction is not None
        content = b"".join(transaction.content.blocks())
        self.mails.append(
            Mail(str(transaction.mail_from), [str(each) for each in transaction.rcpt_to], content)
        )
        self._arrived.set()
        self._arrived = trio.Event()
        return OK

    async def wait_for(self, count: int) -> list[Mail]:
        """Wait until so many messages have come."""
        with trio.fail_after(20):
            while len(self.mails) < count:
                await self._arrived.wait()
        return self.mails


class Relaying(Plugin):
    """Lets every client relay, and writes down what the hooks about outgoing mail were told."""

    def __init__(self, **next_hops: Any) -> None:
        super().__init__()
        self.next_hops = next_hops
        self.stored: list[bytes] = []
        self.handed_over: list[Handover] = []
        self.deferrals: list[Deferral] = []
        self.bounces: list[Bounce] = []
        self.deferred = trio.Event()

    @hookimpl
    def hook_connect_init(self, connection: Connection) -> None:
        connection.relaying = True

    @hookimpl
    def hook_rcpt(self) -> Verdict:
        return OK

    @hookimpl
    def hook_pre_send_trans_email(self, hmail: HMail) -> None:
        self.stored.append(b"".join(hmail.content.blocks()))

    @hookimpl
    def hook_get_mx(self, domain: str) -> Any:
        return self.next_hops.get(domain.partition(".")[0])

    @hookimpl
    def hook_delivered(self, delivery: Handover) -> None:
        self.handed_over.append(delivery)

    @hookimpl
    def hook_deferred(self, deferral: Deferral) -> None:
        self.deferrals.append(deferral)
        self.deferred.set()

    @hookimpl
    def hook_bounce(self, error: Bounce) -> None:
        self.bounces.append(error)


@asynccontextmanager
async def receiving(folder: Path, mailbox: Plugin, **values: Any) -> AsyncIterator[str]:
    """A server to send to; its next hop."""
    settings = Settings.default(
        hostname="receiver.test",
        state_dir=str(folder / "receiver"),
        listen=[{"address": "127.0.0.1:0"}],
        dns={"rdns": False},
        **values,
    )
    async with Server(settings, plugins=[mailbox], log=silent_logger(), strict=True).running() as server:
        yield f"smtp://127.0.0.1:{server.addresses[0].port}"


@asynccontextmanager
async def sending(
    folder: Path,
    *plugins: object,
    store: Store | None = None,
    clock: Callable[[], float] = wall_clock,
    **values: Any,
) -> AsyncIterator[Server]:
    """A server that sends, with a queue in memory unless another one is given."""
    settings = Settings.default(
        **{
            "hostname": "sender.test",
            "state_dir": str(folder / "sender"),
            "listen": [],
            "dns": {"rdns": False},
            **values,
        }
    )
    server = Server(
        settings,
        plugins=plugins,
        log=silent_logger(),
        store=store or MemoryStore(),
        clock=clock,
        strict=True,
    )
    async with server.running():
        yield server


async def is_worked_off(server: Server, *, within_s: float = 20) -> None:
    """Wait until the queue is empty."""
    store = await server.outbound.open()
    with trio.fail_after(within_s):
        while (await store.count(Selection())).recipients:  # noqa: ASYNC110  # nobody tells when it is empty
            await trio.sleep(within_s / 1000)


def denial(code: int, text: str) -> Reply:
    """A reply for a verdict to carry."""
    return Reply.parse_text(code, text)
