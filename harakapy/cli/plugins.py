"""``harakapy plugins``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from harakapy.cli.configuration import chosen_file, config_option, settings_of, told_errors
from harakapy.cli.table import format_table
from harakapy.hooks import installed_plugins


@click.command("plugins")
@config_option
@click.option("--json", "as_json", is_flag=True, help="For programs: one list of objects.")
def command(file: Path | None, *, as_json: bool) -> None:
    """List plugins: those that the configuration enables, in their order, then others that are installed.

    What is installed and not enabled is not loaded.
    """
    with told_errors():
        enabled = list(settings_of(chosen_file(file)).plugins)
    rows = _rows(enabled)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        click.echo(format_table(rows, ["name", "enabled", "version", "package", "target"]))


def _rows(enabled: list[str]) -> list[dict[str, object]]:
    """One row a plugin: those enabled in their order, then the others by name."""
    installed = {plugin.name: plugin for plugin in installed_plugins()}
    rows: list[dict[str, object]] = []
    for name in [*enabled, *(name for name in installed if name not in enabled)]:
        plugin = installed.get(name)
        rows.append(
            {
                "name": name,
                "enabled": enabled.index(name) + 1 if name in enabled else None,
                "version": plugin.version if plugin else None,
                "package": plugin.package if plugin else None,
                "target": plugin.target if plugin else None,
            }
        )
    return rows
