"""Who loses mail? Two checks, so that nobody wins a relay load by not keeping what it has accepted.

*Killed*: in the middle of a load all processes of the server get SIGKILL; it is started again; what it had
acknowledged must arrive. That finds mail that was kept in memory only.

*Synced*: what was written survives SIGKILL even if it never reached the disk, so a second check looks at
the system calls (by strace, if it is installed): between 354 and the reply to the content something must have
been synced. One client sends one message at a time, so no other message's sync can be meant.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tests.benchmarks.loads import Task, named
from tests.benchmarks.measure import Failed, bench_folder, free_port, generate
from tests.benchmarks.peers import Missing, Peer, Setting
from tests.benchmarks.peers.peer import OTHERS
from tests.benchmarks.recording_sink import RecordingSink

BEFORE_KILL_S = 3.0
STALL_S = 40.0
"""How long nothing may arrive before we give up: longer than the queue of any peer sleeps after its start."""
SERIAL_MESSAGES = 20
SYNCS = "fsync,fdatasync,syncfs,sync,msync"
WRITES = "write,writev,sendto,sendmsg"
_NAMES = SYNCS.replace(",", "|")
_SYNCED = re.compile(rf"(?:\b(?:{_NAMES})\(|<\.\.\. (?:{_NAMES}) resumed).* = 0$")
_HEADER = ["", "acknowledged", "arrived", "lost", "arrived twice", "synced before the reply"]


def check(peers: Sequence[Peer], say: Callable[[str], None]) -> dict[str, Any]:
    """Both checks for each peer that relays; a table."""
    (load,) = named("relay-kept")
    rows = []
    for peer in peers:
        if peer.lacks(load):
            continue
        try:
            row = [peer.name, *_killed(peer), _synced(peer)]
        except (Missing, Failed, OSError) as error:
            row = [peer.name, *[f"failed: {error}"] * (len(_HEADER) - 1)]
        say(", ".join(row))
        rows.append(row)
    return {"header": _HEADER, "rows": rows}


def _killed(peer: Peer) -> list[str]:
    with bench_folder() as folder, RecordingSink(free_port()) as sink:
        setting = Setting(folder, free_port(), Task.RELAY, sink.server_address[1])
        log = folder / "acknowledged"
        running = peer.start(setting)
        command = _generator(setting.port, 1_000_000, "--kept", f"--acknowledged={log}")
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as generator:
            OTHERS.add(generator.pid)
            time.sleep(BEFORE_KILL_S)
            running.kill()
        OTHERS.discard(generator.pid)
        acknowledged = read_numbers(log.read_text())
        sink.last = time.monotonic()
        running = peer.start(setting)
        try:
            while acknowledged - sink.arrived.keys() and time.monotonic() - sink.last < STALL_S:
                time.sleep(0.1)
        finally:
            running.kill()
        lost = len(acknowledged - sink.arrived.keys())
        twice = sum(times > 1 for times in sink.arrived.values())
        return [f"{len(acknowledged):,}", f"{len(acknowledged) - lost:,}", f"{lost:,}", f"{twice:,}"]


def _synced(peer: Peer) -> str:
    if not shutil.which("strace"):
        return "not checked: there is no strace"
    with bench_folder() as folder, RecordingSink(free_port()) as sink:
        trace = folder / "trace"
        watch = ("strace", "-f", "-qq", "-s", "8", "-e", f"trace={SYNCS},{WRITES}", "-o", str(trace))
        setting = Setting(folder, free_port(), Task.RELAY, sink.server_address[1], prefix=watch)
        running = peer.start(setting)
        try:
            generate(_generator(setting.port, SERIAL_MESSAGES, "--kept", "--sessions=1"), SERIAL_MESSAGES)
            time.sleep(1.0)
        finally:
            running.kill()
        with trace.open(errors="replace") as lines:
            return f"{synced_replies(lines)} of {SERIAL_MESSAGES}"


def _generator(port: int, messages: int, *options: str) -> list[str]:
    told = [f"--port={port}", f"--messages={messages}", "--to=recipient@example.net"]
    return [sys.executable, "-m", "tests.benchmarks.generator", *told, *options]


def read_numbers(text: str) -> set[int]:
    """The numbers in a file of one a line; a last line that is not whole does not count."""
    return {int(line) for line in text.splitlines(keepends=True) if line.endswith("\n")}


def synced_replies(lines: Iterable[str]) -> int:
    """How many replies to content came after a sync that ended since the 354, in the output of strace."""
    found, is_open, is_synced = 0, False, False
    for line in lines:
        if '"354' in line:
            is_open, is_synced = True, False
        elif is_open and '"250' in line:
            found += is_synced
            is_open = False
        elif _SYNCED.search(line.rstrip()):
            is_synced = True
    return found
