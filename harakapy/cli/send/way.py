"""How a message gets to the server: through its socket, or, while it is stopped, into its queue.

The socket is for everybody, and the queue for root and the server's own user alone. Where the socket is says
its option or variable; else the configuration, as far as this user may read it; else it is looked for where
servers usually have it. A message that no server would find must not look as if it had been sent: so a queue
is written to only if it is that of a configuration, or there is one already.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

import trio
from msgspec import Struct

from harakapy.cli.configuration import DEFAULT_FILE, settings_of
from harakapy.cli.queue.reach import become_owner
from harakapy.cli.send.directly import store, wake
from harakapy.config import Settings, load_place
from harakapy.mail import Content
from harakapy.process.intake_client import IntakeClient
from harakapy.process.intake_wire import IntakeTerms, Submission

__all__ = ["SOCKETS", "NoServer", "Way", "find_way"]

SOCKETS: Final = (Path("/run/harakapy/send"), Path("/var/lib/harakapy/public/send"))
"""Where to look for a server if nothing says where it is: below what a service manager makes for it, and in
the state directory that our manual has."""

SPOOL_AFTER: Final = 1 << 18  # octets; the default of smtp.spool_after, which who cannot read it goes by


class NoServer(Exception):
    """No server takes the message; ``is_forbidden`` if there may be one, but not for this user."""

    def __init__(self, text: str, *, is_forbidden: bool) -> None:
        super().__init__(text)
        self.is_forbidden = is_forbidden


class Way(Protocol):
    """A way for one message. ``spool_dir`` is where it may wait, beyond ``spool_after`` octets."""

    terms: IntakeTerms
    spool_dir: Path
    spool_after: int

    def send(self, submission: Submission, content: Content, *, is_7bit: bool) -> str:
        """Have it stored durably; its id."""


def find_way(file: Path | None, socket: Path | None) -> Way:
    """The way for these options. Raises NoServer, ConfigError, IntakeRefused, IntakeLost, OSError."""
    place = _Place(sockets=(socket,)) if socket is not None else _place_of(_chosen(file))
    found: list[tuple[Path, OSError]] = []
    for path in place.sockets:
        try:
            with IntakeClient.connect(path) as client:
                return _ThroughServer(path, client.terms)
        except OSError as error:
            found.append((path, error))
    settings = place.queue_settings()
    if settings is not None:
        return _IntoQueue.of(settings)
    raise _no_server(found, place.note)


class _Place(Struct, frozen=True):
    """Where a server may be found. ``queue_settings`` are those of a queue that this user may write to."""

    sockets: tuple[Path, ...]
    queue_settings: Callable[[], Settings | None] = lambda: None
    note: str = ""


def _chosen(file: Path | None) -> Path | None:
    if file is not None:
        return file
    with suppress(PermissionError):  # programs are also started in folders that are closed to them
        if DEFAULT_FILE.is_file():
            return DEFAULT_FILE
    return None


def _place_of(file: Path | None) -> _Place:
    if file is None:
        return _place_without_file()
    try:
        settings = load_place(file)
    except PermissionError:
        return _Place(SOCKETS, note=f"you may not read {file}, so the usual places were tried")
    return _Place((settings.send_socket,), lambda: settings_of(file) if _is_ours(settings) else None)


def _place_without_file() -> _Place:
    """That of a server which this user runs without a configuration, and those that others usually have."""
    note = "there is no configuration here, so the usual places were tried"
    try:
        settings = Settings.default()
        has_queue = settings.queue_dir.is_dir()
    except (RuntimeError, PermissionError):  # there is no home, or none that this user may enter
        return _Place(SOCKETS, note=note)
    return _Place((settings.send_socket, *SOCKETS), lambda: settings_of(None) if has_queue else None, note)


def _is_ours(settings: Settings) -> bool:
    """Whether the queue is this user's, or would be."""
    for directory in (settings.queue_dir, settings.state_dir):
        try:
            return os.geteuid() in (0, directory.stat().st_uid)
        except FileNotFoundError:
            continue
        except PermissionError:
            return False
    return True


def _no_server(found: Iterable[tuple[Path, OSError]], note: str) -> NoServer:
    found = list(found)
    tried = ", ".join(f"{path} ({error.strerror or error})" for path, error in found)
    if any(isinstance(error, PermissionError) for _, error in found):
        advice = (
            "who may send is for its [send] table to say, and for the mode of the folders above the socket"
        )
        text = f"you may not send through the server at {tried}: {advice}"
        return NoServer(text + (f"; {note}" if note else ""), is_forbidden=True)
    advice = "start it, or say with --socket or HARAKAPY_SOCKET where it listens for users"
    text = f"no server answers at {tried}: {advice}"
    return NoServer(text + (f"; {note}" if note else ""), is_forbidden=False)


class _ThroughServer:
    """Through the socket of a running server, as who we are."""

    def __init__(self, path: Path, terms: IntakeTerms) -> None:
        self.terms = terms
        self.spool_dir = Path(tempfile.gettempdir())
        self.spool_after = SPOOL_AFTER
        self._path = path

    def send(self, submission: Submission, content: Content, *, is_7bit: bool) -> str:
        """Send it on a connection of its own: the one for the terms would have waited for our input."""
        with IntakeClient.connect(self._path) as client:
            return client.send(submission, content.blocks())


class _IntoQueue:
    """Into the queue of a stopped server, with the rights of its owner."""

    def __init__(self, settings: Settings) -> None:
        self.terms = IntakeTerms.of(settings)
        self.spool_dir = settings.spool_dir
        self.spool_after = settings.smtp.spool_after
        self._settings = settings

    @classmethod
    def of(cls, settings: Settings) -> _IntoQueue:
        """Be who the server is, if we may: the queue may be there already, or at least where it is to be."""
        for directory in (settings.queue_dir, settings.state_dir):
            if directory.exists():
                become_owner(directory)
                break
        settings.spool_dir.mkdir(parents=True, exist_ok=True)
        return cls(settings)

    def send(self, submission: Submission, content: Content, *, is_7bit: bool) -> str:
        """Store it. A server that runs all the same, is told."""
        message_id = trio.run(store, submission, content, is_7bit, self._settings)
        wake(self._settings.state_dir)
        return message_id
