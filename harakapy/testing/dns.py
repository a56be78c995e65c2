"""A name server for tests: a table of records, and every way to fail on demand."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import trio

from harakapy.net import Resolver

__all__ = ["FakeDns"]

_NONSENSE = b"\x81\x80\0\1\0\7"  # promises seven records and has none
_MAX_ALIASES = 8

Names = set[str | tuple[str, str]]
"""Names, or names with the type of record: ``"a.example"`` or ``("a.example", "MX")``."""


@dataclass
class FakeDns:
    """A name server on the loopback, over UDP and TCP.

    Names are in lower case without the final dot. A name in no table does not exist (NXDOMAIN), one that has
    only other records gets an empty answer. All may be changed while it runs, but mind that a `Resolver`
    remembers what it was told.

        async with FakeDns().add("example.com", "MX", "10 mx.example.com").running() as fake_dns:
            server = Server(settings, resolver=fake_dns.resolver())
    """

    records: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """{(name, type): values as zone files have them}."""
    ttl_s: int = 300
    negative_ttl_s: int | None = 60
    """For how long it may be remembered that something is not there; None to say nothing about that."""
    failing: Names = field(default_factory=set)
    """Answered with SERVFAIL."""
    silent: Names = field(default_factory=set)
    """Never answered: who asks runs into a timeout."""
    truncating: Names = field(default_factory=set)
    """Cut off over UDP, so that they are asked for again over TCP."""
    nonsense: Names = field(default_factory=set)
    """Answered with what is no message of DNS."""
    held: dict[str, trio.Event] = field(default_factory=dict)
    """Answered only when the event is set."""
    queries: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """How often was asked, by (name, type, ``"udp"`` or ``"tcp"``)."""
    address: str = ""
    """Where it listens, such as ``127.0.0.1:40123``, for ``[dns] nameservers``; "" before it runs."""

    def add(self, name: str, type_: str, *values: str) -> Self:
        """Add records of one type to those of ``name``: ``add("a.example", "MX", "10 mx.example")``."""
        self.records.setdefault((_key(name), type_), []).extend(values)
        return self

    def resolver(self) -> Resolver:
        """A new resolver that asks this server, and remembers nothing yet. For when it runs."""
        assert self.address, "the server does not run yet"
        return Resolver([self.address])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Answer as long as the block lasts."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.serve)
            yield self
            nursery.cancel_scope.cancel()

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer until cancelled; started once ``address`` is known. For a nursery of the caller's."""
        listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
        port = listener.socket.getsockname()[1]
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as udp:
            await udp.bind(("127.0.0.1", port))
            self.address = f"127.0.0.1:{port}"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, self._serve_tcp, [listener])
                task_status.started()
                while True:
                    wire, client = await udp.recvfrom(4096)
                    nursery.start_soon(self._answer_udp, udp, wire, client)

    async def _answer_udp(self, udp: trio.socket.SocketType, wire: bytes, client: tuple[str, int]) -> None:
        if (answer := await self._answer(wire, "udp")) is not None:
            await udp.sendto(answer, client)

    async def _serve_tcp(self, stream: trio.SocketStream) -> None:
        size = await stream.receive_some(2)
        wire = await stream.receive_some(int.from_bytes(size))
        if (answer := await self._answer(wire, "tcp")) is not None:
            await stream.send_all(len(answer).to_bytes(2) + answer)

    async def _answer(self, wire: bytes, transport: str) -> bytes | None:
        query = dns.message.from_wire(wire)
        name = _key(query.question[0].name.to_text())
        type_ = dns.rdatatype.to_text(query.question[0].rdtype)
        self.queries[name, type_, transport] += 1
        if name in self.held:
            await self.held[name].wait()
        if _is_among(self.silent, name, type_):
            return None
        if _is_among(self.nonsense, name, type_):
            return wire[:2] + _NONSENSE + wire[8:]
        return self._reply(query, name, type_, transport).to_wire(max_size=65535)

    def _reply(
        self, query: dns.message.Message, name: str, type_: str, transport: str
    ) -> dns.message.Message:
        reply = dns.message.make_response(query, recursion_available=True)
        if _is_among(self.failing, name, type_):
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif transport == "udp" and _is_among(self.truncating, name, type_):
            reply.flags |= dns.flags.TC
        else:
            self._fill(reply, name, type_)
        return reply

    def _fill(self, reply: dns.message.Message, name: str, type_: str) -> None:
        for _ in range(_MAX_ALIASES):
            if (aliases := self.records.get((name, "CNAME"))) is None or type_ == "CNAME":
                break
            reply.answer.append(self._records(name, "CNAME", aliases[:1]))
            name = _key(aliases[0])
        if values := self.records.get((name, type_)):
            reply.answer.append(self._records(name, type_, values))
            return
        if not any(name == known for known, _ in self.records):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        if self.negative_ttl_s is not None:
            soa = f"ns.test. root.test. 1 3600 600 86400 {self.negative_ttl_s}"
            reply.authority.append(dns.rrset.from_text(".", 86400, "IN", "SOA", soa))

    def _records(self, name: str, type_: str, values: list[str]) -> dns.rrset.RRset:
        return dns.rrset.from_text_list(
            f"{name}.", self.ttl_s, "IN", type_, values, origin=dns.name.root, relativize=False
        )


def _key(name: str) -> str:
    return name.lower().removesuffix(".")


def _is_among(names: Names, name: str, type_: str) -> bool:
    return name in names or (name, type_) in names
