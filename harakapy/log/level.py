"""The ten log levels, named and numbered as Haraka does: a smaller number is more serious."""

from enum import IntEnum
from typing import Self

__all__ = ["Level"]


class Level(IntEnum):
    """How much a line matters; a log at level N writes the records whose level is N or smaller.

    0 to 7 are the severities of syslog (RFC 5424 6.2.1). Below debugging come `PROTOCOL` (each command and
    reply) and `DATA` (content).
    """

    EMERG = 0
    ALERT = 1
    CRIT = 2
    ERROR = 3
    WARN = 4
    NOTICE = 5
    INFO = 6
    DEBUG = 7
    PROTOCOL = 8
    DATA = 9

    @classmethod
    def parse(cls, name: str) -> Self:
        """The level called `name`, in any case.

        Raises ValueError, naming the ten levels, if there is none of that name.
        """
        level = cls.__members__.get(name.upper())
        if level is None:
            raise ValueError(f"no log level {name!r}; the levels are {', '.join(cls.names())}")
        return level

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names as people write them, the most serious first."""
        return tuple(name.lower() for name in cls.__members__)
