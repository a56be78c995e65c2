"""A name server for tests: a table of records, and every way to fail on demand."""

from collections import Counter
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import trio


@dataclass
class NameServer:
    """Answers on UDP and TCP at a port of its own; names in lower case without the final dot.

    A name in no table does not exist. ``queries`` counts what was asked, as (name, type, "udp" or "tcp").
    """

    records: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    ttl_s: int = 300
    negative_ttl_s: int | None = 60  # None: no SOA record in negative answers
    failing: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    truncating: set[str] = field(default_factory=set)
    nonsense: set[str] = field(default_factory=set)
    held: dict[str, trio.Event] = field(default_factory=dict)  # answered when the event is set
    queries: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    address: str = ""

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer until cancelled; started once ``address`` is known."""
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
        name = query.question[0].name.to_text(omit_final_dot=True).lower()
        type_ = dns.rdatatype.to_text(query.question[0].rdtype)
        self.queries[name, type_, transport] += 1
        if name in self.held:
            await self.held[name].wait()
        if name in self.silent:
            return None
        if name in self.nonsense:
            return wire[:2] + b"\x81\x80\0\1\0\7" + wire[8:]  # promises seven records and has none
        return self._reply(query, name, type_, transport).to_wire(max_size=65535)

    def _reply(
        self, query: dns.message.Message, name: str, type_: str, transport: str
    ) -> dns.message.Message:
        reply = dns.message.make_response(query, recursion_available=True)
        if name in self.failing:
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif name in self.truncating and transport == "udp":
            reply.flags |= dns.flags.TC
        elif (name, "CNAME") in self.records:
            target = self.records[name, "CNAME"][0]
            reply.answer.append(dns.rrset.from_text(f"{name}.", self.ttl_s, "IN", "CNAME", target))
            reply.answer.append(
                dns.rrset.from_text(target, self.ttl_s, "IN", type_, *self.records[target[:-1], type_])
            )
        elif texts := self.records.get((name, type_)):
            reply.answer.append(dns.rrset.from_text(f"{name}.", self.ttl_s, "IN", type_, *texts))
        else:
            if not any(name == known for known, _ in self.records):
                reply.set_rcode(dns.rcode.NXDOMAIN)
            if self.negative_ttl_s is not None:
                soa = f"ns.test. root.test. 1 3600 600 86400 {self.negative_ttl_s}"
                reply.authority.append(dns.rrset.from_text(".", 86400, "IN", "SOA", soa))
        return reply
