"""Messages and deliveries to store in tests, short to write."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path

from harakapy.mail import Content, ContentWriter, EnhancedStatus, Recipient
from harakapy.queue import Delivery, DeliveryRequest, Diagnostic, Lease, QueuedMessage, Store, deliveries_to
from harakapy.smtp.address import Address

NOW = 1_800_000_000.0
MINE = Lease("me", NOW + 600)
YOURS = Lease("you", NOW + 600)
OK = Diagnostic("250 2.0.0 ok", EnhancedStatus(2, 0, 0), "mx.example.org", is_reply=True)
LATER = Diagnostic("connection refused", EnhancedStatus(4, 4, 1), "mx.example.org")
NEVER = Diagnostic("550 5.1.1 no such user", EnhancedStatus(5, 1, 1), "mx.example.org", is_reply=True)
SMALL = b"Subject: small\r\n\r\nbody\r\n"
LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcde\n" * 20_000  # more than goes into the database

_ids = count(1)


def recipient(text: str) -> Recipient:
    return Recipient(Address.parse(text))


def message(
    message_id: str | None = None,
    *,
    mail_from: str = "sender@example.com",
    size: int = len(SMALL),
    arrived: float = NOW,
    priority: int = 0,
) -> QueuedMessage:
    message_id = message_id or f"M{next(_ids)}.1"
    sender = Address.parse(f"<{mail_from}>")
    return QueuedMessage(id=message_id, mail_from=sender, size=size, arrived=arrived, priority=priority)


async def put(
    store: Store,
    *recipients: str,
    queued: QueuedMessage | None = None,
    content: bytes = SMALL,
    due: float = NOW,
    lease: Lease | None = None,
) -> tuple[Delivery, ...]:
    """Commit a message to these recipients; its deliveries."""
    queued = queued or message(size=len(content))
    addressed = [recipient(each) for each in recipients or ("user@example.org",)]
    deliveries = deliveries_to(queued.id, addressed, due=due, local_domain="example.net", lease=lease)
    await store.commit(queued, deliveries, Content.from_bytes(content))
    return deliveries


async def claim_all(store: Store, destination: str, lease: Lease = MINE, now: float = NOW) -> list[Delivery]:
    return flat(await store.claim(destination, lease=lease, now=now, limit=1000))


async def read(store: Store, message_id: str) -> bytes:
    with await store.open_content(message_id) as content:
        return b"".join(content.blocks())


def flat(requests: Sequence[DeliveryRequest]) -> list[Delivery]:
    return [delivery for request in requests for delivery in request.deliveries]


def spooled(octets: bytes, directory: Path) -> Content:
    """Content that lies in a file."""
    writer = ContentWriter(0, directory)
    writer.write(octets)
    return writer.finish()
