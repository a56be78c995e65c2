"""``harakapy serve``."""

from __future__ import annotations

import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path

import click

from harakapy.cli.configuration import MAILDIR, chosen_file, config_option, settings_of, told_errors
from harakapy.config import ListenSettings, Settings
from harakapy.net import Endpoint, EndpointError
from harakapy.process import Server
from harakapy.process.handover import Handover
from harakapy.process.run import run


@click.command("serve")
@config_option
@click.option(
    "--listen",
    "addresses",
    multiple=True,
    metavar="HOST:PORT",
    help="Listen here, not where the configuration says; may be repeated. Port 0: any free one.",
)
def command(file: Path | None, addresses: tuple[str, ...]) -> None:
    """Run the mail server in the foreground.

    Without a configuration it listens on 127.0.0.1:2525, takes mail for localhost and this host's own name
    into a Maildir, and relays for nobody. SIGTERM stops it orderly, SIGHUP reloads the configuration; with
    several workers, SIGUSR2 restarts it without refusing a connection.
    """
    path = chosen_file(file)
    with told_errors():
        settings = _settings(path, addresses)
        server = Server(settings)
        server.owns_state = True
        load = partial(_settings, path, addresses)
        when_ready = None if path else partial(_introduce, server)
        handover = Handover.received()
        if settings.worker_count > 1 or handover is not None:
            from harakapy.process.supervisor import Supervisor  # one process does without

            check = [sys.executable, "-m", "harakapy", "check", "-c", str(path)] if path else []
            Supervisor(server, load, rehearsal=check, handover=handover, when_ready=when_ready).run()
        else:
            run(server, load, when_ready=when_ready)


def _settings(file: Path | None, addresses: tuple[str, ...]) -> Settings:
    """The settings of the file, or those of a server without one; ``addresses`` win. Raises ConfigError."""
    settings = settings_of(file)
    if not addresses:
        return settings
    try:
        listen = tuple(ListenSettings(address=str(Endpoint.parse(address))) for address in addresses)
    except EndpointError as error:
        raise click.BadParameter(str(error), param_hint="--listen") from error
    return settings.model_copy(update={"listen": listen})


def _introduce(server: Server) -> None:
    """Three lines for somebody who has just started harakapy for the first time."""
    settings = server.settings
    addresses = ", ".join(map(str, server.addresses))
    hosts = " and ".join(settings.plugin_table("rcpt_to_in_host_list").values["hosts"])
    click.echo(f"harakapy {version('harakapy')} listens on {addresses}.")
    click.echo(f"Mail for {hosts} goes to {settings.state_dir / MAILDIR}; nothing is relayed.")
    click.echo("Stop it with Ctrl-C. `harakapy init DIR` makes a configuration of your own.")
