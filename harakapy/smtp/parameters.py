"""ESMTP parameters of MAIL and RCPT as typed values (RFC 5321 4.1.2, and the RFC of each extension).

One table (``_MAIL_RULES``, ``_RCPT_RULES``) says for every parameter which field holds it, which extension
permits it, and how its value is read and written; parsing and encoding both run down that table. What is not
in it is accepted only if an extension of the very same name is offered, so that a plugin which advertises one
finds its parameter in ``extra``.

The file is long because the rules of all parameters, and what they make, stand together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from enum import Enum
from types import MappingProxyType
from typing import Any, ClassVar, Final, Literal, NamedTuple, Self, cast

from msgspec import Struct

from harakapy.smtp.address import NULL_PATH, Address
from harakapy.smtp.dsn import (
    Notify,
    OriginalRecipient,
    Ret,
    decode_xtext,
    encode_xtext,
    parse_envelope_id,
    parse_notify,
)
from harakapy.smtp.errors import LocalProtocolError, RemoteProtocolError
from harakapy.smtp.reply import Reply

__all__ = [
    "NO_MAIL_PARAMETERS",
    "NO_RCPT_PARAMETERS",
    "Body",
    "DeliverBy",
    "MailParameters",
    "Notify",
    "OriginalRecipient",
    "RcptParameters",
    "Ret",
    "decode_xtext",
    "encode_xtext",
]

_MAX_AUTH = 500  # characters as sent (RFC 4954 4)

_WORD = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*+)(?:=([^\x00- =\x7f]++))?")
_NUMBER = re.compile(r"[0-9]{1,20}")  # RFC 1870 4
_HOLD_FOR = re.compile(r"[1-9][0-9]{0,8}")  # RFC 4865 3
_PRIORITY = re.compile(r"-?[1-9]|0")  # RFC 6710 4
_DELIVER_BY = re.compile(r"([+-]?[0-9]{1,9});([NR])(T?)")  # RFC 2852 4
_DATE_TIME = re.compile(  # RFC 3339 5.6
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)


class Body(Enum):
    """What a body may contain (RFC 6152, RFC 3030)."""

    SEVENBIT = "7BIT"
    EIGHTBITMIME = "8BITMIME"
    BINARYMIME = "BINARYMIME"


class DeliverBy(Struct, frozen=True):
    """A time limit on delivery (RFC 2852 4): ``seconds`` from now, negative if it is over.

    ``mode`` is ``"R"`` (then return the message) or ``"N"`` (then tell the sender and go on); ``trace`` asks
    relays for reports. ``str()`` gives the value to send. Raises ValueError for more than nine digits,
    another mode, or R without time left.
    """

    seconds: int
    mode: Literal["N", "R"]
    trace: bool = False

    def __post_init__(self) -> None:
        if self.mode not in ("N", "R") or abs(self.seconds) > 999_999_999:
            raise ValueError("it must be up to nine digits of seconds, and N or R")
        if self.mode == "R" and self.seconds <= 0:
            raise ValueError("R needs time left")

    @classmethod
    def parse(cls, value: str) -> DeliverBy:
        """Parse ``120;R`` or ``-5;NT``. Raises ValueError if it is malformed."""
        found = _require_match(_DELIVER_BY, value.upper())
        return cls(int(found[1]), cast(Literal["N", "R"], found[2]), bool(found[3]))

    def __str__(self) -> str:
        return f"{self.seconds};{self.mode}{'T' if self.trace else ''}"


class _Rule(NamedTuple):
    """How one parameter is treated; without ``read`` it is a flag, which takes no value.

    Readers fold case, and some letters outside ASCII fold into ASCII: only ``has_utf8`` ones are shown such.
    """

    field: str
    extensions: frozenset[str]
    read: Callable[[str], object] | None = None
    write: Callable[[Any], str] = str
    has_utf8: bool = False


def _require_match(pattern: re.Pattern[str], value: str) -> re.Match[str]:
    found = pattern.fullmatch(value)
    if found is None:
        raise ValueError("it is malformed or out of range")
    return found


def _integer(pattern: re.Pattern[str]) -> Callable[[str], int]:
    return lambda value: int(_require_match(pattern, value)[0])


def _choice(kind: type[Enum]) -> Callable[[str], Enum]:
    choices = {member.value: member for member in kind}

    def read(value: str) -> Enum:
        member = choices.get(value.upper())
        if member is None:
            raise ValueError(f"it must be one of {', '.join(choices)}")
        return member

    return read


def _write_choice(member: Enum) -> str:
    return cast(str, member.value)


def _write_notify(wanted: frozenset[Notify]) -> str:
    return ",".join(member.value for member in Notify if member in wanted)


def _read_auth(value: str) -> Address:
    """Read the address; xtext that holds no address says as much as ``<>``: not known (RFC 4954 5)."""
    if len(value) > _MAX_AUTH:
        raise ValueError(f"it is longer than {_MAX_AUTH} characters")
    text = decode_xtext(value)
    try:
        return Address.parse(text)
    except ValueError:
        return NULL_PATH


def _write_auth(address: Address) -> str:
    return "<>" if address.is_null else encode_xtext(address.address)


def _read_time(value: str) -> datetime:
    text = _require_match(_DATE_TIME, value.upper())[0]
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("there is no such time") from None


def _write_time(time: datetime) -> str:
    return time.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


_DSN = frozenset({"DSN"})
_FUTURERELEASE = frozenset({"FUTURERELEASE"})
_EIGHT_BIT = frozenset({"8BITMIME", "BINARYMIME"})  # RFC 3030 has BINARYMIME imply the BODY of RFC 6152

_MAIL_RULES: Final = {
    "SIZE": _Rule("size", frozenset({"SIZE"}), _integer(_NUMBER)),
    "BODY": _Rule("body", _EIGHT_BIT, _choice(Body), _write_choice),
    "SMTPUTF8": _Rule("smtputf8", frozenset({"SMTPUTF8"})),
    "RET": _Rule("ret", _DSN, _choice(Ret), _write_choice),
    "ENVID": _Rule("envid", _DSN, parse_envelope_id, encode_xtext),
    "AUTH": _Rule("auth", frozenset({"AUTH"}), _read_auth, _write_auth),
    "REQUIRETLS": _Rule("requiretls", frozenset({"REQUIRETLS"})),
    "BY": _Rule("by", frozenset({"DELIVERBY"}), DeliverBy.parse),
    "MT-PRIORITY": _Rule("mt_priority", frozenset({"MT-PRIORITY"}), _integer(_PRIORITY)),
    "HOLDFOR": _Rule("hold_for", _FUTURERELEASE, _integer(_HOLD_FOR)),
    "HOLDUNTIL": _Rule("hold_until", _FUTURERELEASE, _read_time, _write_time),
}
_RCPT_RULES: Final = {
    "NOTIFY": _Rule("notify", _DSN, parse_notify, _write_notify),
    "ORCPT": _Rule("orcpt", _DSN, OriginalRecipient.parse, has_utf8=True),
}

# What the core may offer itself permits no parameter but by the tables above: most of these have none, and
# what MAIL takes is not for RCPT.
_OWN_EXTENSIONS: Final = frozenset(
    {"CHUNKING", "ENHANCEDSTATUSCODES", "EXPN", "HELP", "LIMITS", "PIPELINING", "STARTTLS", "VRFY", "XCLIENT"}
).union(*(rule.extensions for rule in (*_MAIL_RULES.values(), *_RCPT_RULES.values())))


class _Parameters(Struct, frozen=True, kw_only=True):
    """What both kinds of parameters share: parsing and encoding by the table, and the view as a mapping.

    It passes for a `Mapping`, but cannot descend from one: that has another metaclass.
    """

    extra: tuple[tuple[str, str | None], ...] = ()
    """Parameters of extensions that the core does not know: upper-case keyword and value as sent."""

    _rules: ClassVar[Mapping[str, _Rule]]

    @classmethod
    def parse(cls, text: str, *, extensions: AbstractSet[str], utf8: bool = False) -> Self:
        """Parse what follows the path: ``SIZE=1000 BODY=8BITMIME``.

        ``extensions`` are the upper-case keywords offered to the client; ``utf8`` allows values outside ASCII
        (RFC 6531 3.3). Raises RemoteProtocolError: 555 5.5.4 for a parameter that is unknown or whose
        extension is not offered, 501 5.5.4 for one that is malformed or given twice.
        """
        values: dict[str, Any] = {}
        extra: dict[str, str | None] = {}
        for word in filter(None, text.split(" ")):
            found = _WORD.fullmatch(word)
            if found is None or not (utf8 or word.isascii()):
                raise _malformed("parameter", "it is not of the form KEYWORD=value")
            keyword, value = found[1].upper(), found[2]
            rule = cls._rules.get(keyword)
            if not _is_permitted(keyword, rule, extensions):
                raise _not_offered(keyword)
            if keyword in extra or (rule is not None and rule.field in values):
                raise _malformed(keyword, "it is given twice")
            if rule is None:
                extra[keyword] = value
            else:
                values[rule.field] = _read(keyword, rule, value)
        cls._check(values, extensions)
        return cls(**values, extra=tuple(extra.items()))

    @classmethod
    def _check(cls, values: Mapping[str, Any], extensions: AbstractSet[str]) -> None:
        """Refuse what is good by itself but not together."""

    @property
    def raw(self) -> Mapping[str, str | None]:
        """The parameters as they are sent: upper-case keyword to encoded value, None where there is no value.

        ``params["SIZE"]``, ``"SIZE" in params`` and ``params.get("SIZE")`` read here, in any case.
        """
        return MappingProxyType(dict(self._encode()))

    def _encode(self) -> Iterator[tuple[str, str | None]]:
        for keyword, rule in self._rules.items():
            value = getattr(self, rule.field)
            if value is not None and value is not False:
                yield keyword, None if rule.read is None else rule.write(value)
        yield from self.extra

    def __getitem__(self, keyword: str) -> str | None:
        return self.raw[keyword.upper()]

    def __contains__(self, keyword: object) -> bool:
        return isinstance(keyword, str) and keyword.upper() in self.raw

    def __iter__(self) -> Iterator[str]:
        return iter(self.raw)

    def __len__(self) -> int:
        return len(self.raw)

    def get(self, keyword: str, default: str | None = None) -> str | None:
        """The value of a parameter as sent; ``default`` if it was not given."""
        return self.raw.get(keyword.upper(), default)

    def keys(self) -> KeysView[str]:
        """The upper-case keywords of what was given."""
        return self.raw.keys()

    def values(self) -> ValuesView[str | None]:
        """The values as sent."""
        return self.raw.values()

    def items(self) -> ItemsView[str, str | None]:
        """Keywords and values, as in `raw`."""
        return self.raw.items()

    def __str__(self) -> str:
        """The parameters as they stand on the line: ``SIZE=1000 SMTPUTF8``.

        Raises LocalProtocolError if one was made that cannot be sent.
        """
        words = [keyword if value is None else f"{keyword}={value}" for keyword, value in self._encode()]
        for word in words:
            if not _WORD.fullmatch(word):
                raise LocalProtocolError(f"this is no parameter that can be sent: {word!r}")
        return " ".join(words)


class MailParameters(_Parameters, frozen=True, kw_only=True):
    """The parameters of MAIL; what was not given is None or False.

    Also a read-only mapping from keyword to the value as sent, see `raw`; false if there are none.
    """

    size: int | None = None
    """Octets the message will have, as the client estimates (RFC 1870)."""
    body: Body | None = None
    smtputf8: bool = False
    """Addresses and header may hold UTF-8 (RFC 6531)."""
    ret: Ret | None = None
    envid: str | None = None
    """The sender's name for this envelope, decoded, printable ASCII (RFC 3461 4.4)."""
    auth: Address | None = None
    """Who submitted the message, says the client (RFC 4954 5); the null path if it does not know."""
    requiretls: bool = False
    """Every hop must be encrypted (RFC 8689)."""
    by: DeliverBy | None = None
    mt_priority: int | None = None
    """-9 to 9, higher is more urgent (RFC 6710)."""
    hold_for: int | None = None
    """Seconds to hold the message back, 1 to 999,999,999 (RFC 4865)."""
    hold_until: datetime | None = None
    """Time until which to hold the message back, aware, in UTC (RFC 4865)."""

    _rules: ClassVar[Mapping[str, _Rule]] = _MAIL_RULES

    @classmethod
    def _check(cls, values: Mapping[str, Any], extensions: AbstractSet[str]) -> None:
        if values.get("body") is Body.BINARYMIME and "BINARYMIME" not in extensions:
            raise _not_offered("BODY=BINARYMIME")
        if "hold_for" in values and "hold_until" in values:
            raise _malformed("HOLDUNTIL", "HOLDFOR is given too")


class RcptParameters(_Parameters, frozen=True, kw_only=True):
    """The parameters of RCPT; what was not given is None. Also a mapping, as `MailParameters` is."""

    notify: frozenset[Notify] | None = None
    orcpt: OriginalRecipient | None = None

    _rules: ClassVar[Mapping[str, _Rule]] = _RCPT_RULES


Mapping.register(_Parameters)

NO_MAIL_PARAMETERS: Final = MailParameters()
"""What most MAIL commands carry."""
NO_RCPT_PARAMETERS: Final = RcptParameters()
"""What most RCPT commands carry."""


def _is_permitted(keyword: str, rule: _Rule | None, extensions: AbstractSet[str]) -> bool:
    if rule is None:
        return keyword in extensions and keyword not in _OWN_EXTENSIONS
    return not rule.extensions.isdisjoint(extensions)


def _read(keyword: str, rule: _Rule, value: str | None) -> object:
    if rule.read is None:
        if value is not None:
            raise _malformed(keyword, "it takes no value")
        return True
    if value is None:
        raise _malformed(keyword, "it needs a value")
    if not (rule.has_utf8 or value.isascii()):
        raise _malformed(keyword, "it is not ASCII")
    try:
        return rule.read(value)
    except ValueError as error:
        raise _malformed(keyword, str(error)) from None


def _malformed(what: str, why: str) -> RemoteProtocolError:
    return RemoteProtocolError(Reply(501, f"bad {what}: {why}", "5.5.4"), f"bad {what}: {why}")


def _not_offered(keyword: str) -> RemoteProtocolError:
    text = "a parameter is not known here, or not offered"
    return RemoteProtocolError(Reply(555, text, "5.5.4"), f"{text}: {keyword}")
