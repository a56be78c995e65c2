"""Clients behind proxies: whose word is taken for where they are."""

import sys
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from harakapy import Connection, Plugin, Server, hookimpl
from harakapy.net import SocketAddress
from harakapy.net.proxy_protocol import ProxyCommand, ProxyFamily, ProxyHeader, encode_v1, encode_v2
from harakapy.testing import Client, connect, play

from .scene import serving

BEHIND = ProxyHeader(
    1,
    ProxyCommand.PROXY,
    ProxyFamily.INET,
    SocketAddress("192.0.2.77", 4321),
    SocketAddress("198.51.100.25", 25),
)


class Where(Plugin):
    """Remembers where each client is."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, int, str, str]] = []

    @hookimpl
    def hook_connect_init(self, connection: Connection) -> None:
        proxy = connection.proxy.host if connection.proxy else ""
        self.seen.append((connection.remote.ip, connection.remote.port, connection.local.ip, proxy))


def proxied(*networks: str) -> list[dict[str, object]]:
    return [{"address": "127.0.0.1:0", "proxies": list(networks)}]


async def calling(server: Server) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", server.addresses[0].port)


@pytest.mark.parametrize("encode", [encode_v1, encode_v2])
async def test_the_client_is_where_a_trusted_proxy_says(encode: object, tmp_path: Path) -> None:
    where = Where()
    assert callable(encode)
    async with (
        serving(tmp_path, where, listen=proxied("127.0.0.0/8")) as server,
        await calling(server) as stream,
    ):
        await stream.send_all(encode(BEHIND) + b"NOOP\r\n")
        await play("S: 220 *\nS: 250 *", Client(stream))
    assert where.seen == [("192.0.2.77", 4321, "198.51.100.25", "127.0.0.1")]


async def test_a_proxys_own_connection_keeps_its_address(tmp_path: Path) -> None:
    where = Where()
    async with (
        serving(tmp_path, where, listen=proxied("127.0.0.1")) as server,
        await calling(server) as stream,
    ):
        await stream.send_all(encode_v2(ProxyHeader(2, ProxyCommand.LOCAL)))
        await play("S: 220 *", Client(stream))
    assert where.seen[0][0] == "127.0.0.1"


async def test_nothing_is_believed_from_others(tmp_path: Path) -> None:
    where = Where()
    async with (
        serving(tmp_path, where, listen=proxied("192.0.2.0/24")) as server,
        await calling(server) as stream,
    ):
        await stream.send_all(encode_v1(BEHIND))
        await play("S: 220 *\nS: 500 *", Client(stream))
    assert where.seen[0][0] == "127.0.0.1"


@pytest.mark.parametrize("words", [b"EHLO client.test\r\n", b"PROXY TCP4 x\r\n", b"PROXY " + b"9" * 200])
async def test_a_proxy_without_a_header_is_cut_without_a_word(words: bytes, tmp_path: Path) -> None:
    where = Where()
    async with (
        serving(tmp_path, where, listen=proxied("127.0.0.1")) as server,
        await calling(server) as stream,
    ):
        await stream.send_all(words)
        with trio.fail_after(3):
            with suppress(trio.BrokenResourceError):  # a reset, as octets were left unread
                assert await stream.receive_some() == b""
    assert where.seen == []


async def test_a_header_that_does_not_come_is_not_waited_for_long(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with serving(tmp_path, listen=proxied("127.0.0.1")) as server, await calling(server) as stream:
        began = trio.current_time()
        assert await stream.receive_some() == b""
        assert trio.current_time() - began == pytest.approx(5, abs=1)


async def test_limits_hold_for_the_client_not_the_proxy(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, listen=proxied("127.0.0.1"), smtp={"max_connections_per_address": 1}) as server,
        await calling(server) as first,
        await calling(server) as second,
        connect(server) as other,
    ):
        await first.send_all(encode_v1(BEHIND))
        await play("S: 220 *", Client(first))
        await second.send_all(encode_v1(BEHIND))
        await play("S: 421 4.7.0 Too many connections from your address*", Client(second))
        await play("S: 220 *", other)


async def test_a_header_that_cannot_be_read_now_costs_one_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What reads them is imported with the first one, which fails where there are no file descriptors."""
    where = Where()
    async with serving(tmp_path, where, listen=proxied("127.0.0.1")) as server:
        with monkeypatch.context() as lacking:
            lacking.setitem(sys.modules, "harakapy.net.proxy_protocol", None)
            async with await calling(server) as stream:
                assert await stream.receive_some() == b""
        async with await calling(server) as stream:
            await stream.send_all(encode_v1(BEHIND))
            await play("S: 220 *", Client(stream))
    assert len(where.seen) == 1
