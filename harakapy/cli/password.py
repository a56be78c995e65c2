"""``harakapy password``."""

from __future__ import annotations

import json
import sys
from typing import Final

import click

from harakapy.smtp.scram_secret import ScramSecret

try:
    import argon2
except ImportError:  # the extra harakapy[auth] is not installed
    HAS_ARGON2 = False
else:
    HAS_ARGON2 = True

MAX_OCTETS: Final = 1024
"""The longest password that a client can log in with."""
ARGON2ID, SCRAM = "argon2id", "scram-sha-256"


@click.command("password")
@click.argument("user", default="")
@click.option(
    "--scheme",
    type=click.Choice([ARGON2ID, SCRAM]),
    default=ARGON2ID,
    show_default=True,
    help="A hash, with which PLAIN and LOGIN work, or a SCRAM secret, with which SCRAM does as well.",
)
@click.option("--toml", "as_toml", is_flag=True, help="Write a line for a TOML file; needs USER.")
def command(user: str, scheme: str, *, as_toml: bool) -> None:
    """Make what is stored of a password, for the plugin auth_flat_file.

    Asks for the password, or takes the first line of standard input if that is no terminal. With USER it
    writes the whole line for the file of users.
    """
    if as_toml and not user:
        raise click.UsageError("--toml needs a USER")
    if any(character in user for character in ":\r\n") and not as_toml:
        raise click.UsageError("a USER with a colon or a line break fits into a TOML file only: add --toml")
    if scheme == ARGON2ID and not HAS_ARGON2:
        raise click.ClickException(
            'argon2id needs the extra harakapy[auth]: pip install "harakapy[auth]", '
            f"or choose --scheme {SCRAM}"
        )
    secret = _secret(_password(), scheme)
    if as_toml:
        click.echo(f"{json.dumps(user)} = {json.dumps(secret)}")
    else:
        click.echo(f"{user}:{secret}" if user else secret)


def _password() -> str:
    """The password; it is never an argument, which everybody on the machine could read."""
    if sys.stdin.isatty():
        text: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        raw = sys.stdin.buffer.readline().removesuffix(b"\n").removesuffix(b"\r")
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise click.ClickException("the password on standard input is not UTF-8") from None
    if not text or "\0" in text or len(text.encode()) > MAX_OCTETS:
        raise click.ClickException(f"a password has 1 to {MAX_OCTETS} octets and no NUL; nobody could log in")
    return text


def _secret(password: str, scheme: str) -> str:
    if scheme == ARGON2ID:
        return argon2.PasswordHasher().hash(password)
    try:
        return ScramSecret.derive(password).to_text()
    except ValueError as error:
        raise click.ClickException(f"SCRAM cannot have this password: {error}") from None
