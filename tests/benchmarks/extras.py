"""What is no rate: idle sessions, a large queue, and whether dead destinations hold up the others."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.benchmarks.loads import MIB, Task, named
from tests.benchmarks.measure import Failed, bench_folder, free_port, generate, generator_command
from tests.benchmarks.peers import Missing, Peer, Setting
from tests.benchmarks.peers.peer import OTHERS, Running
from tests.benchmarks.sink import Sink, Stuck

Say = Callable[[str], None]
SETTLE_S = 3.0
"""After the start, until its memory is looked at: what is loaded late is there, a queue was read. Picked."""
SPARE_DESCRIPTORS = 1000
DEAD_HOSTS = 30
DEAD_MESSAGES = 20 * DEAD_HOSTS
LIVE_MESSAGES = 1000
FLUSHED = "s to deliver them, once the next hop takes mail and the queue is flushed"
FAIRNESS = (
    f"{LIVE_MESSAGES:,} messages to a live host, behind {DEAD_MESSAGES} to {DEAD_HOSTS} that never answer"
)


def measure(peers: Sequence[Peer], queued: int, idle: int, say: Say) -> dict[str, Any]:
    """All three, for the peers that they make sense for; tables by their titles."""
    relay = named("relay-kept")[0]
    relaying = [peer for peer in peers if not peer.lacks(relay)]
    holding = [peer for peer in peers if peer.holds_many and not peer.lacks(named("accept-kept")[0])]
    keeping = [peer for peer in relaying if peer.keeps_queue]
    return {
        f"{idle:,} idle sessions that have said EHLO": _rows(
            ["", "KiB of the server for each"], holding, lambda peer: _idle(peer, idle), say
        ),
        f"{queued:,} messages in the queue": _rows(
            [
                "",
                "s to accept them",
                "s to the greeting after a restart",
                "MiB then",
                "s to list them",
                FLUSHED,
            ],
            keeping,
            lambda peer: _queue(peer, queued),
            say,
        ),
        FAIRNESS: _rows(["", "alone, s", "behind dead ones, s", "ratio"], relaying, _fairness, say),
    }


def _rows(
    header: list[str], peers: Sequence[Peer], measured: Callable[[Peer], list[str]], say: Say
) -> dict[str, Any]:
    rows = []
    for peer in peers:
        try:
            row = [peer.name, *measured(peer)]
        except (Missing, Failed, Stuck, OSError, subprocess.CalledProcessError) as error:
            row = [peer.name, f"failed: {error}", *["-"] * (len(header) - 2)]
        say(", ".join(row))
        rows.append(row)
    return {"header": header, "rows": rows}


def _idle(peer: Peer, sessions: int) -> list[str]:
    _raise_limit(sessions + SPARE_DESCRIPTORS)
    with bench_folder() as folder:
        running = peer.start(Setting(folder, free_port()))
        clients = [
            sys.executable,
            "-m",
            "tests.benchmarks.idle_sessions",
            "--clients",
            str(running.setting.port),
        ]
        try:
            with _holding([*clients, "50"]):
                pass  # have the server load what any session needs
            time.sleep(SETTLE_S)
            before = running.tree.memory_octets()
            with _holding([*clients, str(sessions)]):
                each = (running.tree.memory_octets() - before) / sessions
        finally:
            running.kill()
    return [f"{each / 1024:.1f}"]


@contextmanager
def _holding(command: Sequence[str]) -> Iterator[None]:
    """Clients that hold their sessions while the context is open."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as clients:
        OTHERS.add(clients.pid)
        assert clients.stdout is not None
        try:
            if not clients.stdout.readline():
                raise Failed("not all sessions are served")
            yield
        finally:
            clients.communicate()
            OTHERS.discard(clients.pid)


def _raise_limit(descriptors: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < descriptors:
        raise Failed(f"needs {descriptors} file descriptors (ulimit -n), and may have {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, hard))


def _queue(peer: Peer, messages: int) -> list[str]:
    """The next hop refuses connections until the end, so everything stays."""
    (load,) = named("relay-kept")
    with bench_folder() as folder:
        setting = Setting(folder, free_port(), Task.RELAY, free_port())
        running = peer.start(setting)
        try:
            accepted = generate(generator_command(load, setting.port, messages), messages)
            running.stop()
            running = peer.start(setting)
            time.sleep(SETTLE_S)
            memory = running.tree.memory_octets()
            began = time.perf_counter()
            listed = subprocess.run(running.lists_queue, capture_output=True, check=False, cwd=folder)
            listed_s = time.perf_counter() - began
            if listed.returncode or len(listed.stdout.splitlines()) < messages:
                raise Failed(f"lists {len(listed.stdout.splitlines())} lines: {listed.stderr[-200:]!r}")
            delivered = _flush(running, messages)
        finally:
            running.kill()
    return [
        f"{accepted.seconds:.0f}",
        f"{running.ready_s:.2f}",
        f"{memory / MIB:.0f}",
        f"{listed_s:.1f}",
        delivered,
    ]


def _flush(running: Running, messages: int) -> str:
    """Seconds from the order to try all to the last delivery; "-" if there is no such order."""
    if not running.flushes_queue:
        return "-"
    with Sink(running.setting.next_hop) as sink:
        began = time.perf_counter()
        subprocess.run(
            running.flushes_queue, stdout=subprocess.DEVNULL, check=True, cwd=running.setting.folder
        )
        sink.wait_for(messages)
        return f"{time.perf_counter() - began:.1f}"


def _fairness(peer: Peer) -> list[str]:
    """Hosts that never answer take connections and say nothing, which holds a client up for longest."""
    with ExitStack() as stack:
        dead = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024))
            for _ in range(DEAD_HOSTS)
        ]
        routes = {f"dead{number}.example": host.getsockname()[1] for number, host in enumerate(dead)}
        alone = _live_s(peer, routes, [])
        beside = _live_s(peer, routes, list(routes))
    return [f"{alone:.1f}", f"{beside:.1f}", f"{alone / beside:.2f}"]


def _live_s(peer: Peer, routes: dict[str, int], dead: list[str]) -> float:
    """Seconds from the first live message to the last delivery, after those for ``dead`` domains."""
    (load,) = named("relay-kept")
    with bench_folder() as folder:
        hop = free_port()
        setting = Setting(folder, free_port(), Task.RELAY, hop, routes=routes)
        with Sink(hop) as sink:
            running = peer.start(setting)
            try:
                if dead:
                    addresses = [f"--to=recipient@{domain}" for domain in dead]
                    told = [f"--port={setting.port}", f"--messages={DEAD_MESSAGES}", "--kept", *addresses]
                    generate([sys.executable, "-m", "tests.benchmarks.generator", *told], DEAD_MESSAGES)
                began = time.perf_counter()
                generate(generator_command(load, setting.port, LIVE_MESSAGES), LIVE_MESSAGES)
                sink.wait_for(LIVE_MESSAGES)
                return time.perf_counter() - began
            finally:
                running.kill()
