"""Clients that are slow, silent, or do not read."""

from pathlib import Path

import pytest
import trio
import trio.testing

from harakapy.testing import Client, connect, play

from .scene import Accept, greeted, serving, talking

FIVE_MINUTES = 300.0


async def test_a_silent_client_is_sent_away_after_the_command_timeout(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with talking(tmp_path, Accept()) as client:
        began = trio.current_time()
        await play("S: 421 4.4.2 Timeout, closing connection\nS: EOF", client, timeout_s=1000)
        assert trio.current_time() - began == pytest.approx(FIVE_MINUTES, abs=3)


async def test_every_command_starts_the_time_anew(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with talking(tmp_path, Accept(), smtp={"max_junk_commands": 1000}) as client:
        for _ in range(20):
            await trio.sleep(FIVE_MINUTES - 1)
            assert (await client.command("NOOP")).code == 250


async def test_a_client_that_stops_within_content_is_sent_away(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    accept = Accept()
    async with talking(tmp_path, accept, smtp={"min_data_rate": 0, "data_timeout": "2m"}) as client:
        await play(
            "C: MAIL FROM:<a@b.test>\nC: RCPT TO:<b@example.com>\nC: DATA\nS: 250 *\nS: 250 *\nS: 354 *",
            client,
        )
        await client.send(b"Subject: x\r\n")
        began = trio.current_time()
        await play("S: 421 4.4.2 *\nS: EOF", client, timeout_s=1000)
        assert trio.current_time() - began == pytest.approx(120, abs=3)
    assert accept.messages == []


async def test_content_that_trickles_is_cut_by_its_rate_and_the_neighbour_is_served(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    accept = Accept()
    async with (
        serving(tmp_path, accept, smtp={"min_data_rate": 500, "data_rate_grace": "30s"}) as server,
        connect(server) as slow,
        connect(server) as neighbour,
    ):
        await greeted(slow)
        await greeted(neighbour)
        await play(
            "C: MAIL FROM:<a@b.test>\nC: RCPT TO:<b@example.com>\nC: DATA\nS: 250 *\nS: 250 *\nS: 354 *", slow
        )
        began = trio.current_time()
        ended_after = await _trickle(slow) - began
        assert 30 < ended_after < 40
        replies = await neighbour.hand_over("a@b.test", ["b@example.com"], b"Subject: x\r\n\r\n")
        assert replies[-1].code == 250
    assert len(accept.messages) == 1


async def _trickle(client: Client) -> float:
    """Send an octet each second until the server has had enough; when that was."""
    with trio.move_on_after(3600):
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                reply = await client.reply()
                assert reply is not None
                assert reply.code == 421
                nursery.cancel_scope.cancel()

            nursery.start_soon(read)
            while True:
                await client.send(b"x")
                await trio.sleep(1)
    return trio.current_time()


async def test_a_client_that_never_reads_is_dropped_and_the_neighbour_is_served(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    accept = Accept()
    async with serving(
        tmp_path, accept, smtp={"max_junk_commands": 10**6}, listen=[{"address": "127.0.0.1:0"}]
    ) as server:
        async with await trio.open_tcp_stream("127.0.0.1", server.addresses[0].port) as deaf:
            with pytest.raises(trio.BrokenResourceError):
                while True:
                    await deaf.send_all(b"HELP\r\n" * 1000)
        async with connect(server) as neighbour:
            await greeted(neighbour)
            replies = await neighbour.hand_over("a@b.test", ["b@example.com"], b"Subject: x\r\n\r\n")
            assert replies[-1].code == 250
