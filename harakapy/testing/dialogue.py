r"""Dialogues as text: what the client says, and what the server must answer.

::

    S: 220 mail.example ESMTP harakapy ready
    C: EHLO client.example
    S: 250-mail.example Hello *
    S: 250 *
    C: MAIL FROM:<a@example.org>
    C: RCPT TO:<b@example.org>
    S: 250 2.1.0 sender <a@example.org> OK
    S: 550 5.7.1 *
    c: QUIT\r\n
    S: 221 2.0.0 *
    S: EOF

``C:`` is a line, sent with CRLF; lines without an answer in between leave in one segment. ``c:`` is a piece
of bytes with Python's escapes, sent as it is and in a segment of its own. ``S:`` is one line of the server's,
in which ``*`` stands for anything; ``S: EOF`` means that the server closes. ``#`` begins a comment. All lines
may be indented alike, as text within a program is.
"""

from __future__ import annotations

import re
import textwrap
from typing import Self

import trio
from msgspec import Struct

from harakapy.testing.client import Client


class DialogueFailed(AssertionError):
    """The server said something else; the message shows the dialogue so far."""


class _Send(Struct, frozen=True):
    data: bytes


class _Expect(Struct, frozen=True):
    line: str


class Dialogue(Struct, frozen=True):
    """A dialogue that has been read from text."""

    steps: tuple[_Send | _Expect, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a dialogue. Raises ValueError with the number of a line that is none of its forms."""
        steps: list[_Send | _Expect] = []
        may_join = False
        for number, line in enumerate(textwrap.dedent(text).splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            kind, _, rest = line.partition(":")
            rest = rest.removeprefix(" ")
            if kind == "S":
                steps.append(_Expect(rest))
            elif kind == "C" and may_join and isinstance(steps[-1], _Send):
                steps[-1] = _Send(steps[-1].data + rest.encode() + b"\r\n")
            elif kind == "C":
                steps.append(_Send(rest.encode() + b"\r\n"))
            elif kind == "c":
                steps.append(_Send(rest.encode("latin-1").decode("unicode_escape").encode("latin-1")))
            else:
                raise ValueError(f"line {number} begins with none of 'S:', 'C:', 'c:' and '#': {line!r}")
            may_join = kind == "C"
        return cls(tuple(steps))


async def play(dialogue: Dialogue | str, client: Client, *, timeout_s: float = 10) -> None:
    """Hold a dialogue. Raises DialogueFailed at the first difference, or if the server is silent too long."""
    if isinstance(dialogue, str):
        dialogue = Dialogue.parse(dialogue)
    lines = _Lines(client)
    said: list[str] = []
    for step in dialogue.steps:
        if isinstance(step, _Send):
            await client.send(step.data)
            said.append(f"C: {step.data.decode('utf-8', 'backslashreplace')!r}")
            continue
        with trio.move_on_after(timeout_s) as scope:
            heard = await lines.next()
        if scope.cancelled_caught:
            heard = f"(nothing within {timeout_s:g} s)"
        said.append(f"S: {heard}")
        if not _matches(step.line, heard):
            raise DialogueFailed("\n".join([*said, f"expected: {step.line}"]))


class _Lines:
    """The lines that a server says."""

    def __init__(self, client: Client) -> None:
        self._stream = client.stream
        self._buffer = b""

    async def next(self) -> str:
        while b"\r\n" not in self._buffer:
            try:
                received = await self._stream.receive_some(65536)
            except trio.BrokenResourceError:
                received = b""
            if not received:
                return f"EOF{' after ' + repr(self._buffer) if self._buffer else ''}"
            self._buffer += received
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line.decode("utf-8", "backslashreplace")


def _matches(pattern: str, line: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), line) is not None
