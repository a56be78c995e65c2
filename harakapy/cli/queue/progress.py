"""How far a long change has come, on standard error."""

from __future__ import annotations

import sys
from typing import Any

import click

LARGE = 10_000
"""Messages from which on it is told also where nobody may be watching, once for each so many. Picked."""


class Progress:
    """Takes the parts of an answer and tells of the progress in them; a context manager."""

    def __init__(self, what: str) -> None:
        """``what`` is being done, such as "removed"."""
        self._what = what
        self._is_terminal = sys.stderr.isatty()
        self._told = 0
        self._has_line = False

    def on_part(self, part: dict[str, Any]) -> None:
        """Take a part of an answer."""
        progress = part.get("progress")
        if progress is None:
            return
        done, of = progress["messages"], progress["of"]
        if self._is_terminal:
            self._has_line = True
            click.echo(f"\r{self._what}: {done:,} of {of:,} messages", err=True, nl=False)
        elif of >= LARGE and done // LARGE > self._told // LARGE:
            click.echo(f"{self._what}: {done:,} of {of:,} messages", err=True)
        self._told = done

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._has_line:
            click.echo(err=True)
