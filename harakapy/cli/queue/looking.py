"""``harakapy queue`` list, show, stats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from harakapy.cli.configuration import config_option
from harakapy.cli.queue.options import json_option, selecting
from harakapy.cli.queue.reach import ask
from harakapy.cli.queue.text import Listing, message_text, stats_text


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
    if as_json:
        _list_as_json(file, request)
        return
    listing = Listing(click.echo)
    done = ask(file, request, lambda part: listing.add(part["message"]))
    listing.end(done)


def _list_as_json(file: Path | None, request: dict[str, Any]) -> None:
    """One object a line, as they come: a queue may be larger than memory."""
    separator = "[\n"

    def echo(part: dict[str, Any]) -> None:
        nonlocal separator
        click.echo(separator + json.dumps(part["message"]), nl=False)
        separator = ",\n"

    ask(file, request, echo)
    click.echo("[]" if separator == "[\n" else "\n]")


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
