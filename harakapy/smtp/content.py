"""Message content on the wire: dot-stuffing and its end, BDAT chunks, line rules (RFC 5321 4.5.2, RFC 3030).

Everything here works on whole blocks, at any split of the octets, and leaves loops over the content to C.

After DATA only CR LF . CR LF ends the content (if the content is empty, the first CR LF is that of the DATA
command). A dot that begins a line and does not end the content is removed. A line begins after CR LF and
nowhere else: bare CR, bare LF and NUL, which other servers take for line ends or drop, are octets like any
other. ``LineRules`` finds them, and the receiver refuses or repairs the message after its real end.

How the search works: the decoder knows how many octets of CR LF . CR LF the content so far ends with. If the
next block goes on with it, it puts these in front and searches the whole, so a sequence that was cut anywhere
is found as if it had not been. CR and LF have been handed out by then; a dot, or dot and CR, are held back.
"""

from __future__ import annotations

from typing import Final

__all__ = ["ChunkDecoder", "DataDecoder", "DiscardedChunk", "DotStuffer", "LineRules"]

_END: Final = b"\r\n.\r\n"

# bytes.find and bytes.replace go through much text two to three times as fast as a compiled pattern does; a
# single octet is found many times as fast again. (The operator "in" makes an error and drops it, with bytes.)
_DOT_LINE: Final = b"\r\n."


class DataDecoder:
    """Takes the content that follows DATA out of the octets received: finds its end and removes stuffed dots.

    ``finished`` turns true with the end; ``receive`` must not be called after that.
    """

    __slots__ = ("_matched", "finished")

    def __init__(self) -> None:
        self.finished = False
        self._matched = (
            2  # octets of the end that have come; the CRLF of the command stands before the content
        )

    def receive(self, data: bytes, start: int = 0) -> tuple[bytes, int]:
        """Decode ``data[start:]`` up to the end of the content, if that is in it.

        Returns the decoded block, perhaps empty, and the position behind what was taken: behind the end, or
        ``len(data)``. A block without stuffed dots is handed out as it came, or copied once.
        """
        if start == len(data):
            return b"", start
        matched = self._matched
        if matched < 4 and data[start] != _END[matched]:
            matched = 0  # this does not go on with the end, so a dot held back was a stuffed one
        text = _END[:matched] + data[start:] if matched or start else data
        handed_out = 2 if matched > 2 else matched
        dot = text.find(b".")  # base64 has none
        if dot >= 0:
            dot = text.find(_DOT_LINE, max(dot - 2, 0))
        if dot < 0:
            self._matched = 2 if text.endswith(b"\r\n") else 1 if text.endswith(b"\r") else 0
            return (text[handed_out:] if handed_out else text), len(data)
        end = text.find(_END, dot)
        if end >= 0:
            self.finished = True
            stop, taken = end + 2, end + 5 + start - matched
        else:
            self._matched = next(n for n in (4, 3, 2, 1, 0) if text.endswith(_END[:n]))
            stop, taken = len(text) - max(self._matched - 2, 0), len(data)
        if dot + 2 < stop:
            return text[:stop].replace(_DOT_LINE, b"\r\n")[handed_out:], taken
        return text[handed_out:stop], taken


class ChunkDecoder:
    """Takes the octets of one BDAT chunk, by their number (RFC 3030)."""

    __slots__ = ("_missing",)

    def __init__(self, size: int) -> None:
        self._missing = size

    @property
    def finished(self) -> bool:
        """Whether the chunk is complete."""
        return self._missing == 0

    def receive(self, data: bytes, start: int = 0) -> tuple[bytes, int]:
        """The octets of ``data[start:]`` that belong to the chunk, and the position behind them."""
        block = data[start : start + self._missing]
        self._missing -= len(block)
        return block, start + len(block)


class DiscardedChunk(ChunkDecoder):
    """Takes the octets of a refused chunk, and loses them."""

    __slots__ = ()

    def receive(self, data: bytes, start: int = 0) -> tuple[bytes, int]:
        """Nothing, and the position behind the octets that belong to the chunk."""
        _, position = super().receive(data, start)
        return b"", position


class DotStuffer:
    """Prepares content for sending after DATA: the reverse of ``DataDecoder``, at any split."""

    __slots__ = ("_matched",)

    def __init__(self) -> None:
        self._matched = (
            2  # octets of CRLF that the content so far ends with; it begins at the start of a line
        )

    def feed(self, block: bytes) -> bytes:
        """The block with a dot put before each dot that begins a line; the block itself if there is none."""
        matched = self._matched
        if block.endswith(b"\r\n") or (matched == 1 and block == b"\n"):
            self._matched = 2
        elif block:
            self._matched = 1 if block.endswith(b"\r") else 0
        stuffed = block.replace(_DOT_LINE, b"\r\n..") if block.find(b".") >= 0 else block
        if matched and block.startswith(_END[matched:3]):  # the cut went through CR LF dot
            return _END[matched:3] + stuffed[2 - matched :]
        return stuffed

    def finish(self) -> bytes:
        """The end of the content, with a CRLF before it if the last line has none."""
        return b".\r\n" if self._matched == 2 else b"\r\n.\r\n"


class LineRules:
    """Finds in decoded content what RFC 5321 2.3.8 forbids, and what only some servers can stand.

    Feed it every block, then call ``finish``; the flags are the same at any split. ``max_line_octets`` bounds
    a line without its CRLF, 0 for any length (RFC 5321 4.5.3.1.6 says 998). With ``normalise`` each bare CR
    or LF is made a CRLF before octets are counted; the flags still tell that there was one.
    """

    __slots__ = (
        "_after_cr", "_line_octets", "_max_line_octets", "_normalise",
        "has_bare_cr", "has_bare_lf", "has_long_line", "has_nul", "octets",
    )  # fmt: skip

    def __init__(self, *, max_line_octets: int = 0, normalise: bool = False) -> None:
        self.has_bare_cr = False
        self.has_bare_lf = False
        self.has_long_line = False
        self.has_nul = False
        self.octets = 0
        self._max_line_octets = max_line_octets
        self._normalise = normalise
        self._after_cr = False  # what came so far ends with a CR; held back if we normalise
        self._line_octets = 0  # of the line that the last block left open

    def feed(self, block: bytes) -> bytes:
        """Check a block; returns the octets to keep: the block itself, unless it was normalised."""
        if self._normalise:
            block = self._normalised(block)
        else:
            self._check(block)
        if not self.has_nul:
            self.has_nul = block.find(b"\0") >= 0
        if self._max_line_octets and not self.has_long_line:
            self._measure_lines(block)
        self.octets += len(block)
        return block

    def finish(self) -> bytes:
        """The content has ended; returns what normalisation held back, perhaps nothing."""
        if not self._after_cr:
            return b""
        self.has_bare_cr = True
        if not self._normalise:
            return b""
        self.octets += 2
        return b"\r\n"

    def _check(self, block: bytes) -> None:
        """Find bare line ends; whether a CR at the end of the block is one, the next block tells."""
        if not block:
            return
        is_second_half = self._after_cr and block.startswith(b"\n")
        self.has_bare_cr |= self._after_cr and not is_second_half
        self._after_cr = block.endswith(b"\r")
        self._find_bare(block, int(is_second_half), len(block) - self._after_cr)

    def _normalised(self, block: bytes) -> bytes:
        """The block with all line ends made CRLF; a CR at its end waits for the next block."""
        if self._after_cr:
            block = b"\r" + block
        self._after_cr = block.endswith(b"\r")
        if self._after_cr:
            block = block[:-1]
        if self._find_bare(block, 0, len(block)):
            return block.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
        return block

    def _find_bare(self, block: bytes, begin: int, end: int) -> bool:
        """Whether there is a bare LF behind ``begin`` or a bare CR before ``end``; sets the flags."""
        # Without its LFs, and with one behind each CR again, text is as it was if each has the other: a sixth
        # of the time of searches that stop at each line end, as single octets are replaced fast.
        text = block[begin:end]
        if text.replace(b"\n", b"").replace(b"\r", b"\r\n") == text:
            return False
        rest = text.replace(b"\r\n", b"")
        bare_lf, bare_cr = rest.find(b"\n") >= 0, rest.find(b"\r") >= 0
        self.has_bare_lf |= bare_lf
        self.has_bare_cr |= bare_cr
        return bare_lf or bare_cr

    def _measure_lines(self, block: bytes) -> None:
        """Look for a line over the limit, in jumps of up to the limit: one search for many short lines."""
        window = self._max_line_octets + 2
        start = -self._line_octets  # of the line at hand; before the block if the last one left it open
        while len(block) - start >= window:
            newline = block.rfind(b"\n", max(start, 0), start + window)
            if newline == -1:
                self.has_long_line = True
                return
            start = newline + 1
        newline = block.rfind(b"\n", max(start, 0))
        self._line_octets = len(block) - (newline + 1 if newline >= 0 else start)
