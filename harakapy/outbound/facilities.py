"""What all sessions of a server share."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct, field

from harakapy.net import Poller, Watchdog
from harakapy.outbound.client_tls import ClientTls
from harakapy.outbound.token import Tokens

__all__ = ["Facilities"]


class Facilities(Struct, frozen=True):
    """The watchdog of all deadlines; TLS contexts; tokens; room for converted content; who waits for replies.

    Watchdog and poller must be running. ``spool_directory`` None is the system's for temporary files, without
    a ``poller`` each session waits for itself.
    """

    watchdog: Watchdog
    tls: ClientTls = field(default_factory=ClientTls)
    tokens: Tokens = field(default_factory=Tokens)
    spool_directory: Path | None = None
    poller: Poller | None = None
