"""``harakapy check``."""

from __future__ import annotations

from pathlib import Path

import click

from harakapy.cli.configuration import DEFAULT_FILE, chosen_file, config_option, load_settings, told_errors
from harakapy.log import silent_logger
from harakapy.process import Server


@click.command("check")
@config_option
def command(file: Path | None) -> None:
    """Check a configuration and its plugins without starting.

    Tells everything that is wrong at once; exit status 1 if anything is. Warns of what works and yet is
    hardly meant, such as no plugin that takes mail.
    """
    path = chosen_file(file)
    if path is None:
        raise click.ClickException(
            f"there is no {DEFAULT_FILE} here: name a file with -c FILE, or make one with harakapy init DIR"
        )
    with told_errors():
        server = Server(load_settings(path), log=silent_logger())
    for warning in server.warnings():
        click.echo(f"warning: {warning}", err=True)
    for note in server.notes_on_settings():
        click.echo(f"note: {note}", err=True)
    names = ", ".join(plugin.name for plugin in server.plugins) or "none"
    click.echo(f"{path} is fine. Plugins: {names}.")
