from pathlib import Path
from typing import Any

import pytest

from harakapy import ConfigError, Content
from harakapy.config import validate_plugin
from harakapy.plugins.rcpt_to_in_host_list import RcptToInHostList
from harakapy.plugins.record_envelope_addresses import (
    RecordEnvelopeAddresses,
    RecordEnvelopeAddressesConfig,
)

from .scene import CONTENT, Everybody, Keep, Scene, problems


async def recorded(
    folder: Path, sender: str, to: list[str], content: bytes = CONTENT, **settings: Any
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The values of X-Envelope-From and X-Envelope-To in the message that was stored."""
    keep = Keep()
    async with Scene(folder, Everybody(), RecordEnvelopeAddresses(**settings), keep).client() as client:
        replies = await client.hand_over(sender, to, content)
        assert replies[-1].code == 250
    [(_, _, stored)] = keep.taken
    assert stored.endswith(b"\r\n\r\n.body\r\n")
    header = Content.from_bytes(stored).header
    return header.get_all("X-Envelope-From"), header.get_all("X-Envelope-To")


async def test_sender_and_all_recipients_are_recorded(tmp_path: Path) -> None:
    assert await recorded(tmp_path, "a@example.org", ["b@example.com", "c@example.com"]) == (
        ("a@example.org",),
        ("b@example.com", "c@example.com"),
    )


async def test_the_null_sender_and_postmaster_are_recorded(tmp_path: Path) -> None:
    assert await recorded(tmp_path, "", ["postmaster"]) == (("<>",), ("postmaster",))


async def test_quoted_local_parts_stay_quoted(tmp_path: Path) -> None:
    assert await recorded(tmp_path, '"a b"@example.org', ['"x,y"@example.com']) == (
        ('"a b"@example.org',),
        ('"x,y"@example.com',),
    )


async def test_recipients_may_be_kept_from_each_other(tmp_path: Path) -> None:
    many, one = ["b@example.com", "c@example.com"], ["b@example.com"]
    assert (await recorded(tmp_path, "a@example.org", many, recipients="single"))[1] == ()
    assert (await recorded(tmp_path, "a@example.org", one, recipients="single"))[1] == ("b@example.com",)
    assert (await recorded(tmp_path, "a@example.org", one, recipients="none"))[1] == ()


async def test_what_the_message_claims_by_itself_is_removed(tmp_path: Path) -> None:
    forged = b"x-envelope-to: boss@example.com\r\nX-ENVELOPE-FROM: you@example.com\r\n" + CONTENT
    assert await recorded(tmp_path, "a@example.org", ["b@example.com"], forged, recipients="none") == (
        ("a@example.org",),
        (),
    )


async def test_refused_recipients_are_not_recorded(tmp_path: Path) -> None:
    keep = Keep()
    plugins = (RcptToInHostList(hosts=["example.com"]), RecordEnvelopeAddresses(), keep)
    async with Scene(tmp_path, *plugins).client() as client:
        await client.hand_over("a@example.org", ["b@elsewhere.test", "b@example.com"], CONTENT)
    assert b"elsewhere" not in keep.taken[0][2]


async def test_utf8_stays_as_it_is_only_for_who_asked_for_it(tmp_path: Path) -> None:
    keep = Keep()
    async with Scene(tmp_path, Everybody(), RecordEnvelopeAddresses(), keep).client() as client:
        await client.command("MAIL FROM:<ü@example.org> SMTPUTF8")
        await client.command("RCPT TO:<ä@example.com>")
        await client.command("DATA")
        await client.send(CONTENT + b"\r\n.\r\n")
        reply = await client.reply()
    assert reply is not None
    assert reply.code == 250
    assert "X-Envelope-From: ü@example.org\r\n".encode() in keep.taken[0][2]


def test_wrong_settings_are_explained() -> None:
    with pytest.raises(ConfigError) as caught:
        validate_plugin("x", {"recipients": "some"}, RecordEnvelopeAddressesConfig)
    assert 'one of "all", "single", "none"' in problems(caught.value)["plugin.x.recipients"]
