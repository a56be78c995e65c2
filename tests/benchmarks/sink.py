"""The next hop of relay loads: smtp-sink, counting what arrives."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from types import TracebackType

from tests.benchmarks.peers.floors import sink_command
from tests.benchmarks.peers.peer import OTHERS

STALL_S = 60.0
"""Without a message for so long, no more are waited for: every peer retries later than that."""
COUNTED = re.compile(rb"mesg= *(\d+)")


class Stuck(Exception):
    """Not all mail arrives."""


class Sink:
    """smtp-sink on a port, while the context is open; ``messages`` have arrived."""

    def __init__(self, port: int) -> None:
        self.messages = 0
        command = sink_command(port, "-c")
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        OTHERS.add(self._process.pid)
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._count, daemon=True)

    def __enter__(self) -> Sink:
        self._thread.start()
        return self

    def _count(self) -> None:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        rest = b""
        while data := os.read(descriptor, 65536):
            rest = (rest + data)[-200:]
            if found := COUNTED.findall(rest):
                with self._changed:
                    self.messages = int(found[-1])
                    self._changed.notify_all()

    def wait_for(self, messages: int) -> None:
        """Until so many have arrived in all. Raises Stuck."""
        last, since = -1, time.monotonic()
        with self._changed:
            while self.messages < messages:
                if self.messages != last:
                    last, since = self.messages, time.monotonic()
                if time.monotonic() - since > STALL_S:
                    raise Stuck(f"{self.messages} of {messages} messages have arrived")
                self._changed.wait(1.0)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()
        OTHERS.discard(self._process.pid)
