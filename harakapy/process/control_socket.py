"""The control socket of a running server: who serves there what is said is `harakapy.process.control`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import trio

from harakapy.log import Logger
from harakapy.net import Endpoint, Listener, SocketStream, open_listeners
from harakapy.net import serve as accept_from
from harakapy.process.control_wire import reachable

__all__ = ["serve"]


async def serve(
    path: Path,
    handler: Callable[[SocketStream], Awaitable[None]],
    log: Logger,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Have `handler` answer clients at a unix socket until cancelled; then it is removed.

    With ``nursery.start`` this goes on once clients can connect. What is under way when it is cancelled stops
    between two pages of the queue. Raises ListenError if the socket cannot be made, or another server has it;
    OSError if its directory is not there.
    """
    with _listening(path) as listener:
        async with trio.open_nursery() as nursery:
            task_status.started()
            await accept_from(listener, handler, nursery, log)


@contextmanager
def _listening(path: Path) -> Iterator[Listener]:
    with reachable(path) as short:
        (listener,) = open_listeners([Endpoint(path=str(short))])
        try:
            short.chmod(0o600)
            yield listener
        finally:
            listener.close()
