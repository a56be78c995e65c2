"""Content in the form that one host can take: as it is, or converted to 7-bit octets.

Content up to SMALL_OCTETS is one piece of memory, for one write. What is larger is handed out block by block;
reading a file and converting may wait for the disk, so what is large is done in a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import trio

from harakapy.mail import Content, Envelope
from harakapy.mail.seven_bit import has_eight_bit, seven_bit
from harakapy.net import enter_task
from harakapy.smtp import Body, LineRules
from harakapy.smtp.capabilities import Capabilities

__all__ = ["SMALL_OCTETS", "Rendition", "render"]

SMALL_OCTETS: Final = 65536
"""Content up to this size is sent before the host has said yes to the recipients, where it has CHUNKING: if
it says no, not much was sent in vain. Nearly all messages are smaller."""

BLOCK_OCTETS: Final = 262144
"""What is read and sent at a time of larger content: a trip to a thread costs little beside it."""

CHUNK_OCTETS: Final = 1048576
"""The same where each block has a reply of its own (BDAT)."""

# Names of the module: in Python 3.11 a member of an Enum takes ten times as long to look up.
_BINARY, _EIGHT_BIT = Body.BINARYMIME, Body.EIGHTBITMIME

_Result = TypeVar("_Result")


class Rendition:
    """The content as it is sent: ``size`` octets, which may hold what ``body`` says (None: 7-bit lines).

    ``octets`` is all of it if it is small, else None: then `next_block` gives it, once. Bare CRs and LFs
    become CRLF unless it goes in chunks, because some hosts take LF for the end of a line behind DATA, and so
    would see another end of the content than we do ("SMTP smuggling"). Close it after use; the content that
    it was made of stays open.
    """

    __slots__ = (
        "_blocks",
        "_converted",
        "_is_read_in_thread",
        "_rules",
        "body",
        "in_chunks",
        "octets",
        "size",
    )

    def __init__(self, content: Content, body: Body | None, *, in_chunks: bool, is_converted: bool) -> None:
        self.body = body
        self.in_chunks = in_chunks
        self.size = content.output_size
        self._converted = content if is_converted else None
        self._blocks: Iterator[bytes] = iter(())
        self._rules: LineRules | None = None
        self._is_read_in_thread = False
        self.octets: bytes | None = None
        if self.size <= SMALL_OCTETS:
            octets = content.to_bytes()
            self.octets = octets if in_chunks else _with_crlf(octets)
        else:
            self._blocks = content.blocks(CHUNK_OCTETS if in_chunks else BLOCK_OCTETS)
            self._rules = None if in_chunks else LineRules(normalise=True)
            self._is_read_in_thread = content.is_spooled

    async def next_block(self) -> bytes:
        """The next octets of content that is not small; b"" is the end. Raises OSError."""
        while block := await self._read():
            if self._rules is None:
                return block
            if block := self._rules.feed(block):  # empty if it was a lone CR, which waits for the next one
                return block
        return self._finish()

    async def _read(self) -> bytes:
        if self._is_read_in_thread:
            await enter_task()
            return await trio.to_thread.run_sync(next, self._blocks, b"")
        return next(self._blocks, b"")

    def _finish(self) -> bytes:
        rules, self._rules = self._rules, None
        return b"" if rules is None else rules.finish()

    def close(self) -> None:
        """Remove what the conversion left. May be called again."""
        if self._converted is not None:
            self._converted.close()


async def render(
    content: Content, envelope: Envelope, capabilities: Capabilities, spool_directory: Path | None
) -> Rendition:
    """The content for a host with these capabilities.

    What it holds decides, and where looking is dear, what the sender declared. ``spool_directory`` is for
    what is converted and large. Raises NotConvertible if only 8-bit octets can carry it and the host takes
    none; OSError.
    """
    in_chunks = capabilities.chunking
    declared = envelope.params.body
    if declared is _BINARY:
        if capabilities.binarymime:
            return Rendition(content, declared, in_chunks=True, is_converted=False)
        return await _converted(content, declared, spool_directory, in_chunks=in_chunks)
    if capabilities.eightbitmime:
        is_eight_bit = declared is _EIGHT_BIT or content.is_spooled or has_eight_bit(content)
        body = _EIGHT_BIT if is_eight_bit else None
        return Rendition(content, body, in_chunks=in_chunks, is_converted=False)
    if await _away(content, partial(has_eight_bit, content)):
        return await _converted(content, _EIGHT_BIT, spool_directory, in_chunks=in_chunks)
    return Rendition(content, None, in_chunks=in_chunks, is_converted=False)


async def _converted(
    content: Content, body: Body, spool_directory: Path | None, *, in_chunks: bool
) -> Rendition:
    convert = partial(seven_bit, content, body=body, directory=spool_directory)
    converted = await _away(content, convert)
    try:
        return Rendition(converted, None, in_chunks=in_chunks, is_converted=True)
    except OSError:
        converted.close()
        raise


async def _away(content: Content, work: Callable[[], _Result]) -> _Result:
    """Do what reads all of the content: in a thread unless it is small and in memory."""
    if content.is_spooled or content.size > SMALL_OCTETS:
        await enter_task()
        return await trio.to_thread.run_sync(work)
    return work()


def _with_crlf(octets: bytes) -> bytes:
    rest = octets.replace(b"\r\n", b"")
    if b"\r" not in rest and b"\n" not in rest:  # nearly always, as most of it came by SMTP
        return octets
    rules = LineRules(normalise=True)
    return rules.feed(octets) + rules.finish()
