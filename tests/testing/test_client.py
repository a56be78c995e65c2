"""The client for tests, against a server in memory."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from harakapy import OK, Connection, Server, Settings, hookimpl
from harakapy.log import silent_logger
from harakapy.net import SocketAddress
from harakapy.testing import connect


class Keep:
    """Takes mail for everybody but nobody, and keeps it."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.remotes: list[str] = []

    @hookimpl
    def hook_connect(self, connection: Connection) -> None:
        self.remotes.append(connection.remote.ip)

    @hookimpl
    def hook_rcpt(self, recipient: Any) -> Any:
        return None if recipient.user == "nobody" else OK

    @hookimpl
    def hook_queue(self, connection: Connection) -> Any:
        assert connection.transaction is not None
        self.messages.append(b"".join(connection.transaction.content.blocks()))
        return OK


@pytest.fixture
def keep() -> Keep:
    return Keep()


@pytest.fixture
async def server(tmp_path: Path, keep: Keep) -> AsyncIterator[Server]:
    settings = Settings.default(state_dir=str(tmp_path), listen=[], dns={"rdns": False})
    async with Server(settings, plugins=[keep], log=silent_logger()).running() as server:
        yield server


async def test_a_message_is_handed_over_with_its_dots(server: Server, keep: Keep) -> None:
    content = b".first\r\n..second\r\n.\r\nend\r\n"
    async with connect(server) as client:
        await client.reply()
        await client.command("EHLO client.test")
        replies = await client.hand_over("a@client.test", ["b@example.com", "nobody@example.com"], content)
    assert [reply.code for reply in replies] == [250, 250, 550, 354, 250]
    assert keep.messages[0].endswith(b"\r\n" + content)


async def test_handing_over_stops_at_a_refusal(server: Server, keep: Keep) -> None:
    async with connect(server) as client:
        await client.reply()
        await client.command("EHLO client.test")
        replies = await client.hand_over("a@client.test", ["nobody@example.com"], b"x\r\n")
        assert [reply.code for reply in replies] == [250, 550, 554]
        replies = await client.hand_over("", ["b@example.com"], b"x\r\n")
        assert replies[0].code == 503
        assert len(replies) == 1
    assert not keep.messages


async def test_a_connection_that_ends_is_told_from_a_reply(server: Server) -> None:
    async with connect(server) as client:
        await client.reply()
        assert (await client.command("QUIT")).code == 221
        assert await client.reply() is None
        with pytest.raises(EOFError, match="NOOP"):
            await client.command("NOOP")


async def test_the_address_of_the_client_can_be_chosen(server: Server, keep: Keep) -> None:
    async with connect(server, remote=SocketAddress("198.51.100.7", 1234)) as client:
        await client.reply()
    assert keep.remotes == ["198.51.100.7"]


async def test_what_the_block_raises_comes_out_as_it_is(server: Server) -> None:
    with pytest.raises(ZeroDivisionError):
        async with connect(server):
            raise ZeroDivisionError
