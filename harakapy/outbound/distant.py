"""The engine of another process, as one that only receives mail sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from harakapy.outbound.engine import Engine

__all__ = ["DistantEngine"]


class DistantEngine(Engine):
    """Has nothing in hand and starts nothing: who delivers is told that there is something in the store."""

    def __init__(self, *args: Any, announce: Callable[[], None], **keywords: Any) -> None:
        """``announce`` tells; it must not wait, nor raise. The rest is as for any engine."""
        super().__init__(*args, **keywords)
        self._announce = announce

    def wake(self) -> None:
        """Have the process that delivers look at the store now."""
        self._announce()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Do nothing until cancelled."""
        task_status.started()
        await trio.sleep_forever()
