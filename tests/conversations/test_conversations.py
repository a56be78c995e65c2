"""Whole dialogues, each in a text file beside this one.

Lines that begin with ``#!`` are TOML: settings (``smtp.max_errors = 3``), ``listener``, a table of what
``[[listen]]`` says of where the client comes in, and ``messages``, the number of messages that must have been
kept. The server takes mail for example.com, and keeps it in memory.
"""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from harakapy import (
    CONT,
    DENY,
    OK,
    Action,
    Address,
    Connection,
    ListenSettings,
    Plugin,
    Server,
    Settings,
    Verdict,
    hookimpl,
)
from harakapy.log import silent_logger
from harakapy.testing import connect, play

FOLDER = Path(__file__).parent
FILES = sorted(FOLDER.glob("*.txt"))


class Keep(Plugin):
    """Takes mail for example.com and keeps it; some local parts have a fate of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[bytes] = []

    @hookimpl
    def hook_rcpt(self, recipient: Address) -> Verdict | None:
        if recipient.user.startswith("refuse"):
            return DENY("5.1.1 nobody of that name")
        return OK if recipient.host == "example.com" or not recipient.host else CONT

    @hookimpl
    def hook_mail(self, connection: Connection, sender: Address) -> Verdict | None:
        if sender.user in Action.__members__:
            return Verdict(Action[sender.user])
        return None

    @hookimpl
    def hook_queue(self, connection: Connection) -> Verdict:
        transaction = connection.transaction
        assert transaction is not None
        self.messages.append(b"".join(transaction.content.blocks()))
        return OK


def test_there_are_dialogues() -> None:
    assert len(FILES) > 20


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_dialogue(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    directives = tomllib.loads("\n".join(line[2:] for line in text.splitlines() if line.startswith("#!")))
    expected: int | None = directives.pop("messages", None)
    listener = ListenSettings(address="127.0.0.1:25", **directives.pop("listener", {}))
    keep = Keep()
    async with (
        Server(_settings(directives, tmp_path), plugins=[keep], log=silent_logger()).running() as server,
        connect(server, listen=listener) as client,
    ):
        await play(text, client, timeout_s=5)
    if expected is not None:
        assert len(keep.messages) == expected


def _settings(directives: dict[str, Any], folder: Path) -> Settings:
    return Settings.default(
        **{
            "hostname": "mx.test",
            "state_dir": str(folder),
            "listen": [],
            "dns": {"rdns": False},
            **directives,
        }
    )
