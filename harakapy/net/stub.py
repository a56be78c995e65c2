"""One question to the name servers, asked with dnspython; what is remembered, see `resolver`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rdata
import dns.rdatatype
import dns.resolver

from .answers import NameNotFound, NoData, Outcome, TemporaryDnsError

# Less than a question may take, so that there are several tries.
TRY_TIMEOUT_S: Final = 3.0
# UDP answers up to this size need no TCP and are not fragmented (DNS Flag Day 2020).
UDP_OCTETS: Final = 1232
# Who publishes more records of one type under one name means harm; Postfix cuts there too.
MAX_RECORDS: Final = 100

TRIO: Final = dns.asyncbackend.get_backend("trio")

THIS_MACHINE: Final = {"A": "127.0.0.1", "AAAA": "::1", "PTR": "localhost."}


class Stub:
    """A stub resolver (RFC 1034 5.3.1) that asks these name servers, each an address and a port.

    None means those of /etc/resolv.conf.
    """

    def __init__(self, nameservers: Sequence[tuple[str, int]], *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._stub = dns.asyncresolver.Resolver(configure=False)
        if nameservers:
            self._stub.nameservers = [dns.nameserver.Do53Nameserver(*server) for server in nameservers]
        else:
            try:
                self._stub.read_resolv_conf("/etc/resolv.conf")
            except dns.resolver.NoResolverConfiguration:
                self._stub.nameservers = ["127.0.0.1"]  # as resolv.conf(5) has it when there is none
        self._stub.timeout = TRY_TIMEOUT_S
        self._stub.use_edns(0, 0, UDP_OCTETS)

    async def ask(self, name: str, type_: str) -> Outcome:
        """What comes of a question. Raises ValueError for a type that does not exist."""
        try:
            qname = dns.name.from_text(name, idna_codec=dns.name.IDNA_2008_UTS_46)
        except dns.exception.DNSException as cause:
            return Outcome(failure=NameNotFound, reason=f"not a name: {cause}")
        rdtype = _record_type(type_)
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

    def of_this_machine(self, type_: str) -> tuple[dns.rdata.Rdata, ...]:
        """The record of that type which means this machine; nobody is asked."""
        return (dns.rdata.from_text("IN", type_, THIS_MACHINE[type_]),)


def _record_type(type_: str) -> dns.rdatatype.RdataType:
    try:
        return dns.rdatatype.from_text(type_)
    except dns.rdatatype.UnknownRdatatype as cause:
        raise ValueError(f"{type_!r} is not a type of DNS records") from cause
