"""Server processes: what a whole tree of them takes of CPU and memory, and its end.

A server may be one process or a hundred that come and go, so all that descend from the one that was started
count. What a finished child took is found with its parent, if that has waited for it; children whose parent
has gone become ours (`adopt_orphans`). What a child took whose parent asked not to be told is lost, so the
CPU time of a server that forks for each delivery is what it took at least.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SAMPLE_INTERVAL_S = 0.25
"""Picked: short enough to see a large message in memory, long enough to cost the machine nothing."""
PR_SET_CHILD_SUBREAPER = 36
PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Stat:
    """What is used of a line of /proc/PID/stat; the time includes that of children waited for."""

    pid: int
    parent: int
    state: str
    cpu_s: float

    @classmethod
    def parse(cls, text: str) -> Stat:
        """Read the line; the name in it may have spaces and parentheses. Raises ValueError."""
        pid, _, rest = text.partition(" ")
        fields = rest.rpartition(")")[2].split()
        if len(fields) < 15:
            raise ValueError(f"not a line of /proc/PID/stat: {text!r}")
        ticks = sum(map(int, fields[11:15]))
        return cls(int(pid), int(fields[1]), fields[0], ticks / TICKS_PER_S)


def all_processes() -> list[Stat]:
    """Those that run now."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                found.append(Stat.parse(Path(entry.path, "stat").read_text()))
    return found


def descendants(processes: list[Stat], root: int) -> list[Stat]:
    """The process ``root`` and all below it."""
    children: dict[int, list[Stat]] = {}
    for process in processes:
        children.setdefault(process.parent, []).append(process)
    found = [process for process in processes if process.pid == root]
    for process in found:  # grows as it is read
        found += children.get(process.pid, ())
    return found


def adopt_orphans() -> None:
    """Become the parent of processes whose own parent ends, below this process (Linux)."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Tree:
    """A server: the process that was started, what descends from it, and orphans of it.

    ``others`` are our own children that are no part of it: generators and next hops.
    """

    def __init__(self, root: int, others: set[int]) -> None:
        self.root = root
        self._others = others
        self._orphans_cpu_s = 0.0

    def members(self) -> list[Stat]:
        """All that live now."""
        processes = all_processes()
        members = descendants(processes, self.root)
        this = os.getpid()
        for process in processes:
            if process.parent == this and process.pid != self.root and process.pid not in self._others:
                if process.state == "Z":
                    self._reap(process)
                else:
                    members += descendants(processes, process.pid)
        return members

    def _reap(self, orphan: Stat) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(orphan.pid, os.WNOHANG)
            self._orphans_cpu_s += orphan.cpu_s

    def cpu_s(self) -> float:
        """User and system time of all so far, those included that have ended."""
        members = self.members()
        return sum(member.cpu_s for member in members) + self._orphans_cpu_s

    def memory_octets(self) -> int:
        """What all have now: PSS, in which what processes share counts once."""
        return sum(_pss_octets(member.pid) for member in self.members())

    def kill(self) -> None:
        """End all at once, as a crash does, and wait until none is left."""
        deadline = time.monotonic() + PATIENCE_S
        while members := [member for member in self.members() if member.state != "Z"]:
            for member in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(member.pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                raise TimeoutError(f"cannot end {members}")
            time.sleep(0.01)


def _pss_octets(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


class PeakMemory:
    """Watches what a tree has of memory, while the context is open."""

    def __init__(self, tree: Tree) -> None:
        self.octets = 0
        self._tree = tree
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def _watch(self) -> None:
        while True:
            self.octets = max(self.octets, self._tree.memory_octets())
            if self._done.wait(SAMPLE_INTERVAL_S):
                return

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
