from pathlib import Path
from typing import Any

import pytest

from harakapy import ConfigError
from harakapy.config import validate_plugin
from harakapy.plugins.queue_test import QueueTest, QueueTestConfig
from harakapy.plugins.relay import Relay

from .scene import CONTENT, Everybody, Keep, Scene, problems


async def test_each_message_is_a_file_named_by_its_transaction(tmp_path: Path) -> None:
    async with Scene(tmp_path, Everybody(), QueueTest()).client() as client:
        replies = [
            (await client.hand_over("a@example.org", ["b@example.com"], CONTENT))[-1] for _ in range(2)
        ]
    found = sorted((tmp_path / "test").iterdir(), key=lambda path: path.name)
    assert [f"Message Queued ({path.stem})" for path in found] == [reply.text for reply in replies]
    for path in found:
        content = path.read_bytes()
        assert path.suffix == ".eml"
        assert content.startswith(b"Received: from client.example")
        assert content.endswith(CONTENT)


@pytest.mark.parametrize("outbound", [True, False])
async def test_outgoing_mail_is_taken_if_so_set(tmp_path: Path, outbound: bool) -> None:
    keep = Keep()
    folder = tmp_path / "elsewhere"
    plugin = QueueTest(path=str(folder), outbound=outbound)
    async with Scene(tmp_path, Relay(acl=["192.0.2.1"]), plugin, keep).client() as client:
        replies = await client.hand_over("a@example.org", ["b@example.com"], CONTENT)
    assert replies[-1].code == 250
    assert folder.exists() is outbound
    assert len(keep.taken) == (not outbound)


async def test_a_folder_that_cannot_be_made_defers_the_message(tmp_path: Path) -> None:
    (tmp_path / "test").write_text("in the way")
    scene = Scene(tmp_path, Everybody(), QueueTest())
    async with scene.client() as client:
        replies = await client.hand_over("a@example.org", ["b@example.com"], CONTENT)
    assert (replies[-1].code, replies[-1].enhanced) == (451, "4.3.0")
    assert "message not stored" in scene.log


async def test_a_full_disk_defers_the_message_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "rename", no_space)
        async with Scene(tmp_path, Everybody(), QueueTest()).client() as client:
            replies = await client.hand_over("a@example.org", ["b@example.com"], CONTENT)
    assert (replies[-1].code, replies[-1].enhanced) == (452, "4.3.1")
    assert not list((tmp_path / "test").iterdir())


def no_space(*args: object) -> Any:
    raise OSError(28, "No space left on device")


def test_wrong_settings_are_explained() -> None:
    with pytest.raises(ConfigError) as caught:
        validate_plugin("queue_test", {"path": 3, "out": True}, QueueTestConfig)
    assert set(problems(caught.value)) == {"plugin.queue_test.path", "plugin.queue_test.out"}
