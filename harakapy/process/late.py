"""What a server needs soon after its start and not for it, and would hold up if it were there at the start.

To import these takes half as long as to import harakapy itself. Each is imported where it is needed if that
comes first; else it is done here, once clients are accepted, so that none of them waits for it either.
"""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import Final

import trio

__all__ = ["import_late", "import_late_in_thread"]

LATE: Final = (
    "harakapy.net.stub",  # dnspython: the first name that is looked up
    "harakapy.net.tls.leaf",  # the cryptography package: the first session over TLS
)


def import_late() -> None:
    """Import all of it, for who forks, as workers share its memory, or who is about to give up rights."""
    for name in LATE:
        import_module(name)


async def import_late_in_thread() -> None:
    """Import all of it while the event loop goes on. Once begun it is waited for, even if this is cancelled.

    A process that ends meanwhile may abort: its threads are ended wherever they are, within native code too.
    What fails now, for want of file descriptors perhaps, is imported again by who needs it, and told there.
    """
    with suppress(ImportError, OSError):
        await trio.to_thread.run_sync(import_late)
