"""``harakapy serve`` with several workers: the process that starts them, and starts them again.

Theory of operation. The supervisor loads everything, binds the sockets, gives up the rights of root, has
plugins answer hook_init_master, and forks a worker for each post. It has no event loop and no threads, so a
fork copies nothing that is in the middle of something; modules are imported once, and workers share the
memory of what does not change. (To start each worker by exec would cost half a second of work and its own
copy of all.) From then on it waits: for signals, for what workers say, for one to die, for the moment to
start one again. It handles no mail, so there is little in it that could fail.

A rolling restart is an exec of the supervisor in its own process (`harakapy.process.handover`), once a check
has found nothing wrong with what would be started. New workers are forked from what is loaded then, and
accept from the same sockets as the old ones; when all of them are ready, the old ones are told to give way.
The worker that delivers comes when the old one has gone: the queue is patient, and there is one control
socket.

The file is long because starting, restarting and stopping workers share who runs and what was asked.
"""

from __future__ import annotations

import gc
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from functools import partial
from typing import Final

import trio

from harakapy.config import Settings
from harakapy.hooks import HookFault
from harakapy.log import Turns
from harakapy.process.backoff import Backoff
from harakapy.process.channel import News, Order
from harakapy.process.crew import Crew, Worker
from harakapy.process.handover import Handover
from harakapy.process.late import import_late
from harakapy.process.notify import READY, STOPPING, reloading
from harakapy.process.part import Post, Role
from harakapy.process.privileges import drop_privileges
from harakapy.process.recruiter import Recruiter
from harakapy.process.rehearsal import Rehearsal
from harakapy.process.reload_round import ReloadRound
from harakapy.process.run import reload_settings, reopen_log, tell_manager
from harakapy.process.server import LINGER_S, Server, StartRefused
from harakapy.process.signals import SignalPipe, blocked_signals, describe_exit
from harakapy.process.sockets import Sockets

__all__ = ["Supervisor"]

OVERDUE_S: Final = 10.0
"""How long a worker may live beyond all its time limits before it is killed. Picked."""

LOG_PATIENCE_S: Final = 0.05
"""How long a reader of the log that is stuck may hold us up, each time. Picked."""

LOG_RETRY_S: Final = 0.5  # until lines that such a reader did not take are tried again; picked


class Supervisor:
    """Runs a server in several processes. Made and used in the main thread, outside of any event loop."""

    def __init__(
        self,
        server: Server,
        load: Callable[[], Settings],
        *,
        rehearsal: Sequence[str] = (),
        handover: Handover | None = None,
        when_ready: Callable[[], None] | None = None,
    ) -> None:
        """``load`` reads the settings anew. ``handover`` is what this process had before exec.

        ``rehearsal`` is a command that ends with 0 if what is installed and configured now can be started.
        ``when_ready`` is called once connections are accepted.
        """
        self._server, self._load, self._log = server, load, server.log
        self._rehearsal = Rehearsal(rehearsal)
        self._when_ready = when_ready
        self._selector = selectors.PollSelector()  # nothing of the kernel's that a fork would share
        self._is_taking_over = handover is not None
        old = [Worker.restored(each) for each in handover.workers] if handover else []
        self._crew = Crew(server.settings.worker_count, old)
        self._recruiter = Recruiter(server, load, self._crew, handover)
        self._backoff = {post: Backoff() for post in self._crew.posts}
        self._round = ReloadRound(partial(tell_manager, server, READY))
        self._is_ready = self._is_stopping = self._is_restart_wanted = self._is_restart_refused = False
        self._failure = ""

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT.

        Raises what `Server.serve` raises, or StartRefused if a worker cannot start when the server does.
        """
        sink = self._log.output.sink
        sink.turns = Turns(self._recruiter.board.fd)
        try:
            self._prepare()
            with sink.batching(_nothing), closing(SignalPipe()) as self._signals:
                self._selector.register(self._signals.socket, selectors.EVENT_READ, self._heed_signals)
                for worker in self._crew:
                    self._listen_to(worker)
                self._supervise()
                self._log.notice("stopped")
        finally:
            self._end()
            sink.close()
        if self._failure:
            raise StartRefused(self._failure)

    def _prepare(self) -> None:
        """Everything that comes before the first fork. Raises what `Server.serve` raises."""
        server = self._server
        sockets = Sockets.open(
            server.settings,
            before=self._recruiter.sockets,
            has_intake=server.owns_state,
            identity=server.identity,
        )
        self._recruiter.sockets = sockets
        self._server.addresses = sockets.endpoints
        import_late()  # before the fork, and while we may read the files wherever they are
        drop_privileges(self._server.identity)
        self._server.warn()
        try:
            trio.run(self._server.prepare_for_workers)
        except (StartRefused, HookFault) as error:
            if not self._is_taking_over:
                raise
            self._is_restart_refused = True
            self._log.crit("restart refused, the old workers go on, none in their place", problem=str(error))
            tell_manager(self._server, READY)
        gc.disable()  # it would touch, and so copy, memory that workers share with us
        gc.collect()
        gc.freeze()

    def _end(self) -> None:
        """Let go of everything; workers that still live notice it, and stop."""
        for worker in self._crew:
            worker.channel.close()
        self._recruiter.sockets.close()

    def _supervise(self) -> None:
        """The loop."""
        while self._crew.workers or not (self._is_stopping or self._is_restart_refused):
            now = time.monotonic()
            self._fill_posts(now)
            self._kill_overdue(now)
            for key, _ in self._selector.select(self._patience_s(now)):
                key.data()
            self._bury_dead()
            self._heed_restart()
            self._advance()
            self._log.output.sink.flush(LOG_PATIENCE_S)

    def _patience_s(self, now: float) -> float | None:
        """How long nothing is to be done unless something happens; None: for ever."""
        moments = [worker.overdue for worker in self._crew]
        if not self._is_stopping and not self._is_restart_refused:
            moments += [self._backoff[post].due for post in self._crew.free_posts()]
        if self._log.output.sink.pending_octets:
            moments.append(now + LOG_RETRY_S)
        moment = min(moments, default=float("inf"))
        return max(0.0, moment - now) if moment < float("inf") else None

    # Starting.

    def _fill_posts(self, now: float) -> None:
        if self._is_stopping or self._is_restart_refused:
            return
        for post in self._crew.free_posts():
            if self._backoff[post].due <= now:
                self._start(post, now)

    def _start(self, post: Post, now: float) -> None:
        try:
            worker = self._recruiter.recruit(post, self._signals.leave)
        except OSError as error:
            pause_s = self._backoff[post].died(now, lived_s=0.0)
            self._log.error("worker not started", post=str(post), error=error, again_in_s=pause_s)
            return
        self._crew.workers.append(worker)
        self._listen_to(worker)

    # What happens.

    def _heed_signals(self) -> None:
        for number in self._signals.receive():
            match number:
                case signal.SIGTERM | signal.SIGINT:
                    self._stop(signal.Signals(number).name)
                case signal.SIGHUP:
                    self._reload()
                case signal.SIGUSR2:
                    self._is_restart_wanted = True

    def _listen_to(self, worker: Worker) -> None:
        self._selector.register(
            worker.channel.socket, selectors.EVENT_READ, partial(self._heed_worker, worker)
        )

    def _heed_worker(self, worker: Worker) -> None:
        """Take in what a worker has said."""
        said = worker.channel.receive()
        if said is None:  # it is about to be dead, which is a matter of its own
            self._unlisten(worker)
        for word, text in said or ():
            match News(word):
                case News.READY:
                    worker.is_ready = True
                    self._recruiter.has_inherited(worker)
                case News.RELOADED:
                    self._round.done(worker)
                case News.FAILED:
                    worker.failure = text

    def _unlisten(self, worker: Worker) -> None:
        with suppress(KeyError):
            self._selector.unregister(worker.channel.socket)

    def _bury_dead(self) -> None:
        for worker in self._crew:
            status = worker.has_ended()
            if status is not None:
                self._bury(worker, status)

    def _bury(self, worker: Worker, status: int) -> None:
        """Forget a dead worker and what it counted; say so, unless it was to leave."""
        self._heed_worker(worker)  # its last words
        self._unlisten(worker)
        worker.channel.close()
        self._crew.workers.remove(worker)
        self._recruiter.bury(worker, has_failed=status != 0)
        self._round.is_dead(worker)
        how = describe_exit(status)
        if worker.is_leaving:
            self._log.info("worker has left", post=str(worker.post), how=how)
        elif not self._is_ready and not self._is_taking_over:
            self._fail(worker, how)
        elif worker.is_old:
            self._log.error("old worker died", post=str(worker.post), how=how)
        else:
            now = time.monotonic()
            pause_s = self._backoff[worker.post].died(now, lived_s=now - worker.started)
            self._log.error("worker died", post=str(worker.post), how=how, again_in_s=pause_s)

    def _fail(self, worker: Worker, how: str) -> None:
        """A server whose workers cannot start at all does not start."""
        self._failure = self._failure or worker.failure or f"worker {worker.post} did not start: {how}"
        self._dismiss_all(Order.STOP)

    def _kill_overdue(self, now: float) -> None:
        for worker in self._crew:
            if worker.overdue <= now:
                self._log.error("worker does not stop, and is killed", post=str(worker.post))
                worker.overdue = float("inf")
                with suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGKILL)

    def _advance(self) -> None:
        """Take the next step of a start: the old may go when the new receive; we are ready when all are."""
        if self._is_stopping or self._is_restart_refused:
            return
        if self._crew.are_ready(Role.INBOUND):
            for worker in self._crew.old():
                self._dismiss(worker, Order.GIVE_WAY if worker.post.role is Role.INBOUND else Order.STOP)
        if not self._is_ready and self._crew.are_ready(Role.INBOUND, Role.OUTBOUND):
            self._is_ready = True
            addresses = [str(address) for address in self._server.addresses]
            self._log.notice("listening", address=addresses)
            tell_manager(self._server, READY)
            if self._when_ready is not None:
                self._when_ready()

    # Stopping.

    def _stop(self, name: str) -> None:
        if self._is_stopping:
            self._log.warn("stopping at once", signal=name)
            self._dismiss_all(Order.CUT)
            return
        self._log.notice("stopping", signal=name)
        tell_manager(self._server, STOPPING)
        self._dismiss_all(Order.STOP)

    def _dismiss_all(self, order: Order) -> None:
        self._is_stopping = True
        self._recruiter.sockets.close()
        for worker in self._crew:
            self._dismiss(worker, order)

    def _dismiss(self, worker: Worker, order: Order) -> None:
        """Tell a worker to stop; it has all the time that its settings give it, and a little more."""
        smtp = self._server.settings.smtp
        worker.is_leaving = True
        worker.overdue = time.monotonic() + LINGER_S + smtp.shutdown_timeout + smtp.commit_timeout + OVERDUE_S
        worker.channel.send(order)

    # Reloading.

    def _reload(self) -> None:
        if self._is_stopping:
            return
        tell_manager(self._server, reloading())
        # Whoever is forked from now on has what we have.
        is_reloaded = reload_settings(self._server, self._load)
        reopen_log(self._server)
        order = Order.RELOAD if is_reloaded else Order.REOPEN_LOG
        self._round.begin([worker for worker in self._crew if not worker.is_leaving], order)

    # Restarting.

    def _heed_restart(self) -> None:
        """Take the next step of a restart, if one is wanted: a check, and then to begin anew."""
        if self._is_stopping:
            return
        # Not while workers are leaving: who restarts again and again would have ever more of them.
        if self._is_restart_wanted and not self._rehearsal.is_running and not self._crew.has_leaving:
            self._is_restart_wanted = False
            self._log.notice("restarting, if nothing is wrong with what is to be started")
            self._rehearsal.begin()
        problem = self._rehearsal.ended()
        if problem:
            self._log.error("not restarted, all goes on as it was", problem=problem)
        elif problem is not None:
            self._become_new()

    def _become_new(self) -> None:
        """Begin anew in this process."""
        tell_manager(self._server, reloading())
        self._log.notice("restarting")
        self._log.output.sink.flush(1.0)
        try:
            with blocked_signals():
                self._recruiter.handover().hand_over([sys.executable, *sys.orig_argv[1:]])
        except OSError as error:
            self._log.error("not restarted, all goes on as it was", problem=str(error))
            tell_manager(self._server, READY)


def _nothing() -> None:
    """The loop writes the log whenever it comes round."""
