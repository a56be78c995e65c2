"""``harakapy send``: the command, and what it says by its exit status."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn

import click
import trio

from harakapy.cli.configuration import chosen_file, settings_of
from harakapy.cli.queue.reach import become_owner
from harakapy.cli.send.message import BadAddress, Caller
from harakapy.cli.send.options import WrongUse, parse_options
from harakapy.cli.send.submit import MessageTooLarge, store, take, wake
from harakapy.cli.send.text import HeaderTooLarge
from harakapy.config import ConfigError, Settings
from harakapy.queue import StoreError

_OWN_OPTIONS: Final = ("--config", "--help")


class _SendmailCommand(click.Command):
    """A command whose arguments are read as sendmail reads them, behind those of our own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own: list[str] = []
        rest = list(args)
        while rest and rest[0].partition("=")[0] in _OWN_OPTIONS:
            own.append(rest.pop(0))
            if own[-1] == "--config" and rest:
                own.append(rest.pop(0))
        try:
            super().parse_args(ctx, own)
        except click.UsageError as error:
            error.exit_code = os.EX_USAGE  # type: ignore[misc]  # click reads it from the instance
            raise
        ctx.params["arguments"] = rest
        return []

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-t] [-i] [-f SENDER] [-F NAME] [--] [RECIPIENT]..."]


@click.command("send", cls=_SendmailCommand)
@click.option(
    "--config", "file", type=click.Path(dir_okay=False, path_type=Path), envvar="HARAKAPY_CONFIG",
    show_envvar=True, help="The configuration; by default ./harakapy.toml. Before all other options.",
)  # fmt: skip
def command(*, file: Path | None, arguments: list[str]) -> None:
    """Send the message on standard input, as sendmail does.

    It is stored durably when this ends with status 0, whether the server runs or not. -t takes the recipients
    from To, Cc and Bcc. -i (or -oi) reads past a lone dot. -f sets the reverse-path, -F the name for From.
    -N, -R and -V ask for reports. -v tells the id. Other options of sendmail are ignored.

    The exit status is one of sysexits(3): 64 wrong use, 65 a bad address or message, 75 try again later, 77
    not permitted, 78 bad configuration.
    """
    with _told():
        options = parse_options(arguments)
        settings = settings_of(chosen_file(file))
        caller = _caller(settings.hostname)
        _go_on_as_owner(settings)
        submission = take(sys.stdin.buffer, options, caller, settings)
        with submission.content:
            trio.run(store, submission, settings)
        wake(settings.state_dir)
    if options.is_verbose:
        click.echo(f"queued as {submission.message_id}")


def _go_on_as_owner(settings: Settings) -> None:
    """Be who the server is, if we may: the queue may be there already, or at least where it is to be."""
    for directory in (settings.queue_dir, settings.state_dir):
        if directory.exists():
            become_owner(directory)
            return


def _caller(hostname: str) -> Caller:
    uid = os.getuid()
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:  # a user of a container without a name
        return Caller(uid, str(uid), "", hostname)
    full_name = entry.pw_gecos.partition(",")[0].replace("&", entry.pw_name.capitalize())
    return Caller(uid, entry.pw_name, os.environ.get("NAME") or full_name, hostname)


@contextmanager
def _told() -> Iterator[None]:
    """Say what went wrong, with the exit status that callers of sendmail know."""
    try:
        yield
    except WrongUse as error:
        _fail(os.EX_USAGE, error)
    except (BadAddress, HeaderTooLarge, MessageTooLarge) as error:
        _fail(os.EX_DATAERR, error)
    except ConfigError as error:
        _fail(os.EX_CONFIG, error)
    except (StoreError, OSError) as error:
        is_forbidden = isinstance(error, PermissionError) or isinstance(error.__cause__, PermissionError)
        _fail(os.EX_NOPERM if is_forbidden else os.EX_TEMPFAIL, error)


def _fail(status: int, error: Exception) -> NoReturn:
    click.echo(f"harakapy send: {error}; the message was not sent", err=True)
    sys.exit(status)
