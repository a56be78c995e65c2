"""Opening the socket on which users of this machine hand over mail."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from harakapy.config import Settings
from harakapy.net import Endpoint, Listener, ListenError, open_listeners
from harakapy.process.control_wire import reachable
from harakapy.process.privileges import Identity, acting_as, named_group

__all__ = ["INTAKE", "group_of", "open_intake", "protect_intake"]

INTAKE: Final = -1
"""What stands for it where other listeners have the number of their ``[[listen]]`` table."""

_OURS_ALONE: Final = 0o600
_FOR_ALL_TO_ENTER: Final = 0o755


def open_intake(settings: Settings, identity: Identity | None = None) -> Listener:
    """Listen where the settings say, as the user that the server will be: the folder may be his.

    Raises ListenError.
    """
    path = settings.send_socket
    with acting_as(identity):
        try:
            _make_folder(path.parent)
            with reachable(path) as short:
                (listener,) = open_listeners([Endpoint(path=str(short))], socket_mode=_OURS_ALONE)
        except OSError as error:
            raise ListenError(Endpoint(path=str(path)), f"{error}; [send] socket says where") from error
        except ListenError as error:  # it names the short path
            raise ListenError(Endpoint(path=str(path)), error.advice) from error
        listener = replace(listener, endpoint=Endpoint(path=str(path)))
        try:
            protect_intake(settings)
        except Exception:
            listener.close()
            raise
    return listener


def protect_intake(settings: Settings) -> None:
    """Let those connect whom the settings let. Raises ListenError, ConfigError."""
    path, group = settings.send_socket, group_of(settings)
    try:
        if group is not None:
            os.chown(path, -1, group)
        path.chmod(int(settings.send.socket_mode, 8))
    except OSError as error:
        advice = f"its mode or group cannot be set ({error.strerror}): the server's user must be in the group"
        raise ListenError(Endpoint(path=str(path)), advice) from error


def group_of(settings: Settings) -> int | None:
    """The group that the socket is for; None for the server's own. Raises ConfigError."""
    name = settings.send.socket_group
    return named_group(settings, "send.socket_group", name) if name else None


def _make_folder(folder: Path) -> None:
    """Make it, if it is not there; one that is there is as somebody wants it."""
    if not folder.is_dir():
        folder.mkdir(parents=True)
        folder.chmod(_FOR_ALL_TO_ENTER)  # whatever the umask says
