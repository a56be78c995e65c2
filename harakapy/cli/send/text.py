"""What a program writes to sendmail, as a message: lines with CRLF, header and body.

Programs write with the line ends of their system, end with a lone dot or not, forget the header, or the empty
line behind it. Nothing here goes through the content line by line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from harakapy.smtp import LineRules

__all__ = ["HeaderTooLarge", "split_header", "text_blocks", "until_dot"]

_DOT_LINE = re.compile(rb"\n\.\r?\n")
_HELD_BACK: Final = 3  # octets of a block that may be the start of such a line, the LF before it included

_FIELDS = re.compile(
    rb"(?:>?From [^\r\n]*+\r\n)?"  # the first line of an mbox, which some programs pass on
    rb"((?>(?:[!-9;-~]++[ \t]*+:[^\r\n]*+\r\n(?>(?:[ \t][^\r\n]*+\r\n)*))*))"
)
_FIELD_BEGINS = re.compile(rb"[!-9;-~]++[ \t]*+:|[ \t]")


class HeaderTooLarge(Exception):
    """The header is larger than a header may be."""


def until_dot(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The blocks up to a line that has nothing but a dot, or to their end."""
    pieces = _until_dot(chain([b"\n"], blocks))  # as if a line had ended before
    for piece in pieces:
        if piece:
            yield piece[1:]
            break
    yield from pieces


def _until_dot(blocks: Iterable[bytes]) -> Iterator[bytes]:
    held = b""
    for block in blocks:
        held += block
        found = _DOT_LINE.search(held)
        if found is not None:
            yield held[: found.start() + 1]
            return
        yield held[:-_HELD_BACK]
        held = held[-_HELD_BACK:]
    yield held[:-1] if held.endswith(b"\n.") else held


def text_blocks(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same with every line ended by CRLF, also the last one, and without NULs.

    NUL is in no text (RFC 5321 4.5.2 has no place for it), many servers refuse it, and output of a program
    that somebody is to read is not worth losing for one.
    """
    rules = LineRules(normalise=True)
    last = b""
    for block in blocks:
        lines = rules.feed(block.replace(b"\0", b""))
        yield lines
        last = lines or last
    end = rules.finish()
    yield end
    if last and not (last + end).endswith(b"\r\n"):
        yield b"\r\n"


def split_header(blocks: Iterator[bytes], limit: int) -> tuple[bytes, Iterator[bytes]]:
    """The fields at the begin without the empty line behind them, and the body in blocks.

    The body begins at the first line that belongs to no field, if the empty line is missing. Raises
    HeaderTooLarge for more than ``limit`` octets (0: none are too many).
    """
    start = b""
    for block in blocks:
        start += block
        end = _end_of_fields(start)
        if b"\r\n" in start[end:] or 0 < limit < len(start):
            break
    end = _end_of_fields(start)
    if 0 < limit < (len(start) if _FIELD_BEGINS.match(start, end) else end):
        raise HeaderTooLarge(f"the header has more than {limit} octets")
    found = _FIELDS.match(start)
    assert found is not None, "it matches the empty header, too"
    return found[1], _body(start[end:].removeprefix(b"\r\n"), blocks)


def _end_of_fields(start: bytes) -> int:
    found = _FIELDS.match(start)
    return 0 if found is None else found.end()


def _body(first: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from blocks
