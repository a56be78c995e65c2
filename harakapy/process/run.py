"""``harakapy serve``: one server in the foreground, its signals and its log."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable

import trio

from harakapy.config import ConfigError, Settings
from harakapy.log import LogFile, Sink
from harakapy.process.late import import_late, import_late_in_thread
from harakapy.process.notify import READY, STOPPING, notify, reloading
from harakapy.process.server import Server

LOG_BATCH_S = 0.05  # picked: lines of so long leave in one write, and nobody who watches the log notices

GC_YOUNG_OBJECTS = 50_000
"""New objects between two collections. A message makes some hundred objects and no cycles, so Python's own
700 means a collection every few messages, all for nothing (seen in profiles)."""


def run(
    server: Server, load: Callable[[], Settings], *, when_ready: Callable[[], None] | None = None
) -> None:
    """Serve until SIGTERM or SIGINT. ``load`` reads the settings anew for SIGHUP.

    ``when_ready`` is called once connections are accepted. Raises what `Server.serve` raises.
    """
    if server.identity is not None:
        import_late()  # while we may read the files wherever they are
    calm_collector()
    try:
        trio.run(_run, server, load, when_ready)
    finally:
        server.log.output.sink.close()


def calm_collector() -> None:
    """Set the garbage collector so that it leaves alone what is there to stay.

    Imports leave some thousand objects of garbage, which stay as well: to find them takes longer than to open
    the queue, and somebody waits for us to be ready.
    """
    gc.freeze()
    gc.enable()
    gc.set_threshold(GC_YOUNG_OBJECTS, 20, 100)


async def _run(server: Server, load: Callable[[], Settings], when_ready: Callable[[], None] | None) -> None:
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(write_log, server.log.output.sink)
        await nursery.start(_heed_signals, server, load)
        try:
            async with server.running():
                if when_ready is not None:
                    when_ready()
                tell_manager(server, READY)
                nursery.start_soon(import_late_in_thread)
                await server.wait_stopped()
                tell_manager(server, STOPPING)
        except Exception as error:  # noqa: BLE001  # raised again below, outside the nursery
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _heed_signals(
    server: Server, load: Callable[[], Settings], *, task_status: trio.TaskStatus[None]
) -> None:
    """SIGTERM and SIGINT stop orderly, a second one at once; SIGHUP reloads."""
    is_stopping = False
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            if number == signal.SIGHUP:
                _reload(server, load)
            elif is_stopping:
                server.log.warn("stopping at once", signal=signal.Signals(number).name)
                server.cut()
            else:
                is_stopping = True
                server.log.notice("stopping", signal=signal.Signals(number).name)
                server.stop()


def _reload(server: Server, load: Callable[[], Settings]) -> None:
    tell_manager(server, reloading())
    reload_settings(server, load)
    reopen_log(server)
    tell_manager(server, READY)


def reload_settings(server: Server, load: Callable[[], Settings]) -> bool:
    """Read the settings anew; whether they are in force: broken ones change nothing."""
    try:
        server.reload(load())
    except (ConfigError, OSError) as error:
        server.log.error("settings not reloaded, the old ones stay in force", problem=str(error))
        return False
    server.log.notice("settings reloaded")
    return True


def reopen_log(server: Server) -> None:
    """Go on in the log file that has the name now."""
    target = server.log.output.sink.target
    if isinstance(target, LogFile):
        try:
            target.reopen()  # it may have been rotated away
        except OSError as error:
            server.log.error("log file not opened again, the old one stays in use", problem=str(error))


def tell_manager(server: Server, state: str) -> None:
    """Tell the service manager how we are; if it does not listen, the log."""
    try:
        notify(state)
    except OSError as error:
        server.log.warn("the service manager could not be told", state=state, error=str(error))


async def write_log(sink: Sink, *, task_status: trio.TaskStatus[None]) -> None:
    """Write log lines in batches, in a thread: a terminal or a pipe may block."""
    woken = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def wake() -> None:
        token.run_sync_soon(lambda: woken.set(), idempotent=False)

    with sink.batching(wake):
        task_status.started()
        while True:
            await woken.wait()
            await trio.sleep(LOG_BATCH_S)
            woken = trio.Event()
            await trio.to_thread.run_sync(sink.flush)
