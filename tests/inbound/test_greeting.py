"""What happens before the client's first command."""

from pathlib import Path

import pytest
import trio

from harakapy import (
    DENY,
    DENYDISCONNECT,
    DENYSOFT,
    DENYSOFTDISCONNECT,
    DISCONNECT,
    OK,
    Connection,
    Plugin,
    Server,
    Verdict,
    hookimpl,
)
from harakapy.log import silent_logger
from harakapy.net import Resolver, SocketAddress
from harakapy.testing import Client, FakeDns, connect, play

from .scene import serving, settings


class Greeter(Plugin):
    """Answers hook_connect with what it is given, and remembers the client's name."""

    def __init__(self, verdict: Verdict | None = None, rdns: Verdict | str | None = None) -> None:
        super().__init__()
        self.verdict = verdict
        self.rdns = rdns
        self.host = ""

    @hookimpl
    def hook_lookup_rdns(self) -> Verdict | str | None:
        return self.rdns

    @hookimpl
    def hook_connect(self, connection: Connection) -> Verdict | None:
        self.host = connection.remote.host
        return self.verdict


@pytest.mark.parametrize(
    ("verdict", "line"),
    [
        (DENY, "554 5.7.1 Your mail is not welcome here"),
        (DENY("5.7.1 not you"), "554 5.7.1 not you"),
    ],
    ids=str,
)
async def test_a_denied_client_gets_the_same_reply_until_it_quits(
    verdict: Verdict, line: str, tmp_path: Path
) -> None:
    async with serving(tmp_path, Greeter(verdict)) as server, connect(server) as client:
        await play(
            f"S: {line}\nC: EHLO client.test\nS: {line}\nC: MAIL FROM:<a@b.test>\nS: {line}\n"
            "C: QUIT\nS: 221 2.0.0 mx.test closing connection\nS: EOF",
            client,
        )


@pytest.mark.parametrize(
    ("verdict", "line"),
    [
        (DENYDISCONNECT, "554 5.7.1 Your mail is not welcome here"),
        (DISCONNECT, "554 5.7.1 Your mail is not welcome here"),
        (DENYSOFT, "421 4.7.0 Come back later"),
        (DENYSOFTDISCONNECT, "421 4.7.0 Come back later"),
    ],
    ids=str,
)
async def test_a_disconnect_verdict_closes_behind_its_reply(
    verdict: Verdict, line: str, tmp_path: Path
) -> None:
    async with serving(tmp_path, Greeter(verdict)) as server, connect(server) as client:
        await play(f"S: {line}\nS: EOF", client)


async def test_a_denied_client_that_goes_on_is_sent_away(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, Greeter(DENY), smtp={"max_errors": 2}) as server,
        connect(server) as client,
    ):
        await play(
            "S: 554 *\nC: A\nS: 554 *\nC: B\nS: 554 *\nC: C\nS: 421 4.7.0 Too many errors*\nS: EOF", client
        )


async def test_an_ok_with_text_replaces_the_whole_greeting(tmp_path: Path) -> None:
    async with serving(tmp_path, Greeter(OK("welcome, friend"))) as server, connect(server) as client:
        await play("S: 220 welcome, friend", client)


async def test_the_greeting_can_be_configured(tmp_path: Path) -> None:
    async with serving(tmp_path, smtp={"greeting": "ESMTP hello"}) as server, connect(server) as client:
        await play("S: 220 mx.test ESMTP hello", client)


async def test_a_plugin_may_find_the_clients_name(tmp_path: Path) -> None:
    plugin = Greeter(rdns="client.example")
    async with serving(tmp_path, plugin) as server, connect(server) as client:
        await play("S: 220 *\nC: EHLO x.test\nS: 250-mx.test Hello client.example [192.0.2.1]", client)
    assert plugin.host == "client.example"


async def test_a_denied_lookup_refuses_the_client(tmp_path: Path) -> None:
    async with serving(tmp_path, Greeter(rdns=DENY)) as server, connect(server) as client:
        await play("S: 554 5.7.25 rDNS Lookup Failed\nC: NOOP\nS: 554 5.7.25 *", client)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.7", "mail.client.test"),
        ("192.0.2.8", "NXDOMAIN"),
        ("192.0.2.9", "DNSERROR"),
        ("127.0.0.1", "localhost"),
    ],
)
async def test_the_clients_name_is_looked_up(
    address: str, expected: str, tmp_path: Path, nursery: trio.Nursery
) -> None:
    dns = FakeDns({("7.2.0.192.in-addr.arpa", "PTR"): ["Mail.Client.test."]})
    dns.failing.add("9.2.0.192.in-addr.arpa")
    await nursery.start(dns.serve)
    plugin = Greeter()
    server = Server(
        settings(tmp_path, dns={"rdns": True}),
        plugins=[plugin],
        log=silent_logger(),
        resolver=Resolver([dns.address]),
    )
    async with server.running(), connect(server, SocketAddress(address, 1)) as client:
        assert (await client.reply()) is not None
    assert plugin.host == expected


async def test_an_early_talker_is_noticed_and_what_it_said_is_kept(tmp_path: Path) -> None:
    seen: list[bool] = []
    spoken = trio.Event()

    class Slow(Plugin):
        @hookimpl
        async def hook_connect_init(self) -> None:
            await spoken.wait()

        @hookimpl
        def hook_connect(self, connection: Connection) -> None:
            seen.append(connection.early_talker)

    async with serving(tmp_path, Slow, listen=[{"address": "127.0.0.1:0"}]) as server:
        for words in (b"EHLO client.test\r\n", b""):
            async with await trio.open_tcp_stream("127.0.0.1", server.addresses[0].port) as stream:
                if words:
                    await stream.send_all(words)
                spoken.set()
                await play("S: 220 *\nS: 250-*" if words else "S: 220 *", Client(stream))
    assert seen == [True, False]


async def test_a_fault_before_the_greeting_is_a_421(tmp_path: Path) -> None:
    class Broken(Plugin):
        @hookimpl
        def hook_connect(self) -> Verdict:
            raise RuntimeError("secret")

    async with serving(tmp_path, Broken) as server, connect(server) as client:
        await play("S: 421 4.3.0 Temporary failure, try again later", client)
