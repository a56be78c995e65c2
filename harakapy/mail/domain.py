"""Domain names in their two forms: for DNS and the wire, and for people (IDNA 2008, RFC 5891).

Mapped by UTS 46 first, as browsers and mail programs do, so ``Bücher.example`` means ``bücher.example``.
Labels that are ASCII already are not held to the rules for host names: ``_dmarc`` is looked up, and hosts
with an underscore do send mail.
"""

from __future__ import annotations

import re
from typing import Final

import idna

__all__ = ["is_same_domain", "to_ascii", "to_unicode"]

_MAX_DOMAIN: Final = 255  # octets (RFC 5321 4.5.3.1.2); what idna gets stays short, for it can be slow

_ASCII_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


def to_ascii(domain: str) -> str:
    """The name for DNS: lower case, without a final dot, labels outside ASCII as A-labels.

    Raises ValueError if it is no domain name; an address literal is none.
    """
    if len(domain) > _MAX_DOMAIN:
        raise ValueError(f"a domain name has at most {_MAX_DOMAIN} octets")
    try:
        mapped = domain.lower() if domain.isascii() else idna.uts46_remap(domain, std3_rules=False)
        name = ".".join(map(_a_label, mapped.removesuffix(".").split(".")))
    except idna.IDNAError as error:
        raise ValueError(f"{domain!r} is not a domain name: {error}") from error
    if len(name) > _MAX_DOMAIN:
        raise ValueError(f"a domain name has at most {_MAX_DOMAIN} octets")
    return name


def to_unicode(domain: str) -> str:
    """The name for people, without a final dot; an A-label that means nothing stays as it is."""
    return ".".join(map(_u_label, domain.removesuffix(".").split(".")))


def is_same_domain(one: str, other: str) -> bool:
    """Whether two names are the same in DNS; what is none (a literal) is compared without regard to case."""
    return _comparable(one) == _comparable(other)


def _comparable(domain: str) -> str:
    try:
        return to_ascii(domain)
    except ValueError:
        return domain.lower()


def _a_label(label: str) -> str:
    if _ASCII_LABEL.fullmatch(label):
        return label
    if label.isascii():
        raise idna.IDNAError(f"the label {label!r} is malformed")
    return idna.alabel(label).decode("ascii")


def _u_label(label: str) -> str:
    if label[:4].lower() != "xn--" or len(label) > _MAX_DOMAIN:
        return label
    try:
        return idna.ulabel(label.lower())
    except idna.IDNAError:
        return label
