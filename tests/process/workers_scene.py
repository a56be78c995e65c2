"""A server with several workers, seen from outside: which processes there are, and who accepts."""

from __future__ import annotations

import os
import select
import signal
import smtplib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from tests.served import PATIENCE_S, Served, serving

CONFIGURATION = """
hostname = "mx.test"
workers = 2
plugins = ["rcpt_to_in_host_list", "queue_maildir"]

[dns]
rdns = false

[queue]
min_free_space = 0
min_free_inodes = 0

[plugin.rcpt_to_in_host_list]
hosts = ["example.com"]

[plugin.queue_maildir]
path = "maildir/{user}"
"""
MESSAGE = b"From: a@client.test\r\nSubject: hello\r\n\r\nhello\r\n"
NAMES = {"in1", "in2", "out"}


@contextmanager
def staffed(folder: Path, configuration: str = CONFIGURATION, **variables: str) -> Iterator[Served]:
    """A server with workers that are ready; whatever happens, none of them is left."""
    with serving(folder, configuration, ready=True, listens=True, **variables) as served:
        try:
            yield served
        finally:
            watched = [os.pidfd_open(pid) for pid in children(served.process.pid)]
            for worker in watched:
                signal.pidfd_send_signal(worker, signal.SIGCONT)
            served.process.kill()
            for worker in watched:
                assert select.select([worker], [], [], PATIENCE_S)[0], "a worker outlives its supervisor"
                os.close(worker)


def kill_all(served: Served) -> None:
    """Kill a server and all its workers at once, without warning; they are dead then."""
    watched = [os.pidfd_open(pid) for pid in children(served.process.pid)]
    served.process.kill()
    for worker in watched:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(worker, signal.SIGKILL)
    for worker in watched:
        assert select.select([worker], [], [], PATIENCE_S)[0], "a worker outlives SIGKILL"
        os.close(worker)
    served.process.wait(PATIENCE_S)


def children(pid: int) -> list[int]:
    """The processes that this one has started, and that are not dead."""
    living = []
    with suppress(FileNotFoundError):
        for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with suppress(FileNotFoundError, ProcessLookupError):  # it has just gone
                status = Path(f"/proc/{each}/status").read_text()
                if "\nState:\tZ" not in status and "\nState:\tX" not in status:  # is being reaped
                    living.append(int(each))
    return living


def workers(served: Served) -> dict[str, int]:
    """The process of each worker; the newest of a name."""
    names = {}
    for pid in children(served.process.pid):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just gone
            names[pid] = Path(f"/proc/{pid}/comm").read_text().strip()
    return {name.removeprefix("harakapy "): pid for pid, name in sorted(names.items())}


@contextmanager
def paused(served: Served, *names: str) -> Iterator[None]:
    """While the block lasts, workers of these names accept nothing: so another one does.

    None of them is stopped while it writes to the queue, where it would keep the others from that.
    """
    processes = workers(served)
    for name in names:
        _pause(processes[name], served.folder / "state/queue/queue.db")
    try:
        yield
    finally:
        for name in names:
            with suppress(ProcessLookupError):  # the test has killed it
                os.kill(processes[name], signal.SIGCONT)


def _pause(pid: int, database: Path) -> None:
    while True:
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: _is_stopped(pid))
        if not database.exists() or _can_be_written(database):
            return
        os.kill(pid, signal.SIGCONT)


def _can_be_written(database: Path) -> bool:
    with closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
        return True


def client_of(served: Served, name: str) -> smtplib.SMTP:
    """A connection to the inbound worker of this name."""
    with paused(served, *({"in1", "in2"} - {name})):
        return served.client()


def admitted(served: Served) -> smtplib.SMTP:
    """A connection, as soon as the server lets one in: who has left may still be counted for a moment."""
    while True:
        with suppress(smtplib.SMTPConnectError):
            return served.client()


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for what the kernel does at once, and nobody tells of."""
    while not condition():
        os.sched_yield()


def killed(pid: int) -> None:
    """Kill a process, and wait until it is dead."""
    watched = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    select.select([watched], [], [], PATIENCE_S)
    os.close(watched)


def _is_stopped(pid: int) -> bool:
    return "\nState:\tT" in Path(f"/proc/{pid}/status").read_text()
