"""The SCRAM secrets of users who do not exist, which must look like those of users who do; see `ScramDecoy`.

Iterations and the length of the salt are seen by everybody who asks, so decoys take them from the secret that
a plugin has given last. As long as all secrets are of one form, nobody can tell who exists.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Self

from msgspec.structs import replace

from harakapy.smtp.scram_secret import MAX_SALT_OCTETS, ScramDecoy, ScramSecret

KEY_OCTETS = 32
KEY_FILE = "scram_decoy.key"
FORM_FILE = "scram_decoy.form"


class DecoyKeeper:
    """Keeps the decoy of a server. ``decoy`` is the one to use now."""

    __slots__ = ("_form_file", "decoy")

    def __init__(self, decoy: ScramDecoy, form_file: Path) -> None:
        self.decoy = decoy
        self._form_file = form_file

    @classmethod
    def load(cls, state_dir: Path) -> Self:
        """The decoy of this server, the same after every restart and in every worker.

        Its key is made when there is none. Raises OSError.
        """
        state_dir.mkdir(parents=True, exist_ok=True)
        path = state_dir / KEY_FILE
        key = _read(path)
        if key is None:
            _write_once(path, secrets.token_bytes(KEY_OCTETS))
            key = _read(path)
        decoy = ScramDecoy(key or secrets.token_bytes(KEY_OCTETS))
        form = _read_form(state_dir / FORM_FILE)
        if form is not None:
            decoy = replace(decoy, iterations=form[0], salt_octets=form[1])
        return cls(decoy, state_dir / FORM_FILE)

    def learn(self, secret: ScramSecret) -> None:
        """Take the form of a real secret, and remember it for the next start. Raises OSError.

        A few octets are written to a file when the form has changed, which is hardly ever; not in a thread,
        where it would take so long that this user were known by it.
        """
        iterations, salt_octets = secret.iterations, len(secret.salt)
        if (iterations, salt_octets) != (self.decoy.iterations, self.decoy.salt_octets):
            self.decoy = replace(self.decoy, iterations=iterations, salt_octets=salt_octets)
            _write(self._form_file, f"{iterations} {salt_octets}\n".encode())


def _read_form(path: Path) -> tuple[int, int] | None:
    """Iterations and octets of the salt; None if nothing of use was remembered."""
    try:
        words = path.read_bytes().split()
    except FileNotFoundError:
        return None
    if len(words) != 2 or not all(word.isdigit() for word in words):
        return None
    iterations, salt_octets = map(int, words)
    return (iterations, salt_octets) if iterations and 0 < salt_octets <= MAX_SALT_OCTETS else None


def _read(path: Path) -> bytes | None:
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        return None
    return key if len(key) == KEY_OCTETS else None


def _write_once(path: Path, key: bytes) -> None:
    """Put a whole file in place at once, unless another worker was faster."""
    temporary = _temporary(path, key)
    try:
        os.link(temporary, path)
    except FileExistsError:
        if _read(path) is None:  # cut short or emptied by somebody: of no use to anybody
            temporary.replace(path)
    temporary.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    """Put a whole file in the place of another."""
    _temporary(path, content).replace(path)


def _temporary(path: Path, content: bytes) -> Path:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.touch(0o600, exist_ok=False)
    temporary.write_bytes(content)
    return temporary
