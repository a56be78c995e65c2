"""``harakapy queue`` and its commands."""

from __future__ import annotations

import click

from harakapy.cli.queue.changing import bounce, flush, hold, release, remove, reroute
from harakapy.cli.queue.looking import list_messages, show, stats


@click.group("queue")
def command() -> None:
    """Look at the mail that waits, and steer it.

    Works on a running server, through its control socket, and on a stopped one; as root, or as the user that
    the server runs as. In patterns * stands for any characters.
    """


for _each in (list_messages, show, stats, flush, hold, release, remove, bounce, reroute):
    command.add_command(_each)
