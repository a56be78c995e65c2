"""Content that is kept in memory until the first attempt, from the commit of a message or its claim.

It is a shortcut only: what is not here is read from the store.
"""

from __future__ import annotations

from typing import Final

from harakapy.mail import Content

__all__ = ["KeptContents"]

BUDGET_OCTETS: Final = 64 << 20
"""Octets kept at most, of all messages. Picked: thousands of usual messages, on any machine."""


class KeptContents:
    """Contents by message, each until the attempts that it was kept for are made, or others need the room."""

    def __init__(self, budget_octets: int = BUDGET_OCTETS) -> None:
        self._budget = self._left = budget_octets
        self._kept: dict[str, tuple[Content, int]] = {}

    def keep(self, message_id: str, content: Content, *, attempts: int) -> None:
        """Keep a content for so many attempts, if it is in memory already and does not take all the room.

        It is kept as it leaves now: it is its owner's to change and to send again. What is kept already is
        kept for so many more. What is there longest makes room: its attempts wait for something, or will
        never be made.
        """
        if message_id in self._kept:
            kept, more = self._kept[message_id]
            self._kept[message_id] = (kept, more + attempts)
            return
        if content.is_spooled or content.output_size > self._budget:
            return
        content = Content.from_bytes(content.to_bytes())
        while content.size > self._left:
            self._let_go(next(iter(self._kept)))
        self._left -= content.size
        self._kept[message_id] = (content, attempts)

    def get(self, message_id: str) -> Content | None:
        """The content, if it is here."""
        kept = self._kept.get(message_id)
        return None if kept is None else kept[0]

    def forget(self, message_id: str) -> None:
        """Let a content go, whatever attempts are left: they will be made later, if at all."""
        if message_id in self._kept:
            self._let_go(message_id)

    def attempted(self, message_id: str) -> None:
        """One of the attempts is over; with the last one the content is let go."""
        kept = self._kept.get(message_id)
        if kept is None:
            return
        content, left = kept
        if left > 1:
            self._kept[message_id] = (content, left - 1)
        else:
            self._let_go(message_id)

    def _let_go(self, message_id: str) -> None:
        content, _ = self._kept.pop(message_id)
        self._left += content.size
