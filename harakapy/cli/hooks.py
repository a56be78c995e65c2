"""``harakapy hooks``."""

from __future__ import annotations

import json
import math
from pathlib import Path

import click

from harakapy.cli.configuration import chosen_file, config_option, settings_of, told_errors
from harakapy.cli.table import format_table
from harakapy.hooks import Hooks
from harakapy.log import silent_logger
from harakapy.process import Server

COLUMNS = ("hook", "plugin", "function", "role", "timeout")


@click.command("hooks")
@config_option
@click.option("--all", "show_all", is_flag=True, help="Also hooks that no plugin implements.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one list of objects.")
def command(file: Path | None, *, show_all: bool, as_json: bool) -> None:
    """Show for each hook which plugins run, in order.

    Each with its function, its time limit in seconds, and its role: inner ones answer; wrapper and around
    ones stand around all that come behind them, see their verdict and may replace it.
    """
    with told_errors():
        server = Server(settings_of(chosen_file(file)), log=silent_logger())
    rows = _rows(server.hooks, show_all=show_all)
    click.echo(json.dumps(rows, indent=2) if as_json else format_table(rows, COLUMNS))


def _rows(hooks: Hooks, *, show_all: bool) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for chain in hooks.chains:
        rows += [
            {
                "hook": chain.spec.name,
                "plugin": link.plugin,
                "function": link.function,
                "role": link.role.name.lower(),
                "timeout": None if math.isinf(link.timeout_s) else link.timeout_s,
            }
            for link in chain.order
        ]
        if show_all and not chain:
            rows.append({**dict.fromkeys(COLUMNS), "hook": chain.spec.name})
    return rows
