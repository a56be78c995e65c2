"""Questions to DNS: dnspython asks, we remember, and ask each thing once at a time.

Equal questions that are open at the same time share one query (dnspython alone would send each): the first to
ask does the work, the others wait for what it gets. No task of its own is needed for that. If the first
is cancelled, one of those who wait takes over and asks anew, so that a client that hangs up takes nothing
from the others.
"""

import ipaddress
from collections.abc import Sequence
from typing import Final, NamedTuple

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rdata
import dns.rdatatype
import dns.resolver
import trio
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.PTR import PTR
from dns.rdtypes.ANY.TXT import TXT
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from .answers import AnswerCache, NameNotFound, NoData, Outcome, TemporaryDnsError
from .endpoint import Endpoint, EndpointError

DNS_PORT: Final = 53
# For one question, whatever it takes: less than clients wait for a greeting (RFC 5321 4.5.3.2.1: five
# minutes) or a hook may last (30 s), enough for three tries.
TIMEOUT_S: Final = 10.0
TRY_TIMEOUT_S: Final = 3.0
# Open queries; each has a socket of its own. More only queue up at the name server instead of here.
MAX_QUERIES: Final = 100
# UDP answers up to this size need no TCP and are not fragmented (DNS Flag Day 2020).
UDP_OCTETS: Final = 1232
# Who publishes more records of one type under one name means harm; Postfix cuts there too.
MAX_RECORDS: Final = 100

TRIO: Final = dns.asyncbackend.get_backend("trio")


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
        self._stub = _stub_resolver(nameservers)
        self._timeout_s = timeout_s
        self._limiter = trio.CapacityLimiter(max_queries)
        self._cache = AnswerCache()
        self._flights: dict[tuple[str, str], _Flight] = {}

    async def a(self, name: str) -> tuple[str, ...]:
        """The IPv4 addresses of ``name``."""
        return tuple(record.address for record in await self.query(name, "A") if isinstance(record, A))

    async def aaaa(self, name: str) -> tuple[str, ...]:
        """The IPv6 addresses of ``name``."""
        return tuple(record.address for record in await self.query(name, "AAAA") if isinstance(record, AAAA))

    async def mx(self, name: str) -> tuple[MailExchange, ...]:
        """The mail exchangers of ``name``, by preference."""
        records = await self.query(name, "MX")
        found = (MailExchange(mx.preference, _text(mx.exchange)) for mx in records if isinstance(mx, MX))
        return tuple(sorted(found, key=lambda mx: mx.preference))

    async def txt(self, name: str) -> tuple[bytes, ...]:
        """The texts of ``name``; the strings of one record are joined (RFC 7208 3.3, RFC 6376 3.6.2.2)."""
        return tuple(b"".join(txt.strings) for txt in await self.query(name, "TXT") if isinstance(txt, TXT))

    async def ptr(self, address: str) -> tuple[str, ...]:
        """The names of an IP address, by its reverse mapping. Raises ValueError if it is none."""
        ip = ipaddress.ip_address(address.partition("%")[0])
        mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
        records = await self.query((mapped or ip).reverse_pointer, "PTR")
        return tuple(_text(ptr.target) for ptr in records if isinstance(ptr, PTR))

    def remembers(self, name: str, type_: str) -> bool:
        """Whether a lookup would be answered at once: then it needs no task beside those of others."""
        question = _question(name, type_)
        if _local_outcome(*question) is not None:
            return True
        return self._cache.get(question, trio.current_time()) is not None

    async def query(self, name: str, type_: str) -> tuple[dns.rdata.Rdata, ...]:
        """The records of that type (``"TLSA"``) under ``name``, aliases followed; at most MAX_RECORDS.

        ``name`` may be in Unicode (IDNA 2008). Raises ValueError for a type that does not exist.
        """
        question = _question(name, type_)
        outcome = _local_outcome(*question) or await self._outcome(question)
        return outcome.result(*question)

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
        try:
            qname = dns.name.from_text(name, idna_codec=dns.name.IDNA_2008_UTS_46)
        except dns.exception.DNSException as cause:
            return Outcome(failure=NameNotFound, reason=f"not a name: {cause}")
        rdtype = _record_type(type_)
        # Our own scope: dnspython counts its lifetime by the wall clock, and not the wait for the limiter.
        with trio.move_on_after(self._timeout_s):
            async with self._limiter:
                return await self._ask_stub(qname, rdtype)
        return Outcome(failure=TemporaryDnsError, reason=f"no answer within {self._timeout_s:g} s")

    async def _ask_stub(self, qname: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> Outcome:
        try:
            answer = await self._stub.resolve(
                qname, rdtype, raise_on_no_answer=False, lifetime=self._timeout_s, search=False, backend=TRIO
            )
        except dns.resolver.NXDOMAIN as error:
            response = error.response(qname)  # type: ignore[no-untyped-call]  # dnspython left it without
            ttl_s = response.resolve_chaining().minimum_ttl
            return Outcome(failure=NameNotFound, reason="no such name", ttl_s=ttl_s)
        except (dns.exception.DNSException, OSError, EOFError) as error:
            return Outcome(failure=TemporaryDnsError, reason=str(error) or type(error).__name__)
        ttl_s = answer.chaining_result.minimum_ttl
        if answer.rrset is None:
            return Outcome(failure=NoData, reason="no such records", ttl_s=ttl_s)
        return Outcome(records=tuple(answer.rrset)[:MAX_RECORDS], ttl_s=ttl_s)


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
LOOPBACK_ADDRESSES: Final = {
    "A": Outcome(records=(dns.rdata.from_text("IN", "A", "127.0.0.1"),)),
    "AAAA": Outcome(records=(dns.rdata.from_text("IN", "AAAA", "::1"),)),
}
LOOPBACK_NAME: Final = Outcome(records=(dns.rdata.from_text("IN", "PTR", "localhost."),))
LOOPBACK_REVERSE_V4: Final = ".127.in-addr.arpa"
LOOPBACK_REVERSE_V6: Final = ipaddress.IPv6Address("::1").reverse_pointer
NOTHING_ELSE: Final = Outcome(failure=NoData, reason="a name of this machine")


def _local_outcome(name: str, type_: str) -> Outcome | None:
    if name.endswith("localhost") and (name == "localhost" or name.endswith(".localhost")):
        return LOOPBACK_ADDRESSES.get(type_, NOTHING_ELSE)
    if name.endswith(LOOPBACK_REVERSE_V4) or name == LOOPBACK_REVERSE_V6:
        return LOOPBACK_NAME if type_ == "PTR" else NOTHING_ELSE
    return None


def _stub_resolver(nameservers: Sequence[str]) -> dns.asyncresolver.Resolver:
    stub = dns.asyncresolver.Resolver(configure=False)
    if nameservers:
        stub.nameservers = [_nameserver(text) for text in nameservers]
    else:
        try:
            stub.read_resolv_conf("/etc/resolv.conf")
        except dns.resolver.NoResolverConfiguration:
            stub.nameservers = ["127.0.0.1"]  # as resolv.conf(5) has it when there is none
    stub.timeout = TRY_TIMEOUT_S
    stub.use_edns(0, 0, UDP_OCTETS)
    return stub


def _nameserver(text: str) -> dns.nameserver.Nameserver:
    try:
        return dns.nameserver.Do53Nameserver(str(ipaddress.ip_address(text)), DNS_PORT)
    except ValueError:
        pass
    try:
        endpoint = Endpoint.parse(text)
        return dns.nameserver.Do53Nameserver(str(ipaddress.ip_address(endpoint.host)), endpoint.port)
    except (EndpointError, ValueError) as cause:
        raise ValueError(f"{text!r} is not the address of a name server") from cause


def _record_type(type_: str) -> dns.rdatatype.RdataType:
    try:
        return dns.rdatatype.from_text(type_)
    except dns.rdatatype.UnknownRdatatype as cause:
        raise ValueError(f"{type_!r} is not a type of DNS records") from cause


def _text(name: dns.name.Name) -> str:
    return "" if name == dns.name.root else name.to_text(omit_final_dot=True)
