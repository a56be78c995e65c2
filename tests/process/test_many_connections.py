"""Hundreds of clients at once."""

import re
from pathlib import Path

import trio

from harakapy.testing import Client
from tests.process.test_serve import MAILDIR
from tests.served import Served, serving

CLIENTS = 500


class _Barrier:
    """Lets nobody pass before all have come."""

    def __init__(self, parties: int) -> None:
        self._missing = parties
        self._all_here = trio.Event()

    async def wait(self) -> None:
        self._missing -= 1
        if not self._missing:
            self._all_here.set()
        await self._all_here.wait()


async def _deliver(served: Served, number: int, greeted: _Barrier, accepted: list[int]) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", served.port) as stream:
        client = Client(stream)
        greeting = await client.reply()
        assert greeting is not None
        assert greeting.code == 220
        await greeted.wait()
        await client.command("EHLO client.test")
        content = f"Subject: number {number}\r\n\r\nbody\r\n".encode()
        replies = await client.hand_over("a@client.test", [f"user{number % 20}@example.com"], content)
        if replies[-1].code == 250:
            accepted.append(number)
        assert (await client.command("QUIT")).code == 221


async def test_five_hundred_connections_at_once_lose_nothing(tmp_path: Path) -> None:
    accepted: list[int] = []
    with serving(tmp_path, MAILDIR) as served:
        greeted = _Barrier(CLIENTS)
        async with trio.open_nursery() as nursery:
            for number in range(CLIENTS):
                nursery.start_soon(_deliver, served, number, greeted, accepted)
        files = [file for number in range(20) for file in served.mail("maildir", f"user{number}")]
    stored = [int(match[1]) for file in files for match in re.finditer(rb"number (\d+)", file.read_bytes())]
    assert sorted(accepted) == list(range(CLIENTS))
    assert sorted(stored) == list(range(CLIENTS))
