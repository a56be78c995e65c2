"""The queue: the contract of a durable store of messages, its default on disk (SQLite), and one in memory."""

from harakapy.queue.clock_set import ClockSet
from harakapy.queue.delivery import (
    MAX_DELIVERIES,
    Delivery,
    DeliveryKey,
    DeliveryRequest,
    Diagnostic,
    Lease,
    State,
    deliveries_to,
    destinations_of,
)
from harakapy.queue.errors import (
    ContentUnreadable,
    LeaseLost,
    MessageNotFound,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from harakapy.queue.files import FileSystem, Floor, FreeSpace
from harakapy.queue.message import QueuedMessage, Told, durable_notes
from harakapy.queue.outcome import Deferred, Delivered, Failed, Outcome, Settlement
from harakapy.queue.selection import Count, Selection
from harakapy.queue.sqlite_store import SqliteStore
from harakapy.queue.statistics import DestinationStats, QueueStats
from harakapy.queue.store import Page, Store

__all__ = [
    "MAX_DELIVERIES",
    "ClockSet",
    "ContentUnreadable",
    "Count",
    "Deferred",
    "Delivered",
    "Delivery",
    "DeliveryKey",
    "DeliveryRequest",
    "DestinationStats",
    "Diagnostic",
    "Failed",
    "FileSystem",
    "Floor",
    "FreeSpace",
    "Lease",
    "LeaseLost",
    "MessageNotFound",
    "Outcome",
    "Page",
    "QueueStats",
    "QueuedMessage",
    "Selection",
    "Settlement",
    "SqliteStore",
    "State",
    "Store",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
    "Told",
    "deliveries_to",
    "destinations_of",
    "durable_notes",
]
