"""The life of a worker, from the fork to its exit status."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import trio

from harakapy.config import Settings
from harakapy.log import Sink, Turns
from harakapy.process.channel import Channel, News, Order
from harakapy.process.part import Part
from harakapy.process.run import calm_collector, reload_settings, reopen_log, write_log
from harakapy.process.server import Server

__all__ = ["work"]

WAKE_OCTETS = 65536  # all that a pipe holds: however often it was announced, the store is looked at once


def work(
    server: Server, part: Part, channel: Channel, load: Callable[[], Settings], *, wakes: int | None = None
) -> int:
    """Do a part of a server until told to stop; the exit status of the process, which was forked just now.

    ``wakes`` is the pipe on which others announce mail, for the worker that delivers.
    """
    _name_process(str(part.post))
    calm_collector()
    _begin_log(server, part)
    server.take_part(part)
    try:
        trio.run(_run, server, channel, load, wakes)
    except Exception as error:  # noqa: BLE001  # whatever it is, the supervisor is told, and tries again
        server.log.crit("worker failed", error=str(error), exc_info=error)
        channel.send(News.FAILED, str(error))
        return 1
    finally:
        server.log.output.sink.close()
    return 0


def _begin_log(server: Server, part: Part) -> None:
    """Have a buffer of our own: what waits in the one that was copied is the supervisor's to write."""
    output = server.log.output
    output.sink = Sink(output.sink.target, loss_line=output.sink.loss_line)
    output.sink.turns = Turns(part.column.board.fd)
    output.worker = str(part.post)


def _name_process(name: str) -> None:
    """Show people in ps and top who is who, where the system lets us."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(f"harakapy {name}")


async def _run(server: Server, channel: Channel, load: Callable[[], Settings], wakes: int | None) -> None:
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(write_log, server.log.output.sink)
        await nursery.start(_heed_signals, server)
        nursery.start_soon(_heed_orders, server, channel, load)
        if wakes is not None:
            nursery.start_soon(_heed_announcements, server, wakes)
        try:
            async with server.running():
                server.log.info("worker ready")
                channel.send(News.READY)
                await server.wait_stopped()
        except Exception as error:  # noqa: BLE001  # raised again below, outside the nursery
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _heed_signals(server: Server, *, task_status: trio.TaskStatus[None]) -> None:
    """SIGTERM stops this worker orderly. The others are for the supervisor, though all may get them."""
    heeded = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
    with trio.open_signal_receiver(*heeded) as signals:
        task_status.started()
        async for number in signals:
            if number == signal.SIGTERM:
                server.stop()


async def _heed_orders(server: Server, channel: Channel, load: Callable[[], Settings]) -> None:
    """Do what the supervisor says; without one, stop."""
    while True:
        await trio.lowlevel.wait_readable(channel.socket)
        orders = channel.receive()
        if orders is None:
            server.log.crit("the supervisor is gone: stopping")
            server.stop()
            return
        for word, _ in orders:
            _obey(Order(word), server, channel, load)


def _obey(order: Order, server: Server, channel: Channel, load: Callable[[], Settings]) -> None:
    match order:
        case Order.RELOAD | Order.REOPEN_LOG:
            if order is Order.RELOAD:
                reload_settings(server, load)
            reopen_log(server)
            channel.send(News.RELOADED)
        case Order.GIVE_WAY:
            server.give_way()
        case Order.STOP:
            server.stop()
        case Order.CUT:
            server.cut()


async def _heed_announcements(server: Server, wakes: int) -> None:
    """Look at the queue when others have put mail there."""
    while True:
        await trio.lowlevel.wait_readable(wakes)
        with suppress(BlockingIOError):  # the worker before this one has read it
            os.read(wakes, WAKE_OCTETS)
        server.outbound.wake()
