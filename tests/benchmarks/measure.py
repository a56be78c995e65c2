"""One measurement: a server started anew, warmed up, loaded, watched, and stopped."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.certificate import write_certificate
from tests.benchmarks.loads import MIB, Load, Source, Task
from tests.benchmarks.peers import Peer, Running, Setting
from tests.benchmarks.peers.peer import OTHERS
from tests.benchmarks.processes import PeakMemory
from tests.benchmarks.results import Sample
from tests.benchmarks.sink import Sink

WARM_UP_S = 0.5
"""How long the warm-up is to take at least; it also tells how many messages a round can have."""
FIRST_MESSAGES = 100
GENERATOR_PATIENCE_S = 300.0


class Failed(Exception):
    """The server has not done what the load asks for."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What a generator has done: messages, wall time, and its own CPU time."""

    messages: int
    seconds: float
    cpu_s: float


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def bench_folder() -> Iterator[Path]:
    """A new folder that servers can use which are not root any more; gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def generator_command(load: Load, port: int, messages: int) -> list[str]:
    """What makes so many messages of this load."""
    domain = "example.com" if load.task is Task.ACCEPT else "example.net"
    if load.source is Source.SMTP_SOURCE:
        options = ["-s", load.sessions, "-m", messages, "-l", load.size_octets, "-r", load.recipients]
        addresses = ["-f", "sender@example.com", "-t", f"recipient@{domain}", "-M", "client.example.org"]
        kept = ["-d"] if load.is_kept else []
        return ["smtp-source", *kept, *map(str, options), *addresses, f"inet:127.0.0.1:{port}"]
    shape = {
        "port": port,
        "messages": messages,
        "size": load.size_octets,
        "sessions": load.sessions,
        "recipients": load.recipients,
        "to": f"recipient@{domain}",
    }
    flags = {"--kept": load.is_kept, "--pipelined": load.is_pipelined, "--starttls": load.has_starttls}
    told = [f"--{name}={value}" for name, value in shape.items()]
    return [
        sys.executable,
        "-m",
        "tests.benchmarks.generator",
        *told,
        *(f for f, is_on in flags.items() if is_on),
    ]


def generate(command: Sequence[str], messages: int) -> Sent:
    """Run a generator to its end. Raises Failed if the server has refused anything."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    OTHERS.add(process.pid)
    try:
        assert process.stdout is not None
        text = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        OTHERS.discard(process.pid)
    if process.returncode:
        raise Failed(f"{Path(command[0]).name}: {text.strip()[-300:]}")
    if text.startswith("{"):
        seconds = json.loads(text)["seconds"]  # without the time that Python takes to start
    return Sent(messages, seconds, used.ru_utime + used.ru_stime)


class Bench:
    """Measures loads on peers; ``seconds`` is how long the load of one round is to take, about."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def measure(self, peer: Peer, load: Load) -> Sample:
        """One round of one load on one peer. Raises Missing, Failed, Stuck or OSError."""
        with bench_folder() as folder:
            port, hop = free_port(), free_port()
            certificate, key = write_certificate(folder) if load.has_starttls else (None, None)
            setting = Setting(folder, port, load.task, hop, load.plugins, certificate, key)
            if load.task is Task.ACCEPT:
                return self._watch(peer, setting, load, None)
            with Sink(hop) as sink:
                return self._watch(peer, setting, load, sink)

    def _watch(self, peer: Peer, setting: Setting, load: Load, sink: Sink | None) -> Sample:
        running = peer.start(setting)
        try:
            rate = self._warm_up(load, setting.port, sink)
            messages = max(load.sessions, min(load.most, int(rate * self._seconds)))
            return _load(running, load, messages, sink)
        finally:
            running.kill()

    def _warm_up(self, load: Load, port: int, sink: Sink | None) -> float:
        """Send ever more until it takes long enough to tell the rate; gives it, messages a second."""
        messages = min(FIRST_MESSAGES, max(load.sessions, 64 * MIB // load.size_octets // 4))
        aim = min(WARM_UP_S, self._seconds / 2)
        while True:
            seconds = _send(load, port, messages, sink).seconds
            if seconds >= aim or messages >= load.most:
                return messages / seconds
            messages = min(load.most, 4 * messages)


def _send(load: Load, port: int, messages: int, sink: Sink | None) -> Sent:
    """Send, and with a next hop wait for the last delivery, which then ends the time."""
    before = sink.messages if sink else 0
    began = time.perf_counter()
    sent = generate(generator_command(load, port, messages), messages)
    if sink is None:
        return sent
    sink.wait_for(before + messages)
    return Sent(messages, time.perf_counter() - began, sent.cpu_s)


def _load(running: Running, load: Load, messages: int, sink: Sink | None) -> Sample:
    before = running.tree.cpu_s()
    with PeakMemory(running.tree) as peak:
        sent = _send(load, running.setting.port, messages, sink)
    cpu_s = running.tree.cpu_s() - before
    return Sample(
        rate=messages / sent.seconds,
        cpu_us=cpu_s / messages * 1e6,
        memory_octets=peak.octets,
        ready_s=running.ready_s,
        messages=messages,
        generator_share=sent.cpu_s / sent.seconds,
    )
