"""Files that people keep beside the configuration, read again when they change: lists and tables.

A list has one entry a line, a table is TOML. They are asked at any time, from the event loop, so looking at
the file must be cheap: one `stat` a second at most, and the content is read only when that shows a change.
Editors replace a file, tools rename one over it, a link is pointed elsewhere: modification time, size, device
and inode together notice all of these.
"""

import re
import time
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

from msgspec.structs import replace
from pydantic import BaseModel

from harakapy.config.problem import ConfigError, Problem
from harakapy.config.validate import validated

__all__ = ["ListFile", "PatternFile", "TableFile"]

LOOK_INTERVAL_S = 1.0
"""A change is noticed after this time at the latest. Picked: nobody waits longer for an edit to count."""

Stamp = tuple[int, int, int, int]

M = TypeVar("M", bound=BaseModel)


class WatchedFile(ABC):
    """A file that is looked at whenever somebody asks, and read again when it has changed.

    When it has become unreadable or wrong, what was there stays, and `report` is called with each problem,
    once for each change of the file. `now` is a clock in seconds.
    Raises ConfigError if the file cannot be read to begin with.
    """

    def __init__(
        self,
        path: Path,
        *,
        report: Callable[[Problem], None] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self._report = report
        self._now = now
        self._looked = now()
        self._stamp = self._current_stamp()
        self._read()

    @abstractmethod
    def _take(self, text: str) -> None:
        """Make of the text what is asked for. Raises ConfigError and changes nothing."""

    def _look(self) -> None:
        now = self._now()
        if now - self._looked >= LOOK_INTERVAL_S:
            self._looked = now
            stamp = self._current_stamp()
            if stamp != self._stamp:
                self._stamp = stamp
                self._refresh()

    def _refresh(self) -> None:
        try:
            self._read()
        except ConfigError as error:
            if self._report:
                for problem in error.problems:
                    self._report(problem)

    def _current_stamp(self) -> Stamp | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_dev, status.st_ino

    def _read(self) -> None:
        try:
            text = self.path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise self._error(f"cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise self._error("is not UTF-8 text") from None
        self._take(text)

    def _error(self, message: str, line: int = 0) -> ConfigError:
        return ConfigError([Problem(str(self.path), f"line {line}" if line else "", message)])


class ListFile(WatchedFile):
    """The entries of a file: its lines, without space around them, but for empty ones and `# comments`."""

    _entries: tuple[str, ...]
    _folded: frozenset[str]

    @property
    def entries(self) -> tuple[str, ...]:
        """The entries in the order of the file."""
        self._look()
        return self._entries

    def __contains__(self, name: object) -> bool:
        """Whether an entry is `name`, in any case of letters."""
        self._look()
        return isinstance(name, str) and name.casefold() in self._folded

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def _take(self, text: str) -> None:
        lines = ((number, line.strip()) for number, line in enumerate(text.split("\n"), start=1))
        self._take_lines([(number, line) for number, line in lines if line and not line.startswith("#")])

    def _take_lines(self, lines: list[tuple[int, str]]) -> None:
        """Make these lines, with their numbers, the entries. Raises ConfigError and changes nothing."""
        self._entries = tuple(line for _, line in lines)
        self._folded = frozenset(line.casefold() for _, line in lines)


class PatternFile(ListFile):
    """The same with a regular expression on each line; an entry matches a name as a whole, in any case."""

    _patterns: tuple[re.Pattern[str], ...]

    def __contains__(self, name: object) -> bool:
        """Whether one of the expressions matches the whole of `name`."""
        self._look()
        return isinstance(name, str) and any(pattern.fullmatch(name) for pattern in self._patterns)

    def _take_lines(self, lines: list[tuple[int, str]]) -> None:
        problems: list[Problem] = []
        patterns = []
        for number, line in lines:
            try:
                # Each by itself: joined by "|", their groups and flags would meddle with each other.
                patterns.append(re.compile(line, re.IGNORECASE))
            except re.error as error:
                problems += self._error(f"is not a regular expression: {error}", number).problems
        if problems:
            raise ConfigError(problems)
        self._patterns = tuple(patterns)
        super()._take_lines(lines)


class TableFile(WatchedFile, Generic[M]):
    """A TOML file of its own, as a model. Its values may be secret: messages do not repeat them."""

    _value: M

    def __init__(
        self,
        path: Path,
        model: type[M],
        *,
        report: Callable[[Problem], None] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        super().__init__(path, report=report, now=now)

    @property
    def value(self) -> M:
        """What the file says; another object whenever it was read again."""
        self._look()
        return self._value

    def _take(self, text: str) -> None:
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise self._error(f"is not TOML: {error}") from None
        try:
            self._value = validated(self._model, data, file=str(self.path), directory=self.path.parent)
        except ConfigError as error:
            raise ConfigError(replace(problem, given="") for problem in error.problems) from None
