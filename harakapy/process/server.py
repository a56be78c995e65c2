"""A server in one process: settings, plugins, sockets, and the connections they bring.

It is what ``harakapy serve`` runs and what a test embeds. There is no state but that of its instances, so any
number of them may run side by side.

The file is long because a server's life is told here in one piece: what is made when, in which order it
starts and stops, and what a reload changes. The parts themselves are elsewhere.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Self

import trio

from harakapy.config import ConfigError, ListenSettings, Problem, Settings, changed_keys
from harakapy.hooks import Action, Hooks, Notes, Plugin, Registry, Verdict
from harakapy.inbound import Arrival, DecoyKeeper, Service, Terms
from harakapy.log import Level, Logger
from harakapy.net import (
    ConnectionLimits,
    Endpoint,
    Listener,
    Resolver,
    SharedLimits,
    SocketAddress,
    SocketStream,
    open_listeners,
)
from harakapy.net import serve as accept_from
from harakapy.net.acceptor import ACCEPTS_AT_ONCE
from harakapy.outbound import SMTP_PORT, Outbound
from harakapy.process.certificates import open_certificates
from harakapy.process.control_socket import serve as serve_control
from harakapy.process.control_wire import control_path
from harakapy.process.intake import Intake
from harakapy.process.intake_socket import INTAKE, group_of, open_intake
from harakapy.process.loading import LoadedPlugin, changed_configs, load_plugins
from harakapy.process.logging import logger_of
from harakapy.process.part import Part
from harakapy.process.privileges import drop_privileges, identity_of
from harakapy.process.queueing import open_queue
from harakapy.queue import Store

if TYPE_CHECKING:
    from harakapy.process.control import Control

RESTART_KEYS = (  # compiled when settings are read anew
    r"(listen|tls|plugins|workers|reuseport|user|group|state_dir|dns|queue|send|outbound\.(tls_ca|dead_host_time)|"
    r"smtp\.(hook_timeout|spool_dir)|log\.(file|format|timestamps))\b"
)
"""The settings that a running server does not change, those of single plugins aside."""

LINGER_S = 5.0  # picked: a client that has just connected says within that what it wants, if it is a program

LOOPBACK = SocketAddress("127.0.0.1", 0)


class StartRefused(Exception):
    """A plugin has refused to let the server start; the message is the plugin's."""


class Server:
    """One server.

    ``settings`` are those in force for new connections, ``notes`` what plugins write down for one another for
    as long as the server lives, ``plugins`` what was loaded, ``hooks`` their chains, ``outbound`` the way out
    for mail. ``part`` is what this process does of it if others do the rest, else None; ``identity`` whom it
    runs as once its sockets are bound, if that is somebody else.

    ``owns_state`` says that it is the server of its ``state_dir``, which opens the queue at the start, lets
    operators steer it and users of this machine send, and not one that a program has for a while. Unless it
    is set before the start, it is so for settings that came from a file.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        plugins: Iterable[object] = (),
        log: Logger | None = None,
        resolver: Resolver | None = None,
        store: Store | None = None,
        clock: Callable[[], float] = time.time,
        mx_port: int = SMTP_PORT,
        strict: bool = False,
    ) -> None:
        """Load and register the plugins: those that the settings list, then ``plugins``, given as objects.

        ``log``, ``resolver`` and ``store``, the queue of mail that goes out, are made from the settings if
        they are not given; a given store is closed at the end. A server that does not own its state opens its
        queue when the first message goes into it.
        ``clock`` gives seconds of the wall clock, for the queue; ``mx_port`` is where hosts that the DNS
        names take mail. ``strict`` raises where a plugin answers what its hook does not accept. The last
        three are for tests.

        Raises ConfigError, or RegistrationError if an implementation does not fit its hook.
        """
        self.settings = settings or Settings.default()
        self.identity = identity_of(self.settings)
        group_of(self.settings)  # a slip in its name is to be told before anything starts
        self.owns_state = self.settings.source is not None
        self.part: Part | None = None
        self.log = log or logger_of(self.settings, self.identity)
        self.notes = Notes()
        self.addresses: tuple[Endpoint, ...] = ()
        self.plugins: list[LoadedPlugin] = load_plugins(self.settings, plugins)
        self.hooks = self._register(strict=strict)
        if self.hooks.is_implemented("log"):
            self.log.output.tap = self.hooks.log
        self._listen = self.settings.listen
        self._certificates = open_certificates(self.settings, self.log)
        self._resolver = resolver
        self._store = store
        self._clock = clock
        with _told_as_problem(self.settings):
            self.outbound = Outbound(
                self.settings,
                self.hooks,
                self.log,
                open_store=self._open_store,
                resolver=lambda: self.resolver,
                now=clock,
                mx_port=mx_port,
            )
        self._intake = Intake(self.outbound, lambda: self.settings, self.log)
        self._service: Service | None = None
        self._control: Control | None = None
        self._stop = trio.Event()
        self._linger_s = 0.0

    def _register(self, *, strict: bool) -> Hooks:
        problems: list[Problem] = []
        registry = Registry()
        for loaded in self.plugins:
            try:
                self._attach(loaded)
            except ConfigError as error:
                problems += error.problems
            registry.add(loaded.name, loaded.plugin, loaded.options)
        if problems:
            raise ConfigError(problems)
        return registry.freeze(strict=strict, log=self.log)

    def _attach(self, loaded: LoadedPlugin) -> None:
        """Have a plugin register. Raises ConfigError, whatever it raises."""
        if not isinstance(loaded.plugin, Plugin):
            return
        try:
            loaded.plugin.attach(loaded.name, self, self.log.bind(plugin=loaded.name))
        except ConfigError:
            raise
        except Exception as error:
            what = f"it cannot register: {type(error).__name__}: {error}"
            raise ConfigError([Problem(self.settings.file, f"plugin.{loaded.name}", what)]) from error

    @property
    def resolver(self) -> Resolver:
        """DNS, with a cache shared by all. Raises RuntimeError before the server runs."""
        if self._resolver is None:
            raise RuntimeError("the resolver is there while the server runs")
        return self._resolver

    def take_part(self, part: Part) -> None:
        """Be one of several processes that are this server together; called in a worker, before it runs."""
        self.part = part
        self.outbound.share(owner=part.owner, heir_of=part.heir_of, announce=part.announce)

    async def serve(self, *, task_status: trio.TaskStatus[Self] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen and serve until `stop` is called or this is cancelled. Can be called once.

        With ``nursery.start`` the server is handed back once its sockets accept connections; ``addresses``
        then has the bound endpoints. Raises ListenError, StartRefused, or HookFault if a plugin fails in
        hook_init_master.
        """
        with self._listening() as listeners:
            await self._prepare()
            await self._run(listeners, task_status)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Serve within an ``async with`` block, and stop orderly at its end.

        Raises what `serve` raises; what the block raises comes out as it is, not in an ExceptionGroup.
        """
        failure: Exception | None = None
        with self._listening() as listeners:
            await self._prepare()
            async with trio.open_nursery() as nursery:
                await nursery.start(self._start, listeners)
                try:
                    yield self
                except Exception as error:  # noqa: BLE001  # raised again below, outside the nursery
                    failure = error
                self.stop()
        if failure is not None:
            raise failure

    async def _start(
        self, listeners: list[tuple[int, Listener]], *, task_status: trio.TaskStatus[Self]
    ) -> None:
        await self._run(listeners, task_status)

    @contextmanager
    def _listening(self) -> Iterator[list[tuple[int, Listener]]]:
        """All sockets, each with the number of its ``[[listen]]`` table; a host name may give several.

        That for mail of this machine's users has the number INTAKE.
        """
        if self.part is not None:
            yield list(self.part.listeners)
            return
        with ExitStack() as stack:
            listeners: list[tuple[int, Listener]] = []
            for number, listen in enumerate(self._listen):
                mode = None if listen.socket_mode is None else int(listen.socket_mode, 8)
                for listener in open_listeners([Endpoint.parse(listen.address)], socket_mode=mode):
                    stack.callback(listener.close)
                    listeners.append((number, listener))
            self.addresses = tuple(listener.endpoint for _, listener in listeners)
            if self.owns_state:
                listener = open_intake(self.settings, self.identity)
                stack.callback(listener.close)
                listeners.append((INTAKE, listener))
            drop_privileges(self.identity)
            yield listeners

    async def _prepare(self) -> None:
        """What must succeed before the first connection is accepted."""
        self._find_surroundings()
        if self.part is None:
            self.warn()
            await self._ask_to_start(self.hooks.init_master)
        else:
            await self._ask_to_start(self.hooks.init_child)

    async def prepare_for_workers(self) -> None:
        """What a process does that starts others. Raises StartRefused, HookFault, OSError."""
        given = self._resolver
        self._find_surroundings()
        try:
            await self._ask_to_start(self.hooks.init_master)
        finally:
            self._resolver = given  # the one made here ends with this event loop

    def _find_surroundings(self) -> None:
        settings = self.settings
        settings.spool_dir.mkdir(parents=True, exist_ok=True)
        if self._resolver is None:
            self._resolver = Resolver(
                [str(server) for server in settings.dns.nameservers], timeout_s=settings.dns.timeout
            )

    async def _ask_to_start(self, hook: Callable[[Self], Awaitable[Verdict]]) -> None:
        verdict = await hook(self)
        if verdict.action is Action.DENY:
            raise StartRefused(f"plugin {verdict.plugin}: {verdict.text or 'refused to start'}")

    def warn(self) -> None:
        """Log what works and yet is hardly meant."""
        for warning in self.warnings():
            self.log.warn(warning)

    def warnings(self) -> list[str]:
        """What works and yet is hardly meant."""
        found = []
        if not self.hooks.is_implemented("rcpt"):
            found.append("no plugin answers hook_rcpt: every recipient is refused, unless the client relays")
        if not (self.hooks.is_implemented("queue") or self.hooks.is_implemented("queue_outbound")):
            found.append("no plugin answers hook_queue: mail is deferred with 451, unless the client relays")
        has_submission = any(listen.role == "submission" for listen in self._listen)
        if has_submission and not self.hooks.is_implemented("auth"):
            found.append("no plugin answers hook_auth: nobody can log in at a listener for submission")
        if self._certificates is None and any(
            listen.role == "submission" and not listen.auth_without_tls for listen in self._listen
        ):
            found.append("no certificate in [tls]: nobody can log in at a listener for submission")
        return found

    def notes_on_settings(self) -> list[str]:
        """What an operator may have forgotten."""
        if self._certificates is None:
            return ["no certificate in [tls]: STARTTLS is not offered, and all mail is received in clear"]
        return []

    def _terms(self) -> list[Terms]:
        """The terms of each ``[[listen]]`` table that the server was started with."""
        return [Terms.of(self.settings, listen, self._certificates) for listen in self._listen]

    async def _run(self, listeners: list[tuple[int, Listener]], task_status: trio.TaskStatus[Self]) -> None:
        service = Service(
            self,
            self.hooks,
            self._terms(),
            log=self.log,
            resolver=self._resolver if self.settings.dns.rdns else None,
            limits=self._limits(),
            decoys=DecoyKeeper.load(self.settings.state_dir)
            if self.hooks.is_implemented("auth_secret")
            else None,
        )
        async with trio.open_nursery() as outgoing:
            await outgoing.start(self.outbound.run, [(each.host, each.port) for each in self.addresses])
            if self._store is not None or self.owns_state:
                await self.outbound.open()
            if self.owns_state and (self.part is None or self.part.delivers):
                await outgoing.start(self._listen_to_operators)
            await self._receive(service, listeners, task_status)
            outgoing.cancel_scope.cancel()
        self._service = None
        self.log.notice("stopped")

    def _limits(self) -> ConnectionLimits:
        smtp = self.settings.smtp
        limits = smtp.max_connections, smtp.max_connections_per_address, smtp.unlimited_addresses
        if self.part is None:
            return ConnectionLimits(*limits)
        return SharedLimits(*limits, column=self.part.column)

    async def _receive(
        self,
        service: Service,
        listeners: list[tuple[int, Listener]],
        task_status: trio.TaskStatus[Self],
    ) -> None:
        """Accept connections until told to stop; then end them orderly, and after them the deliveries."""
        async with service.poller.running(), trio.open_nursery() as connections:
            connections.start_soon(service.watchdog.run)
            async with trio.open_nursery() as accepting:
                for number, listener in listeners:
                    is_intake = number == INTAKE
                    handler = self._intake.handle if is_intake else partial(service.handle_socket, number)
                    accept = partial(accept_from, at_once=ACCEPTS_AT_ONCE if self.part is None else 1)
                    poller = None if is_intake else service.poller
                    accepting.start_soon(accept, listener, handler, connections, self.log, poller)
                self._service = service
                if self.part is None:
                    self.log.notice("listening", address=[str(address) for address in self.addresses])
                task_status.started(self)
                await self._stop.wait()
                accepting.cancel_scope.cancel()
            for _, listener in listeners:
                listener.close()
            await self._linger(service)
            deadline = trio.current_time() + self.settings.smtp.shutdown_timeout
            await service.stop(deadline)
            await self._intake.finish(deadline)
            await self.outbound.stop(deadline)
            await self.hooks.shutdown(self)
            connections.cancel_scope.cancel()

    async def _linger(self, service: Service) -> None:
        """If others go on in our place, let clients that came last say what they came for."""
        if self._linger_s:
            with trio.move_on_after(self._linger_s):
                await trio.sleep(
                    self._linger_s / 5
                )  # handshakes are under way with some who do not count yet
                await service.open_connections.wait_value(0)

    async def _listen_to_operators(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Let the queue be steered while it is worked off."""
        await self.outbound.open()
        path = control_path(self.settings.state_dir)
        await serve_control(path, self._answer_operator, self.log, task_status=task_status)

    async def _answer_operator(self, stream: SocketStream) -> None:
        store = await self.outbound.open()
        try:
            control = self._control = self._control or self._make_control(store)
        except (ImportError, OSError) as error:  # for want of file descriptors, as a rule
            self.log.error("the queue cannot be steered now", error=error)
            stream.close()
        else:
            await control.handle(stream)

    def _make_control(self, store: Store) -> Control:
        from harakapy.outbound.steered import SteeredWorks  # all that steers: when somebody does, or late
        from harakapy.outbound.steering import Steering
        from harakapy.process.control import Control

        steered = SteeredWorks(lambda: self.outbound.works)
        return Control(Steering(store, self.outbound.now, steered), self.log)

    async def _open_store(self) -> Store:
        """The queue; called once at most. Raises StoreUnavailable or StoreFull."""
        return self._store or await open_queue(self.settings, self.log)

    async def converse(
        self,
        stream: trio.abc.Stream,
        remote: SocketAddress = LOOPBACK,
        local: SocketAddress = LOOPBACK,
        *,
        listen: ListenSettings | None = None,
    ) -> None:
        """Serve one client over any stream, which it closes: an embedded server needs no socket.

        ``listen`` holds what a ``[[listen]]`` table would say of where the client comes in; there is no TLS.
        Raises RuntimeError if the server does not run.
        """
        if self._service is None:
            raise RuntimeError("the server does not run")
        await self._service.handle(Arrival(stream, remote, local, Terms.of(self.settings, listen)))

    def stop(self) -> None:
        """Stop orderly: accept no more, let busy clients finish within ``smtp.shutdown_timeout``."""
        self._stop.set()

    def give_way(self) -> None:
        """Stop as `stop` does, a moment later for idle clients: another process accepts in our place."""
        self._linger_s = LINGER_S
        self._stop.set()

    async def wait_stopped(self) -> None:
        """Wait until somebody has called `stop`."""
        await self._stop.wait()

    def cut(self) -> None:
        """Stop without waiting for busy clients; what is being stored is still stored."""
        self._stop.set()
        if self._service is not None:
            self._service.cut_all()

    def reload(self, settings: Settings) -> None:
        """Use other settings for new connections, and hand plugins theirs.

        Which sockets, plugins and name servers there are, and where the log goes, stays until a restart; if
        that is what changed, the log says so. Raises ConfigError, and changes nothing, if the settings do
        not fit a plugin, or the template of reports is none.
        """
        has_new_name = settings.hostname != self.settings.hostname
        configs = changed_configs(settings, self.plugins, has_new_name=has_new_name)
        waiting = self._keys_for_a_restart(settings)
        with _told_as_problem(settings):
            self.outbound.reload(settings)
        self.settings = settings
        for plugin, config in configs:
            try:
                plugin.reload(config)
            except Exception as error:  # noqa: BLE001  # a plugin may raise anything; the others go on
                self.log.crit("plugin did not take its new settings", plugin=plugin.name, exc_info=error)
        if waiting:
            self.log.notice("these settings take effect at a restart", keys=waiting)
        self.log.output.level = Level.parse(settings.log.level)
        if self._service is not None:
            smtp = settings.smtp
            self._service.terms = self._terms()
            self._service.limits.change(
                smtp.max_connections, smtp.max_connections_per_address, smtp.unlimited_addresses
            )

    def _keys_for_a_restart(self, settings: Settings) -> list[str]:
        """The settings that differ from those in force and will only be looked at when the server starts."""
        keys = [key for key in changed_keys(self.settings, settings) if re.match(RESTART_KEYS, key)]
        for loaded in self.plugins:
            old, new = self.settings.plugin_table(loaded.name), settings.plugin_table(loaded.name)
            for key in ("hook_timeout", "on_error"):
                if getattr(old, key) != getattr(new, key):
                    keys.append(f"plugin.{loaded.name}.{key}")
        return keys


@contextmanager
def _told_as_problem(settings: Settings) -> Iterator[None]:
    """What the sending side cannot take of the settings, as ConfigError: next hops were checked before."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise ConfigError([Problem(settings.file, "outbound.reports.template", str(error))]) from error
