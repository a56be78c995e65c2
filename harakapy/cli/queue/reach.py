"""The way to the queue: through the running server, or, if there is none, by opening the store.

Somebody else may open a store that is in use, too; but only the server knows what it has in hand, and it is
to hear at once of what was changed. So its socket comes first.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
import trio

from harakapy.cli.configuration import chosen_file, settings_of, told_errors
from harakapy.config import Settings
from harakapy.log import Level, open_logger
from harakapy.outbound.steering import Steering
from harakapy.outbound.steering_request import RequestRefused
from harakapy.process.control_client import ControlClient, ControlLost, ServerNotRunning
from harakapy.process.control_wire import control_path
from harakapy.queue import SqliteStore, StoreError

OnPart = Callable[[dict[str, Any]], None]
Execute = Callable[[dict[str, Any], OnPart], dict[str, Any]]
"""Carries out a request; the function gets the parts of the answer, the end is given."""


def ask(file: Path | None, request: dict[str, Any], on_part: OnPart = lambda _: None) -> dict[str, Any]:
    """Carry out a request on the queue of this configuration. Raises click.ClickException."""
    with told_errors():
        settings = settings_of(chosen_file(file))
    with _reached(settings) as execute:
        try:
            return execute(request, on_part)
        except (RequestRefused, ControlLost, StoreError) as error:
            raise click.ClickException(str(error)) from error


@contextmanager
def _reached(settings: Settings) -> Iterator[Execute]:
    path = control_path(settings.state_dir)
    try:
        client = ControlClient.connect(path)
    except ServerNotRunning:
        yield partial(_execute_directly, _existing(settings.queue_dir))
        return
    except PermissionError as error:
        raise click.ClickException(
            f"the server at {path} is another user's: run this as that user, or as root"
        ) from error
    except OSError as error:
        raise click.ClickException(f"cannot talk to the server at {path}: {error}") from error
    with client:
        yield client.execute


def _existing(directory: Path) -> Path:
    """The directory of a store, to be used with its owner's rights."""
    try:
        become_owner(directory)
    except FileNotFoundError as error:
        raise click.ClickException(
            f"there is no queue in {directory}: no server with this configuration has been started yet, or "
            "another file is meant (-c FILE)"
        ) from error
    except OSError as error:
        raise click.ClickException(f"cannot open the queue: {error}") from error
    return directory


def become_owner(directory: Path) -> None:
    """If we are root, go on as the owner of a directory: what we make there must be usable by the server.

    Raises OSError if the directory is not there.
    """
    status = directory.stat()
    if os.geteuid() == 0 and status.st_uid != 0:
        os.setgroups([])
        os.setegid(status.st_gid)
        os.seteuid(status.st_uid)


def _execute_directly(directory: Path, request: dict[str, Any], on_part: OnPart) -> dict[str, Any]:
    """Carry out a request on a store that no server steers. Raises RequestRefused, StoreError."""
    return trio.run(_steer, directory, request, on_part)


async def _steer(directory: Path, request: dict[str, Any], on_part: OnPart) -> dict[str, Any]:
    async def emit(part: dict[str, Any]) -> None:
        on_part(part)

    log = open_logger(Level.WARN, timestamps=False)
    try:
        async with await SqliteStore.open(directory, log=log) as store:
            return await Steering(store, time.time).execute(request, emit)
    finally:
        log.output.sink.close()
