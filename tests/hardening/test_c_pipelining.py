"""Who waits for whom: groups of commands, early talkers, and clients that do not read."""

import tracemalloc
from pathlib import Path

import pytest
import trio

from harakapy import DENYDISCONNECT, Connection, Plugin, Verdict, hookimpl
from harakapy.testing import Client, connect, play
from tests.inbound.scene import MESSAGE, Accept, serving

from .scene import codes, esmtp, in_step, open_transaction

MIB = 1 << 20


@pytest.mark.parametrize(
    "behind", [b"x", b"Subject: x\r\n\r\nbody\r\n.\r\n", b".\r\n", b"RSET\r\n"], ids=ascii
)
async def test_content_before_354_is_never_accepted(behind: bytes, tmp_path: Path) -> None:
    accept = Accept()
    async with esmtp(tmp_path, accept) as client:
        await open_transaction(client)
        await client.send(b"DATA\r\n" + behind)
        assert await codes(client) == [554]
    assert accept.messages == []


async def test_a_plugin_may_turn_early_talkers_away(tmp_path: Path) -> None:
    class Strict(Plugin):
        @hookimpl
        async def hook_connect_init(self) -> None:
            await trio.testing.wait_all_tasks_blocked()

        @hookimpl
        def hook_connect(self, connection: Connection) -> Verdict | None:
            return DENYDISCONNECT("5.5.1 wait for the greeting") if connection.early_talker else None

    listen = [{"address": "127.0.0.1:0"}]
    async with serving(tmp_path, Strict, listen=listen) as server:
        for early, reply in ((b"EHLO a\r\n", "554 5.5.1 wait *"), (b"", "220 *")):
            async with await trio.open_tcp_stream("127.0.0.1", server.addresses[0].port) as stream:
                await stream.send_all(early) if early else None
                await play(f"S: {reply}", Client(stream))


@pytest.mark.parametrize(
    ("recipients", "replies"),
    [
        (["b@example.com", "x@elsewhere.test", "c@example.com"], [250, 250, 550, 250, 354]),
        (["x@elsewhere.test", "y@elsewhere.test"], [250, 550, 550, 554]),
        (["nonsense", "b@example.com"], [250, 501, 250, 354]),
    ],
    ids=["some", "none", "malformed"],
)
async def test_a_group_is_answered_in_order(
    recipients: list[str], replies: list[int], tmp_path: Path
) -> None:
    accept = Accept()
    async with esmtp(tmp_path, accept) as client:
        lines = ["MAIL FROM:<a@client.test>", *(f"RCPT TO:<{to}>" for to in recipients), "DATA"]
        await client.send("".join(line + "\r\n" for line in lines).encode())
        got = [await client.reply() for _ in replies]
        assert [reply.code for reply in got if reply] == replies
        if replies[-1] == 354:
            await client.send(MESSAGE + b".\r\n")
            assert str(await client.reply()).startswith("250 2.0.0")
        assert await in_step(client)
    assert len(accept.messages) == (replies[-1] == 354)


async def test_ten_thousand_commands_in_a_group_are_answered_in_bounded_memory(tmp_path: Path) -> None:
    count = 10_000
    async with (
        serving(tmp_path, smtp={"max_junk_commands": 2 * count}) as server,
        connect(server) as client,
        connect(server) as neighbour,
    ):
        await play("S: 220 *\nC: HELO a.test\nS: 250 *", client)
        await play("S: 220 *", neighbour)
        received = 0
        expected = count * len(b"250 2.0.0 OK\r\n")

        async def send() -> None:
            await client.send(b"NOOP\r\n" * count)

        tracemalloc.start()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            while received < expected:
                received += len(await client.stream.receive_some(4096))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert received == expected
        assert peak < MIB  # half of it is the group and its replies in the memory stream
        assert (await neighbour.command("NOOP")).code == 250
        assert await in_step(client)


async def test_ten_thousand_commands_in_a_group_do_not_outrun_the_limit_of_junk(tmp_path: Path) -> None:
    async with esmtp(tmp_path, Accept()) as client:
        await client.send(b"NOOP\r\n" * 10_000)
        assert await codes(client) == [250] * 100 + [421]


async def test_a_neighbour_is_served_while_a_group_of_ten_thousand_is_answered(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, smtp={"max_junk_commands": 10**6}) as server,
        connect(server) as busy,
        connect(server) as neighbour,
    ):
        await play("S: 220 *", busy)
        await play("S: 220 *", neighbour)
        answered = 0
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                nonlocal answered
                while answered < 10_000:
                    answered += (await busy.stream.receive_some(65536)).count(b"\r\n")

            nursery.start_soon(read)
            await busy.send(b"NOOP\r\n" * 10_000)
            assert (await neighbour.command("NOOP")).code == 250
            assert answered < 10_000


@pytest.mark.parametrize(
    "behind", [b"NOOP\r\n", b"QUIT\r\n", b"\n", b"\xff" * 5000, b"MAIL FROM:<a@b>\r\n"], ids=len
)
async def test_what_follows_quit_is_ignored(behind: bytes, tmp_path: Path) -> None:
    async with esmtp(tmp_path, Accept()) as client:
        await client.send(b"QUIT\r\n" + behind)
        assert await codes(client) == [221]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (b"BDAT 0 LAST\r\n", [250]),
        (b"BDAT 5 LAST\r\nabcde", [250]),
        (b"BDAT 3\r\nabcBDAT 0 LAST\r\n", [250, 250]),
        (b"BDAT 3\r\nabcMAIL FROM:<x@y.test>\r\n", [250, 503]),
        (b"BDAT 3\r\nabcRSET\r\nBDAT 3 LAST\r\nabc", [250, 250, 503]),
    ],
    ids=ascii,
)
async def test_chunks_that_can_be_counted_keep_the_session_in_step(
    command: bytes, expected: list[int], tmp_path: Path
) -> None:
    async with esmtp(tmp_path, Accept()) as client:
        await open_transaction(client)
        await client.send(command + b"NOOP\r\nQUIT\r\n")
        assert await codes(client) == [*expected, 250, 221]


async def test_data_behind_a_chunk_is_refused(tmp_path: Path) -> None:
    async with esmtp(tmp_path, Accept()) as client:
        await open_transaction(client)
        await play("C: BDAT 3\nc: abc\nS: 250 *\nC: DATA\nS: 503 *\nC: RSET\nS: 250 *", client)
        assert await in_step(client)


async def test_a_chunk_without_a_recipient_is_swallowed(tmp_path: Path) -> None:
    async with esmtp(tmp_path, Accept()) as client:
        await client.send(
            b"BDAT 6\r\nRSET\r\nMAIL FROM:<a@b.test>\r\nBDAT 6 LAST\r\nRSET\r\nNOOP\r\nQUIT\r\n"
        )
        assert await codes(client) == [503, 250, 503, 250, 221]


@pytest.mark.parametrize(
    "size", [b"-1", b"1e3", b"10 LAST x", b"0x10", b"", b"LAST", b"+5", b"5,5", b"1 2", b"1" * 30]
)
async def test_chunks_that_cannot_be_counted_end_the_session(size: bytes, tmp_path: Path) -> None:
    accept = Accept()
    async with esmtp(tmp_path, accept) as client:
        await open_transaction(client)
        await client.send(b"BDAT " + size + b"\r\nMAIL FROM:<a@b.test>\r\n")
        assert await codes(client) == [501]
    assert accept.messages == []


async def test_a_chunk_of_more_than_all_is_swallowed_in_bounded_memory(tmp_path: Path) -> None:
    async with esmtp(tmp_path, Accept(), smtp={"max_message_size": 1024}) as client:
        await open_transaction(client)
        octets = 20 * MIB
        await client.send(b"BDAT %d LAST\r\n" % octets)
        tracemalloc.start()
        for _ in range(octets // 65536):
            await client.send(b"x" * 65536)
            await trio.lowlevel.checkpoint()
        reply = await client.reply()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert str(reply).startswith("552 5.3.4 ")
        assert peak < 4 * MIB
        assert await in_step(client)
