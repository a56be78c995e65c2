"""What a server offers in its answer to EHLO or LHLO (RFC 5321 4.1.1.1), as a value.

Read leniently: a client that knows nothing of a server is worse off than one that has missed a line. Case
does not matter, a line that is no keyword is left out, a number that is none counts as not given.
``AUTH=LOGIN`` is how servers older than RFC 2554 wrote it, and some still write both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Self

from msgspec import Struct, field

__all__ = ["NO_CAPABILITIES", "Capabilities"]

_LINE = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]*+)(?:[ =]++(.*+))?")
_NUMBER = re.compile(r"[0-9]{1,20}", re.ASCII)  # RFC 1870 4


class Capabilities(Struct, frozen=True, kw_only=True):
    """The service extensions of one server; everything is off in what it did not say."""

    domain: str = ""
    """The name the server gave itself; ``""`` if it gave none."""
    raw: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Every extension: upper-case keyword to what follows it, ``""`` if nothing does."""
    pipelining: bool = False
    eightbitmime: bool = False
    smtputf8: bool = False
    chunking: bool = False
    binarymime: bool = False
    """Only with ``chunking``: the one needs the other (RFC 3030 3)."""
    dsn: bool = False
    starttls: bool = False
    requiretls: bool = False
    enhanced: bool = False
    """Replies carry enhanced status codes (RFC 2034)."""
    size: int | None = None
    """Octets of the largest message it takes; None if it declared no limit (RFC 1870 4)."""
    auth: frozenset[str] = frozenset()
    """Upper-case names of SASL mechanisms (RFC 4954 3)."""
    rcpt_max: int | None = None
    """Recipients of one transaction (RFC 9422), None if it declared no limit; the same for these two."""
    mail_max: int | None = None
    """Transactions of one session."""
    rcpt_domain_max: int | None = None
    """Domains of the recipients of one transaction."""
    deliver_by: int | None = None
    """Seconds that a time limit needs at least, 0 for any (RFC 2852 2); None if DELIVERBY is not offered."""
    mt_priority: bool = False
    future_release: int | None = None
    """Seconds it holds a message back at most (RFC 4865 3); None if FUTURERELEASE is not offered."""

    def __hash__(self) -> int:
        return hash((self.domain, frozenset(self.raw.items())))  # all the others follow from these

    @classmethod
    def parse(cls, lines: Sequence[str]) -> Self:
        """Read the lines of the reply, without code; the first is the server's name and greeting."""
        raw, auth = _read(lines[1:])
        limits = dict(word.upper().partition("=")[::2] for word in raw.get("LIMITS", "").split())
        return cls(
            domain=lines[0].partition(" ")[0] if lines else "",
            raw=MappingProxyType(raw),
            pipelining="PIPELINING" in raw,
            eightbitmime="8BITMIME" in raw,
            smtputf8="SMTPUTF8" in raw,
            chunking="CHUNKING" in raw,
            binarymime="BINARYMIME" in raw and "CHUNKING" in raw,
            dsn="DSN" in raw,
            starttls="STARTTLS" in raw,
            requiretls="REQUIRETLS" in raw,
            enhanced="ENHANCEDSTATUSCODES" in raw,
            size=_number(raw.get("SIZE", "")) or None,
            auth=auth,
            rcpt_max=_number(limits.get("RCPTMAX", "")) or None,
            mail_max=_number(limits.get("MAILMAX", "")) or None,
            rcpt_domain_max=_number(limits.get("RCPTDOMAINMAX", "")) or None,
            deliver_by=_number(raw["DELIVERBY"]) if "DELIVERBY" in raw else None,
            mt_priority="MT-PRIORITY" in raw,
            future_release=_number(raw["FUTURERELEASE"]) if "FUTURERELEASE" in raw else None,
        )

    def offers(self, keyword: str) -> bool:
        """Whether an extension is offered, known here or not."""
        return keyword.upper() in self.raw


NO_CAPABILITIES: Final = Capabilities()
"""Those of a server that was greeted with HELO, or not yet."""


def _read(lines: Sequence[str]) -> tuple[dict[str, str], frozenset[str]]:
    """Every keyword with what follows it, and the mechanisms of all AUTH lines."""
    raw: dict[str, str] = {}
    mechanisms: set[str] = set()
    for line in lines:
        found = _LINE.fullmatch(line.strip(" "))
        if found is None:
            continue
        keyword, rest = found[1].upper(), found[2] or ""
        raw.setdefault(keyword, rest)
        if keyword == "AUTH":
            mechanisms.update(rest.upper().split())
    return raw, frozenset(mechanisms)


def _number(text: str) -> int:
    """The number that ``text`` begins with, 0 if it does not begin with one."""
    word = text.split(" ", 1)[0]
    return int(word) if _NUMBER.fullmatch(word) else 0
