"""Next hops by recipient, as the settings of a plugin give them: types for its model, and the look-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, SecretStr

from harakapy.config import Settings
from harakapy.config.quantity import Kind
from harakapy.outbound.hop import NextHop
from harakapy.outbound.route_table import dns_name
from harakapy.smtp import Address

__all__ = ["DomainPattern", "NextHopRoutes", "NextHopTable", "NextHopUrls", "domain_patterns"]

ANY: Final = "*"
_NOT_A_PATTERN: Final = (
    'must be a mail address, a domain, ".domain" for all that are below it, an address literal, or "*"'
)
_NOT_A_DOMAIN: Final = 'must be a domain, ".domain" for all that are below it, an address literal, or "*"'


def _checked_url(url: SecretStr) -> SecretStr:
    NextHop.parse(url.get_secret_value())
    return url


def _listed(value: object) -> object:
    return [value] if isinstance(value, str | SecretStr) else value


def _domain_pattern(text: str) -> str:
    """The pattern in the form in which it is looked up. Raises ValueError."""
    if text == ANY:
        return ANY
    dot = "." if text.startswith(".") else ""
    name = text.removeprefix(".")
    try:
        if name.startswith("[") and not dot:
            return Address("postmaster", name).host
        if host := Address("postmaster", name).host:
            return dot + _comparable(host)
    except ValueError:
        pass
    raise ValueError(_NOT_A_DOMAIN)


def _pattern(text: str) -> str:
    try:
        if "@" in text:
            return _mailbox(Address.parse(text), "")
        return _domain_pattern(text)
    except ValueError:
        raise ValueError(_NOT_A_PATTERN) from None


def _by_pattern(routes: Mapping[str, tuple[SecretStr, ...]]) -> dict[str, tuple[SecretStr, ...]]:
    found: dict[str, tuple[SecretStr, ...]] = {}
    for text, urls in routes.items():
        pattern = _pattern(text)
        if pattern in found:
            raise ValueError(f"has {text} twice, in two spellings")
        if not urls:
            raise ValueError(f"has no next hop for {text}")
        found[pattern] = urls
    return found


NextHopUrls = Annotated[
    tuple[Annotated[SecretStr, AfterValidator(_checked_url), Kind("next hop")], ...],
    BeforeValidator(_listed),
    Kind("next hop, or list of next hops"),
]
"""For the model of a plugin: one URL or several, each checked to name a next hop; see `NextHop.parse`."""

NextHopRoutes = Annotated[
    dict[str, NextHopUrls], AfterValidator(_by_pattern), Kind("table of next hops, or lists of them")
]
"""For the model of a plugin: next hops by domain, ``.domain``, mail address, or ``*``; see `NextHopTable`."""

DomainPattern = Annotated[str, AfterValidator(_domain_pattern), Kind("domain")]
"""For the model of a plugin: a domain, ``.domain`` for those below it, or ``*``; see `domain_patterns`."""


class NextHopTable:
    """Tells the next hops for a recipient.

    What is said for its address counts more than for its domain, that more than for what its domain is
    below, the nearest first, then ``*``. ``default`` is for all others. Raises ValueError for what is no next
    hop; a model with the types above has checked them.
    """

    def __init__(
        self,
        routes: Mapping[str, Sequence[SecretStr]],
        default: Sequence[SecretStr] = (),
        *,
        settings: Settings,
    ) -> None:
        """``settings`` are the server's: the bare postmaster is at its name."""
        self._hops = {pattern: _parsed(urls) for pattern, urls in routes.items()}
        self._default = _parsed(default)
        self._hostname = settings.hostname

    def for_recipient(self, recipient: Address) -> tuple[NextHop, ...]:
        """The next hops for a recipient; none if nothing is said about it."""
        hops = self._hops.get(_mailbox(recipient, self._hostname))
        return hops or self.for_domain(recipient.host or self._hostname) or self._default

    def for_domain(self, domain: str) -> tuple[NextHop, ...]:
        """The next hops that are given for a domain; the default does not count."""
        return next((self._hops[each] for each in domain_patterns(domain) if each in self._hops), ())


def domain_patterns(domain: str) -> list[str]:
    """The patterns that a domain matches, the most exact one first: itself, what it is below, and all."""
    name = _comparable(domain)
    patterns = [name]
    if not name.startswith("["):
        while name := name.partition(".")[2]:
            patterns.append(f".{name}")
    return [*patterns, ANY]


def _parsed(urls: Sequence[SecretStr]) -> tuple[NextHop, ...]:
    return tuple(NextHop.parse(url.get_secret_value()) for url in urls)


def _mailbox(address: Address, hostname: str) -> str:
    return f"{address.user.lower()}@{_comparable(address.host or hostname)}"


def _comparable(host: str) -> str:
    return dns_name(host) or host.lower()
