"""What the commands of ``harakapy queue`` have in common: which messages are meant, and how to answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

from harakapy.config.quantity import parse_duration
from harakapy.queue import State

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from error


_PATTERNS = {
    "sender": "From this reverse-path; '<>' for reports.",
    "recipient": "To this address.",
    "domain": "To recipients of this domain.",
    "destination": "In this queue: a domain, or the next hop where one is set.",
}
_SELECTORS = (
    click.argument("ids", nargs=-1, metavar="[ID]..."),
    *(
        click.option(f"--{name}", metavar="PATTERN", help=text)
        for name, text in _PATTERNS.items()
    ),
    click.option(
        "--state", "states", multiple=True, type=click.Choice([state.value for state in State]),
        help="In this state; may be repeated.",
    ),
    click.option("--older-than", callback=_seconds, metavar="AGE", help="Accepted longer ago: 30m, 2d."),
    click.option("--newer-than", callback=_seconds, metavar="AGE", help="Accepted later: 30m, 2d."),
    click.option("--error", metavar="TEXT", help="With this text anywhere in the last reply or error."),
)  # fmt: skip


def selecting(function: _Function) -> Any:
    """Add ids and the options that select; the function gets them as ``select``, ready for a request."""

    @wraps(function)
    def with_selection(*arguments: Any, **options: Any) -> Any:
        return function(*arguments, select=_taken(options), **options)

    command: Any = with_selection
    for decorate in reversed(_SELECTORS):
        command = decorate(command)
    return command


def _taken(options: dict[str, Any]) -> dict[str, Any]:
    """The selection among the options, which are taken out of them."""
    select = {name: options.pop(name) for name in (*_PATTERNS, "error")}
    select["ids"] = list(options.pop("ids")) or None
    select["states"] = list(options.pop("states")) or None
    select["older_than_s"] = options.pop("older_than")
    select["newer_than_s"] = options.pop("newer_than")
    return {name: value for name, value in select.items() if value is not None}


def json_option(function: _Function) -> _Function:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="For programs.")(function)


def changing_options(function: _Function) -> _Function:
    """Add what all commands have that change something."""
    function = click.option("--dry-run", is_flag=True, help="Only count what would be changed.")(function)
    return click.option("--all", "is_all", is_flag=True, help="Everything in the queue.")(function)
