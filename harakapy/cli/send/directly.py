"""Storing one message in the queue of a server that does not run, durably."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from harakapy.config import Settings
from harakapy.log import Level, open_logger
from harakapy.mail import Content
from harakapy.outbound.enqueue import complete
from harakapy.process.control_client import ControlClient, ControlLost, ServerNotRunning
from harakapy.process.control_wire import control_path
from harakapy.process.intake import new_id, own_address
from harakapy.process.intake_wire import Submission
from harakapy.queue import Floor, QueuedMessage, SqliteStore, deliveries_to

__all__ = ["store", "wake"]


async def store(submission: Submission, content: Content, is_7bit: bool, settings: Settings) -> str:
    """Put a message into the queue; its id. It is durable then. Raises StoreError."""
    message_id, uid, hostname = new_id(), os.getuid(), settings.hostname
    envelope = submission.envelope(own_address(uid, hostname), is_7bit=is_7bit)
    complete(content, message_id, hostname, datetime.now(UTC).astimezone(), userid=uid)
    message = QueuedMessage.from_envelope(message_id, envelope, size=content.output_size, now=time.time())
    deliveries = deliveries_to(message_id, envelope.rcpt_to, due=message.first_due, local_domain=hostname)
    floor = Floor(settings.queue.min_free_space, settings.queue.min_free_inodes)
    log = open_logger(Level.WARN, timestamps=False)
    try:
        async with await SqliteStore.open(settings.queue_dir, log=log, floor=floor) as queue:
            await queue.commit(message, deliveries, content)
    finally:
        log.output.sink.close()
    return message_id


def wake(state_dir: Path) -> None:
    """Tell a running server that there is something to do; without one, or its ear, it is found later."""
    with (
        suppress(ServerNotRunning, ControlLost, OSError),
        ControlClient.connect(control_path(state_dir)) as server,
    ):
        server.execute({"do": "wake"}, lambda _: None)
