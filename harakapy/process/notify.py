"""Telling the service manager how we are (sd_notify(3)); nothing where there is none that asks."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

READY = "READY=1"
STOPPING = "STOPPING=1"


def notify(state: str, environment: Mapping[str, str] = os.environ) -> None:
    """Send a state to the socket that NOTIFY_SOCKET names. Raises OSError if nobody takes it."""
    path = environment.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):  # unset, or of a kind that is not for us, such as vsock
        return
    address = f"\0{path[1:]}" if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(state.encode(), address)


def reloading() -> str:
    """The state to send before settings are read anew; READY follows it."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"
