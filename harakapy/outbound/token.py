"""Access tokens to log in with at hosts (XOAUTH2, OAUTHBEARER): from a command or a file, kept while good.

How a token is got (refresh tokens, client secrets, a vault) is different everywhere and is the command's
business. It writes the token alone, or the JSON that OAuth servers give (RFC 6749 5.1): ``access_token`` and,
if it is known, ``expires_in`` seconds.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio
from msgspec import Struct

from harakapy.outbound.hop import NextHop

__all__ = ["NoToken", "Tokens"]

COMMAND_TIMEOUT_S: Final = 30.0
"""For a command to write its token: it asks a server over HTTPS as a rule. Picked."""
EXPIRY_MARGIN_S: Final = 60.0
"""A token that expires sooner is not used any more: it must last until the host has looked at it. Picked."""
MAX_OUTPUT_OCTETS: Final = 65536
"""Of a file or command; a token that can be sent has at most 12288 octets (RFC 4954 4)."""

_TOKEN = re.compile(r"[!-~]+")


class NoToken(Exception):
    """There is no token to be had; ``reason`` says why, and nothing of what the command wrote."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Token(Struct, frozen=True):
    text: str
    expires: float | None = None

    def __repr__(self) -> str:  # without the text
        return f"{type(self).__name__}(expires={self.expires!r})"


class Tokens:
    """The tokens of all next hops; each command runs once at a time, however many sessions wait for it.

    ``now`` is a wall clock.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._kept: dict[tuple[str, ...], _Token] = {}
        self._locks: dict[tuple[str, ...], trio.Lock] = {}

    async def get(self, hop: NextHop) -> str:
        """The token for a next hop: a kept one if it is good for a while, else a new one. Raises NoToken."""
        if hop.token_command:
            async with self._locks.setdefault(hop.token_command, trio.Lock()):
                return await self._from_command(hop.token_command)
        if hop.token_file is not None:
            return self._parse(await _read(hop.token_file), str(hop.token_file)).text
        raise NoToken("neither a command nor a file gives a token")

    def refuse(self, hop: NextHop, token: str) -> None:
        """A host has refused this token: it is given again only if command or file still say so."""
        kept = self._kept.get(hop.token_command)
        if kept is not None and kept.text == token:
            del self._kept[hop.token_command]

    async def _from_command(self, command: tuple[str, ...]) -> str:
        kept = self._kept.get(command)
        if kept is None or (kept.expires is not None and kept.expires - EXPIRY_MARGIN_S <= self._now()):
            kept = self._kept[command] = self._parse(await _run(command), command[0])
        return kept.text

    def _parse(self, output: bytes, source: str) -> _Token:
        text = output[:MAX_OUTPUT_OCTETS].decode("utf-8", "replace").strip()
        expires_in: object = None
        if text.startswith("{"):
            try:
                fields = json.loads(text)
            except ValueError:
                raise NoToken(f"{source} gave broken JSON") from None
            text, expires_in = str(fields.get("access_token", "")), fields.get("expires_in")
        if not _TOKEN.fullmatch(text):
            raise NoToken(f"{source} gave no token")
        try:
            return _Token(text, None if expires_in is None else self._now() + float(str(expires_in)))
        except ValueError:
            raise NoToken(f"{source} gave an expires_in that is no number") from None


async def _read(path: Path) -> bytes:
    try:
        return await trio.Path(path).read_bytes()
    except OSError as cause:
        raise NoToken(f"{path} cannot be read: {cause.strerror}") from cause


async def _run(command: tuple[str, ...]) -> bytes:
    try:
        with trio.fail_after(COMMAND_TIMEOUT_S):
            # What it writes to standard error goes where ours goes: to the operator.
            done = await trio.run_process(command, capture_stdout=True, check=False, deliver_cancel=_kill)
    except trio.TooSlowError as cause:
        raise NoToken(f"{command[0]} took longer than {COMMAND_TIMEOUT_S:g} s") from cause
    except OSError as cause:
        raise NoToken(f"{command[0]} cannot be run: {cause.strerror}") from cause
    if done.returncode:
        raise NoToken(f"{command[0]} ended with status {done.returncode}")
    assert isinstance(done.stdout, bytes)
    return done.stdout


async def _kill(process: trio.Process) -> None:
    """End a command that had its time, without asking: nobody waits for what it does."""
    process.kill()
