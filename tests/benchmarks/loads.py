"""What is measured: each load with its shape, and which peers can bear it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB
SESSIONS = 20
"""Clients at a time: enough to keep two cores busy, few enough for servers with a process for each."""
LARGE_SESSIONS = 4
"""The same for large messages, so that what is under way fits into memory everywhere."""


class Task(enum.Enum):
    """What a server does with the mail."""

    ACCEPT = "accept"  # and throw away
    RELAY = "relay"  # keep it safely, answer, then deliver it to the next hop


class Plugins(enum.Enum):
    """What hangs on the hooks of a server that has hooks."""

    NONE = "none"
    NOOP = "noop"
    AWAIT = "await"


class Source(enum.Enum):
    """Who makes the load."""

    SMTP_SOURCE = "smtp-source"
    OWN = "own generator"


@dataclass(frozen=True, slots=True)
class Load:
    """One way of sending mail.

    ``size_octets`` is the content without its header; ``is_kept`` means that a session sends message after
    message, otherwise each has a connection of its own; ``is_pipelined`` that commands go in groups
    (RFC 2920). ``most`` bounds the messages of one round.
    """

    name: str
    task: Task
    title: str
    size_octets: int = 4 * KIB
    is_kept: bool = True
    is_pipelined: bool = False
    has_starttls: bool = False
    recipients: int = 1
    plugins: Plugins = Plugins.NONE
    sessions: int = SESSIONS
    most: int = 50_000

    @property
    def source(self) -> Source:
        """smtp-source wherever it can make this load, since nobody can say that it favours us."""
        if self.is_pipelined or self.has_starttls or self.size_octets > MIB:
            return Source.OWN
        return Source.SMTP_SOURCE


def _both(suffix: str, title: str, **shape: object) -> tuple[Load, Load]:
    return (
        Load(f"accept-{suffix}", Task.ACCEPT, f"accept, {title}", **shape),  # type: ignore[arg-type]
        Load(f"relay-{suffix}", Task.RELAY, f"relay, {title}", **shape),  # type: ignore[arg-type]
    )


_PAIRS = (
    _both("new", "4 KiB, new connection each", is_kept=False),
    _both("kept", "4 KiB, kept connections"),
    _both("pipelined", "4 KiB, kept and pipelined", is_pipelined=True),
    _both("1m", "1 MiB", size_octets=MIB, sessions=LARGE_SESSIONS, most=2000),
    _both("20m", "20 MiB", size_octets=20 * MIB, sessions=LARGE_SESSIONS, most=100),
    _both("starttls", "4 KiB, new connection with STARTTLS each", is_kept=False, has_starttls=True),
    _both("noop", "4 KiB, kept, ten no-op plugins", plugins=Plugins.NOOP),
    _both("await", "4 KiB, kept, ten plugins that await", plugins=Plugins.AWAIT),
    _both("recipients", "4 KiB, kept, 100 recipients each", recipients=100),
)
LOADS: tuple[Load, ...] = tuple(a for a, _ in _PAIRS) + tuple(r for _, r in _PAIRS)
"""All loads: first those that accept, then the same with relaying."""


def named(names: str) -> tuple[Load, ...]:
    """The loads of a comma-separated list; ``accept`` or ``relay`` alone stands for all of that task.

    Raises ValueError for a name that no load has.
    """
    chosen = []
    for name in filter(None, names.split(",")):
        found = [load for load in LOADS if name in (load.name, load.task.value)]
        if not found:
            known = ", ".join(load.name for load in LOADS)
            raise ValueError(f"no load is called {name!r}; there are accept, relay, {known}")
        chosen += [load for load in found if load not in chosen]
    return tuple(chosen)
