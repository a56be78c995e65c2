"""Making a message that can be sent of what stands on standard input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from msgspec import Struct

from harakapy.cli.send.message import Caller, complete, recipients_of, sender_of
from harakapy.cli.send.options import SendOptions, WrongUse
from harakapy.cli.send.text import split_header, text_blocks, until_dot
from harakapy.mail import Content, ContentWriter, Header
from harakapy.process.intake_wire import IntakeTerms, Submission

__all__ = ["MessageTooLarge", "Taken", "take"]

READ_OCTETS: Final = 65536


class MessageTooLarge(Exception):
    """The message is larger than the server takes."""


class Taken(Struct, frozen=True):
    """A message to be sent; whoever has it closes its content. ``is_7bit``: all octets of it are ASCII."""

    submission: Submission
    content: Content
    is_7bit: bool


def take(
    stdin: BinaryIO,
    options: SendOptions,
    caller: Caller,
    terms: IntakeTerms,
    *,
    spool_dir: Path,
    spool_after: int,
) -> Taken:
    """Read a message and make it one that can be sent, by the terms of the server.

    It is read to its end before anything is sent: who writes it may need hours. Raises WrongUse if nobody is
    to get it, BadAddress, HeaderTooLarge, MessageTooLarge, OSError.
    """
    raw = iter(lambda: stdin.read(READ_OCTETS), b"")
    blocks = text_blocks(until_dot(raw) if options.is_dot_end else raw)
    fields, body = split_header(blocks, terms.max_header_size)
    header = Header(fields)
    recipients = recipients_of(options, header, caller)
    if not recipients:
        raise WrongUse("nobody is to get it: name recipients, or use -t and address it in its header")
    sender = sender_of(options, caller)
    complete(header, options, sender, caller)
    writer = ContentWriter(spool_after, spool_dir)
    is_7bit, content = _collect(_chained(header.to_bytes(), body), writer, terms.max_message_size)
    submission = Submission(
        sender=None if options.sender is None else sender,
        recipients=recipients,
        size=content.size,
        notify=options.notify,
        ret=options.ret,
        envid=options.envid,
    )
    return Taken(submission, content, is_7bit)


def _chained(header: bytes, body: Iterable[bytes]) -> Iterator[bytes]:
    yield header
    yield b"\r\n"
    yield from body


def _collect(blocks: Iterable[bytes], writer: ContentWriter, limit: int) -> tuple[bool, Content]:
    """Whether all octets are ASCII, and the content. Raises MessageTooLarge, OSError."""
    is_7bit = True
    try:
        for block in blocks:
            writer.write(block)
            is_7bit = is_7bit and block.isascii()
            if 0 < limit < writer.size:
                raise MessageTooLarge(f"the message has more than {limit} octets")
            if writer.is_flush_due:
                writer.flush()
        return is_7bit, writer.finish()
    except BaseException:
        writer.discard()
        raise
