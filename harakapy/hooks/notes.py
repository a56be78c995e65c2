"""Notes: what plugins write down on the server, a connection or a transaction for one another.

A dictionary with Haraka's dotted paths. Notes end with their owner; those of a transaction that goes out
are kept with the queued message, so what should survive a restart there must be JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Notes(dict[str, Any]):
    """A dictionary of free values; ``path`` is a dotted string or a sequence of keys."""

    __slots__ = ()

    def get(self, path: str | Sequence[str], default: Any = None) -> Any:
        """The value at a path, or the default where a step is missing."""
        node: Any = self
        for key in _steps(path):
            if not isinstance(node, dict) or key not in node:
                return default
            node = dict.__getitem__(node, key)
        return node

    def set(self, path: str | Sequence[str], value: Any, *, only_if_missing: bool = False) -> None:
        """Write a value at a path, making the levels that are missing.

        Raises TypeError if a step of the path holds something that is not a dictionary.
        """
        *parents, last = _steps(path)
        node: Any = self
        for key in parents:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                held = type(node).__name__
                raise TypeError(f"note {key!r} of path {path!r} holds a {held}, not a dictionary")
        if not (only_if_missing and last in node):
            node[last] = value


def _steps(path: str | Sequence[str]) -> Sequence[str]:
    return path.split(".") if isinstance(path, str) else path
