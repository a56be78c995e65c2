"""New settings for a running server."""

import io
from pathlib import Path

import pytest

from harakapy import DENY, ConfigError, Plugin, PluginConfig, Server, Verdict, hookimpl
from harakapy.config import load
from harakapy.log import Logger, StreamTarget, open_logger, silent_logger
from harakapy.queue.memory_store import MemoryStore
from harakapy.testing import connect, play
from tests.outbound.scene import Mailbox, receiving

PLUGIN = """
from harakapy import DENY, Plugin, PluginConfig, hookimpl

class RefuseConfig(PluginConfig):
    text: str = "no"

class Refuse(Plugin[RefuseConfig]):
    @hookimpl
    def hook_mail(self):
        return DENY(f"5.7.1 {self.config.text}")
"""

BASE = 'hostname = "mx.test"\nlisten = []\nplugins = ["refuse.py"]\ndns.rdns = false\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "refuse.py").write_text(PLUGIN)
    path = tmp_path / "harakapy.toml"
    path.write_text(BASE)
    return path


@pytest.fixture
def log() -> tuple[Logger, io.BytesIO]:
    stream = io.BytesIO()
    return open_logger(target=StreamTarget(stream)), stream


async def test_new_settings_hold_for_new_connections_and_old_ones_go_on(
    file: Path, log: tuple[Logger, io.BytesIO]
) -> None:
    async with Server(load(file), log=log[0]).running() as server, connect(server) as old:
        await play("S: 220 mx.test *", old)
        file.write_text(BASE.replace("mx.test", "other.test") + '[plugin.refuse]\ntext = "never"\n')
        server.reload(load(file))
        await play("C: NOOP\nS: 250 *", old)
        async with connect(server) as new:
            await play(
                "S: 220 other.test *\nC: HELO x.test\nS: 250 *\nC: MAIL FROM:<>\nS: 550 5.7.1 never", new
            )


async def test_settings_that_do_not_fit_a_plugin_change_nothing(
    file: Path, log: tuple[Logger, io.BytesIO]
) -> None:
    async with Server(load(file), log=log[0]).running() as server:
        file.write_text(BASE.replace("mx.test", "other.test") + "[plugin.refuse]\ntxt = 1\n")
        with pytest.raises(ConfigError, match=r"plugin\.refuse\.txt"):
            server.reload(load(file))
        async with connect(server) as client:
            await play("S: 220 mx.test *", client)


async def test_what_needs_a_restart_is_said(file: Path, log: tuple[Logger, io.BytesIO]) -> None:
    async with Server(load(file), log=log[0]).running() as server:
        file.write_text(BASE + 'log.format = "json"\nlog.level = "warn"\n[plugin.refuse]\nhook_timeout = 1\n')
        server.reload(load(file))
        server.log.info("too quiet to be written now")
    written = log[1].getvalue().decode()
    assert "keys=log.format,plugin.refuse.hook_timeout\n" in written
    assert "too quiet" not in written


async def test_a_plugin_that_fails_to_reload_is_reported_and_the_others_go_on(
    file: Path, log: tuple[Logger, io.BytesIO]
) -> None:
    class OtherConfig(PluginConfig):
        text: str = "no"

    class Other(Plugin[OtherConfig]):
        @hookimpl
        def hook_mail(self) -> Verdict:
            return DENY(self.config.text)

    (file.parent / "refuse.py").write_text(
        PLUGIN + "\n    def reload(self, config):\n        raise RuntimeError('stuck')\n"
    )
    async with Server(load(file), plugins=[Other], log=log[0]).running() as server:
        file.write_text(BASE.replace("mx.test", "other.test") + '[plugin.refuse]\ntext = "never"\n')
        server.reload(load(file))
        async with connect(server) as client:
            await play(
                "S: 220 other.test *\nC: HELO x.test\nS: 250 *\nC: MAIL FROM:<>\nS: 550 5.7.1 no", client
            )
    assert "plugin did not take its new settings" in log[1].getvalue().decode()


async def test_mail_goes_the_new_way_after_a_reload(tmp_path: Path) -> None:
    old, new = Mailbox(), Mailbox()
    file = tmp_path / "harakapy.toml"
    text = 'hostname = "sender.test"\nlisten = []\n[outbound]\nrelay_host = "{}"\n'
    async with receiving(tmp_path / "old", old) as old_hop, receiving(tmp_path / "new", new) as new_hop:
        file.write_text(text.format(old_hop))
        async with Server(load(file), store=MemoryStore(), log=silent_logger()).running() as server:
            await server.outbound.send("me@example.org", "you@example.com", "Subject: one")
            await old.wait_for(1)
            file.write_text(text.format(new_hop))
            server.reload(load(file))
            await server.outbound.send("me@example.org", "you@example.com", "Subject: two")
            await new.wait_for(1)
            assert len(old.mails) == 1


async def test_a_template_of_reports_that_is_none_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "harakapy.toml"
    text = 'hostname = "mx.test"\nlisten = []\n'
    file.write_text(text)
    async with Server(load(file), store=MemoryStore(), log=silent_logger()).running() as server:
        file.write_text(text.replace("mx", "other") + '[outbound.reports]\ntemplate = "missing.txt"\n')
        with pytest.raises(ConfigError, match=r"outbound\.reports\.template: .*missing\.txt"):
            server.reload(load(file))
        assert server.settings.hostname == "mx.test"
