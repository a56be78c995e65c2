"""Reading what a user of this machine sends: a line with the envelope, and as much content as it says."""

from __future__ import annotations

from typing import Final

import trio
from msgspec import Struct

from harakapy.config import Settings
from harakapy.inbound import Terms
from harakapy.inbound.receive import Framing, Reception
from harakapy.mail import Content
from harakapy.net import SocketStream
from harakapy.process.control_wire import decode
from harakapy.process.intake_wire import MAX_LINE, IntakeProblem, IntakeRefused, Submission
from harakapy.smtp import Reply

__all__ = ["IntakeReader", "Received"]

READ_OCTETS: Final = 65536


class Received(Struct, frozen=True):
    """A message as it came; whoever has it closes its content. ``is_7bit``: all octets of it are ASCII."""

    submission: Submission
    content: Content
    is_7bit: bool


class IntakeReader:
    """Reads one message from a client, which has a deadline above it."""

    def __init__(self, stream: SocketStream, settings: Settings) -> None:
        self._stream = stream
        self._settings = settings
        self._rest = b""

    async def line(self) -> bytes | None:
        """The first line; None if the client leaves. Raises IntakeRefused if it is too long."""
        blocks: list[bytes] = []
        size = 0
        while size <= MAX_LINE:
            block = await self._stream.receive_some(READ_OCTETS)
            if not block:
                return None
            before, newline, self._rest = block.partition(b"\n")
            blocks.append(before)
            if newline:
                return b"".join(blocks)
            size += len(block)
        raise IntakeRefused(IntakeProblem.REFUSED, f"the envelope has more than {MAX_LINE} octets")

    async def message(self, line: bytes) -> Received | None:
        """The message whose envelope is this line; None if the client leaves before its end.

        Raises IntakeRefused, for a content that is too large before it comes.
        """
        submission = _parsed(line)
        limit = self._settings.smtp.max_message_size
        if 0 < limit < submission.size:
            text = f"the message has more than {limit} octets"
            raise IntakeRefused(IntakeProblem.REFUSED, text)
        reception = Reception(Terms.of(self._settings), Framing.DOT, trio.current_time)
        try:
            is_7bit = await self._content(reception, submission.size)
            content = None if is_7bit is None else await reception.finish()
        except BaseException:
            reception.discard()
            raise
        if content is None or is_7bit is None:
            reception.discard()
            _check(reception.problem)
            return None
        return Received(submission, content, is_7bit)

    async def _content(self, reception: Reception, size: int) -> bool | None:
        """Hand over this many octets; whether all of them are ASCII, None if they do not all come."""
        is_7bit, block = True, self._rest[:size]
        while True:
            size -= len(block)
            is_7bit = is_7bit and block.isascii()
            reception.take(block)
            if reception.is_flush_due:
                await reception.flush()
            _check(reception.problem)
            if not size:
                return is_7bit
            block = await self._stream.receive_some(min(READ_OCTETS, size))
            if not block:
                return None


def _parsed(line: bytes) -> Submission:
    try:
        raw = decode(line)
    except ValueError as error:
        raise IntakeRefused(IntakeProblem.REFUSED, f"the envelope is no JSON: {error}") from error
    return Submission.parse(raw)


def _check(problem: Reply | None) -> None:
    """Raise what a client of SMTP would have read."""
    if problem is not None:
        kind = IntakeProblem.REFUSED if problem.code >= 500 else IntakeProblem.STORE
        raise IntakeRefused(kind, problem.text)
