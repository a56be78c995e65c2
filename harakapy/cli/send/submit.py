"""Storing one message from standard input, durably."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final
from uuid import uuid4

from harakapy.cli.send.message import Caller, complete, recipients_of, sender_of
from harakapy.cli.send.options import SendOptions, WrongUse
from harakapy.cli.send.text import split_header, text_blocks, until_dot
from harakapy.config import Settings
from harakapy.log import Level, open_logger
from harakapy.mail import Content, ContentWriter, Header
from harakapy.mail.envelope import Envelope
from harakapy.process.control_client import ControlClient, ControlLost, ServerNotRunning
from harakapy.process.control_wire import control_path
from harakapy.queue import Floor, QueuedMessage, SqliteStore, deliveries_to
from harakapy.smtp import Body, MailParameters

__all__ = ["MessageTooLarge", "Submission", "store", "take", "wake"]

READ_OCTETS: Final = 65536


class MessageTooLarge(Exception):
    """The message is larger than the server takes."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A message to be stored; whoever has it closes its content."""

    message_id: str
    envelope: Envelope
    content: Content


def take(stdin: BinaryIO, options: SendOptions, caller: Caller, settings: Settings) -> Submission:
    """Read a message and make it one that can be sent.

    Raises WrongUse if nobody is to get it, BadAddress, HeaderTooLarge, MessageTooLarge, OSError.
    """
    raw = iter(lambda: stdin.read(READ_OCTETS), b"")
    blocks = text_blocks(until_dot(raw) if options.is_dot_end else raw)
    fields, body = split_header(blocks, settings.smtp.max_header_size)
    header = Header(fields)
    sender = sender_of(options, caller)
    recipients = recipients_of(options, header, caller)
    if not recipients:
        raise WrongUse("nobody is to get it: name recipients, or use -t and address it in its header")
    message_id = f"{str(uuid4()).upper()}.1"  # as those that come by SMTP are called
    complete(header, options, sender, caller, unique=message_id, now=datetime.now(UTC))
    is_7bit, content = _collect(_chained(header.to_bytes(), body), settings)
    params = MailParameters(
        body=None if is_7bit else Body.EIGHTBITMIME,
        smtputf8=sender.is_utf8 or any(recipient.address.is_utf8 for recipient in recipients),
        ret=options.ret,
        envid=options.envid,
    )
    return Submission(message_id, Envelope(sender, recipients, params), content)


def _chained(header: bytes, body: Iterable[bytes]) -> Iterator[bytes]:
    yield header
    yield b"\r\n"
    yield from body


def _collect(blocks: Iterable[bytes], settings: Settings) -> tuple[bool, Content]:
    """Whether all octets are ASCII, and the content. Raises MessageTooLarge, OSError."""
    limit = settings.smtp.max_message_size
    settings.spool_dir.mkdir(parents=True, exist_ok=True)
    writer = ContentWriter(settings.smtp.spool_after, settings.spool_dir)
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


async def store(submission: Submission, settings: Settings) -> None:
    """Put a message into the queue; it is durable then. Raises StoreError."""
    message = QueuedMessage.from_envelope(
        submission.message_id, submission.envelope, size=submission.content.output_size, now=time.time()
    )
    deliveries = deliveries_to(
        message.id, submission.envelope.rcpt_to, due=message.first_due, local_domain=settings.hostname
    )
    floor = Floor(settings.queue.min_free_space, settings.queue.min_free_inodes)
    log = open_logger(Level.WARN, timestamps=False)
    try:
        async with await SqliteStore.open(settings.queue_dir, log=log, floor=floor) as queue:
            await queue.commit(message, deliveries, submission.content)
    finally:
        log.output.sink.close()


def wake(state_dir: Path) -> None:
    """Tell a running server that there is something to do; without one, or its ear, it is found later."""
    with (
        suppress(ServerNotRunning, ControlLost, OSError),
        ControlClient.connect(control_path(state_dir)) as server,
    ):
        server.execute({"do": "wake"}, lambda _: None)
