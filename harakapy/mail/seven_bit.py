"""Content with 8-bit or binary parts, rewritten for a host that takes neither (RFC 6152 3, RFC 3030 3).

Theory of operation. Content is cut along its MIME structure by positions; nothing is decoded. What is fit to
be sent already is copied as it stands, whole multiparts at a time. A leaf that is not gets a
Content-Transfer-Encoding: quoted-printable if it is mostly readable text, else base64. Multiparts and
messages must not be encoded themselves (RFC 2045 6.4), so their parts are, and their labels say 7bit. Large
content is read from a file in blocks and written to one, so that memory stays bounded, whatever is attached.

What cannot be had without damage is refused rather than tried: a header with octets above 127 (it needs
SMTPUTF8), a signed multipart (the signature covers the octets of its parts), a part that is encoded already
and yet has such octets, and structure that cannot be followed. A DKIM signature of the message is broken by
any conversion; its sender could have avoided that (RFC 6376 5.3).
"""

from __future__ import annotations

import binascii
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from harakapy.mail.content import Content
from harakapy.mail.content_type import ContentType, transfer_encoding
from harakapy.mail.header import Header
from harakapy.mail.octets import BLOCK_SIZE, MAX_FOUND, Octets
from harakapy.mail.spool import ContentWriter
from harakapy.smtp.parameters import Body

__all__ = ["NotConvertible", "has_eight_bit", "seven_bit"]

MAX_DEPTH: Final = 50
"""Parts within parts that are followed; each level is read once more. Mail from people stays below ten,
Postfix stops at 100 (mime_nesting_limit)."""

MAX_PARTS: Final = 10_000
"""Parts of one message that are looked at, each for some 20 us: so nobody can buy minutes of ours with a
message of boundaries. Picked; digests of a mailing list have a hundred."""

_MAX_LINE: Final = 998  # octets without the CRLF (RFC 5322 2.1.1)
_MAX_BOUNDARY: Final = MAX_FOUND - 40  # RFC 2046 5.1.1 has 70; some senders exceed it
_SPOOL_AFTER: Final = 262144  # as the default for received content

_IN_ONE_PIECE: Final = 65536  # octets that are copied sooner than an iterator over them is set up

_IDENTITY: Final = frozenset({"7bit", "8bit", "binary"})
_EMPTY_LINE = re.compile(rb"\r\n()\r\n")
_NUL_OR_BARE = re.compile(rb"\x00|\r(?!\n)|(?<!\r)\n")
_WRITTEN_AS_THEMSELVES = bytes([9, 10, 13, *range(32, 61), *range(62, 127)])  # in quoted-printable


class NotConvertible(ValueError):
    """Content that cannot be sent without 8-bit octets; the text says why, in words fit for a report."""


def has_eight_bit(content: Content) -> bool:
    """Whether an octet above 127 is in what leaves: a host without 8BITMIME gets `seven_bit` of it then."""
    if content.size <= _IN_ONE_PIECE and not content.is_spooled:
        return not content.to_bytes().isascii()
    return not all(map(bytes.isascii, content.blocks()))


def seven_bit(
    content: Content,
    *,
    body: Body = Body.EIGHTBITMIME,
    directory: Path | None = None,
    spool_after: int = _SPOOL_AFTER,
) -> Content:
    """The same message without octets above 127, to be closed by the caller; what is given stays as it is.

    ``body`` says what it may hold now: of BINARYMIME content, NULs, bare CRs and LFs, and lines over 998
    octets are encoded as well. Blocking: of content that ``is_spooled`` a copy is made and read in
    ``directory`` (that of the system for temporary files), where the result goes too if it has more than
    ``spool_after`` octets.

    Raises NotConvertible; OSError if the disk does not take or give it.
    """
    directory = directory or Path(tempfile.gettempdir())
    writer = ContentWriter(spool_after, directory)
    with ExitStack() as stack:
        source = stack.enter_context(Octets(content, directory))
        stack.callback(writer.discard)  # nothing is left to discard when it went well
        converter = _Converter(source, writer, is_binary=body is Body.BINARYMIME)
        converter.message(0, source.size, depth=0)
        return writer.finish()


class _Converter:
    """Writes one message anew, part by part."""

    def __init__(self, source: Octets, writer: ContentWriter, *, is_binary: bool) -> None:
        self._source = source
        self._writer = writer
        self._is_binary = is_binary
        self._parts = 0

    def message(self, start: int, stop: int, *, depth: int) -> None:
        """A whole message, with the fields added that a converted one needs."""
        self._entity(start, stop, depth, default="text/plain", is_message=True)

    def _entity(self, start: int, stop: int, depth: int, *, default: str, is_message: bool) -> None:
        """A header with its body: a message or a part of one."""
        self._parts += 1
        if depth > MAX_DEPTH or self._parts > MAX_PARTS:
            raise NotConvertible("it has too many parts, or they are nested too deep")
        end, at = self._end_of_header(start, stop)
        raw = self._source.read(start, end)
        if not raw.isascii():
            raise NotConvertible("a header in it has octets above 127")
        header = Header(raw)
        is_clean = self._is_clean(at, stop)
        kind = ContentType.of(header, default)
        convert = self._converter(kind, transfer_encoding(header), is_clean=is_clean)
        if convert is None:
            self._relabel(header)
            self._put_header(header, end, at)
            self._copy(at, stop)
            return
        if is_message and "MIME-Version" not in header:
            header.add("MIME-Version", "1.0")
        convert(header, kind, (end, at, stop), depth)

    def _converter(
        self, kind: ContentType, encoding: str, *, is_clean: bool
    ) -> Callable[[Header, ContentType, tuple[int, int, int], int], None] | None:
        """What converts such a body; None if it can stay."""
        if is_clean:
            return None
        if encoding not in _IDENTITY:
            raise NotConvertible(f"a part of it is encoded ({encoding[:40]}) and yet has octets above 127")
        if kind.maintype == "multipart":
            if kind.subtype == "signed":
                raise NotConvertible("it is signed, and converting it would break the signature")
            if not 0 < len(kind.boundary) <= _MAX_BOUNDARY:
                raise NotConvertible("the boundary between its parts is missing or too long")
            return self._multipart
        if kind.maintype == "message" and not kind.subtype.startswith("global"):  # RFC 6532 3.5 lets these
            if kind.subtype != "rfc822":
                raise NotConvertible(f"a part of it ({kind}) must not be encoded")
            return self._enclosed
        return self._leaf

    def _multipart(self, header: Header, kind: ContentType, at: tuple[int, int, int], depth: int) -> None:
        end, start, stop = at
        self._relabel(header)
        self._put_header(header, end, start)
        default = "message/rfc822" if kind.subtype == "digest" else "text/plain"  # RFC 2046 5.1.5
        begun = -1
        for found, after, is_last in self._source.find(_delimiter(kind.boundary), start - 2, stop):
            if begun < 0:
                self._copy_unread(start, found)
            else:
                self._part(begun, found, depth, default)
            self._copy(max(found, start), after)
            begun = after
            if is_last:
                self._copy_unread(after, stop)
                return
        if begun < 0:
            raise NotConvertible("the boundary between its parts is not found in it")
        self._part(begun, stop, depth, default)

    def _part(self, start: int, stop: int, depth: int, default: str) -> None:
        """What stands between two delimiters, from the CRLF behind the first; nothing, if they share it."""
        self._copy(start, min(start + 2, stop))
        if start + 2 <= stop:
            self._entity(start + 2, stop, depth + 1, default=default, is_message=False)

    def _enclosed(self, header: Header, kind: ContentType, at: tuple[int, int, int], depth: int) -> None:
        end, start, stop = at
        self._relabel(header)
        self._put_header(header, end, start)
        self.message(start, stop, depth=depth + 1)

    def _leaf(self, header: Header, kind: ContentType, at: tuple[int, int, int], depth: int) -> None:
        end, start, stop = at
        is_quoted = kind.maintype == "text" and self._is_mostly_readable(start, stop)
        _label(header, "quoted-printable" if is_quoted else "base64")
        if "Content-Type" not in header:
            header.add("Content-Type", f"{kind}; charset=unknown-8bit")  # RFC 1428 3
        self._put_header(header, end, start)
        for block in (self._quoted if is_quoted else self._base64)(start, stop):
            self._write(block)

    def _quoted(self, start: int, stop: int) -> Iterator[bytes]:
        for block in self._source.blocks(start, stop):
            start += len(block)
            # A line end in front shows the encoder which kind it is to write.
            encoded = binascii.b2a_qp(b"\r\n" + block)[2:]
            yield encoded if start == stop or block.endswith(b"\r\n") else _with_soft_end(encoded)

    def _base64(self, start: int, stop: int) -> Iterator[bytes]:
        for at in range(start, stop, BLOCK_SIZE):
            block = self._source.read(at, min(at + BLOCK_SIZE, stop))
            encoded = binascii.b2a_base64(block, newline=False)
            yield b"\r\n".join([encoded[i : i + 76] for i in range(0, len(encoded), 76)]) + b"\r\n"

    def _is_mostly_readable(self, start: int, stop: int) -> bool:
        """Whether quoted-printable can hold it, and is no longer than base64."""
        written_out = 0
        for block in self._source.blocks(start, stop):
            if _NUL_OR_BARE.search(block):
                return False
            written_out += len(block.translate(None, _WRITTEN_AS_THEMSELVES))
        return 2 * written_out <= (stop - start) // 3

    def _is_clean(self, start: int, stop: int) -> bool:
        """Whether these octets can be sent as they stand."""
        for block in self._source.blocks(start, stop):
            if not block.isascii() or (self._is_binary and _NUL_OR_BARE.search(block)):
                return False
        return not self._is_binary or not self._has_long_line(start, stop)

    def _has_long_line(self, start: int, stop: int) -> bool:
        while stop - start > _MAX_LINE:
            block = self._source.read(start, min(start + BLOCK_SIZE, stop))
            kept = 0 if len(block) == stop - start else 2  # the line end may be in the next block
            position = 0
            while len(block) - position > _MAX_LINE + kept:
                found = block.rfind(b"\r\n", position, position + _MAX_LINE + 2)
                if found < 0:
                    return True
                position = found + 2
            start += position
        return False

    def _end_of_header(self, start: int, stop: int) -> tuple[int, int]:
        """Where a header ends and its body begins; both ``stop`` if there is no empty line between them."""
        if self._source.read(start, min(start + 2, stop)) == b"\r\n":
            return start, start + 2
        for found, after, _ in self._source.find(_EMPTY_LINE, start, stop):
            return found + 2, after
        return stop, stop

    def _relabel(self, header: Header) -> None:
        if transfer_encoding(header) in ("8bit", "binary"):
            _label(header, "7bit")

    def _put_header(self, header: Header, end: int, start: int) -> None:
        self._write(header.to_bytes())
        self._copy(end, start)

    def _copy_unread(self, start: int, stop: int) -> None:
        """What stands before the first part and behind the last, which no reader shows (RFC 2046 5.1.1).

        It cannot be encoded, so it is left out if it is not fit to be sent.
        """
        if self._is_clean(start, stop):
            self._copy(start, stop)
        else:
            self._write(b"\r\n")

    def _copy(self, start: int, stop: int) -> None:
        for block in self._source.blocks(start, stop):
            self._write(block)

    def _write(self, block: bytes) -> None:
        self._writer.write(block)
        if self._writer.is_flush_due:
            self._writer.flush()


def _label(header: Header, encoding: str) -> None:
    header.remove("Content-Transfer-Encoding")
    header.add("Content-Transfer-Encoding", encoding)


def _delimiter(boundary: str) -> re.Pattern[bytes]:
    """The line between two parts, from the CRLF before it; the one behind it is not taken (RFC 2046 5.1.1).

    The whole line must be it, as nearly all readers have it: else ``=_a`` would end ``=_ab`` inside it.
    """
    return re.compile(rb"\r\n--" + re.escape(boundary.encode()) + rb"(--)?[ \t]{0,20}(?=\r\n|\Z)")


def _with_soft_end(encoded: bytes) -> bytes:
    """Quoted-printable whose last line goes on; broken before its last character too, as it may be full."""
    last = -3 if encoded[-3:-2] == b"=" else -1
    return encoded[:last] + b"=\r\n" + encoded[last:] + b"=\r\n"
