"""The names that somebody who wrote an unknown one may have meant."""

from collections.abc import Iterable
from difflib import SequenceMatcher

__all__ = ["did_you_mean", "near_names", "nearest"]

SIMILARITY = 0.7
"""How alike two names must be, 0 to 1. Picked on typing slips: `max_recipents` and `listn` are found, and
`timeout` does not become `hook_timeout` when a nearer name exists."""


def near_names(name: str, known: Iterable[str], limit: int = 3) -> tuple[str, ...]:
    """Those of `known` that are nearest to `name`, the best first, at most `limit`; none if none is near.

    Case, and `-` or a space where `_` stands, make no difference.

    >>> near_names("max-recipents", ["max_recipients", "max_errors"])
    ('max_recipients',)
    """
    wanted = _folded(name)
    scored = [(_similarity(wanted, _folded(candidate)), candidate) for candidate in known]
    near = sorted((-score, candidate) for score, candidate in scored if score >= SIMILARITY)
    return tuple(candidate for _, candidate in near[:limit])


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The one of `known` that is nearest to `name`; None if none is near."""
    return next(iter(near_names(name, known, limit=1)), None)


def did_you_mean(names: Iterable[str]) -> str:
    """`"did you mean a, b or c?"`, or "" for no names."""
    *others, last = [*names] or [""]
    if not last:
        return ""
    return f"did you mean {', '.join(others)} or {last}?" if others else f"did you mean {last}?"


def _folded(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_")


def _similarity(wanted: str, candidate: str) -> float:
    # The quick bound first: error messages for a long list of names stay cheap.
    matcher = SequenceMatcher(None, candidate, wanted, autojunk=False)
    return matcher.ratio() if matcher.quick_ratio() >= SIMILARITY else 0.0
