"""``harakapy serve`` as a process of its own, as an operator starts it."""

from __future__ import annotations

import os
import queue
import re
import smtplib
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

PATIENCE_S = 60.0
"""How long to wait for what comes in milliseconds: a machine that is busy is no reason to fail."""


class Served:
    """A running server: its port, its process, and the lines it writes."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.port = 0
        self._log = _Lines(process.stderr)
        self._output = _Lines(process.stdout)

    def wait_for_log(self, pattern: str) -> str:
        """The next line of the log that has a match of the pattern."""
        return self._log.wait_for(pattern)

    def wait_for_output(self, pattern: str) -> str:
        """The next line of standard output that has a match of the pattern."""
        return self._output.wait_for(pattern)

    def wait_stopped(self) -> int:
        """The exit status, once the process has ended by itself."""
        return self.process.wait(PATIENCE_S)

    def log(self) -> list[str]:
        """All lines of the log; the process has ended."""
        return self._log.all()

    def output(self) -> list[str]:
        """All lines of standard output; the process has ended."""
        return self._output.all()

    def client(self) -> smtplib.SMTP:
        """A connection, greeted."""
        return smtplib.SMTP("127.0.0.1", self.port, local_hostname="client.test", timeout=PATIENCE_S)

    def mail(self, *parts: str) -> list[Path]:
        """The messages in the Maildir of the given parts below the state folder."""
        return sorted(self.folder.joinpath("state", *parts, "new").glob("*"))

    def close(self) -> None:
        """End the process at once, if it still runs, and what reads from it."""
        self.process.kill()
        self.process.wait()
        self._log.close()
        self._output.close()


class _Lines:
    """The lines of a pipe, collected by a thread so that the process never waits for a reader."""

    def __init__(self, stream: IO[str] | None) -> None:
        assert stream is not None
        self._stream = stream
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._seen: list[str] = []
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        for line in self._stream:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def wait_for(self, pattern: str) -> str:
        while True:
            try:
                line = self._lines.get(timeout=PATIENCE_S)
            except queue.Empty:
                line = None
            if line is None:
                self._lines.put(None)
                raise AssertionError("\n".join([f"no line has {pattern!r}:", *self._seen]))
            self._seen.append(line)
            if re.search(pattern, line):
                return line

    def all(self) -> list[str]:
        self._seen += iter(self._lines.get, None)
        return self._seen

    def close(self) -> None:
        self._thread.join()
        self._stream.close()


def environment(folder: Path, **more: str) -> dict[str, str]:
    """An environment in which everything of the user's is in the folder; more of PYTHONPATH is added."""
    if "PYTHONPATH" in more and "PYTHONPATH" in os.environ:
        more["PYTHONPATH"] += os.pathsep + os.environ["PYTHONPATH"]
    return {**os.environ, "XDG_STATE_HOME": str(folder / "xdg"), "HOME": str(folder), **more}


@contextmanager
def serving(
    folder: Path, configuration: str, *, ready: bool = True, listens: bool = True, **variables: str
) -> Iterator[Served]:
    """A server with this configuration, on a free port unless it says where it listens by itself.

    It is ready, unless nobody is to wait for that.
    """
    (folder / "harakapy.toml").write_text(configuration, encoding="utf-8")
    listen = ["--listen", "127.0.0.1:0"] if listens else []
    with started(folder, "--config", "harakapy.toml", *listen, **variables) as served:
        if ready:
            line = served.wait_for_log("listening address=")
            served.port = int(line.rpartition(":")[2])
        yield served


@contextmanager
def started(folder: Path, *arguments: str, **variables: str) -> Iterator[Served]:
    """``harakapy serve`` with these arguments, run in the folder."""
    process = subprocess.Popen(
        [sys.executable, "-m", "harakapy", "serve", *arguments],
        cwd=folder,
        env=environment(folder, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    served = Served(process, folder)
    try:
        yield served
    finally:
        served.close()


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """``harakapy`` with these arguments, run in the folder to its end."""
    return subprocess.run(
        [sys.executable, "-m", "harakapy", *arguments],
        cwd=folder,
        env=environment(folder, **variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
