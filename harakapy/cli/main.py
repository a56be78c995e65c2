"""The ``harakapy`` command. Each subcommand has a module, imported when it is called: help stays quick."""

from __future__ import annotations

import gc
import importlib
from types import ModuleType

import click

COMMANDS = {
    "serve": "Run the mail server in the foreground.",
    "init": "Make a folder with a commented configuration and an example plugin.",
    "check": "Check a configuration and its plugins without starting.",
    "plugins": "List plugins: installed, enabled, version, where from.",
    "hooks": "Show for each hook which plugins run, in order.",
    "queue": "Look at the mail that waits, and steer it.",
    "password": "Make what is stored of a password, for auth_flat_file.",
    "send": "Send the message on standard input, as sendmail does.",
}


class _LazyGroup(click.Group):
    """A group that imports a subcommand's module when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = _imported(cmd_name).command
        assert isinstance(command, click.Command), "every module of COMMANDS has one"
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _imported(command: str) -> ModuleType:
    """The module of a command. What is imported is there to stay: to look for garbage among it again and
    again would take a tenth of the time of a start.
    """
    gc.disable()
    try:
        return importlib.import_module(f"harakapy.cli.{command}")
    finally:
        gc.freeze()
        gc.enable()


@click.command(cls=_LazyGroup)
@click.version_option(package_name="harakapy", message="harakapy %(version)s")
def main() -> None:
    """harakapy: an extensible mail transfer agent.

    Without a configuration, `harakapy serve` listens on 127.0.0.1:2525 and stores mail for localhost in a
    Maildir. `harakapy init DIR` makes a configuration to start from.
    """
