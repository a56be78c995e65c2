"""Sessions with our own server: both roles against each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from harakapy import Server
from harakapy.log import silent_logger
from harakapy.outbound.hop import NextHop, Target
from harakapy.outbound.rendition import CHUNK_OCTETS, SMALL_OCTETS
from harakapy.outbound.session import Session
from tests.inbound.scene import Accept, settings
from tests.outbound.hosts import TERMS, deliver, envelope, facilities


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"Subject: hello\r\n\r\n.\r\n..\r\nbody\r\n",
        b"Subject: x\r\n\r\n" + b"y" * 70 + b"\r\n.z\r\n" * (SMALL_OCTETS // 5),
        b"Subject: x\r\n\r\n" + (b"y" * 998 + b"\r\n") * (2 * CHUNK_OCTETS // 1000),
    ],
    ids=["empty", "dots", "larger than small", "several chunks"],
)
async def test_content_arrives_as_it_was_sent(content: bytes, tmp_path: Path) -> None:
    mailbox = Accept()
    listening = settings(tmp_path, listen=[{"address": "127.0.0.1:0"}])
    async with (
        Server(listening, plugins=[mailbox], log=silent_logger()).running() as server,
        facilities() as shared,
    ):
        port = server.addresses[0].port
        target = Target(NextHop(host="127.0.0.1", port=port), "127.0.0.1", "127.0.0.1")
        opened = await Session.open(target, TERMS, shared)
        for _ in range(2):
            to = envelope("you@example.com", "nobody@example.net", "she@example.com")
            answers = await deliver(opened, to, content)
            assert [answer.is_delivered for answer in answers] == [True, False, True]
        assert opened.is_usable
        await opened.close()
    assert len(mailbox.messages) == 2
    assert all(message.endswith(content) for message in mailbox.messages)
