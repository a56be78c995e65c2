"""The options of sendmail, as programs have given them for forty years.

Single letters, in one word or several, a value behind its letter or in the next word. What says how sendmail
itself is to work (queueing, configuration, error modes) is understood and ignored, as other stand-ins do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from msgspec import Struct, field

from harakapy.smtp.dsn import Notify, Ret, encode_xtext, parse_envelope_id, parse_notify

__all__ = ["SendOptions", "WrongUse", "parse_options"]

_WITH_VALUE: Final = frozenset("ABCDFLMNORVXbefhopr")
_WITH_OPTIONAL_VALUE: Final = frozenset("dq")  # only in the same word: -d0.4, -q15m

_MODES: Final = {
    "d": "to run the server, use harakapy serve",
    "D": "to run the server, use harakapy serve",
    "s": "SMTP is spoken at the addresses where the server listens",
    "p": "to see the queue, use harakapy queue list",
    "i": "there is no database of aliases",
    "v": "addresses are not verified here",
    "t": "addresses are not tested here",
}


class WrongUse(Exception):
    """The command line makes no sense; the text says why."""


class SendOptions(Struct):
    """What the command line asks for."""

    recipients: list[str] = field(default_factory=list)
    sender: str | None = None
    """The reverse-path; None for the user who calls."""
    full_name: str | None = None
    """For the From field, if the message has none."""
    are_recipients_in_header: bool = False
    is_dot_end: bool = True
    """Whether a line with nothing but a dot ends the message."""
    notify: frozenset[Notify] | None = None
    ret: Ret | None = None
    envid: str | None = None
    is_verbose: bool = False


def parse_options(arguments: Sequence[str]) -> SendOptions:
    """Read a command line; options end before the first recipient, or at ``--``. Raises WrongUse.

    A recipient that begins with a dash is none, unless it stands behind ``--``: so who hands over an address
    from a stranger does not hand over an option.
    """
    options = SendOptions()
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        if word.startswith("--"):
            raise WrongUse(f"there is no option {word}")
        for letter, value in _letters(word, rest):
            _apply(options, letter, value)
    options.recipients = rest
    return options


def _letters(word: str, rest: list[str]) -> Iterator[tuple[str, str]]:
    """The options in one word, each with its value; a value in the next word is taken from ``rest``."""
    position = 1
    while position < len(word):
        letter = word[position]
        position += 1
        if letter in _WITH_OPTIONAL_VALUE or (letter in _WITH_VALUE and position < len(word)):
            yield letter, word[position:]
            return
        if letter in _WITH_VALUE:
            if not rest:
                raise WrongUse(f"-{letter} needs a value")
            yield letter, rest.pop(0)
            return
        yield letter, ""


def _apply(options: SendOptions, letter: str, value: str) -> None:
    match letter:
        case "f" | "r":
            options.sender = value
        case "F":
            options.full_name = value
        case "t":
            options.are_recipients_in_header = True
        case "i":
            options.is_dot_end = False
        case "o" if value in ("i", "itrue"):
            options.is_dot_end = False
        case "v":
            options.is_verbose = True
        case "N" | "R" | "V":
            _apply_report(options, letter, value)
        case "b" if value != "m":
            raise WrongUse(f"-b{value}: {_MODES.get(value, 'there is no such mode')}")
        case "c":  # else its file would pass for a recipient
            raise WrongUse("-c FILE, the configuration, comes before all other options")
        case "q":
            raise WrongUse("-q: to try what waits, use harakapy queue flush")


def _apply_report(options: SendOptions, letter: str, value: str) -> None:
    readers: dict[str, tuple[str, Any]] = {
        "N": ("notify", parse_notify),
        "R": ("ret", _ret),
        "V": ("envid", lambda text: parse_envelope_id(encode_xtext(text))),
    }
    name, read = readers[letter]
    try:
        setattr(options, name, read(value))
    except ValueError as error:
        raise WrongUse(f"-{letter} {value}: {error}") from error


def _ret(value: str) -> Ret:
    found = {"FULL": Ret.FULL, "HDRS": Ret.HDRS}.get(value.upper())
    if found is None:
        raise ValueError("it must be full or hdrs")
    return found
