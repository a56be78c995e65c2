"""XCLIENT: trusted clients that speak for others, and what becomes of the connection."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from harakapy import DENY, OK, Connection, ListenSettings, Plugin, Verdict, hookimpl
from harakapy.net import SocketAddress
from harakapy.testing import Client, connect, play

from .scene import MESSAGE, Accept, greeted, serving
from .test_tls import authority, calling, encrypted, listening

__all__ = ["authority"]

FILTER = ListenSettings(address="127.0.0.1:25", xclient=["192.0.2.1"])
STATE = tuple[str, int, str, str, str, str, str, bool]


class Where(Plugin):
    """Remembers who each client is, and that each one that came has gone."""

    def __init__(self) -> None:
        super().__init__()
        self.came: list[STATE] = []
        self.gone: list[str] = []
        self.asked: list[str] = []

    @hookimpl
    def hook_connect_init(self, connection: Connection) -> None:
        assert "seen" not in connection.notes
        connection.notes["seen"] = True
        self.asked.append("connect_init")

    @hookimpl
    def hook_lookup_rdns(self) -> None:
        self.asked.append("lookup_rdns")

    @hookimpl
    def hook_connect(self, connection: Connection) -> Verdict | None:
        remote, local, hello = connection.remote, connection.local, connection.hello
        self.came.append(
            (remote.ip, remote.port, remote.host, local.ip, f"{hello.verb} {hello.host}".strip(),
             connection.auth_user, connection.proxy.host if connection.proxy else "", connection.relaying)
        )  # fmt: skip
        return DENY if remote.ip == "192.0.2.66" else None

    @hookimpl
    def hook_disconnect(self, connection: Connection) -> None:
        self.gone.append(connection.remote.ip)


@asynccontextmanager
async def trusted(folder: Path, *plugins: object, **values: Any) -> AsyncIterator[Client]:
    """A greeted client whose word is taken."""
    async with serving(folder, *plugins, **values) as server, connect(server, listen=FILTER) as client:
        await greeted(client)
        yield client


async def test_it_is_offered_to_trusted_clients_only(tmp_path: Path) -> None:
    line = "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"
    async with serving(tmp_path) as server:
        for host, is_trusted in (("192.0.2.1", True), ("192.0.2.2", False), ("", False)):
            async with connect(server, SocketAddress(host, 0), listen=FILTER) as client:
                await client.reply()
                assert (line in (await client.command("EHLO x.test")).lines) is is_trusted
                reply = await client.command("XCLIENT ADDR=192.0.2.7")
                expected = (
                    "220 mx.test ESMTP harakapy" if is_trusted else "550 5.7.0 insufficient authorization"
                )
                assert str(reply) == expected
        async with connect(server) as client:
            await client.reply()
            assert line not in (await client.command("EHLO x.test")).lines
            assert (await client.command("XCLIENT ADDR=192.0.2.7")).code == 500


async def test_the_client_is_greeted_anew_as_who_it_is_said_to_be(tmp_path: Path) -> None:
    accept, where = Accept(), Where()
    async with trusted(tmp_path, accept, where) as client:
        await play(
            """
            C: XCLIENT NAME=spike.test ADDR=IPV6:2001:db8::7 PORT=4321 DESTADDR=198.51.100.25 DESTPORT=587
            S: 220 mx.test ESMTP harakapy
            C: MAIL FROM:<a@b.test>
            S: 503 5.5.1 send EHLO first
            C: HELO spike.test
            S: 250 mx.test Hello spike.test [2001:db8::7]
            """,
            client,
        )
        assert (await client.hand_over("a@b.test", ["b@example.com"], MESSAGE))[-1].code == 250
    assert where.came == [
        ("192.0.2.1", 40000, "Unknown", "192.0.2.25", "", "", "", False),
        ("2001:db8::7", 4321, "spike.test", "198.51.100.25", "", "", "192.0.2.1", False),
    ]
    assert where.gone == ["192.0.2.1", "2001:db8::7"]
    assert where.asked == ["connect_init", "lookup_rdns", "connect_init"]  # the second name was told
    assert b"Received: from spike.test (spike.test [IPv6:2001:db8::7])" in accept.messages[0]


async def test_a_name_that_was_not_told_is_asked_for(tmp_path: Path) -> None:
    where = Where()
    async with trusted(tmp_path, where) as client:
        assert (await client.command("XCLIENT NAME=spike.test ADDR=192.0.2.7")).code == 220
        assert (await client.command("XCLIENT ADDR=192.0.2.8")).code == 220
    assert where.asked == ["connect_init", "lookup_rdns", "connect_init", "connect_init", "lookup_rdns"]
    assert [came[2] for came in where.came] == ["Unknown", "spike.test", "Unknown"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE]", ("0.0.0.0", 0, "NXDOMAIN")),
        ("NAME=[TEMPUNAVAIL] ADDR=192.0.2.7 PORT=[UNAVAILABLE]", ("192.0.2.7", 0, "DNSERROR")),
    ],
)
async def test_what_nobody_knows_is_no_address_of_ours(
    said: str, expected: tuple[str, int, str], tmp_path: Path
) -> None:
    local: list[bool] = []

    class Watch(Plugin):
        @hookimpl
        def hook_connect(self, connection: Connection) -> None:
            local.append(connection.remote.is_local)

    where = Where()
    async with trusted(tmp_path, Watch, where) as client:
        assert (await client.command(f"XCLIENT {said}")).code == 220
    assert where.came[1][:3] == expected
    assert local == [False, False]


async def test_several_commands_add_up(tmp_path: Path) -> None:
    where = Where()
    async with trusted(tmp_path, where) as client:
        assert (await client.command("XCLIENT NAME=spike.test ADDR=192.0.2.7")).code == 220
        assert (await client.command("XCLIENT PROTO=ESMTP HELO=h.test LOGIN=ann+40example.com")).code == 220
        assert (await client.command("XCLIENT LOGIN=[UNAVAILABLE]")).code == 220
    last = ("192.0.2.7", 0, "spike.test", "192.0.2.25", "EHLO h.test")
    assert where.came[2] == (*last, "ann@example.com", "192.0.2.1", True)
    assert where.came[3] == (*last, "", "192.0.2.1", False)


async def test_who_is_said_to_have_logged_in_may_submit(tmp_path: Path) -> None:
    taken: list[tuple[str, str]] = []

    class Take(Plugin):
        @hookimpl
        def hook_queue_outbound(self, connection: Connection) -> Verdict:
            taken.append((connection.auth_user, connection.auth_mechanism))
            return OK

    submission = FILTER.model_copy(update={"role": "submission"})
    async with serving(tmp_path, Take) as server, connect(server, listen=submission) as client:
        await greeted(client)
        assert (await client.command("MAIL FROM:<>")).code == 530
        assert (await client.command("XCLIENT ADDR=192.0.2.7 LOGIN=ann")).code == 220
        await client.command("HELO x.test")
        assert (await client.hand_over("a@b.test", ["b@elsewhere.test"], MESSAGE))[-1].code == 250
    assert taken == [("ann", "XCLIENT")]


async def test_all_that_came_before_is_forgotten(tmp_path: Path) -> None:
    class Relay(Plugin):
        @hookimpl
        def hook_helo(self, connection: Connection) -> None:
            connection.relaying = True

    where = Where()
    async with trusted(tmp_path, Relay, where) as client:
        assert (await client.command("XCLIENT ADDR=192.0.2.7")).code == 220
    assert where.came[1][-1] is False


async def test_within_a_transaction_it_is_out_of_order(tmp_path: Path) -> None:
    where = Where()
    async with trusted(tmp_path, where, Accept()) as client:
        await client.command("MAIL FROM:<a@b.test>")
        reply = await client.command("XCLIENT ADDR=192.0.2.7")
        assert str(reply) == "503 5.5.1 not during a mail transaction"
        assert (await client.command("RCPT TO:<b@example.com>")).code == 250
    assert len(where.came) == 1


@pytest.mark.parametrize("said", ["", "ADDR", "ADDR=x", "FOO=bar", "LOGIN=a+0Ab", "HELO=a+1B[31mb"])
async def test_what_is_malformed_changes_nothing(said: str, tmp_path: Path) -> None:
    where = Where()
    async with trusted(tmp_path, where) as client:
        assert str(await client.command(f"XCLIENT {said}".rstrip())).startswith("501 5.5.4 bad XCLIENT: ")
        assert (await client.command("MAIL FROM:<a@b.test>")).code == 250
    assert len(where.came) == 1


async def test_who_is_not_welcome_is_told_so_and_nothing_else(tmp_path: Path) -> None:
    async with trusted(tmp_path, Where()) as client:
        await play(
            """
            C: XCLIENT ADDR=192.0.2.66
            S: 554 5.7.1 Your mail is not welcome here
            C: EHLO x.test
            S: 5*
            C: QUIT
            S: 221 *
            S: EOF
            """,
            client,
        )


async def test_the_limit_counts_who_is_spoken_for(tmp_path: Path) -> None:
    limits = {"max_connections_per_address": 1}
    async with serving(tmp_path, smtp=limits) as server, connect(server, listen=FILTER) as first:
        await greeted(first)
        assert (await first.command("XCLIENT ADDR=192.0.2.7")).code == 220
        async with connect(server, listen=FILTER) as second:  # the place of 192.0.2.1 is free again
            await greeted(second)
            await second.send(b"XCLIENT ADDR=192.0.2.7\r\n")
            await play("S: 421 4.7.0 Too many connections from your address*\nS: EOF", second)
        await first.send(b"QUIT\r\n")
        await play("S: 221 *\nS: EOF", first)
        async with connect(server, SocketAddress("192.0.2.7", 1)) as third:
            await greeted(third)


async def test_what_is_sent_behind_it_is_answered_behind_the_greeting(tmp_path: Path) -> None:
    early: list[bool] = []

    class Watch(Plugin):
        @hookimpl
        def hook_helo(self, connection: Connection) -> None:
            early.append(connection.early_talker)

    async with serving(tmp_path, Watch) as server, connect(server, listen=FILTER) as client:
        await client.reply()
        await client.send(b"NOOP\r\nXCLIENT ADDR=192.0.2.7\r\nHELO x.test\r\nNOOP\r\n")
        await play("S: 250 *\nS: 220 *\nS: 250 *\nS: 250 *", client)
    assert early == [True]


async def test_tls_goes_on(tmp_path: Path, authority: trustme.CA) -> None:
    seen: list[tuple[str, str]] = []

    class Watch(Plugin):
        @hookimpl
        def hook_connect(self, connection: Connection) -> None:
            seen.append((connection.remote.ip, connection.tls.version if connection.tls else ""))

    listener = {"xclient": ["127.0.0.1"]}
    async with (
        listening(tmp_path, authority, Watch, tls="implicit", listener=listener) as server,
        await calling(server) as socket,
    ):
        client = Client(encrypted(socket, authority))
        await greeted(client)
        assert (await client.command("XCLIENT ADDR=192.0.2.7")).code == 220
        assert "STARTTLS" not in (await client.command("EHLO x.test")).lines
    assert seen == [("127.0.0.1", "TLSv1.3"), ("192.0.2.7", "TLSv1.3")]


async def test_a_client_behind_starttls_may_speak_for_others_too(
    tmp_path: Path, authority: trustme.CA
) -> None:
    listener = {"xclient": ["127.0.0.1"]}
    async with (
        listening(tmp_path, authority, listener=listener) as server,
        await calling(server) as socket,
    ):
        client = Client(socket)
        await greeted(client)
        assert (await client.command("XCLIENT ADDR=192.0.2.7")).code == 220
        await client.command("EHLO x.test")
        await client.command("STARTTLS")
        client = Client(encrypted(socket, authority))
        assert (await client.command("XCLIENT ADDR=192.0.2.8")).code == 220
        lines = (await client.command("EHLO x.test")).lines
        assert lines[0] == "mx.test Hello x.test [192.0.2.8]"
        assert "REQUIRETLS" in lines


async def test_a_stop_ends_a_client_that_was_spoken_for(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    where = Where()
    async with serving(tmp_path, where) as server, connect(server, listen=FILTER) as client:
        await greeted(client)
        assert (await client.command("XCLIENT ADDR=192.0.2.7")).code == 220
        server.stop()
        await play("S: 421 4.3.2 *\nS: EOF", client)
    assert where.gone == ["192.0.2.1", "192.0.2.7"]
