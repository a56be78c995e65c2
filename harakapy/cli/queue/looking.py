"""``harakapy queue`` list, show, stats."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from harakapy.cli.configuration import config_option
from harakapy.cli.queue.options import json_option, selecting
from harakapy.cli.queue.reach import ask
from harakapy.cli.queue.text import BLOCK, Listing, message_text, stats_text


@click.command("list")
@selecting
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="At most so many messages.")
@json_option
@config_option
def list_messages(*, select: dict[str, Any], limit: int | None, as_json: bool, file: Path | None) -> None:
    """List messages, the oldest first, each with its recipients.

    Of a message with many recipients some are listed. With --json it is a list of objects, one a line.
    """
    request = {"do": "list", "select": select, "limit": limit}
    with _uncollected():
        if as_json:
            _list_as_json(file, request)
            return
        listing = Listing(click.echo)
        done = ask(file, request, lambda part: listing.add(part["message"]))
        listing.end(done)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Look for no garbage that refers to itself: a list has none, and it took a third of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _list_as_json(file: Path | None, request: dict[str, Any]) -> None:
    """One object a line, block by block as they come: a queue may be larger than memory."""
    lines: list[str] = []
    begin = "[\n"

    def echo() -> None:
        nonlocal begin
        click.echo(begin + ",\n".join(lines), nl=False)
        lines.clear()
        begin = ",\n"

    def add(part: dict[str, Any]) -> None:
        lines.append(json.dumps(part["message"]))
        if len(lines) >= BLOCK:
            echo()

    ask(file, request, add)
    if lines:
        echo()
    click.echo("[]" if begin == "[\n" else "\n]")


@click.command("show")
@click.argument("message_id", metavar="ID")
@json_option
@config_option
def show(*, message_id: str, as_json: bool, file: Path | None) -> None:
    """Show one message: envelope, header, and why it waits.

    For each destination: what holds it up, what the next hop said last, and when it is tried next.
    """
    found = ask(file, {"do": "show", "id": message_id})
    click.echo(json.dumps(found, indent=2) if as_json else message_text(found))


@click.command("stats")
@click.option(
    "--destinations", type=click.IntRange(min=1, max=1000), default=20, show_default=True,
    help="How many destinations to count one by one, the fullest first.",
)  # fmt: skip
@json_option
@config_option
def stats(*, destinations: int, as_json: bool, file: Path | None) -> None:
    """Count what is in the queue, by state and by destination."""
    found = ask(file, {"do": "stats", "destinations": destinations})
    click.echo(json.dumps(found, indent=2) if as_json else stats_text(found))
