"""Between clear text and TLS: what was said in one must not count in the other (CVE-2011-0411)."""

import socket
import struct
from pathlib import Path

import pytest
import trio
import trustme

from harakapy import Connection, Plugin, hookimpl
from harakapy.net.proxy_protocol import encode_v1, encode_v2
from harakapy.testing import Client, play
from tests.inbound.scene import MESSAGE, Accept, serving
from tests.inbound.test_proxy import BEHIND, Where, proxied
from tests.inbound.test_tls import authority, calling, encrypted, listening

from .scene import codes, esmtp, in_step, to_data

__all__ = ["authority"]


async def greeted(plain: trio.SocketStream) -> Client:
    client = Client(plain)
    await client.reply()
    assert (await client.command("EHLO before.test")).code == 250
    return client


@pytest.mark.parametrize(
    "behind",
    [b"NOOP\r\n", b"EHLO a\r\nMAIL FROM:<x@y.test>\r\n", b"RSET\r\nQUIT\r\n", b"x", b"\n"],
    ids=ascii,
)
async def test_commands_in_the_segment_of_starttls_are_never_answered(
    behind: bytes, tmp_path: Path, authority: trustme.CA
) -> None:
    async with listening(tmp_path, authority) as server, await calling(server) as plain:
        client = await greeted(plain)
        await client.send(b"STARTTLS\r\n" + behind)
        assert await codes(client) == [554]


async def test_commands_sent_with_the_handshake_to_come_are_not_taken_for_tls(
    tmp_path: Path, authority: trustme.CA
) -> None:
    async with listening(tmp_path, authority) as server, await calling(server) as plain:
        client = await greeted(plain)
        assert (await client.command("STARTTLS")).code == 220
        await client.send(b"NOOP\r\nEHLO injected.test\r\n")
        with trio.fail_after(5):
            received = b""
            while block := await plain.receive_some():
                received += block
        assert b"250" not in received


class Memory(Plugin):
    """What is known of the client at its second MAIL."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str, bool]] = []

    @hookimpl
    def hook_mail(self, connection: Connection) -> None:
        self.seen.append((connection.hello.host, connection.auth_user, connection.relaying))


async def test_nothing_that_was_said_before_the_handshake_counts_behind_it(
    tmp_path: Path, authority: trustme.CA
) -> None:
    memory = Memory()
    async with listening(tmp_path, authority, Accept(), memory) as server, await calling(server) as plain:
        client = await greeted(plain)
        await client.command("MAIL FROM:<a@client.test>")
        await client.command("RCPT TO:<b@example.com>")
        assert (await client.command("STARTTLS")).code == 220
        client = Client(encrypted(plain, authority))
        for command in ("DATA", "RCPT TO:<b@example.com>", "MAIL FROM:<a@client.test>", "BDAT 0 LAST"):
            assert (await client.command(command)).code == 503
        assert (await client.command("EHLO after.test")).code == 250
        assert (await client.command("RCPT TO:<b@example.com>")).code == 503
        assert (await client.command("MAIL FROM:<a@client.test>")).code == 250
    assert memory.seen == [("before.test", "", False), ("after.test", "", False)]


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_there_is_no_tls_within_tls(tls: str, tmp_path: Path, authority: trustme.CA) -> None:
    async with listening(tmp_path, authority, tls=tls) as server, await calling(server) as plain:
        if tls == "starttls":
            await (await greeted(plain)).command("STARTTLS")
        client = Client(encrypted(plain, authority))
        if tls == "implicit":
            await client.reply()
        await client.command("EHLO client.test")
        assert str(await client.command("STARTTLS")) == "503 5.5.1 TLS is active already"
        assert await in_step(client)


async def test_starttls_within_content_is_text(tmp_path: Path, authority: trustme.CA) -> None:
    accept = Accept()
    async with listening(tmp_path, authority, accept) as server, await calling(server) as plain:
        client = await greeted(plain)
        await to_data(client)
        await client.send(b"Subject: x\r\n\r\nSTARTTLS\r\n.\r\n")
        assert await in_step_behind(client, 250)
    assert accept.messages[0].endswith(b"\r\nSTARTTLS\r\n")


async def in_step_behind(client: Client, code: int) -> bool:
    reply = await client.reply()
    return reply is not None and reply.code == code and await in_step(client)


async def test_a_handshake_that_is_never_completed_frees_its_place(
    tmp_path: Path, authority: trustme.CA
) -> None:
    async with listening(tmp_path, authority, Accept(), smtp={"max_connections": 1}) as server:
        async with await calling(server) as plain:
            client = await greeted(plain)
            assert (await client.command("STARTTLS")).code == 220
            with trio.fail_after(10):  # the handshake has a second
                assert await codes(client) in ([], [421])
        async with await calling(server) as plain:
            await greeted(plain)


@pytest.mark.parametrize("is_reset", [False, True], ids=["closed", "reset"])
async def test_a_message_cut_off_without_close_notify_is_not_accepted(
    is_reset: bool, tmp_path: Path, authority: trustme.CA
) -> None:
    accept = Accept()
    async with listening(tmp_path, authority, accept) as server:
        async with await calling(server) as plain:
            await (await greeted(plain)).command("STARTTLS")
            client = Client(encrypted(plain, authority))
            await client.command("EHLO client.test")
            await to_data(client)
            await client.send(b"Subject: x\r\n\r\nhalf of it")
            if is_reset:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await plain.aclose()
        async with await calling(server) as plain:
            await greeted(plain)
    assert accept.messages == []


async def test_a_proxy_header_behind_tls_is_an_unknown_command(tmp_path: Path, authority: trustme.CA) -> None:
    where = Where()
    async with listening(tmp_path, authority, where) as server, await calling(server) as plain:
        await (await greeted(plain)).command("STARTTLS")
        client = Client(encrypted(plain, authority))
        await client.send(encode_v1(BEHIND))
        assert await in_step_behind(client, 500)
    assert where.seen[0][0] == "127.0.0.1"


async def test_a_second_proxy_header_is_an_unknown_command(tmp_path: Path) -> None:
    where = Where()
    async with (
        serving(tmp_path, where, listen=proxied("127.0.0.0/8")) as server,
        await calling(server) as plain,
    ):
        other = encode_v1(BEHIND).replace(b"192.0.2.77", b"192.0.2.66")
        await plain.send_all(encode_v1(BEHIND) + other)
        client = Client(plain)
        await play("S: 220 *\nS: 500 5.5.1 *\nC: QUIT\nS: 221 *\nS: EOF", client)
    assert [seen[0] for seen in where.seen] == ["192.0.2.77"]


BROKEN_HEADERS = {
    "over 107 octets": b"PROXY TCP4 192.0.2.77 198.51.100.25 4321 25" + b" " * 100 + b"\r\n",
    "no end": b"PROXY TCP4 " + b"1" * 200,
    "not an address": b"PROXY TCP4 192.0.2.777 198.51.100.25 4321 25\r\n",
    "a port too high": b"PROXY TCP4 192.0.2.77 198.51.100.25 70000 25\r\n",
    "bare LF": b"PROXY TCP4 192.0.2.77 198.51.100.25 4321 25\n",
    "v2 too short for its addresses": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x04" + b"\x01\x02\x03\x04",
    "v2 of version 3": b"\r\n\r\n\0\r\nQUIT\n\x31\x11\x00\x0c" + b"\x01" * 12,
    "v2 with an overlong field": encode_v2(BEHIND)[:14]
    + b"\x00\x0f"
    + encode_v2(BEHIND)[16:28]
    + b"\x02\xff\xff",
}


@pytest.mark.parametrize("header", BROKEN_HEADERS.values(), ids=BROKEN_HEADERS)
async def test_a_broken_proxy_header_ends_the_connection_without_a_word(
    header: bytes, tmp_path: Path
) -> None:
    where = Where()
    async with (
        serving(tmp_path, where, listen=proxied("127.0.0.0/8")) as server,
        await calling(server) as plain,
    ):
        await plain.send_all(header + b"NOOP\r\n")
        with trio.fail_after(10):
            assert await codes(Client(plain)) == []
    assert where.seen == []


@pytest.mark.parametrize("encode", [encode_v1, encode_v2], ids=["v1", "v2"])
async def test_a_proxy_header_from_a_stranger_moves_nobody(encode: object, tmp_path: Path) -> None:
    where = Where()
    assert callable(encode)
    async with (
        serving(tmp_path, where, Accept(), listen=proxied("198.51.100.0/24")) as server,
        await calling(server) as plain,
    ):
        await plain.send_all(encode(BEHIND))
        await play("S: 220 *\nS: 500 *", Client(plain))
    assert [seen[0] for seen in where.seen] == ["127.0.0.1"]


async def test_auth_in_clear_is_refused_where_it_needs_tls(tmp_path: Path) -> None:
    class Judge(Plugin):
        @hookimpl
        def hook_auth(self) -> None:
            raise AssertionError("nobody may be asked")

    async with esmtp(tmp_path, Judge, Accept()) as client:
        assert not [line for line in (await client.command("EHLO a.test")).lines if line.startswith("AUTH")]
        assert (await client.command("AUTH PLAIN AGEAYg==")).code == 538
        replies = await client.hand_over("a@client.test", ["b@example.com"], MESSAGE)
        assert replies[-1].code == 250
