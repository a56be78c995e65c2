"""A relay that starts on a queue full of mail for hosts that are dead or hang: others do not notice.

With a hundred thousand messages: ``pytest -m live -s tests/process/test_many_waiting.py`` prints the numbers.
"""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from harakapy.log import silent_logger
from harakapy.mail import Content
from harakapy.queue import SqliteStore, deliveries_to
from tests.outbound.scene import receiving
from tests.process.relay_scene import Receiver, Senders, relaying, stopped
from tests.queue.samples import SMALL, message, recipient
from tests.served import run

DESTINATIONS = 1000
START_S = 5.0
PROMPT_S = 2.0
LONG = (pytest.mark.live, pytest.mark.timeout(600))
GROWTH_OCTETS = 64 << 20
"""Memory beyond that of an idle server: some 30 MB for what is in hand, and what reading the queue takes."""


async def fill(folder: Path, messages: int, port: int) -> None:
    """Make a queue of messages for a thousand addresses of this machine, each a next hop of its own."""
    now = time.time()
    numbers = iter(range(messages))
    async with await SqliteStore.open(folder / "state" / "queue", log=silent_logger()) as store:

        async def commit() -> None:
            for number in numbers:
                place = number % DESTINATIONS
                hop = f"smtp://127.1.{place // 250}.{place % 250 + 1}:{port}"
                queued = message(f"M{number}", arrived=now)
                to = [recipient(f"user{number}@waiting.test")]
                (delivery,) = deliveries_to(queued.id, to, due=now, local_domain="relay.test")
                await store.commit(queued, [replace(delivery, next_hop=hop)], Content.from_bytes(SMALL))

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(commit)


def memory_octets(pid: int, field: str) -> int:
    """A field of what Linux says of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition(f"{field}:")[2].split()[0]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
@pytest.mark.parametrize(
    ("messages", "kind"),
    [
        (5_000, "dead"),
        (5_000, "hanging"),
        pytest.param(100_000, "dead", marks=LONG),
        pytest.param(100_000, "hanging", marks=LONG),
    ],
)
async def test_mail_for_others_is_delivered_at_once(tmp_path: Path, messages: int, kind: str) -> None:
    receiver, senders = Receiver(), Senders(step=2)
    with socket.create_server(("0.0.0.0", 0), backlog=4096) as silent:
        port = silent.getsockname()[1]
        if kind == "dead":
            silent.close()
        async with receiving(tmp_path, receiver) as hop:
            async with relaying(tmp_path, hop) as served:
                await senders.send(served.port, clients=1, messages=1)
                await receiver.wait_for(lambda each: set(senders.accepted) <= each.copies.keys())
                idle = memory_octets(served.process.pid, "VmRSS")
                await stopped(served)
            await fill(tmp_path, messages, port)
            began = time.perf_counter()
            async with relaying(tmp_path, hop) as served:
                started_s = time.perf_counter() - began
                delays_s = []
                for _ in range(20):
                    await senders.send(served.port, clients=1, messages=1)
                    began = time.perf_counter()
                    await receiver.wait_for(lambda each: set(senders.accepted) <= each.copies.keys())
                    delays_s.append(time.perf_counter() - began)
                    await trio.sleep(0.2)
                began = time.perf_counter()
                result = await trio.to_thread.run_sync(run, tmp_path, "queue", "stats", "--json")
                stats_s = time.perf_counter() - began
                stats = json.loads(result.stdout)
                growth = memory_octets(served.process.pid, "VmHWM") - idle
                await stopped(served)
    print(  # noqa: T201  # what the long run is made for
        f"{messages} messages for {kind} hosts: started in {started_s:.1f} s, delivered to others in "
        f"{max(delays_s) * 1000:.0f} ms at most, stats in {stats_s:.1f} s, {growth >> 20} MiB more than idle"
    )
    assert stats["messages"] >= messages
    assert started_s < START_S
    assert max(delays_s) < PROMPT_S
    assert growth < GROWTH_OCTETS
