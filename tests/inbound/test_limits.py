"""How many connections at once: the reply to one too many, and that the others do not notice."""

from contextlib import AsyncExitStack
from pathlib import Path

from harakapy.net import SocketAddress
from harakapy.testing import connect, play

from .scene import Accept, serving


async def test_one_connection_too_many_from_an_address_is_refused(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, Accept(), smtp={"max_connections_per_address": 2}) as server,
        AsyncExitStack() as stack,
    ):
        near = [await stack.enter_async_context(connect(server)) for _ in range(2)]
        for client in near:
            await play("S: 220 *", client)
        third = await stack.enter_async_context(connect(server))
        await play("S: 421 4.7.0 Too many connections from your address, try again later\nS: EOF", third)
        other = await stack.enter_async_context(connect(server, SocketAddress("198.51.100.1", 1)))
        await play("S: 220 *\nC: NOOP\nS: 250 *", other)
        await play("C: NOOP\nS: 250 *", near[0])


async def test_addresses_of_one_ipv6_site_count_together(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, Accept(), smtp={"max_connections_per_address": 1}) as server,
        AsyncExitStack() as stack,
    ):
        first = await stack.enter_async_context(connect(server, SocketAddress("2001:db8::1", 1)))
        await play("S: 220 *", first)
        second = await stack.enter_async_context(connect(server, SocketAddress("2001:db8::2", 1)))
        await play("S: 421 4.7.0 *\nS: EOF", second)


async def test_one_connection_too_many_in_total_is_refused_until_another_ends(tmp_path: Path) -> None:
    async with serving(tmp_path, Accept(), smtp={"max_connections": 1}) as server:
        async with connect(server) as first:
            await play("S: 220 *", first)
            async with connect(server, SocketAddress("198.51.100.1", 1)) as second:
                await play("S: 421 4.7.0 Too many connections, try again later\nS: EOF", second)
        async with connect(server) as third:
            await play("S: 220 *", third)


async def test_exempt_networks_have_no_limit_of_their_own(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, Accept(), smtp={"max_connections_per_address": 1}) as server,
        AsyncExitStack() as stack,
    ):
        for _ in range(5):
            client = await stack.enter_async_context(connect(server, SocketAddress("127.0.0.1", 1)))
            await play("S: 220 *", client)
