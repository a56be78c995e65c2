"""The key from which the SCRAM secrets of users who do not exist are made; see `ScramDecoy`."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from harakapy.smtp.sasl import ScramDecoy

KEY_OCTETS = 32
FILE_NAME = "scram_decoy.key"


def load_decoy(state_dir: Path) -> ScramDecoy:
    """The decoy of this server, the same after every restart and in every worker.

    Its key is made when there is none. Raises OSError.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    path = state_dir / FILE_NAME
    key = _read(path)
    if key is None:
        _write_once(path, secrets.token_bytes(KEY_OCTETS))
        key = _read(path)
    return ScramDecoy(key or secrets.token_bytes(KEY_OCTETS))


def _read(path: Path) -> bytes | None:
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        return None
    return key if len(key) == KEY_OCTETS else None


def _write_once(path: Path, key: bytes) -> None:
    """Put a whole file in place at once, unless another worker was faster."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.touch(0o600, exist_ok=False)
    temporary.write_bytes(key)
    try:
        os.link(temporary, path)
    except FileExistsError:
        if _read(path) is None:  # cut short or emptied by somebody: of no use to anybody
            temporary.replace(path)
    temporary.unlink(missing_ok=True)
