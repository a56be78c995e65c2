"""Whether a server could be started as it is installed and configured now."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from typing import IO, Final

__all__ = ["Rehearsal"]

MAX_TEXT: Final = 4000  # octets of what the command says, its end; picked


class Rehearsal:
    """Runs a command beside us, which says by its exit status whether all is well."""

    def __init__(self, command: Sequence[str]) -> None:
        """An empty command is one that says yes."""
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None
        self._told: str | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has begun, and its end is not known yet."""
        return self._process is not None

    def begin(self) -> None:
        """Start the command. If it cannot be started, that is its end."""
        if not self._command:
            self._told = ""
            return
        try:
            with ExitStack() as failed:
                output = failed.enter_context(tempfile.TemporaryFile())
                self._process = subprocess.Popen(
                    self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=output
                )
                self._output = output
                failed.pop_all()
        except OSError as error:
            self._told = f"cannot be checked: {error}"

    def ended(self) -> str | None:
        """ "" if all is well, else what is wrong; told once. None if that is not known, or was told."""
        told, self._told = self._told, None
        if told is not None:
            return told
        if self._process is None or self._output is None or self._process.poll() is None:
            return None
        status, self._process = self._process.returncode, None
        with self._output as output:
            size = output.seek(0, 2)
            output.seek(max(0, size - MAX_TEXT))
            text = output.read().decode(errors="replace").strip()
        return "" if status == 0 else text or f"the check ended with {status}"
