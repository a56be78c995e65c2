"""``harakapy init``."""

from __future__ import annotations

from pathlib import Path

import click

from harakapy.cli.configuration import DEFAULT_FILE, told_errors
from harakapy.config.place import local_host_name
from harakapy.config.reference import example_toml

PLUGIN_FILE = Path("plugins/no_spam_please.py")
PLUGIN = '''\
"""An example plugin: refuses senders whose local part says that they do not want an answer."""

from harakapy import DENY, Plugin, PluginConfig, hookimpl


class NoSpamPleaseConfig(PluginConfig):
    local_parts: list[str] = ["noreply", "no-reply"]


class NoSpamPlease(Plugin[NoSpamPleaseConfig]):
    @hookimpl
    async def hook_mail(self, connection, sender):
        if sender.user.lower() in self.config.local_parts:
            return DENY("5.7.1 We like to answer our mail, so send it from an address that takes answers")
'''


@click.command("init")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
def command(directory: Path) -> None:
    """Make DIRECTORY with a commented configuration and an example plugin.

    Nothing that is there is overwritten.
    """
    hosts = list(dict.fromkeys(["localhost", local_host_name()]))
    configuration = example_toml(
        {
            "plugins": [str(PLUGIN_FILE), "rcpt_to_in_host_list", "queue_maildir"],
            "plugin": {
                "no_spam_please": {"local_parts": ["noreply", "no-reply"]},
                "rcpt_to_in_host_list": {"hosts": hosts},
                "queue_maildir": {"path": "maildir/{domain}/{user}"},
            },
        }
    )
    files = {directory / DEFAULT_FILE: configuration, directory / PLUGIN_FILE: PLUGIN}
    existing = [str(file) for file in files if file.exists()]
    if existing:
        raise click.ClickException(
            f"{' and '.join(existing)} already exist; move them away, or choose another folder"
        )
    with told_errors():
        for file, text in files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            click.echo(f"wrote {file}")
    click.echo(f"Start it with: harakapy serve -c {directory / DEFAULT_FILE}")
