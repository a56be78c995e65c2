"""STARTTLS and implicit TLS, with real handshakes over loopback."""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from harakapy import Connection, Plugin, Server, hookimpl
from harakapy.testing import Client, play

from .scene import MESSAGE, Accept, greeted, serving

NAME = "mx.test"


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


class Watch(Plugin):
    """Remembers what is known of TLS at MAIL, and how often a transaction was reset."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str, str]] = []
        self.resets = 0

    @hookimpl
    def hook_mail(self, connection: Connection) -> None:
        tls = connection.tls
        if tls is not None:
            self.seen.append((tls.version, tls.server_name, connection.hello.host))

    @hookimpl
    def hook_reset_transaction(self) -> None:
        self.resets += 1


@asynccontextmanager
async def listening(
    folder: Path,
    authority: trustme.CA,
    *plugins: object,
    tls: str = "starttls",
    listener: Mapping[str, object] | None = None,
    **values: Any,
) -> AsyncIterator[Server]:
    """A server with a certificate for mx.test on a port of loopback."""
    leaf = authority.issue_cert(NAME)
    leaf.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    leaf.private_key_pem.write_to_path(folder / "key.pem")
    pair = {"certificate": str(folder / "cert.pem"), "key": str(folder / "key.pem")}
    async with serving(
        folder,
        *plugins,
        listen=[{"address": "127.0.0.1:0", "tls": tls, **(listener or {})}],
        tls={"certificates": [pair], "handshake_timeout": "1s"},
        **values,
    ) as server:
        yield server


async def calling(server: Server) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", server.addresses[0].port)


def encrypted(stream: trio.SocketStream, authority: trustme.CA) -> trio.SSLStream[trio.SocketStream]:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return trio.SSLStream(stream, context, server_hostname=NAME)


async def test_a_message_comes_over_starttls_and_says_so(tmp_path: Path, authority: trustme.CA) -> None:
    accept, watch = Accept(), Watch()
    async with listening(tmp_path, authority, accept, watch) as server, await calling(server) as plain:
        client = Client(plain)
        await client.reply()
        assert "STARTTLS" in (await client.command("EHLO client.test")).lines
        assert "STARTTLS" in (await client.command("HELP")).text
        assert str(await client.command("STARTTLS")) == "220 2.0.0 Ready to start TLS"
        client = Client(encrypted(plain, authority))
        assert (await client.command("MAIL FROM:<>")).code == 503
        assert "STARTTLS" not in (await client.command("EHLO client.test")).lines
        assert "STARTTLS" not in (await client.command("HELP")).text
        assert (await client.command("STARTTLS")).code == 503
        replies = await client.hand_over("a@b.test", ["b@example.com"], MESSAGE)
        assert replies[-1].code == 250
        assert (await client.command("QUIT")).code == 221
    assert watch.seen == [("TLSv1.3", NAME, "client.test")]
    assert b" with ESMTPS id " in accept.messages[0]
    assert b"\ttls TLS_" in accept.messages[0]


async def test_implicit_tls_begins_with_the_handshake(tmp_path: Path, authority: trustme.CA) -> None:
    accept = Accept()
    async with (
        listening(tmp_path, authority, accept, tls="implicit") as server,
        await calling(server) as plain,
    ):
        client = Client(encrypted(plain, authority))
        await greeted(client)
        replies = await client.hand_over("a@b.test", ["b@example.com"], MESSAGE)
        assert replies[-1].code == 250
        assert "STARTTLS" not in (await client.command("EHLO client.test")).lines
    assert len(accept.messages) == 1


async def test_starttls_forgets_the_transaction(tmp_path: Path, authority: trustme.CA) -> None:
    watch = Watch()
    async with listening(tmp_path, authority, watch) as server, await calling(server) as plain:
        client = Client(plain)
        await greeted(client)
        assert (await client.command("MAIL FROM:<a@b.test>")).code == 250
        assert (await client.command("STARTTLS")).code == 220
        assert watch.resets == 1
        client = Client(encrypted(plain, authority))
        assert (await client.command("RCPT TO:<b@example.com>")).code == 503


@pytest.mark.parametrize("behind", [b"NOOP\r\n", b"EHLO a\r\nMAIL FROM:<x@y.test>\r\n", b"\x16\x03\x01"])
async def test_octets_behind_starttls_end_the_session(
    behind: bytes, tmp_path: Path, authority: trustme.CA
) -> None:
    async with listening(tmp_path, authority) as server, await calling(server) as plain:
        client = Client(plain)
        await greeted(client)
        await client.send(b"STARTTLS\r\n" + behind)
        await play("S: 554 5.5.0 *\nS: EOF", client)


@pytest.mark.parametrize("offered", ["off", "starttls"])
async def test_without_a_certificate_starttls_is_no_command(offered: str, tmp_path: Path) -> None:
    async with (
        serving(tmp_path, listen=[{"address": "127.0.0.1:0", "tls": offered}]) as server,
        await calling(server) as plain,
    ):
        client = Client(plain)
        await client.reply()
        assert "STARTTLS" not in (await client.command("EHLO client.test")).lines
        assert (await client.command("STARTTLS")).code == 500


async def test_starttls_with_an_argument_is_refused(tmp_path: Path, authority: trustme.CA) -> None:
    async with listening(tmp_path, authority) as server, await calling(server) as plain:
        client = Client(plain)
        await greeted(client)
        assert str(await client.command("STARTTLS now")).startswith("501 5.5.4")


async def test_a_handshake_that_never_comes_ends_the_connection(
    tmp_path: Path, authority: trustme.CA
) -> None:
    async with listening(tmp_path, authority, tls="implicit") as server, await calling(server) as plain:
        with trio.fail_after(5):
            assert await plain.receive_some() == b""


async def test_plain_text_at_an_implicit_tls_port_ends_the_connection(
    tmp_path: Path, authority: trustme.CA
) -> None:
    async with listening(tmp_path, authority, tls="implicit") as server, await calling(server) as plain:
        await plain.send_all(b"EHLO client.test\r\n")
        with trio.fail_after(5):
            while await plain.receive_some():  # an alert, perhaps
                pass


async def test_a_client_cut_off_within_content_has_sent_nothing(
    tmp_path: Path, authority: trustme.CA
) -> None:
    accept = Accept()
    async with listening(tmp_path, authority, accept) as server, await calling(server) as plain:
        client = Client(plain)
        await greeted(client)
        await client.command("STARTTLS")
        secure = encrypted(plain, authority)
        client = Client(secure)
        await play(
            "C: HELO x.test\nS: 250 *\nC: MAIL FROM:<a@b.test>\nC: RCPT TO:<b@example.com>\nC: DATA\n"
            "S: 250 *\nS: 250 *\nS: 354 *",
            client,
        )
        await client.send(b"Subject: cut\r\n")
        await plain.aclose()  # without close_notify
    assert accept.messages == []
