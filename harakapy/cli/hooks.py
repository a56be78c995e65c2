"""``harakapy hooks``."""

from __future__ import annotations

import json
import math
from pathlib import Path

import click

from harakapy.cli.configuration import chosen_file, config_option, load_settings, told_errors
from harakapy.cli.table import format_table
from harakapy.hooks import Hooks
from harakapy.log import silent_logger
from harakapy.process import Server


@click.command("hooks")
@config_option
@click.option("--all", "show_all", is_flag=True, help="Also hooks that no plugin implements.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one list of objects.")
def command(file: Path | None, *, show_all: bool, as_json: bool) -> None:
    """Show for each hook which plugins run, in order, with the function and its time limit in seconds."""
    path = chosen_file(file)
    if path is None:
        raise click.ClickException("hooks needs a configuration: name it with -c FILE")
    with told_errors():
        server = Server(load_settings(path), log=silent_logger())
    rows = _rows(server.hooks)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    if show_all:
        rows += [_empty_row(chain.spec.name) for chain in server.hooks.chains if not chain]
    click.echo(format_table(rows, ["hook", "plugin", "function", "kind", "timeout"]))


def _rows(hooks: Hooks) -> list[dict[str, object]]:
    return [
        {
            "hook": chain.spec.name,
            "plugin": link.plugin,
            "function": link.function,
            "kind": link.role.name.lower(),
            "timeout": None if math.isinf(link.timeout_s) else link.timeout_s,
        }
        for chain in hooks.chains
        for link in chain.order
    ]


def _empty_row(hook: str) -> dict[str, object]:
    return {"hook": hook, "plugin": None, "function": None, "kind": None, "timeout": None}
