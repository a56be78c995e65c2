"""A client's connection, as plugins see it. The names are Haraka's."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import trio
from msgspec import Struct

from harakapy.hooks import Subject
from harakapy.inbound.transaction import Transaction
from harakapy.log import Logger
from harakapy.net import SocketAddress, enter_task
from harakapy.net.tls import TlsState

if TYPE_CHECKING:
    from harakapy.process.server import Server

UNKNOWN_HOST = "Unknown"
"""``remote.host`` before it has been looked for, and when there is no way to look."""


class Remote(Struct):
    """The client: numeric address and port ("" and 0 on a unix socket), and the name DNS has for it.

    ``host`` is NXDOMAIN if DNS knows no name, DNSERROR if it could not be asked, Unknown before.
    """

    ip: str
    port: int
    host: str = UNKNOWN_HOST

    @property
    def is_private(self) -> bool:
        """Whether the address is of a network that the Internet does not route (RFC 6890)."""
        return not self.ip or _address(self.ip).is_private

    @property
    def is_local(self) -> bool:
        """Whether the address is one of the loopback, or the client came by a unix socket."""
        return not self.ip or _is_loopback(self.ip)


class Local(Struct):
    """Our end: numeric address, port, and the name we go by."""

    ip: str
    port: int
    host: str


class Hello(Struct):
    """What the client said of itself: ``verb`` is HELO or EHLO, both are "" before."""

    verb: str = ""
    host: str = ""


class MessageCount(Struct):
    """How many messages of this connection were accepted, refused for now, and refused."""

    accept: int = 0
    tempfail: int = 0
    reject: int = 0


class Connection(Subject):
    """One client, from accept to close.

    ``uuid`` names it in the log. ``transaction`` is the one under way, or None. ``capabilities`` is the list
    that EHLO is about to be answered with. ``errors`` counts what the client did wrong. ``early_talker``
    tells that it spoke before the greeting, ``pipelining`` that it sent commands in groups. ``tls`` tells of
    the TLS session, None without one; ``proxy`` is the address of the proxy that the client came through.
    ``auth_user`` is who has logged in and ``auth_mechanism`` how, both "" if nobody has.
    """

    __slots__ = (
        "_log", "_nursery", "_relaying", "_relaying_before", "auth_mechanism", "auth_user", "capabilities",
        "early_talker", "errors", "hello", "local", "message_count", "pipelining", "proxy", "remote",
        "server", "started_at", "tls", "transaction", "transaction_count", "uuid",
    )  # fmt: skip

    def __init__(self, server: Server, log: Logger, remote: Remote, local: Local, started_at: float) -> None:
        super().__init__()
        self.uuid = str(uuid4()).upper()
        self.server = server
        self.remote = remote
        self.local = local
        self.hello = Hello()
        self.transaction: Transaction | None = None
        self.transaction_count = 0
        self.capabilities: list[str] = []
        self.errors = 0
        self.message_count = MessageCount()
        self.early_talker = False
        self.pipelining = False
        self.proxy: SocketAddress | None = None
        self.tls: TlsState | None = None
        self.started_at = started_at
        self.auth_user = ""
        self.auth_mechanism = ""
        self._relaying = self._relaying_before = False
        self._log = log
        self._nursery: trio.Nursery | None = None

    @property
    def log(self) -> Logger:
        """A logger whose lines carry the uuid of the transaction under way, or of the connection."""
        transaction = self.transaction
        return self._log.bind(uuid=self.uuid if transaction is None else transaction.uuid)

    @property
    def relaying(self) -> bool:
        """Whether this client's mail is taken for any recipient.

        Set inside a transaction it holds for that transaction only, else for the connection.
        """
        transaction = self.transaction
        if transaction is None or transaction.is_relaying is None:
            return self._relaying
        return transaction.is_relaying

    @relaying.setter
    def relaying(self, value: bool) -> None:
        if self.transaction is None:
            self._relaying = value
        else:
            self.transaction.is_relaying = value

    @property
    def is_esmtp(self) -> bool:
        """Whether the client has said EHLO."""
        return self.hello.verb == "EHLO"

    def start_soon(
        self, function: Callable[..., Awaitable[Any]], *args: Any, name: str | None = None
    ) -> None:
        """Run a task of your own beside the dialogue; it is cancelled when the connection ends.

        What it raises is logged and ends only that task. Raises RuntimeError once the connection has ended.
        """
        if self._nursery is None:
            raise RuntimeError("this connection is not open")
        self._nursery.start_soon(self._guarded, function, args, name=name or function)

    async def _guarded(self, function: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> None:
        try:
            await function(*args)
        except Exception as error:  # noqa: BLE001  # a plugin's task may raise anything; the dialogue goes on
            self.log.crit("task of a plugin failed", task=repr(function), error=str(error), exc_info=error)

    def log_in(self, user: str, mechanism: str) -> None:
        """The client has shown that it is this user, so it is relaying from now on. Called by the core."""
        self.auth_user, self.auth_mechanism = user, mechanism
        self._relaying_before, self._relaying = self._relaying, True

    def log_out(self) -> None:
        """Forget who has logged in, and what that allowed. Called by the core."""
        if self.auth_user:
            self.auth_user = self.auth_mechanism = ""
            self._relaying = self._relaying_before

    async def enter_task(self) -> None:
        """Have what follows run in the task of the connection, as all must that waits. Called by the core."""
        await enter_task()

    def open(self, nursery: trio.Nursery) -> None:
        """Name the nursery in which everything of this connection lives. Called by the core."""
        self._nursery = nursery

    def close(self) -> None:
        """Take no more tasks. Called by the core when the nursery is about to end."""
        self._nursery = None


@lru_cache(maxsize=1024)
def _address(ip: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(ip.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


@lru_cache(maxsize=1024)  # asked for with every message of a client without a name
def _is_loopback(ip: str) -> bool:
    return _address(ip).is_loopback
