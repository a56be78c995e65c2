"""Questions to DNS: dnspython asks, we remember, and ask each thing once at a time.

Equal questions that are open at the same time share one query (dnspython alone would send each): the first to
ask does the work, the others wait for what it gets. No task of its own is needed for that. If the first
is cancelled, one of those who wait takes over and asks anew, so that a client that hangs up takes nothing
from the others.

dnspython itself is behind `harakapy.net.stub`, which is imported with the first question that we cannot
answer ourselves: it takes a good part of the time in which all else of a server is there.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import trio

from .answers import AnswerCache, NoData, Outcome, TemporaryDnsError
from .endpoint import Endpoint, EndpointError

if TYPE_CHECKING:
    from dns.name import Name
    from dns.rdata import Rdata
    from dns.rdtypes.ANY.MX import MX
    from dns.rdtypes.ANY.PTR import PTR
    from dns.rdtypes.ANY.TXT import TXT
    from dns.rdtypes.IN.A import A
    from dns.rdtypes.IN.AAAA import AAAA

    from .stub import Stub

DNS_PORT: Final = 53
# For one question, whatever it takes: less than clients wait for a greeting (RFC 5321 4.5.3.2.1: five
# minutes) or a hook may last (30 s), enough for three tries.
TIMEOUT_S: Final = 10.0
# Open queries; each has a socket of its own. More only queue up at the name server instead of here.
MAX_QUERIES: Final = 100


class MailExchange(NamedTuple):
    """One MX record: the lower ``preference`` is tried first; ``host`` is "" in a null MX (RFC 7505)."""

    preference: int
    host: str


class Resolver:
    """Asks name servers, remembers what they said.

    ``nameservers`` are addresses, with a port if it is not 53 (``"127.0.0.1:5300"``, ``"[::1]:5300"``); none
    means those of /etc/resolv.conf. Names are taken as they are: no search list is applied. Names in
    results are without the final dot, and whatever is odd in them is escaped by DNS's own rules (RFC 1035
    5.1), so that they are printable ASCII.

    Every lookup raises NameNotFound, NoData or TemporaryDnsError. One that is answered from memory does
    not wait, and is no checkpoint.
    """

    def __init__(
        self,
        nameservers: Sequence[str] = (),
        *,
        timeout_s: float = TIMEOUT_S,
        max_queries: int = MAX_QUERIES,
    ) -> None:
        """Raises ValueError for text that is not the address of a name server."""
        self._nameservers = [_nameserver(text) for text in nameservers]
        self._stub: Stub | None = None
        self._timeout_s = timeout_s
        self._limiter = trio.CapacityLimiter(max_queries)
        self._cache = AnswerCache()
        self._flights: dict[tuple[str, str], _Flight] = {}

    async def a(self, name: str) -> tuple[str, ...]:
        """The IPv4 addresses of ``name``."""
        if _is_localhost(name.lower().removesuffix(".")):
            return ("127.0.0.1",)
        return tuple(record.address for record in cast("tuple[A, ...]", await self.query(name, "A")))

    async def aaaa(self, name: str) -> tuple[str, ...]:
        """The IPv6 addresses of ``name``."""
        if _is_localhost(name.lower().removesuffix(".")):
            return ("::1",)
        return tuple(record.address for record in cast("tuple[AAAA, ...]", await self.query(name, "AAAA")))

    async def mx(self, name: str) -> tuple[MailExchange, ...]:
        """The mail exchangers of ``name``, by preference."""
        records = cast("tuple[MX, ...]", await self.query(name, "MX"))
        found = (MailExchange(mx.preference, _text(mx.exchange)) for mx in records)
        return tuple(sorted(found, key=lambda mx: mx.preference))

    async def txt(self, name: str) -> tuple[bytes, ...]:
        """The texts of ``name``; the strings of one record are joined (RFC 7208 3.3, RFC 6376 3.6.2.2)."""
        return tuple(b"".join(txt.strings) for txt in cast("tuple[TXT, ...]", await self.query(name, "TXT")))

    async def ptr(self, address: str) -> tuple[str, ...]:
        """The names of an IP address, by its reverse mapping. Raises ValueError if it is none."""
        ip = ipaddress.ip_address(address.partition("%")[0])
        mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
        if (mapped or ip).is_loopback:
            return ("localhost",)
        records = await self.query((mapped or ip).reverse_pointer, "PTR")
        return tuple(_text(ptr.target) for ptr in cast("tuple[PTR, ...]", records))

    def remembers(self, name: str, type_: str) -> bool:
        """Whether a lookup would be answered at once: then it needs no task beside those of others."""
        question = _question(name, type_)
        return _is_this_machine(question[0]) or self._cache.get(question, trio.current_time()) is not None

    async def query(self, name: str, type_: str) -> tuple[Rdata, ...]:
        """The records of that type (``"TLSA"``) under ``name``, aliases followed; at most MAX_RECORDS.

        ``name`` may be in Unicode (IDNA 2008). Raises ValueError for a type that does not exist.
        """
        question = _question(name, type_)
        if _is_this_machine(question[0]):
            types = ("A", "AAAA") if _is_localhost(question[0]) else ("PTR",)
            if question[1] not in types:
                raise NoData(*question, "a name of this machine")
            return self._stub_resolver().of_this_machine(question[1])
        return (await self._outcome(question)).result(*question)

    async def _outcome(self, question: tuple[str, str]) -> Outcome:
        while True:
            known = self._cache.get(question, trio.current_time())
            if known is not None:
                return known
            flight = self._flights.get(question)
            if flight is None:
                return await self._fly(question)
            await flight.landed.wait()
            if flight.outcome is not None:  # else who asked was cancelled
                return flight.outcome

    async def _fly(self, question: tuple[str, str]) -> Outcome:
        flight = self._flights[question] = _Flight()
        try:
            flight.outcome = await self._ask(*question)
            self._cache.put(question, flight.outcome, trio.current_time())
            return flight.outcome
        finally:
            del self._flights[question]
            flight.landed.set()

    async def _ask(self, name: str, type_: str) -> Outcome:
        stub = self._stub_resolver()
        # Our own scope: dnspython counts its lifetime by the wall clock, and not the wait for the limiter.
        with trio.move_on_after(self._timeout_s):
            async with self._limiter:
                return await stub.ask(name, type_)
        return Outcome(failure=TemporaryDnsError, reason=f"no answer within {self._timeout_s:g} s")

    def _stub_resolver(self) -> Stub:
        if self._stub is None:
            from .stub import Stub  # not before there is a question: see above

            self._stub = Stub(self._nameservers, timeout_s=self._timeout_s)
        return self._stub


def _question(name: str, type_: str) -> tuple[str, str]:
    return name.lower().removesuffix("."), type_.upper()


class _Flight:
    """A question on its way; ``outcome`` stays None if who asked it was cancelled."""

    __slots__ = ("landed", "outcome")

    def __init__(self) -> None:
        self.landed = trio.Event()
        self.outcome: Outcome | None = None


# Names that mean this machine everywhere, and that DNS need not be asked for (RFC 6761 6.3, RFC 6303 4). The
# name servers of the Internet do not know them, and those nearby not always.
LOOPBACK_REVERSE_V4: Final = ".127.in-addr.arpa"
LOOPBACK_REVERSE_V6: Final = ipaddress.IPv6Address("::1").reverse_pointer


def _is_this_machine(name: str) -> bool:
    return _is_localhost(name) or name.endswith(LOOPBACK_REVERSE_V4) or name == LOOPBACK_REVERSE_V6


def _is_localhost(name: str) -> bool:
    return name.endswith("localhost") and (name == "localhost" or name.endswith(".localhost"))


def _nameserver(text: str) -> tuple[str, int]:
    try:
        return str(ipaddress.ip_address(text)), DNS_PORT
    except ValueError:
        pass
    try:
        endpoint = Endpoint.parse(text)
        return str(ipaddress.ip_address(endpoint.host)), endpoint.port
    except (EndpointError, ValueError) as cause:
        raise ValueError(f"{text!r} is not the address of a name server") from cause


def _text(name: Name) -> str:
    return name.to_text(omit_final_dot=True).removesuffix(".")  # the root stays a dot there
