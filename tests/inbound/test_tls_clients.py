"""TLS as clients meet it: old versions, sessions taken up again, and logins bound to the channel."""

import socket
import ssl
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from msgspec.structs import replace

from harakapy import Connection, Plugin, Server, hookimpl
from harakapy.outbound.attempt import HostFailed
from harakapy.outbound.client_tls import ClientTls
from harakapy.outbound.hop import NextHop, Protocol, Target, TlsLevel
from harakapy.outbound.session import Session
from harakapy.smtp.sasl import ChannelBinding, ScramClient, ScramPlusClient
from harakapy.testing import Client
from tests.outbound.hosts import TERMS, deliver, envelope, facilities

from .scene import Accept
from .test_auth import PASSWORD, USER, JudgeOfAll, log_in
from .test_tls import NAME, authority, calling, encrypted, listening

__all__ = ["authority"]


class Seen(Plugin):
    """Whether each session that said MAIL had been taken up again."""

    def __init__(self) -> None:
        super().__init__()
        self.resumed: list[bool] = []

    @hookimpl
    def hook_mail(self, connection: Connection) -> None:
        assert connection.tls is not None
        self.resumed.append(connection.tls.is_resumed)


def shaken_hands(server: Server, tls: str, context: ssl.SSLContext, **more: Any) -> ssl.SSLSession | None:
    """The session after EHLO and MAIL over TLS."""
    with socket.create_connection(("127.0.0.1", server.addresses[0].port), timeout=20) as plain:
        if tls == "starttls":
            for line in (b"", b"EHLO client.test\r\n", b"STARTTLS\r\n"):
                plain.sendall(line)
                plain.recv(4096)
        with context.wrap_socket(plain, server_hostname=NAME, **more) as stream:
            for line in (b"", b"EHLO client.test\r\n", b"MAIL FROM:<a@client.test>\r\n", b"QUIT\r\n"):
                if line or tls == "implicit":
                    stream.sendall(line)
                    assert stream.recv(4096)[:1] == b"2"
            return stream.session


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_takes_its_session_up_again(
    version: ssl.TLSVersion, tls: str, tmp_path: Path, authority: trustme.CA
) -> None:
    seen = Seen()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.minimum_version = context.maximum_version = version
    async with listening(tmp_path, authority, seen, Accept(), tls=tls) as server:
        session = None
        for _ in range(3):
            shake = partial(shaken_hands, server, tls, context, session=session)
            session = await trio.to_thread.run_sync(shake)
    assert seen.resumed == [False, True, True]


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
async def test_versions_before_tls_1_2_are_refused(
    version: ssl.TLSVersion, tls: str, tmp_path: Path, authority: trustme.CA
) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    async with listening(tmp_path, authority, Accept(), tls=tls) as server:
        with pytest.raises(ssl.SSLError, match=r"(?i)alert protocol version"):
            await trio.to_thread.run_sync(shaken_hands, server, tls, context)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        await trio.to_thread.run_sync(shaken_hands, server, tls, context)


@pytest.mark.parametrize("protocol", [Protocol.SMTP, Protocol.SMTPS])
async def test_our_client_binds_its_login_to_the_tls_of_our_server(
    protocol: Protocol, tmp_path: Path, authority: trustme.CA
) -> None:
    judge, tls = JudgeOfAll(), "starttls" if protocol is Protocol.SMTP else "implicit"
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    listener = {"role": "submission"}
    async with (
        listening(tmp_path, authority, judge, Accept(), tls=tls, listener=listener) as server,
        facilities(tls=ClientTls(tmp_path / "authority.pem")) as shared,
    ):
        port, terms = server.addresses[0].port, replace(TERMS, tls=TlsLevel.VERIFY)
        hop = NextHop(host=NAME, port=port, protocol=protocol, user=USER, password=PASSWORD)
        opened = await Session.open(Target(hop, NAME, "127.0.0.1"), terms, shared)
        (answer,) = await deliver(opened, envelope("b@example.com"))
        assert answer.is_delivered
        await opened.close()
        wrong = replace(hop, password="wrong")
        with pytest.raises(HostFailed):
            await Session.open(Target(wrong, NAME, "127.0.0.1"), terms, shared)
    assert judge.users == [(USER, "SCRAM-SHA-256-PLUS", True)]


@pytest.mark.parametrize("kind", ["tls-exporter", "tls-server-end-point"])
async def test_a_login_bound_to_another_channel_fails(
    kind: str, tmp_path: Path, authority: trustme.CA
) -> None:
    judge = JudgeOfAll()
    async with (
        listening(tmp_path, authority, judge, tls="implicit") as server,
        await calling(server) as plain,
        encrypted(plain, authority) as stream,
    ):
        client = Client(stream)
        await client.reply()
        assert "SCRAM-SHA-256-PLUS" in str(await client.command("EHLO client.test"))
        binding = ChannelBinding(kind, b"of somebody in the middle".ljust(32))
        assert (await log_in(client, ScramPlusClient(USER, PASSWORD, binding))).code == 535
        assert (await log_in(client, ScramClient(USER, PASSWORD))).code == 235
    assert judge.users == []
