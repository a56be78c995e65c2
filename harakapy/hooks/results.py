"""Results: the record of what each plugin found, for other plugins, the log and the operator.

Kept on a connection and on a transaction. The lists ``pass``, ``fail``, ``skip``, ``err`` and ``msg`` grow;
every other key holds its latest value. Same shape as Haraka's result store.
"""

from __future__ import annotations

import re
from typing import Any

LISTS = ("pass", "fail", "skip", "err", "msg")
"""The keys under which findings are collected rather than replaced."""


class Results:
    """Findings by plugin name. Plugins are named by their name or given as themselves."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[str, dict[str, Any]] = {}

    def add(self, plugin: object, **found: Any) -> None:
        """Note findings: ``add(self, pass_="rdns")``, ``add(self, score=5)``.

        A trailing underscore is dropped from a key, since ``pass`` is a word of Python's own.
        A list or tuple under one of the collecting keys adds each of its items.
        """
        record = self._record(plugin)
        for given, value in found.items():
            key = given.removesuffix("_")
            if key in LISTS:
                record.setdefault(key, []).extend(value if isinstance(value, (list, tuple)) else [value])
            else:
                record[key] = value

    def incr(self, plugin: object, **amounts: float) -> None:
        """Add to counters, which begin at 0."""
        record = self._record(plugin)
        for key, amount in amounts.items():
            record[key] = record.get(key, 0) + amount

    def push(self, plugin: object, **values: Any) -> None:
        """Append to lists under free keys."""
        record = self._record(plugin)
        for key, value in values.items():
            record.setdefault(key, []).append(value)

    def get(self, plugin: object) -> dict[str, Any]:
        """All that a plugin found; an empty dictionary if it noted nothing."""
        return self._found.get(_name(plugin), {})

    def has(self, plugin: object, key: str, wanted: object) -> bool:
        """Whether a finding equals ``wanted``, or matches it when it is a compiled pattern."""
        record = self.get(plugin)
        if key not in record:
            return False
        values = record[key] if isinstance(record[key], list) else [record[key]]
        if isinstance(wanted, re.Pattern):
            return any(wanted.search(str(value)) for value in values if value is not None)
        return wanted in values

    def collate(self, plugin: object) -> str:
        """One line for people: ``pass: rdns, helo, fail: spf, score: 5``; keys from _ on are left out."""
        record = self.get(plugin)
        parts = [f"{key}: {_shown(record[key])}" for key in record if not key.startswith("_")]
        return ", ".join(parts)

    def all(self) -> dict[str, dict[str, Any]]:
        """Everything that was found, by plugin name."""
        return self._found

    def _record(self, plugin: object) -> dict[str, Any]:
        return self._found.setdefault(_name(plugin), {})


class PluginResults:
    """The results of one plugin on one connection or transaction: what ``self.results(...)`` gives."""

    __slots__ = ("_plugin", "_results")

    def __init__(self, results: Results, plugin: str) -> None:
        self._results = results
        self._plugin = plugin

    def add(self, **found: Any) -> None:
        """As `Results.add`, for this plugin."""
        self._results.add(self._plugin, **found)

    def incr(self, **amounts: float) -> None:
        """As `Results.incr`, for this plugin."""
        self._results.incr(self._plugin, **amounts)

    def push(self, **values: Any) -> None:
        """As `Results.push`, for this plugin."""
        self._results.push(self._plugin, **values)

    def get(self) -> dict[str, Any]:
        """All that this plugin found so far."""
        return self._results.get(self._plugin)

    def has(self, key: str, wanted: object) -> bool:
        """As `Results.has`, for this plugin."""
        return self._results.has(self._plugin, key, wanted)

    def collate(self) -> str:
        """As `Results.collate`, for this plugin."""
        return self._results.collate(self._plugin)


def _name(plugin: object) -> str:
    return plugin if isinstance(plugin, str) else str(getattr(plugin, "name", type(plugin).__name__))


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
