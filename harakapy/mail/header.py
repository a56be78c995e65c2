"""The header of a message, kept as the bytes that were received (RFC 5322 2.2).

A signature depends on every octet of a field, so a field that nobody changed leaves as it came: folding, odd
spacing and malformed lines included. The bytes are cut into raw fields once, at the CRLFs that no white space
follows; a name or a value is only looked at when somebody asks for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from harakapy.mail.field import HeaderField, check_formatted, field_key, format_field

if TYPE_CHECKING:
    from harakapy.mail.mailbox import Mailbox

__all__ = ["Header", "HeaderField"]

_FIELD_END = re.compile(rb"\r\n(?![ \t])")
_BARE_OR_NUL = re.compile(rb"\x00|(?<!\r)\n|\r(?!\n)")
_CLEAN_NAME = re.compile(rb"[!-9;-~]+:")

_GUARD: Final = b"X-Malformed-Line:\r\n"


class Header:
    """The fields of a message, first to last.

    Names are compared without regard to case. Values are given as text: unfolded, UTF-8 decoded, control
    characters and other octets written out (``\\x1b``), so they can go into logs, replies and new fields.

    Writing methods raise ValueError if the name is no field name, or the value has a line end or another
    control character; the header is then unchanged.
    """

    __slots__ = ("_is_modified", "_keys", "_raws", "_received")

    def __init__(self, raw: bytes = b"") -> None:
        """Cut ``raw``: the fields without the empty line that ends the header."""
        self._received = raw
        self._is_modified = False
        self._raws = _cut(raw)
        self._keys = [field_key(field) for field in self._raws]

    @property
    def is_modified(self) -> bool:
        """Whether any field was added, removed or replaced."""
        return self._is_modified

    @property
    def defects(self) -> int:
        """How many fields were malformed when the header was made; they are kept as they are.

        They have no colon, begin the header with white space, have something else than printable ASCII in
        their name or space behind it, or a NUL, a bare CR or a bare LF anywhere.
        """
        suspects = _BARE_OR_NUL.search(self._received) is not None
        return sum(
            _CLEAN_NAME.match(raw) is None or (suspects and _BARE_OR_NUL.search(raw) is not None)
            for raw in _cut(self._received)
        )

    def get(self, name: str) -> str | None:
        """The value of the first field of this name, or None; encoded words stay encoded."""
        try:
            at = self._keys.index(_key(name))
        except ValueError:
            return None
        return HeaderField.from_raw(self._raws[at]).text

    def get_all(self, name: str) -> tuple[str, ...]:
        """The values of all fields of this name, in their order."""
        return tuple(field.text for field in self._fields(name))

    def get_decoded(self, name: str) -> str | None:
        """As ``get``, with encoded words decoded (RFC 2047): for people, not for signatures."""
        value = next(self._fields(name), None)
        return None if value is None else value.decoded

    def get_addresses(self, name: str) -> tuple[Mailbox, ...]:
        """The mailboxes in all fields of this name, in their order.

        Never fails: what is no mailbox is there with ``address`` None.
        """
        from harakapy.mail.mailbox import parse_mailboxes  # few servers ask who a message says it is from

        return tuple(mailbox for value in self.get_all(name) for mailbox in parse_mailboxes(value))

    def add(self, name: str, value: str, *, utf8: bool = False) -> None:
        """Put a field at the end of the header.

        It is folded; text outside ASCII is encoded (RFC 2047) unless ``utf8``, which is for messages received
        with SMTPUTF8 (RFC 6532).
        """
        raw = format_field(name, value, utf8=utf8)
        self._is_modified = True
        if self._raws and not self._raws[-1].endswith(b"\r\n"):
            self._raws[-1] += b"\r\n"  # the message ended in the middle of this line
        self._raws.append(raw)
        self._keys.append(field_key(raw))

    def prepend(self, name: str, value: str, *, utf8: bool = False) -> None:
        """Put a field before all others, where trace fields stand; as ``add`` otherwise."""
        self.prepend_raw(format_field(name, value, utf8=utf8))

    def prepend_raw(self, fields: bytes) -> None:
        """Put fields that are already formatted before all others.

        Raises ValueError if they are not: each begins with its name and ends with CRLF.
        """
        check_formatted(fields)
        self._is_modified = True
        if self._raws and self._raws[0][:1] in (b" ", b"\t"):
            # Its sender could write into our field with it. A name of its own keeps both apart, and leaves
            # what others signed further down where it is, which an empty line would not.
            self._raws[0] = _GUARD + self._raws[0]
            self._keys[0] = field_key(_GUARD)
        new = _cut(fields)
        self._raws[:0] = new
        self._keys[:0] = [field_key(raw) for raw in new]

    def remove(self, name: str) -> int:
        """Take out all fields of this name; gives how many there were."""
        return self._keep_of(name, 0)

    def replace(self, name: str, value: str, *, utf8: bool = False) -> None:
        """Make this the only field of its name, in the place of the first one, or else at the end."""
        key = _key(name)
        if key not in self._keys:
            self.add(name, value, utf8=utf8)
            return
        raw = format_field(name, value, utf8=utf8)
        self._keep_of(name, 1)
        self._raws[self._keys.index(key)] = raw

    def to_bytes(self) -> bytes:
        """The fields without the empty line behind them: if nothing was changed, the bytes received."""
        return b"".join(self._raws) if self._is_modified else self._received

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _key(name) in self._keys

    def __iter__(self) -> Iterator[HeaderField]:
        return map(HeaderField.from_raw, tuple(self._raws))

    def __len__(self) -> int:
        return len(self._raws)

    def __repr__(self) -> str:
        return f"<Header of {len(self)} fields>"

    def _fields(self, name: str) -> Iterator[HeaderField]:
        key = _key(name)
        pairs = zip(self._keys, self._raws, strict=True)
        return (HeaderField.from_raw(raw) for own, raw in pairs if own == key)

    def _keep_of(self, name: str, kept: int) -> int:
        """Take out the fields of this name but the first ``kept``; gives how many went."""
        key = _key(name)
        gone = [at for at, own in enumerate(self._keys) if own == key][kept:]
        if gone:
            self._is_modified = True
            dropped = set(gone)
            self._raws = [raw for at, raw in enumerate(self._raws) if at not in dropped]
            self._keys = [own for at, own in enumerate(self._keys) if at not in dropped]
        return len(gone)


def _cut(raw: bytes) -> list[bytes]:
    """Raw fields, in order; joined they are ``raw``."""
    ends = [found.end() for found in _FIELD_END.finditer(raw)]
    if not ends or ends[-1] != len(raw):
        ends.append(len(raw))
    starts = [0, *ends]
    return [raw[start:end] for start, end in zip(starts, ends, strict=False) if start != end]


def _key(name: str) -> bytes:
    # Lower case of bytes, not of text: the Kelvin sign in lower case is a k. An empty name finds nothing,
    # malformed lines have none.
    return name.encode("utf-8", "backslashreplace").lower() or b":"
