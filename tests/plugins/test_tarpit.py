import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import pytest
import trio
from trio.testing import MockClock

from harakapy import DENY, ConfigError, Connection, Plugin, Verdict, hookimpl
from harakapy.config import validate_plugin
from harakapy.plugins.tarpit import HookName, Tarpit, TarpitConfig
from harakapy.testing import Client, connect

from .scene import CONTENT, Everybody, Keep, Scene, problems


@asynccontextmanager
async def client_of(folder: Path, *plugins: object, **settings: Any) -> AsyncIterator[Client]:
    async with Scene(folder, *plugins, Everybody(), Keep(), **settings).client() as client:
        yield client


async def waited(client: Client, line: str) -> float:
    """Seconds of virtual time that the reply took."""
    began = trio.current_time()
    await client.command(line)
    return trio.current_time() - began


class Note(Plugin):
    """Writes notes: for the connection at HELO, for the transaction at MAIL."""

    def __init__(self, connection: object = None, transaction: object = None) -> None:
        super().__init__()
        self.notes = connection, transaction

    @hookimpl
    def hook_ehlo(self, connection: Connection) -> None:
        if self.notes[0] is not None:
            connection.notes["tarpit"] = self.notes[0]

    @hookimpl
    def hook_mail(self, connection: Connection) -> Verdict | None:
        assert connection.transaction is not None
        if self.notes[1] is not None:
            connection.transaction.notes["tarpit"] = self.notes[1]
        return DENY if connection.transaction.mail_from.user == "refused" else None


async def test_each_reply_is_held(tmp_path: Path, autojump_clock: MockClock) -> None:
    began = trio.current_time()
    async with client_of(tmp_path, Tarpit(delay="3s")) as client:
        assert trio.current_time() - began == 6  # the greeting and EHLO
        lines = [
            "HELO x",
            "NOOP",
            "VRFY x",
            "FOO",
            "RSET",
            "MAIL FROM:<a@b.test>",
            "RCPT TO:<b@b.test>",
            "DATA",
        ]
        assert [await waited(client, line) for line in lines] == [3.0] * len(lines)
        assert await waited(client, ".") == 3
        assert await waited(client, "QUIT") == 3


async def test_only_the_listed_hooks_are_held(tmp_path: Path, autojump_clock: MockClock) -> None:
    began = trio.current_time()
    async with client_of(tmp_path, Tarpit(delay=3, hooks=["mail"])) as client:
        assert trio.current_time() == began
        assert await waited(client, "MAIL FROM:<a@b.test>") == 3
        assert await waited(client, "RCPT TO:<a@b.test>") == 0


async def test_denials_are_held_and_stay_what_they_are(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with client_of(tmp_path, Note(), Tarpit(delay=3, hooks=["mail"])) as client:
        assert await waited(client, "MAIL FROM:<refused@b.test>") == 3
        assert (await client.command("MAIL FROM:<refused@b.test>")).code == 550


@pytest.mark.parametrize(
    ("connection", "transaction", "waits"),
    [
        (None, None, [1, 1]),
        (5, None, [5, 5]),
        (None, 2.5, [1, 2.5]),
        (5, 2, [5, 5]),
        (2, 5, [2, 5]),
        (0, None, [0, 0]),
        (1000, None, [27, 27]),
        (math.inf, None, [27, 27]),
        (math.nan, None, [1, 1]),
        (-1, "x", [1, 1]),
    ],
)
async def test_notes_replace_the_setting(
    tmp_path: Path, autojump_clock: MockClock, connection: object, transaction: object, waits: list[float]
) -> None:
    plugin = Tarpit(delay=1, hooks=["noop", "mail"])
    async with client_of(tmp_path, Note(connection, transaction), plugin) as client:
        assert [await waited(client, "NOOP"), await waited(client, "MAIL FROM:<a@b.test>")] == waits


async def test_without_settings_and_notes_nothing_is_held(tmp_path: Path, autojump_clock: MockClock) -> None:
    began = trio.current_time()
    async with client_of(tmp_path, Tarpit()) as client:
        await client.hand_over("a@b.test", ["b@b.test"], CONTENT)
        assert trio.current_time() == began


async def test_one_client_waits_and_others_do_not(tmp_path: Path, autojump_clock: MockClock) -> None:
    scene = Scene(tmp_path, Note(20), Tarpit(hooks=["noop"]))
    async with scene.client() as client, connect(scene.server) as other:
        await client.send(b"NOOP\r\n")
        await other.reply()
        assert await waited(other, "NOOP") == 0


async def test_a_longer_hook_timeout_allows_longer_delays(tmp_path: Path, autojump_clock: MockClock) -> None:
    for timeout, limit_s in (("1m", 54), ("10m", 100), (0, 100)):
        plugin = Tarpit(hooks=["noop"])
        settings: dict[str, Any] = {"plugin": {"tarpit": {"hook_timeout": timeout}}}
        if timeout:
            settings = {"smtp": {"hook_timeout": timeout, "spool_dir": str(tmp_path)}}
        async with client_of(tmp_path, Note(1000), plugin, **settings) as client:
            assert await waited(client, "NOOP") == limit_s


def test_a_delay_beyond_the_hook_timeout_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"plugin\.tarpit\.delay: must be at most 27 seconds.*\(got 28\)"):
        Scene(tmp_path, Tarpit(delay=28))


async def test_another_delay_holds_at_once_and_a_wrong_one_changes_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    plugin = Tarpit(delay=1, hooks=["noop", "mail"])
    async with client_of(tmp_path, plugin) as client:
        plugin.reload(TarpitConfig(delay=2, hooks=("noop", "vrfy")))
        with pytest.raises(ConfigError):
            plugin.reload(TarpitConfig(delay=200))
        assert await waited(client, "NOOP") == 2
        assert await waited(client, "MAIL FROM:<a@b.test>") == 0


def test_every_hook_that_can_be_held_exists(tmp_path: Path) -> None:
    scene = Scene(tmp_path, Tarpit())
    held = [chain.spec.name for chain in scene.server.hooks.chains if chain]
    assert sorted(held) == sorted(get_args(HookName))


@pytest.mark.parametrize(
    ("table", "key", "message"),
    [
        ({"delay": "soon"}, "delay", "must be a duration"),
        ({"delay": -1}, "delay", "must be a duration"),
        ({"hooks": ["queue"]}, "hooks[0]", "must be one of"),
        ({"timeout": 1}, "timeout", "not a known key"),
    ],
)
def test_wrong_settings_are_explained(table: dict[str, Any], key: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate_plugin("tarpit", table, TarpitConfig)
    assert message in problems(caught.value)[f"plugin.tarpit.{key}"]
