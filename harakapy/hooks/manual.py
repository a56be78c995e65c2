"""The manual of a hook, taken apart: what a hookspec's docstring says, part by part."""

from __future__ import annotations

import re

from msgspec import Struct

PARTS = ("Fires", "Arguments", "Answers", "Kind", "Not known yet", "Source", "Haraka")
"""The parts behind the first sentence, in their order."""

_PART = re.compile(rf"^({'|'.join(PARTS)}):[ \n]", re.MULTILINE)


class Manual(Struct, frozen=True):
    """What the docstring of a hook says.

    ``arguments`` and ``answers`` are (name, meaning) in their order. A hook that decides nothing has no
    ``answers``, and ``no_answers`` tells what it may return.
    """

    summary: str
    fires: str
    arguments: tuple[tuple[str, str], ...]
    answers: tuple[tuple[str, str], ...]
    no_answers: str
    kind: str
    not_known_yet: str
    source: str
    haraka: str


def read_manual(docstring: str) -> Manual:
    """Take a docstring apart. Raises ValueError if its parts are not `PARTS`, each once and in order."""
    summary, *pieces = _PART.split(docstring)
    names, texts = tuple(pieces[::2]), pieces[1::2]
    if names != PARTS:
        raise ValueError(f"the parts are {', '.join(names)}; they should be {', '.join(PARTS)}")
    fires, arguments, answers, kind, not_known_yet, source, haraka = texts
    is_list = answers.startswith(" ")
    return Manual(
        summary=_joined(summary),
        fires=_joined(fires),
        arguments=_items(arguments),
        answers=_items(answers) if is_list else (),
        no_answers="" if is_list else _joined(answers),
        kind=_joined(kind),
        not_known_yet=_joined(not_known_yet),
        source=_joined(source),
        haraka=_joined(haraka),
    )


def _items(text: str) -> tuple[tuple[str, str], ...]:
    """The lines of a list, ``name: meaning``; deeper lines go on with the one before."""
    found: list[tuple[str, str]] = []
    for line in re.sub(r"\n {5,}(?=\S)", " ", text.rstrip()).splitlines():
        name, _, meaning = line.strip().partition(": ")
        found.append((name, meaning))
    return tuple(found)


def _joined(text: str) -> str:
    return " ".join(text.split())
