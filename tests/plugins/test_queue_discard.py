from pathlib import Path

import pytest

from harakapy import ConfigError, Connection, Plugin, hookimpl
from harakapy.config import validate_plugin
from harakapy.plugins.queue_discard import QueueDiscard, QueueDiscardConfig

from .scene import CONTENT, Everybody, Keep, Scene, problems


class Mark(Plugin):
    """Relays for all, and marks mail by where it goes."""

    @hookimpl
    def hook_connect_init(self, connection: Connection) -> None:
        connection.relaying = True

    @hookimpl
    def hook_data(self, connection: Connection) -> None:
        transaction = connection.transaction
        assert transaction is not None
        user = transaction.rcpt_to[0].user
        transaction.notes["discard"] = user == "this"
        if user == "all":
            connection.notes["discard"] = True
        connection.relaying = user == "out"


@pytest.mark.parametrize("recipient", ["in", "out"])
async def test_mail_is_accepted_and_kept_nowhere(tmp_path: Path, recipient: str) -> None:
    keep = Keep()
    scene = Scene(tmp_path, Mark(), QueueDiscard(), keep)
    async with scene.client() as client:
        replies = await client.hand_over("a@example.org", [f"{recipient}@example.com"], CONTENT)
    assert replies[-1].code == 250
    assert keep.taken == []
    assert not list(tmp_path.iterdir())


async def test_only_marked_mail_vanishes_if_so_set(tmp_path: Path) -> None:
    keep = Keep()
    async with Scene(tmp_path, Everybody(), Mark(), QueueDiscard(only_marked=True), keep).client() as client:
        for user in ("in", "out", "this", "all", "later"):
            replies = await client.hand_over("a@example.org", [f"{user}@example.com"], CONTENT)
            assert replies[-1].code == 250
    assert [(hook, recipients) for hook, recipients, _ in keep.taken] == [
        ("queue", ["in@example.com"]),
        ("queue_outbound", ["out@example.com"]),
    ]


def test_the_log_says_at_the_start_that_mail_will_be_lost(tmp_path: Path) -> None:
    assert "WARN" in (log := Scene(tmp_path, QueueDiscard()).log)
    assert "all mail will be accepted and thrown away" in log
    plugin = QueueDiscard(only_marked=True)
    scene = Scene(tmp_path, plugin)
    assert "mail that plugins mark will be accepted and thrown away" in scene.log
    plugin.reload(QueueDiscardConfig())
    assert "all mail will be" in scene.log


def test_wrong_settings_are_explained() -> None:
    with pytest.raises(ConfigError) as caught:
        validate_plugin("queue_discard", {"only_marked": "yes, please"}, QueueDiscardConfig)
    assert "true or false" in problems(caught.value)["plugin.queue_discard.only_marked"]
