"""The listening sockets of a server with several workers: bound once, and shared out.

That for mail of this machine's users is among them, so that they can send while the server is restarted.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from typing import Any, Final, Self

from msgspec import Struct
from msgspec.structs import replace

from harakapy.config import ListenSettings, Settings
from harakapy.net import Endpoint, Listener, open_listeners
from harakapy.process.intake_socket import INTAKE, open_intake, protect_intake
from harakapy.process.privileges import Identity

__all__ = ["Sockets"]

NumberedListener = tuple[int, Listener]

_INTAKE_ADDRESS: Final = "send"  # no address of a listener: they have a colon


class _Bound(Struct, frozen=True):
    """A listener, and what it was made for: an address of the settings, and which of its copies it is.

    Copies listen at the same ports, and the kernel spreads clients among them.
    """

    address: str
    copy: int
    listener: Listener

    @property
    def is_intake(self) -> bool:
        """Whether this is where users of this machine send."""
        return self.address == _INTAKE_ADDRESS


class Sockets:
    """All of them, in the order of the settings."""

    def __init__(self, bound: Iterable[_Bound], tables: Sequence[ListenSettings]) -> None:
        self._bound = tuple(bound)
        self._places = [(number, listen.address) for number, listen in enumerate(tables)]
        self._places += [(INTAKE, each.address) for each in self._bound if each.is_intake]

    @classmethod
    def open(
        cls,
        settings: Settings,
        *,
        before: Sockets | None = None,
        has_intake: bool = False,
        identity: Identity | None = None,
    ) -> Self:
        """Open what the settings want, but for what there was ``before``, which is taken over as it is.

        What is not wanted any more is closed. ``has_intake`` says that users of this machine may send,
        ``identity`` is the user to become afterwards. Raises ListenError.
        """
        taken = before._bound if before is not None else ()
        bound: list[_Bound] = []
        try:
            for listen in settings.listen:
                known = [each for each in taken if each.address == listen.address]
                bound += known or _open(listen, settings.worker_count if settings.reuseport else 1)
            if has_intake:
                bound.append(_intake(settings, taken, identity))
        except Exception:
            _close(each for each in bound if each not in taken)
            raise
        _close(each for each in taken if each not in bound)
        return cls(bound, settings.listen)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where they listen, each once."""
        return tuple(each.listener.endpoint for each in self._bound if each.copy == 0 and not each.is_intake)

    def share_of(self, worker: int, workers: int) -> tuple[NumberedListener, ...]:
        """What one of so many workers accepts from, each with the number of its table, or INTAKE.

        A socket that has copies goes to as few workers as possible, but to one at least: what the kernel
        gives to a copy that nobody has would wait for ever.
        """
        share: list[NumberedListener] = []
        for number, address in self._places:
            copies = [each for each in self._bound if each.address == address]
            count = 1 + max(each.copy for each in copies)
            for each in copies:
                if worker % count == each.copy or each.copy % workers == worker:
                    # Without the identity of a unix socket's file, which is not a worker's to remove.
                    share.append((number, replace(each.listener, file_identity=None)))
        return tuple(share)

    def close(self) -> None:
        """Stop listening, as far as this process is concerned; files of unix sockets are removed."""
        _close(self._bound)

    def forget_but(self, share: Iterable[NumberedListener]) -> None:
        """Close those that are not in a worker's share, in this process only."""
        kept = {listener.socket for _, listener in share}
        for each in self._bound:
            if each.listener.socket not in kept:
                each.listener.socket.close()

    def described(self) -> list[dict[str, Any]]:
        """What `restored` needs in a process that has the same descriptors."""
        return [
            {
                "address": each.address,
                "copy": each.copy,
                "fd": each.listener.socket.fileno(),
                "host": each.listener.endpoint.host,
                "port": each.listener.endpoint.port,
                "path": each.listener.endpoint.path,
                "file": each.listener.file_identity,
            }
            for each in self._bound
        ]

    @classmethod
    def restored(cls, description: Iterable[dict[str, Any]]) -> Self:
        """The sockets of a description, to be handed to `open` as those there were before."""
        return cls(map(_restored, description), ())


def _open(listen: ListenSettings, copies: int) -> list[_Bound]:
    endpoint = Endpoint.parse(listen.address)
    mode = None if listen.socket_mode is None else int(listen.socket_mode, 8)
    is_shared = copies > 1 and bool(endpoint.host)
    first = open_listeners([endpoint], socket_mode=mode, is_shared=is_shared)
    bound = [_Bound(listen.address, 0, listener) for listener in first]
    try:
        for copy in range(1, copies if is_shared else 1):
            again = open_listeners([listener.endpoint for listener in first], is_shared=True)
            bound += [_Bound(listen.address, copy, listener) for listener in again]
    except Exception:
        _close(bound)
        raise
    return bound


def _intake(settings: Settings, taken: Iterable[_Bound], identity: Identity | None) -> _Bound:
    """The socket for mail of users: the one that there is, if it is where it is to be, and still found."""
    path = settings.send_socket
    for each in taken:
        if each.is_intake and each.listener.endpoint.path == str(path) and path.is_socket():
            protect_intake(settings)
            return each
    return _Bound(_INTAKE_ADDRESS, 0, open_intake(settings, identity))


def _close(bound: Iterable[_Bound]) -> None:
    for each in bound:
        each.listener.close()


def _restored(described: dict[str, Any]) -> _Bound:
    listening = socket.socket(fileno=described["fd"])
    listening.setblocking(False)
    endpoint = Endpoint(described["host"], described["port"], described["path"])
    identity = described["file"]
    listener = Listener(endpoint, listening, tuple(identity) if identity else None)
    return _Bound(described["address"], described["copy"], listener)
