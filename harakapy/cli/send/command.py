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

from harakapy.cli.send.message import BadAddress, Caller
from harakapy.cli.send.options import WrongUse, parse_options
from harakapy.cli.send.submit import MessageTooLarge, take
from harakapy.cli.send.text import HeaderTooLarge
from harakapy.cli.send.way import NoServer, find_way
from harakapy.config import ConfigError
from harakapy.process.intake_client import IntakeLost
from harakapy.process.intake_wire import IntakeProblem, IntakeRefused
from harakapy.queue import StoreError

_OWN_OPTIONS: Final = ("-c", "--config", "--socket", "--help")
_WITH_VALUE: Final = ("-c", "--config", "--socket")


class _SendmailCommand(click.Command):
    """A command whose arguments are read as sendmail reads them, behind those of our own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own: list[str] = []
        rest = list(args)
        while rest and rest[0].partition("=")[0] in _OWN_OPTIONS:
            own.append(rest.pop(0))
            if own[-1] in _WITH_VALUE and rest:
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
    "-c",
    "--config",
    "file",
    type=click.Path(dir_okay=False, readable=False, path_type=Path),
    envvar="HARAKAPY_CONFIG",
    show_envvar=True,
    help="The configuration; by default ./harakapy.toml. Before all other options.",
)
@click.option(
    "--socket",
    type=click.Path(readable=False, path_type=Path),
    envvar="HARAKAPY_SOCKET",
    show_envvar=True,
    help="The server's socket for users, instead of that of the configuration.",
)
def command(*, file: Path | None, socket: Path | None, arguments: list[str]) -> None:
    """Send the message on standard input, as sendmail does.

    It is stored durably when this ends with status 0. A server that runs takes it from any user; while it is
    stopped, root and its own user can send. -t takes the recipients from To, Cc and Bcc. -i (or -oi) reads
    past a lone dot. -f sets the reverse-path, -F the name for From. -N, -R and -V ask for reports. -v tells
    the id. Other options of sendmail are ignored.

    The exit status is one of sysexits(3): 64 wrong use, 65 a bad address or message, 75 try again later, 77
    not permitted, 78 bad configuration.
    """
    with _told():
        options = parse_options(arguments)
        way = find_way(file, socket)
        taken = take(
            sys.stdin.buffer, options, _caller(way.terms.hostname), way.terms,
            spool_dir=way.spool_dir, spool_after=way.spool_after,
        )  # fmt: skip
        with taken.content:
            message_id = way.send(taken.submission, taken.content, is_7bit=taken.is_7bit)
    if options.is_verbose:
        click.echo(f"queued as {message_id}")


def _caller(hostname: str) -> Caller:
    uid = os.getuid()
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:  # a user of a container without a name
        return Caller(uid, "", hostname)
    full_name = entry.pw_gecos.partition(",")[0].replace("&", entry.pw_name.capitalize())
    return Caller(uid, os.environ.get("NAME") or full_name, hostname)


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
    except NoServer as error:
        _fail(os.EX_NOPERM if error.is_forbidden else os.EX_TEMPFAIL, error)
    except IntakeRefused as error:
        is_final = error.problem is IntakeProblem.REFUSED
        _fail(os.EX_DATAERR if is_final else os.EX_TEMPFAIL, error)
    except IntakeLost as error:
        _fail(os.EX_TEMPFAIL, error, "whether the message was taken is not known")
    except (StoreError, OSError) as error:
        is_forbidden = isinstance(error, PermissionError) or isinstance(error.__cause__, PermissionError)
        _fail(os.EX_NOPERM if is_forbidden else os.EX_TEMPFAIL, error)


def _fail(status: int, error: Exception, outcome: str = "the message was not sent") -> NoReturn:
    click.echo(f"harakapy send: {error}; {outcome}", err=True)
    sys.exit(status)
