"""What the benchmark needs to know of a server: is it there, what can it do, how is it started."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.loads import Load, Plugins, Task
from tests.benchmarks.processes import Tree

CACHE = Path(os.environ.get("BENCH_CACHE", Path.home() / ".cache" / "harakapy-bench"))
"""Where peers are that no package manager installs; the environment variable BENCH_CACHE chooses it."""
CACHE_SHOWN = str(CACHE).replace(str(Path.home()), "~", 1)
MAX_MESSAGE_OCTETS = 64 * 1024 * 1024
DELIVERIES = 20
"""Connections to the next hop at a time, for all: the default of Postfix."""
HOOKED = 10
"""Plugins of the loads with plugins."""
READY_PATIENCE_S = 60.0
STOP_PATIENCE_S = 60.0


class Missing(Exception):
    """This peer is not there, or cannot run here; the text tells why."""


def no_reason() -> str:
    """The empty text, for what can be done."""
    return ""


@dataclass(frozen=True, slots=True)
class Setting:
    """How a server is to be configured, the same for all.

    It listens on ``port`` of 127.0.0.1, takes mail of ``MAX_MESSAGE_OCTETS`` from any client there, looks up
    no names, and writes a log of the level that it has by default into its folder. With Task.RELAY all mail
    goes to ``next_hop`` on 127.0.0.1, without TLS, but that of ``routes`` to the port given for its domain.
    ``certificate`` and ``key`` are files in PEM, given if STARTTLS is to be offered. ``prefix`` stands before
    the command of the server: a tracer.
    """

    folder: Path
    port: int
    task: Task = Task.ACCEPT
    next_hop: int = 0
    plugins: Plugins = Plugins.NONE
    certificate: Path | None = None
    key: Path | None = None
    routes: Mapping[str, int] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()


class Running:
    """A server that runs, with all its processes.

    ``lists_queue`` is the command that shows its queue, ``flushes_queue`` the one that has it try all of that
    now; empty if there is none.
    """

    def __init__(
        self,
        setting: Setting,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        lists_queue: Sequence[str] = (),
        flushes_queue: Sequence[str] = (),
    ) -> None:
        self.setting = setting
        self.lists_queue, self.flushes_queue = tuple(lists_queue), tuple(flushes_queue)
        began = time.perf_counter()
        with Path(setting.folder, "output").open("ab") as output:
            self._process = subprocess.Popen(
                [*setting.prefix, *command],
                cwd=setting.folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        OTHERS.discard(self._process.pid)
        self.tree = Tree(self._process.pid, OTHERS)
        try:
            self._wait_ready()
        except BaseException:
            self.kill()
            raise
        self.ready_s = time.perf_counter() - began

    def _wait_ready(self) -> None:
        """Until it greets."""
        deadline = time.monotonic() + READY_PATIENCE_S
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.setting.port), timeout=5) as client:
                    if client.recv(3) == b"220":
                        client.sendall(b"QUIT\r\n")
                        return
            except OSError:
                pass
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise Missing(f"does not start: {self.last_words()}")
            time.sleep(0.005)

    def last_words(self) -> str:
        """The end of what it wrote, for an error message."""
        text = Path(self.setting.folder, "output").read_text(errors="replace")
        return text.strip()[-400:]

    def stop(self) -> None:
        """Ask it to stop; kill what is left then."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_PATIENCE_S)
        self.kill()

    def kill(self) -> None:
        """End all its processes as a crash does."""
        self.tree.kill()
        self._process.wait()


OTHERS: set[int] = set()
"""Children of the benchmark that are part of no server."""


class Peer(ABC):
    """A server that can be measured."""

    name: str
    install: str
    """The command that installs it, or "" if there is nothing to install."""
    color: str = "#999999"
    """In the plot."""
    holds_many = True
    """Whether ten thousand connections are something it can hold: not with a process for each."""
    keeps_queue = False
    """Whether it has a queue on disk, with a command that lists it."""

    @abstractmethod
    def version(self) -> str:
        """What is installed. Raises Missing."""

    @abstractmethod
    def lacks(self, load: Load) -> str:
        """Why it cannot bear this load; "" if it can."""

    @abstractmethod
    def start(self, setting: Setting) -> Running:
        """Configure it in ``setting.folder``, start it, and wait until it greets. Raises Missing.

        Called again for the same folder it starts with the queue that is there.
        """


def asked(*command: str) -> str:
    """What a command prints; Missing if it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except OSError as error:
        raise Missing(f"{command[0]}: {error.strerror}") from error
    return (done.stdout + done.stderr).strip()
