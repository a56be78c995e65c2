"""Mail addresses as the envelope carries them (RFC 5321 4.1.2, RFC 6531 3.3).

Two ways lead in. Nearly every path on the wire is an ASCII dot-atom at a plain domain: ``PLAIN_MAILBOX``
knows those, command parsing builds its one expression from it, and ``plain_address`` makes the value without
looking at it again. Everything else (quoted local parts, source routes, literals, A-labels, UTF-8, long
domains) takes the slow road, which says what is wrong. Both give the same value for the same path.

More liberal than RFC 5321: an underscore in a domain (such hosts exist, and Postfix takes them) and one dot
at its end. Dots in a row outside quotes are refused, and here a path without angle brackets, too.

The file is long because it has the whole grammar of a path, which is one.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Final, final

from harakapy.smtp.errors import RemoteProtocolError
from harakapy.smtp.reply import Reply

__all__ = [
    "MAX_DOMAIN",
    "MAX_LABEL",
    "MAX_LOCAL_PART",
    "MAX_PATH",
    "NULL_PATH",
    "PLAIN_MAILBOX",
    "UNSAFE_CHARACTERS",
    "Address",
    "parse_forward_path",
    "parse_reverse_path",
    "plain_address",
]

MAX_LOCAL_PART: Final = 64
"""Octets of a local part as sent, quotes included (RFC 5321 4.5.3.1.1)."""
MAX_DOMAIN: Final = 255
"""Octets of a domain (RFC 5321 4.5.3.1.2)."""
MAX_PATH: Final = 256
"""Octets of a path with its brackets and source route (RFC 5321 4.5.3.1.3)."""
MAX_LABEL: Final = 63
"""Octets of one label of a domain, in its A-label form (RFC 1035 2.3.4)."""

PLAIN_MAILBOX: Final = (
    rb"([A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]++(?>(?:\.[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]++)*))"
    rb"@([A-Za-z0-9_]++(?>(?:[.-][A-Za-z0-9_]++)*))"
)
"""An expression for the common mailbox, with the groups that `plain_address` takes.

Two hyphens in a row are left to the slow road: they may announce an A-label."""

UNSAFE_CHARACTERS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""What no command may contain: C0, DEL and C1 controls, Unicode's line ends, and surrogates."""

# Sets that take all beyond ASCII say which ASCII they do not take: written the other way round, each of them
# needs 9 ms to be compiled, which is when the server starts.
_ATEXT = r'[^\x00- "(),.:;<>@\[\\\]\x7f]'
_DOT_STRING = re.compile(rf"{_ATEXT}++(?>(?:\.{_ATEXT}++)*)")
_QUOTED_STRING = re.compile(r'"(?>(?:[^\x00-\x1f"\\\x7f]|\\[ -~])*)"')
_QUOTED_PAIR = re.compile(r"\\(.)")
_NEEDS_QUOTED_PAIR = re.compile(r'(["\\])')
_LETTER = r"[^\x00-/:-^`{-\x7f]"  # a lower-case one, a digit, an underscore, and all beyond ASCII
_LABEL = re.compile(rf"{_LETTER}(?:[^\x00-,./:-^`{{-\x7f]*{_LETTER})?")  # with hyphens inside
_SOURCE_ROUTE = re.compile(r"@([^:]*+):")
_NOT_IN_DOMAINS = "the domain has characters that do not occur in domains"  # RFC 5891 4.1, RFC 5892 2.2
_JOINERS = {0x200C: None, 0x200D: None}  # not printable, yet Persian and Indic labels need them (RFC 5892 A)


@final
@dataclass(frozen=True, slots=True, init=False, repr=False)
class Address:
    """An envelope address: a mailbox, the null reverse-path, or the bare ``postmaster``.

    ``user`` is the local part without quotes; ``host`` the lower-case domain without a final dot, or a
    literal (``[127.0.0.1]``, ``[IPv6:::1]``), and ``""`` for the null path and ``postmaster``; ``original``
    what stood between the angle brackets, without a source route. Equal if user and host are equal; the
    case of the local part counts (RFC 5321 2.4).

    ``Address(user, host)`` takes the parts by value: the local part unquoted, the host in any case.
    Raises ValueError if no valid path can be made of them.
    """

    user: str
    host: str
    original: str = field(compare=False)

    def __init__(self, user: str, host: str) -> None:
        if host:
            if UNSAFE_CHARACTERS.search(user):
                raise ValueError("the local part has control characters")
            host = _parse_host(host)
            original = f"{_quote(user)}@{host}"
            _check_lengths(_quote(user), f"<{original}>")
        elif user.lower() in ("", "postmaster"):
            original, user = user, user.lower()
        else:
            raise ValueError("the address has no domain")
        put = object.__setattr__
        put(self, "user", user)
        put(self, "host", host)
        put(self, "original", original)

    @staticmethod
    def parse(text: str | bytes, *, utf8: bool = True) -> Address:
        """Parse ``user@host`` or ``<user@host>``, also ``<>`` and ``postmaster``.

        Raises ValueError if it is none of these, or not ASCII although ``utf8`` is false.
        """
        if isinstance(text, bytes):
            text = _decode(text)
        if not (utf8 or text.isascii()):
            raise ValueError("the address is not ASCII")
        if text.lower() in ("postmaster", "<postmaster>"):
            return _make("postmaster", "", text.strip("<>"))
        if text.startswith("<"):
            return _parse_path(text)
        return _parse_mailbox(text)

    @property
    def is_null(self) -> bool:
        """Whether this is the null reverse-path ``<>`` of reports and bounces."""
        return not (self.user or self.host)

    @property
    def is_utf8(self) -> bool:
        """Whether user or host has characters outside ASCII, so that only SMTPUTF8 can carry it."""
        return not (self.user.isascii() and self.host.isascii())

    @property
    def address(self) -> str:
        """``user@host``, the local part in quotes if it needs them; ``""`` for the null path."""
        return f"{_quote(self.user)}@{self.host}" if self.host else self.user

    @property
    def path(self) -> str:
        """The path to send, in angle brackets, the local part quoted exactly as it was received."""
        return f"<{self.original.removesuffix('.')}>"

    def __str__(self) -> str:
        return self.address

    def __repr__(self) -> str:
        return f"Address({self.user!r}, {self.host!r})"


def parse_reverse_path(raw: bytes, *, utf8: bool) -> Address:
    """Parse the path of MAIL FROM, angle brackets included; a source route is checked and dropped.

    Raises RemoteProtocolError: 501 5.1.7 if it is malformed, 553 5.6.7 if it is not ASCII and ``utf8`` (the
    command asked for SMTPUTF8) is false.
    """
    try:
        text = _decode(raw)
        if not (utf8 or text.isascii()):
            raise _not_ascii()
        return _parse_path(text)
    except ValueError as error:
        raise _refused("bad sender address", error, "5.1.7") from None


def parse_forward_path(raw: bytes, *, utf8: bool) -> Address:
    """Parse the path of RCPT TO, angle brackets included: a mailbox or the bare ``<postmaster>``.

    Raises RemoteProtocolError: 501 5.1.3 if it is malformed or null, 553 5.6.7 if it is not ASCII and
    ``utf8`` (the transaction began with SMTPUTF8) is false.
    """
    try:
        text = _decode(raw)
        if not (utf8 or text.isascii()):
            raise _not_ascii()
        if text.lower() == "<postmaster>":
            return _make("postmaster", "", text[1:-1])
        if text == "<>":
            raise ValueError("a recipient is never null")
        return _parse_path(text)
    except ValueError as error:
        raise _refused("bad recipient address", error, "5.1.3") from None


def plain_address(user: bytes, host: bytes) -> Address | None:
    """The address of the groups of `PLAIN_MAILBOX`, or None if its lengths need the slow road."""
    if len(user) > MAX_LOCAL_PART or len(host) > MAX_LABEL:
        return None
    local, domain = user.decode("ascii"), host.decode("ascii")
    return _make(local, domain.lower(), f"{local}@{domain}")


def _make(user: str, host: str, original: str) -> Address:
    """An address of parts that are known to be good."""
    address = object.__new__(Address)
    put = object.__setattr__
    put(address, "user", user)
    put(address, "host", host)
    put(address, "original", original)
    return address


NULL_PATH: Final = _make("", "", "")
"""The null reverse-path ``<>``."""


def _decode(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ValueError("invalid UTF-8") from None


def _parse_path(text: str) -> Address:
    if not (text.startswith("<") and text.endswith(">")):
        raise ValueError("the address must stand in angle brackets")
    if text == "<>":
        return NULL_PATH
    mailbox = text[1:-1]
    if route := _SOURCE_ROUTE.match(mailbox):
        _check_source_route(route[1])
        mailbox = mailbox[route.end() :]
    return _parse_mailbox(mailbox, path=text)


def _check_source_route(route: str) -> None:
    """Check the ``x,@y`` of ``@x,@y:``: it is never used, yet what is no route must not pass as one."""
    for domain in route.split(",@"):
        if domain.startswith("["):
            raise ValueError("the source route is malformed")
        _parse_host(domain)


def _parse_mailbox(text: str, *, path: str = "") -> Address:
    if UNSAFE_CHARACTERS.search(text):
        raise ValueError("the address has control characters")
    local = (_QUOTED_STRING if text.startswith('"') else _DOT_STRING).match(text)
    if local is None:
        raise ValueError("the local part is malformed")
    if not text.startswith("@", local.end()):
        raise ValueError("the local part is malformed, or the domain is missing")
    _check_lengths(local[0], path or f"<{text}>")
    return _make(_unquote(local[0]), _parse_host(text[local.end() + 1 :]), text)


def _check_lengths(local_part: str, path: str) -> None:
    if len(local_part.encode()) > MAX_LOCAL_PART:
        raise ValueError(f"the local part is longer than {MAX_LOCAL_PART} octets")
    if len(path.encode()) > MAX_PATH:
        raise ValueError(f"the path is longer than {MAX_PATH} octets")


def _quote(user: str) -> str:
    if user.isalnum() or _DOT_STRING.fullmatch(user):
        return user
    return '"' + _NEEDS_QUOTED_PAIR.sub(r"\\\1", user) + '"'


def _unquote(local_part: str) -> str:
    return _QUOTED_PAIR.sub(r"\1", local_part[1:-1]) if local_part.startswith('"') else local_part


def _parse_host(text: str) -> str:
    if text.startswith("["):
        return _parse_literal(text)
    if len(text.encode("utf-8", "surrogatepass")) > MAX_DOMAIN:
        raise ValueError(f"the domain is longer than {MAX_DOMAIN} octets")
    if not text.isascii() and not unicodedata.is_normalized("NFKC", text):
        raise ValueError(_NOT_IN_DOMAINS)
    host = unicodedata.normalize("NFC", text.removesuffix(".").lower())
    for label in host.split("."):
        _check_label(label)
    return host


def _check_label(label: str) -> None:
    if not _LABEL.fullmatch(label):
        raise ValueError("the domain is malformed")
    if label.startswith("xn--"):
        _check_a_label(label)
    elif not label.isascii():
        _check_u_label(label)
        label = "xn--" + label.encode("punycode").decode("ascii")
    if len(label) > MAX_LABEL:
        raise ValueError(f"the domain has a label longer than {MAX_LABEL} octets")


def _check_a_label(label: str) -> None:
    """Refuse what is no punycode, punycode of surrogates, or another spelling of the same (``xn---ca``).

    Not by `encodings.idna`: it knows IDNA 2003 only, and refuses labels like ``xn--strae-oqa``.
    """
    try:
        unicode = label[4:].encode("ascii").decode("punycode")
        unicode.encode()
        is_canonical = unicode.encode("punycode").decode("ascii") == label[4:]
    except UnicodeError:
        is_canonical = False
    if not is_canonical:
        raise ValueError("the domain has a malformed A-label")


def _check_u_label(label: str) -> None:
    """Refuse what cannot be a label, or is another dot to some readers; the rest is left to IDNA proper."""
    first = unicodedata.category(label[0])[0]
    if first not in "LNS" or "\u3002" in label or not label.translate(_JOINERS).isprintable():
        raise ValueError(_NOT_IN_DOMAINS)


def _parse_literal(text: str) -> str:
    inner = text[1:-1]
    try:
        if not text.endswith("]") or "%" in inner:  # no zones: they mean nothing to another host
            raise ValueError
        if inner[:5].lower() == "ipv6:":
            return f"[IPv6:{ipaddress.IPv6Address(inner[5:])}]"
        return f"[{ipaddress.IPv4Address(inner)}]"
    except ValueError:
        raise ValueError("the address literal is malformed") from None


def _refused(what: str, why: ValueError, enhanced: str) -> RemoteProtocolError:
    return RemoteProtocolError(Reply(501, f"{what}: {why}", enhanced), f"{what}: {why}")


def _not_ascii() -> RemoteProtocolError:
    text = "the address is not ASCII and SMTPUTF8 was not asked for"
    return RemoteProtocolError(Reply(553, text, "5.6.7"), text)
