"""The control socket as both ends see it: where it is, and its lines.

A line is a JSON object. The client sends a request (`harakapy.outbound.steering_request`); the server answers
with any number of ``{"message": ...}`` and ``{"progress": ...}``, then ``{"done": ...}`` or ``{"error":
{"problem": ..., "text": ...}}``. One connection may carry several requests, one after the other.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

__all__ = ["MAX_ANSWER", "MAX_REQUEST", "control_path", "decode", "encode", "reachable"]

MAX_REQUEST: Final = 1 << 20
"""Octets of a line to the server: as many ids as a request may have, and some."""

MAX_ANSWER: Final = 8 << 20
"""Octets of a line to the client: a message with as many recipients as are shown, at their longest."""

_MAX_UNIX_PATH: Final = 103  # octets: 108 on Linux and 104 on the BSDs, with the closing NUL


def control_path(state_dir: Path) -> Path:
    """Where a server with this ``state_dir`` has its control socket."""
    return state_dir / "control"


def encode(value: Mapping[str, Any]) -> bytes:
    """The line of an object."""
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"


def decode(line: bytes) -> object:
    """What a line says. Raises ValueError if it is no JSON."""
    try:
        return json.loads(line)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


@contextmanager
def reachable(path: Path) -> Iterator[Path]:
    """The path in a form short enough for a socket, for as long as the block lasts. Raises OSError.

    A long one goes through a descriptor of its directory, which Linux shows in /proc.
    """
    if len(os.fsencode(path)) <= _MAX_UNIX_PATH:
        yield path
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{directory}") / path.name
    finally:
        os.close(directory)
