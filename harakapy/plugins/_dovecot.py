"""Dovecot's authentication protocol, version 1, as a client: many exchanges over one connection that is kept.

Theory of operation. There is no task that reads: of those who wait for an answer one reads for all, and when
it has its own it names another one. So nothing runs while nobody logs in, and whatever happens to the
connection meanwhile is noticed by the next who uses it. That one tries again over a new connection, once:
Dovecot closes all connections when it is restarted. An answer that nobody waits for any more is passed over.

The protocol is described in Dovecot's documentation, "Authentication Protocol": lines of fields with tabs
between them, each exchange known by its number.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Sequence
from enum import Enum
from typing import Final

import trio
from msgspec import Struct, field

from harakapy import Endpoint

__all__ = ["DovecotClient", "DovecotError", "DovecotReply", "Outcome", "parameter"]

MAX_LINE_OCTETS: Final = 16384
"""The longest line that is taken; Dovecot's own limit, its packets for GSSAPI included."""
MAX_HANDSHAKE_LINES: Final = 100
"""A Dovecot with all its mechanisms has some twenty. Picked."""
_RECEIVE_OCTETS: Final = 4096
_MAX_PID: Final = 2**31 - 1

_ESCAPES: Final = {"\0": "0", "\1": "1", "\t": "t", "\r": "r", "\n": "n"}
_UNESCAPES: Final = {escape: character for character, escape in _ESCAPES.items()} | {"l": "\n"}


class DovecotError(Exception):
    """Dovecot gave no answer; the message says why."""


class Outcome(Enum):
    """What the first word of an answer says."""

    OK = "OK"
    FAIL = "FAIL"
    CONT = "CONT"


class DovecotReply(Struct, frozen=True):
    """One answer: its outcome, and its fields as they came: ``name=value``, ``name``, or what CONT asks."""

    outcome: Outcome
    fields: tuple[str, ...]

    def get(self, name: str) -> str | None:
        """The value of a field, "" for one without; None if it is missing."""
        for each in self.fields:
            key, _, value = each.partition("=")
            if key == name:
                return value
        return None


def parameter(name: str, value: str) -> str:
    """``name=value`` as it stands in a line."""
    return f"{name}=" + re.sub("[\0\1\t\r\n]", lambda found: "\1" + _ESCAPES[found[0]], value)


class DovecotClient:
    """A client of one Dovecot; it connects when it is needed, and keeps the connection."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._link: _Link | None = None
        self._connecting = trio.Lock()

    async def connect(self) -> None:
        """Connect, unless there is a connection. Raises DovecotError. The caller sets the deadline."""
        await self._usable_link()

    async def authenticate(self, mechanism: str, parameters: Sequence[str], response: bytes) -> DovecotReply:
        """Have a client's response judged; the answer is OK or FAIL.

        Raises DovecotError. The caller sets the deadline; if cancelled here, the connection serves those who
        are waiting on it already, and no others.
        """
        link = await self._usable_link()
        try:
            return await link.exchange(mechanism, parameters, response)
        except _LinkBroken:
            link = await self._usable_link()
        try:
            return await link.exchange(mechanism, parameters, response)
        except _LinkBroken as error:
            raise DovecotError(str(error)) from error

    def close(self) -> None:
        """Close the connection when nobody waits for an answer any more. May be called again."""
        if self._link is not None:
            self._link.retire()

    async def _usable_link(self) -> _Link:
        async with self._connecting:
            if self._link is None or not self._link.is_usable:
                try:
                    self._link = await _open(self._endpoint)
                except OSError as error:
                    raise DovecotError(f"no connection to {self._endpoint}: {error}") from error
                except _LinkBroken as error:
                    raise DovecotError(str(error)) from error
            return self._link


class _LinkBroken(Exception):
    """The connection is of no use any more."""


class _Exchange(Struct):
    """Somebody who waits: ``woken`` when there is a ``reply``, or when it is its turn to read."""

    reply: DovecotReply | None = None
    woken: trio.Event = field(default_factory=trio.Event)


class _Link:
    """One connection."""

    def __init__(self, stream: trio.SocketStream, name: str) -> None:
        self.mechanisms: set[str] = set()
        self._stream = stream
        self._name = name
        self._received = b""
        self._sending = trio.Lock()
        self._exchanges: dict[int, _Exchange] = {}
        self._last_id = 0
        self._is_reading = False
        self._is_retired = False
        self._fault = ""

    @property
    def is_usable(self) -> bool:
        """Whether another exchange may begin."""
        return not self._fault and not self._is_retired

    def retire(self) -> None:
        """Begin no exchange any more, and close when those under way have ended."""
        self._is_retired = True
        if not self._exchanges:
            self.close()

    def close(self) -> None:
        """Close at once."""
        self._is_retired = True
        self._stream.socket.close()

    async def shake_hands(self) -> None:
        """Say who we are, and hear which mechanisms there are. Raises _LinkBroken."""
        # Two clients with one number are a mistake to Dovecot, and containers all have a process 1.
        pid = secrets.randbelow(_MAX_PID) + 1
        await self._send(f"VERSION\t1\t1\nCPID\t{pid}\n")
        for _ in range(MAX_HANDSHAKE_LINES):
            word, *fields = (await self._line()).split("\t")
            if word == "VERSION" and fields[:1] != ["1"]:
                raise self._break("speaks another version of the protocol")
            if word == "MECH" and fields:
                self.mechanisms.add(fields[0])
            if word == "DONE":
                return
        raise self._break("does not come to an end with its greeting")

    async def exchange(self, mechanism: str, parameters: Sequence[str], response: bytes) -> DovecotReply:
        """Hold one exchange. Raises _LinkBroken, or DovecotError if Dovecot wants what we do not have."""
        if mechanism not in self.mechanisms:
            raise DovecotError(f"{self._name} does not offer {mechanism}")
        self._last_id += 1
        number, exchange = self._last_id, _Exchange()
        self._exchanges[number] = exchange
        encoded = base64.b64encode(response).decode()
        has_ended = False
        try:
            await self._send("\t".join(["AUTH", str(number), mechanism, *parameters, f"resp={encoded}\n"]))
            reply = await self._reply(exchange)
            if reply.outcome is Outcome.CONT:  # it has not looked at what came along
                await self._send(f"CONT\t{number}\t{encoded}\n")
                reply = await self._reply(exchange)
            has_ended = True
        finally:
            del self._exchanges[number]
            self._name_reader()
            if not has_ended or (self._is_retired and not self._exchanges):
                self.retire()
        if reply.outcome is Outcome.CONT:
            raise DovecotError(f"{self._name} asks for more than {mechanism} has")
        return reply

    async def _reply(self, exchange: _Exchange) -> DovecotReply:
        while exchange.reply is None:
            if self._fault:
                raise _LinkBroken(self._fault)
            if self._is_reading:
                exchange.woken = trio.Event()
                await exchange.woken.wait()
            else:
                await self._read_until_answered(exchange)
        reply, exchange.reply = exchange.reply, None
        return reply

    async def _read_until_answered(self, exchange: _Exchange) -> None:
        self._is_reading = True
        try:
            while exchange.reply is None:
                self._take(await self._line())
        finally:
            self._is_reading = False
            self._name_reader()

    def _name_reader(self) -> None:
        """Wake one who waits, to read for all; after a fault all, for there is nothing to wait for."""
        if self._is_reading:
            return
        for exchange in self._exchanges.values():
            if exchange.reply is None:
                exchange.woken.set()
                if not self._fault:
                    return

    def _take(self, line: str) -> None:
        word, *fields = line.split("\t")
        if word not in Outcome.__members__:
            return  # a later version may say more
        if not fields or not re.fullmatch("[0-9]{1,10}", fields[0]):
            raise self._break("sent an answer without a number")
        exchange = self._exchanges.get(int(fields[0]))
        if exchange is None:
            return
        if exchange.reply is not None:
            raise self._break("answered twice")
        exchange.reply = DovecotReply(Outcome[word], tuple(map(_unescaped, fields[1:])))
        exchange.woken.set()

    async def _line(self) -> str:
        while b"\n" not in self._received:
            if len(self._received) > MAX_LINE_OCTETS:
                raise self._break("sent a line that is too long")
            try:
                data = await self._stream.receive_some(_RECEIVE_OCTETS)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise self._break("broke the connection") from error
            if not data:
                raise self._break("closed the connection")
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return line.decode("utf-8", "replace")

    async def _send(self, text: str) -> None:
        async with self._sending:
            if self._fault:
                raise _LinkBroken(self._fault)
            is_sent = False
            try:
                await self._stream.send_all(text.encode())
                is_sent = True
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise self._break("broke the connection") from error
            finally:
                if not is_sent:  # also if cancelled: part of a line may be out
                    self._break("was sent half a line")

    def _break(self, what: str) -> _LinkBroken:
        """Give the connection up, for all who wait on it; the error to raise."""
        self._fault = self._fault or f"{self._name} {what}"
        self.close()
        self._name_reader()
        return _LinkBroken(self._fault)


async def _open(endpoint: Endpoint) -> _Link:
    if endpoint.is_unix:
        stream = await trio.open_unix_socket(endpoint.path)
    else:
        stream = await trio.open_tcp_stream(endpoint.host, endpoint.port)
    link = _Link(stream, str(endpoint))
    try:
        await link.shake_hands()
    except BaseException:  # it is raised again
        link.close()
        raise
    return link


def _unescaped(text: str) -> str:
    return re.sub("\1(.)", lambda found: _UNESCAPES.get(found[1], found[1]), text, flags=re.DOTALL)
