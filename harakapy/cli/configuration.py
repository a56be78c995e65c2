"""What subcommands share: the -c option, reading settings, and errors as people want to read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from harakapy.config import ConfigError, Settings, load
from harakapy.config.place import local_host_name
from harakapy.hooks import HookFault, RegistrationError
from harakapy.net import Endpoint, ListenError
from harakapy.outbound import NextHop
from harakapy.process import StartRefused

DEFAULT_FILE = Path("harakapy.toml")
MAILDIR = "maildir/{domain}/{user}"

_Function = TypeVar("_Function", bound=Callable[..., Any])


def config_option(function: _Function) -> _Function:
    """Add ``-c FILE``, by default harakapy.toml of the current folder if there is one."""
    return click.option(
        "-c",
        "--config",
        "file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="The configuration; by default ./harakapy.toml, if it is there.",
    )(function)


def chosen_file(file: Path | None) -> Path | None:
    """The configuration file to read; None if there is none and none was named."""
    return file or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)


def load_settings(file: Path) -> Settings:
    """Read a configuration file. Raises ConfigError."""
    return load(file, check_address=Endpoint.parse, check_next_hop=NextHop.parse)


def own_mail() -> dict[str, Any]:
    """What is active in a first configuration: mail for this machine's own names goes into Maildirs."""
    hosts = list(dict.fromkeys(["localhost", local_host_name()]))
    return {
        "plugins": ["rcpt_to_in_host_list", "queue_maildir"],
        "plugin": {"rcpt_to_in_host_list": {"hosts": hosts}, "queue_maildir": {"path": MAILDIR}},
    }


def settings_of(file: Path | None) -> Settings:
    """The settings in force with this file, or with none: `own_mail` then. Raises ConfigError."""
    return Settings.default(**own_mail()) if file is None else load_settings(file)


@contextmanager
def told_errors() -> Iterator[None]:
    """Turn the errors that an operator can mend into messages and exit status 1."""
    try:
        yield
    except ConfigError as error:
        raise click.ClickException("\n".join(["the configuration cannot be used:", str(error)])) from error
    except (RegistrationError, ListenError, StartRefused, HookFault, OSError) as error:
        raise click.ClickException(str(error)) from error
