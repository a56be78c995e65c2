"""``harakapy init``."""

from __future__ import annotations

from pathlib import Path

import click

from harakapy.cli.configuration import DEFAULT_FILE, own_mail, told_errors
from harakapy.config.place import local_host_name
from harakapy.config.reference import example_toml

PLUGIN_FILE = Path("plugins/moved.py")
TLS_FOLDER = Path("tls")
PLUGIN = '''\
"""An example plugin: tells those who write to an address that is no longer in use where to write instead."""

from harakapy import DENY, Plugin, PluginConfig, hookimpl


class MovedConfig(PluginConfig):
    addresses: dict[str, str] = {}


class Moved(Plugin[MovedConfig]):
    @hookimpl
    async def hook_rcpt(self, connection, recipient):
        new_address = self.config.addresses.get(recipient.address)
        if new_address:
            return DENY(f"5.1.6 This address is no longer in use, please write to {new_address}")
'''


@click.command("init")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--self-signed", is_flag=True, help="Also make a self-signed certificate, so that TLS is offered."
)
def command(directory: Path, *, self_signed: bool) -> None:
    """Make DIRECTORY with a commented configuration and an example plugin.

    The configuration is that of `harakapy serve` without one: mail for this machine's own names goes into
    Maildirs. Nothing that is there is overwritten.
    """
    hostname = local_host_name()
    files = {
        directory / DEFAULT_FILE: _configuration(hostname if self_signed else ""),
        directory / PLUGIN_FILE: PLUGIN,
    }
    existing = [str(file) for file in files if file.exists()]
    if existing:
        raise click.ClickException(
            f"there already: {' and '.join(existing)}; nothing was written. Move it away, or choose another "
            "folder"
        )
    with told_errors():
        if self_signed:
            from harakapy.net.tls.self_signed import make_self_signed  # cryptography is slow to import

            pair = make_self_signed(hostname, directory / TLS_FOLDER)
            click.echo(f"wrote {pair.certificate_file} and {pair.key_file}")
        for file, text in files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            click.echo(f"wrote {file}")
    click.echo(f"Start it with: harakapy serve -c {directory / DEFAULT_FILE}")


def _configuration(certified_name: str) -> str:
    """The text of the configuration, with a certificate for that name unless it is empty."""
    values = own_mail()
    if certified_name:
        files = TLS_FOLDER / certified_name
        values["tls"] = {"certificates": [{"certificate": f"{files}.pem", "key": f"{files}.key"}]}
    values["plugins"].insert(0, str(PLUGIN_FILE))
    values["plugin"] = {"moved": {"addresses": {"old@localhost": "new@localhost"}}, **values["plugin"]}
    return example_toml(values)
