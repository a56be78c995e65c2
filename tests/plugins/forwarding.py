"""A server that passes mail on, and a client of it in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harakapy import DENY, DENYSOFT, OK, Address, Connection, Plugin, Reply, Server, Verdict, hookimpl
from harakapy.queue import Selection, Store
from harakapy.testing import connect
from harakapy.testing.client import Client
from tests.outbound.scene import MESSAGE, sending

SENDER = "me@example.org"


class Taking(Plugin):
    """Takes every recipient; a client is relaying if it is told so."""

    def __init__(self, *, relaying: bool = False) -> None:
        super().__init__()
        self._relaying = relaying

    @hookimpl
    def hook_connect_init(self, connection: Connection) -> None:
        connection.relaying = self._relaying

    @hookimpl(trylast=True)
    def hook_rcpt(self) -> Verdict:
        return OK


@dataclass
class Passing:
    """The server and its client."""

    server: Server
    client: Client

    async def send(self, *recipients: str, content: bytes = MESSAGE, sender: str = SENDER) -> Reply:
        """The answer to a message for these recipients."""
        replies = await self.client.hand_over(sender, list(recipients), content)
        return replies[-1]

    async def waiting(self) -> int:
        """How many recipients are in the queue."""
        store = await self.server.outbound.open()
        return (await store.count(Selection())).recipients


@asynccontextmanager
async def passing(
    folder: Path, *plugins: object, relaying: bool = False, store: Store | None = None, **values: Any
) -> AsyncIterator[Passing]:
    """A server with these plugins that takes mail for everybody; strict about what plugins answer."""
    values.setdefault("outbound", {}).setdefault("reports", {"collect": 0})
    taking = Taking(relaying=relaying)
    async with sending(folder, taking, *plugins, store=store, **values) as server, connect(server) as client:
        await client.reply()
        await client.command("EHLO client.test")
        yield Passing(server, client)


def judging(**by_user: Verdict) -> Any:
    """What a mailbox of the scene answers: for recipients by their local part, and OK for all others."""

    def judge(recipient: Address | None) -> Verdict | None:
        return by_user.get(recipient.user) if recipient else by_user.get("message")

    return judge


NO_USER = DENY("5.1.1 No such user", code=550)
FULL = DENYSOFT("4.2.2 Mailbox full", code=452)
