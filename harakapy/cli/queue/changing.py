"""``harakapy queue`` flush, hold, release, remove, bounce, reroute."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from harakapy.cli.configuration import config_option
from harakapy.cli.queue.options import changing_options, json_option, selecting
from harakapy.cli.queue.progress import Progress
from harakapy.cli.queue.reach import ask
from harakapy.cli.queue.text import counted

_DONE = {
    "flush": "made due",
    "hold": "held",
    "release": "released",
    "remove": "removed",
    "bounce": "bounced",
    "reroute": "rerouted",
}


@click.command("flush")
@selecting
@changing_options
@json_option
@config_option
def flush(**options: Any) -> None:
    """Try what waits now, whenever it would have been due.

    Without ids and options: all of it.
    """
    _change("flush", **options)


@click.command("hold")
@selecting
@changing_options
@json_option
@config_option
def hold(**options: Any) -> None:
    """Keep messages from being tried until they are released.

    An attempt under way is finished.
    """
    _change("hold", **options)


@click.command("release")
@selecting
@changing_options
@json_option
@config_option
def release(**options: Any) -> None:
    """Let what is held or quarantined wait for its turn again."""
    _change("release", **options)


@click.command("remove")
@selecting
@changing_options
@json_option
@config_option
def remove(**options: Any) -> None:
    """Drop recipients without a word to anybody.

    With its last recipient a message is gone. To tell the sender, use bounce.
    """
    _change("remove", **options)


@click.command("bounce")
@selecting
@click.option("--reason", metavar="TEXT", help="What the sender is told.")
@changing_options
@json_option
@config_option
def bounce(*, reason: str | None, **options: Any) -> None:
    """Give messages up now, and report that to their senders."""
    _change("bounce", **options, text=reason)


@click.command("reroute")
@selecting
@click.option("--to", "next_hop", required=True, metavar="NEXT-HOP", help='A host, a URL, or "dns".')
@changing_options
@json_option
@config_option
def reroute(*, next_hop: str, **options: Any) -> None:
    """Send messages to another next hop from now on.

    NEXT-HOP is a host, HOST:PORT, or a URL such as smtp://relay.example.net:587 or lmtp:///run/lmtp.sock;
    "dns" undoes it: then the domain decides again.
    """
    _change("reroute", **options, to="" if next_hop == "dns" else next_hop)


def _change(
    operation: str,
    *,
    select: dict[str, Any],
    is_all: bool,
    dry_run: bool,
    as_json: bool,
    file: Path | None,
    **more: str | None,
) -> None:
    request = {"do": operation, "select": select, "all": is_all, "dry_run": dry_run, **more}
    with Progress("would be " + _DONE[operation] if dry_run else _DONE[operation]) as progress:
        done = ask(file, request, progress.on_part)
    if as_json:
        click.echo(json.dumps(done, indent=2))
    else:
        click.echo(_summary(operation, done))
    if "ids" in select and not done["selected"]["messages"]:
        raise click.ClickException("nothing of that is in the queue")


def _summary(operation: str, done: dict[str, Any]) -> str:
    text = f"{counted(done['recipients'], 'recipient')} of {counted(done['messages'], 'message')}"
    text += f" would be {_DONE[operation]}" if done["dry_run"] else f" {_DONE[operation]}"
    others = done["selected"]["recipients"] - done["recipients"]
    if others > 0:
        text += f"; {counted(others, 'recipient')} selected to whom that does not apply"
    return text
