"""What a store raises. None of it is about the mail itself: it is never a reason to refuse or bounce it."""

from __future__ import annotations

__all__ = [
    "ContentUnreadable",
    "LeaseLost",
    "MessageNotFound",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
]


class StoreError(Exception):
    """The store could not do what was asked; always a temporary failure for the mail concerned (4xx)."""


class StoreUnavailable(StoreError):
    """The store does not work now: a disk error, a lock held too long, closed (451 4.3.0)."""


class StoreFull(StoreError):
    """There is no room for new mail, or less than the floor that is kept free (452 4.3.1)."""


class MessageNotFound(StoreError):
    """The message ``message_id`` is not in the store: it was finished or removed meanwhile."""

    def __init__(self, message_id: str) -> None:
        super().__init__(f"no message {message_id!r} in the store")
        self.message_id = message_id


class ContentUnreadable(StoreError):
    """The content is lost or damaged, and the message is quarantined for an operator to look at.

    ``message_id`` says which, ``reason`` why.
    """

    def __init__(self, message_id: str, reason: str) -> None:
        super().__init__(f"the content of message {message_id!r} cannot be read: {reason}")
        self.message_id = message_id
        self.reason = reason


class LeaseLost(StoreError):
    """Work on ``message_id`` is not the caller's any more: another one took it over or settled it."""

    def __init__(self, message_id: str) -> None:
        super().__init__(f"the lease on message {message_id!r} is lost")
        self.message_id = message_id
