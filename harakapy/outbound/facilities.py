"""What all sessions of a server share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from harakapy.net import Watchdog
from harakapy.outbound.client_tls import ClientTls
from harakapy.outbound.token import Tokens

__all__ = ["Facilities"]


@dataclass(frozen=True, slots=True)
class Facilities:
    """The watchdog of all deadlines, which must be running; TLS contexts; tokens; room for converted content.

    ``spool_directory`` None is the system's for temporary files.
    """

    watchdog: Watchdog
    tls: ClientTls = field(default_factory=ClientTls)
    tokens: Tokens = field(default_factory=Tokens)
    spool_directory: Path | None = None
