"""Replies: a code, an enhanced status code, and lines of text (RFC 5321 4.2, RFC 2034).

A reply is a value. It is cleaned when it is made, because its text often holds what a stranger said: control
characters become ``?``, a newline starts another line of a multi-line reply, empty lines are dropped. It is
encoded once; the bytes are kept, so a reply that is a constant costs one attribute load each time it is sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Self

from harakapy.smtp.errors import RemoteProtocolError

__all__ = ["MAX_REPLY_LINE", "Reply", "ReplyParser", "parse_reply", "unreadable_reply"]

MAX_REPLY_LINE: Final = 512
"""Octets of a reply line that we send, code and CRLF included (RFC 5321 4.5.3.1.5)."""

_MAX_RECEIVED_LINE: Final = 4096  # eight times what RFC 5321 allows; servers that list policy URLs exceed 512
_MAX_RECEIVED_LINES: Final = 128  # no EHLO answer in use comes near
_MAX_RECEIVED_OCTETS: Final = 65536  # one reply; a server that says more than that says nothing
_MAX_KNOWN_LINE: Final = 64  # a longer line has something particular to say, and would not come again

_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?=[ ]|\Z)", re.ASCII)  # RFC 2034 4
_NEWLINE = re.compile(r"\r\n|\r|\n")
_REPLY_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)

# C0, DEL and C1 would reach a terminal or a log of the peer as commands; a tab is only white space.
_NEUTRAL = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0)), "?") | {0x09: " "}


@dataclass(frozen=True, slots=True, init=False)
class Reply:
    """One reply, of one line or several.

    ``code`` is 200 to 599; ``lines`` are the texts without code and enhanced code, cleaned and never empty
    (no lines at all: the code says everything); ``enhanced`` is a string like ``"5.7.1"`` or None.

    RFC 2034 keeps enhanced codes off the greeting, the answer to EHLO and HELO, and 3xx; the caller leaves
    ``enhanced`` out there.

    Raises ValueError if the code is out of range, or the enhanced code is malformed or of another class.
    """

    code: int
    lines: tuple[str, ...]
    enhanced: str | None
    _ascii: bytes | None = field(repr=False, compare=False)
    _utf8: bytes | None = field(repr=False, compare=False)

    def __init__(self, code: int, text: str | Iterable[str] = (), enhanced: str | None = None) -> None:
        if enhanced is not None and not _fits(enhanced, code):
            raise ValueError(
                f"enhanced status code {enhanced!r} is malformed or does not fit reply code {code}"
            )
        self._set(code, _clean(text), enhanced)

    def _set(self, code: int, lines: tuple[str, ...], enhanced: str | None) -> None:
        """Set the fields; ``lines`` are clean, and ``enhanced`` fits."""
        if not 200 <= code <= 599:
            raise ValueError(f"reply code {code} is not between 200 and 599")
        put = object.__setattr__
        put(self, "code", code)
        put(self, "lines", lines)
        put(self, "enhanced", enhanced)
        put(self, "_ascii", None)
        put(self, "_utf8", None)

    @classmethod
    def parse_text(cls, code: int, text: str | Iterable[str]) -> Self:
        """Make a reply from a text that may begin with its enhanced code: ``"5.7.1 not here"``.

        The enhanced code is split off only if its class fits ``code``, and from each line that repeats it.
        """
        lines = _clean(text)
        found = _ENHANCED.match(lines[0]) if lines else None
        enhanced = found[0] if found is not None and int(found[0][0]) == code // 100 else None
        if enhanced is not None:
            lines = tuple(filter(None, [_without(enhanced, line) for line in lines]))
        reply = cls.__new__(cls)
        reply._set(code, lines, enhanced)
        return reply

    @property
    def text(self) -> str:
        """The lines joined by newlines."""
        return "\n".join(self.lines)

    @property
    def is_positive(self) -> bool:
        """2xx: done."""
        return self.code < 300

    @property
    def is_intermediate(self) -> bool:
        """3xx: go on, the command needs more."""
        return 300 <= self.code < 400

    @property
    def is_transient(self) -> bool:
        """4xx: not now."""
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        """5xx: no."""
        return self.code >= 500

    def encode(self, *, utf8: bool = False) -> bytes:
        """The bytes to send, final CRLF included.

        Characters outside ASCII are escaped (``\\xe4``) unless ``utf8``: a client must have asked for
        them (RFC 6531 3.7.4.2). Lines over 512 octets are wrapped.
        """
        wire = self._utf8 if utf8 else self._ascii
        if wire is None:
            wire = self._encode("utf-8" if utf8 else "ascii")
            object.__setattr__(self, "_utf8" if utf8 else "_ascii", wire)
        return wire

    def _encode(self, charset: str) -> bytes:
        if len(self.lines) == 1:  # nearly always, and then there is mostly nothing to escape or to wrap
            codes = f"{self.code} {self.enhanced}" if self.enhanced else str(self.code)
            line = f"{codes} {self.lines[0]}\r\n"
            if line.isascii() and len(line) <= MAX_REPLY_LINE:
                return line.encode("ascii")
        enhanced = f"{self.enhanced} ".encode() if self.enhanced else b""
        room = MAX_REPLY_LINE - len(b"250 \r\n") - len(enhanced)
        encoded = (line.encode(charset, "backslashreplace") for line in self.lines)
        parts = [enhanced + part for line in encoded for part in _wrap(line, room)] or [enhanced.rstrip()]
        code = str(self.code).encode()
        lines = [code + b"-" + part for part in parts[:-1]]
        lines.append(code + b" " + parts[-1])
        return b"\r\n".join(lines) + b"\r\n"

    def __str__(self) -> str:
        """Code, enhanced code and text on one line, as a log shows it."""
        parts = (str(self.code), self.enhanced or "", *self.lines)
        return " ".join(part for part in parts if part)


@lru_cache(maxsize=256)  # there are no more in use
def _fits(enhanced: str, code: int) -> bool:
    return _ENHANCED.fullmatch(enhanced) is not None and int(enhanced[0]) == code // 100


def _without(enhanced: str, line: str) -> str:
    found = _ENHANCED.match(line)
    return line[found.end() + 1 :] if found and found[0] == enhanced else line


def _clean(text: str | Iterable[str]) -> tuple[str, ...]:
    """The lines of a reply: cut at newlines, without control characters, trailing spaces and empty lines."""
    if isinstance(text, str):
        return tuple(_clean_lines(text))
    return tuple(line for each in text for line in _clean_lines(each))


def _clean_lines(text: str) -> Iterable[str]:
    if text.isascii() and text.isprintable():  # nearly always
        line = text.rstrip(" ")
        return (line,) if line else ()
    lines = (line.translate(_NEUTRAL).rstrip(" ") for line in _NEWLINE.split(text))
    return filter(None, lines)


def _wrap(line: bytes, room: int) -> Iterator[bytes]:
    """Cut a line at spaces into parts of at most ``room`` octets; a longer word is cut anywhere."""
    while len(line) > room:
        cut = line.rfind(b" ", 1, room + 1)
        if cut == -1:
            cut = room
            while line[cut] & 0xC0 == 0x80:  # never inside a UTF-8 character
                cut -= 1
        part, line = line[:cut].rstrip(b" "), line[cut:].lstrip(b" ")
        if part:
            yield part
    yield line


class ReplyParser:
    """Takes replies out of what a server sends, at any split of the bytes.

    Everything is bounded: 4096 octets a line, 128 lines and 64 KiB a reply. A bare LF ends a line too:
    nothing but the next line hangs on it here, and such servers exist.
    """

    __slots__ = ("_code", "_data", "_lines", "_octets", "_position", "_searched")

    def __init__(self) -> None:
        self._data = b""
        self._position = 0  # in ``_data``: everything before it was taken
        self._searched = 0  # no newline before it; a reply that comes byte by byte is not searched again
        self._code = 0
        self._lines: list[str] = []
        self._octets = 0

    @property
    def has_buffered_input(self) -> bool:
        """Whether octets wait that no reply has taken, or a reply has begun and not ended."""
        return self._position < len(self._data) or bool(self._lines)

    def receive_data(self, data: bytes) -> None:
        """Add octets from the wire."""
        rest = self._data[self._position :]
        self._data = rest + data if rest else data
        self._searched -= self._position
        self._position = 0

    def next_reply(self) -> Reply | None:
        """The next complete reply, or None if more octets are needed.

        Raises RemoteProtocolError if what came is no reply, or an endless one; the session is then out of
        step and must be closed. Its ``reply`` is a 451: an unreadable verdict means "later".
        """
        while (line := self._next_line()) is not None:
            if len(line) <= _MAX_KNOWN_LINE and not self._lines and line[3:4] == b" ":
                return _known_reply(line)
            self._octets += len(line)
            if len(self._lines) >= _MAX_RECEIVED_LINES or self._octets > _MAX_RECEIVED_OCTETS:
                raise unreadable_reply("reply too long")
            if self._add_line(line):
                reply = Reply.parse_text(self._code, self._lines)
                self._code, self._lines, self._octets = 0, [], 0
                return reply
        return None

    def _next_line(self) -> bytes | None:
        data, start = self._data, self._position
        end = data.find(b"\n", self._searched)
        if (end if end >= 0 else len(data)) - start > _MAX_RECEIVED_LINE:
            raise unreadable_reply("reply line too long")
        if end == -1:
            self._searched = len(data)
            if start == len(data):
                self._data, self._position, self._searched = b"", 0, 0  # an idle session holds none
            return None
        self._position = self._searched = end + 1
        return data[start:end].removesuffix(b"\r")

    def _add_line(self, line: bytes) -> bool:
        """Take one line in; True if it was the last of its reply."""
        code, text, is_last = _read_line(line)
        if self._code not in (0, code):
            raise unreadable_reply(f"reply code changed from {self._code} to {code}")
        self._code = code
        self._lines.append(text)
        return is_last


def _read_line(line: bytes) -> tuple[int, str, bool]:
    """Code and text of a line, and whether it is the last of its reply."""
    found = _REPLY_LINE.fullmatch(line)
    if found is None:
        raise unreadable_reply(f"not a reply: {line[:80]!r}")
    return int(found[1]), (found[3] or b"").decode("utf-8", "backslashreplace"), found[2] != b"-"


@lru_cache(maxsize=512)
def _known_reply(line: bytes) -> Reply:
    """The reply of one line that is likely to come again: a server says nearly always the same."""
    code, text, _ = _read_line(line)
    return Reply.parse_text(code, text)


def parse_reply(data: bytes) -> Reply:
    """Parse exactly one whole reply.

    Raises RemoteProtocolError if ``data`` is not that.
    """
    parser = ReplyParser()
    parser.receive_data(data)
    reply = parser.next_reply()
    if reply is None or parser.has_buffered_input:
        raise unreadable_reply("not exactly one reply")
    return reply


def unreadable_reply(reason: str) -> RemoteProtocolError:
    """The error of a server that is out of step: its session is over, and the verdict is "later"."""
    return RemoteProtocolError(Reply(451, "the server gave no readable answer", "4.5.0"), reason, closes=True)
