"""What a TLS session carries, and how it ends: cleanly, cut off, or broken."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio

from harakapy.net.tls import (
    CertificateStore,
    TlsHandshakeError,
    TlsState,
    TlsStream,
    TlsTruncatedError,
    accept_tls,
)
from harakapy.smtp.sasl import (
    Challenge,
    ChannelBinding,
    ScramCredentials,
    ScramDecoy,
    ScramPlusClient,
    ScramPlusServer,
    ScramSecret,
    SecretRequest,
)

from .tls_peers import (
    MX,
    RSA,
    TIMEOUT_S,
    client_context,
    session,
    session_with_somebody_in_the_middle,
    socket_pair,
    write_pair,
)

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
SAYS_LESS = ssl.OPENSSL_VERSION_INFO >= (3, 5)  # of a record; seen with 3.5, and not with 3.0
CHANGED = "record layer failure" if SAYS_LESS else "bad record mac"


@pytest.fixture
def store(tmp_path: Path) -> CertificateStore:
    return CertificateStore([write_pair(tmp_path, MX)])


async def receive_exactly(stream: TlsStream, size: int) -> bytes:
    received = b""
    while len(received) < size:
        block = await stream.receive_some()
        assert block
        received += block
    return received


# The end, clean and otherwise


@pytest.mark.parametrize("version", VERSIONS)
async def test_goodbye_is_a_clean_end(store: CertificateStore, version: ssl.TLSVersion) -> None:
    async with session(store, client_context(maximum_version=version)) as (server, client):
        await client.send_all(b"QUIT\r\n")
        client.close()
        assert await server.receive_some() == b"QUIT\r\n"
        assert await server.receive_some() == b""
        assert await server.receive_some() == b""


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_end_without_goodbye_is_a_truncation(
    store: CertificateStore, version: ssl.TLSVersion
) -> None:
    async with session(store, client_context(maximum_version=version)) as (server, client):
        await server.send_all(b"220 here\r\n")
        await client.receive_some()  # all that came, or closing resets the connection
        await client.send_all(b"DATA\r\n")
        client.transport.close()
        assert await server.receive_some() == b"DATA\r\n"
        for _ in range(2):
            with pytest.raises(TlsTruncatedError):
                await server.receive_some()


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_record_cut_in_the_middle_is_a_truncation(
    store: CertificateStore, version: ssl.TLSVersion
) -> None:
    async with session_with_somebody_in_the_middle(store, client_context(maximum_version=version)) as middle:
        await middle.client.send_all(b"x" * 100)
        record = await middle.to_client.receive_some()
        await middle.to_server.send_all(record[:-1])
        middle.to_server.close()
        with pytest.raises(TlsTruncatedError):
            await middle.server.receive_some()


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_record_that_was_changed_breaks_the_session(
    store: CertificateStore, version: ssl.TLSVersion
) -> None:
    async with session_with_somebody_in_the_middle(store, client_context(maximum_version=version)) as middle:
        await middle.client.send_all(b"x" * 100)
        record = bytearray(await middle.to_client.receive_some())
        record[-20] ^= 1
        await middle.to_server.send_all(record)
        with pytest.raises(trio.BrokenResourceError, match=CHANGED):
            await middle.server.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await middle.server.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await middle.server.send_all(b"250 ok\r\n")
        assert not middle.server.try_send(b"250 ok\r\n")
        alert = await middle.to_server.receive_some()
        assert alert  # the peer is told, and then no record follows
        assert len(alert) < 600


@pytest.mark.parametrize("version", VERSIONS)
async def test_one_way_may_end_before_the_other(store: CertificateStore, version: ssl.TLSVersion) -> None:
    async with session(store, client_context(maximum_version=version)) as (server, client):
        await server.send_all(b"221 bye\r\n")
        await server.send_eof()
        await server.send_eof()
        with pytest.raises(trio.ClosedResourceError):
            await server.send_all(b"more")
        await client.send_all(b"still here")
        assert await client.receive_some() == b"221 bye\r\n"
        assert await client.receive_some() == b""
        assert await server.receive_some() == b"still here"
        client.close()
        for _ in range(2):
            assert await server.receive_some() == b""


async def test_use_after_closing_is_an_error(store: CertificateStore) -> None:
    async with session(store) as (server, _):
        await server.aclose()
        await server.aclose()
        assert not server.try_send(b"x")
        for use in (
            server.receive_some(),
            server.send_all(b"x"),
            server.send_eof(),
            server.wait_send_all_might_not_block(),
        ):
            with pytest.raises(trio.ClosedResourceError):
                await use


async def test_closing_wakes_who_waits(store: CertificateStore) -> None:
    async with session(store) as (server, _), trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await server.receive_some()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        server.close()


async def test_a_neighbour_that_breaks_tls_disturbs_nobody(store: CertificateStore) -> None:
    async with session(store) as (server, client):
        for _ in range(3):
            ours, theirs = socket_pair()
            await theirs.send_all(b"\x16\x03\x01\x00\x05hello")
            with pytest.raises(TlsHandshakeError):
                await accept_tls(ours, store, timeout_s=TIMEOUT_S)
            ours.close()
            theirs.close()
            with trio.move_on_after(0.001):
                await server.receive_some()
            await client.send_all(b"NOOP\r\n")
            assert await server.receive_some() == b"NOOP\r\n"


# Moving bytes


@pytest.mark.parametrize("version", VERSIONS)
async def test_much_goes_both_ways_at_once(store: CertificateStore, version: ssl.TLSVersion) -> None:
    content = bytes(range(256)) * 8192  # two MiB, more than the kernel's buffers hold
    async with session(store, client_context(maximum_version=version)) as (server, client):
        received: dict[TlsStream, bytes] = {}

        async def receive(stream: TlsStream) -> None:
            received[stream] = await receive_exactly(stream, len(content))

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for stream in (server, client):
                    nursery.start_soon(stream.send_all, content)
                    nursery.start_soon(receive, stream)
    assert list(received.values()) == [content, content]


async def test_any_kind_and_size_of_bytes_is_sent(store: CertificateStore) -> None:
    async with session(store) as (server, client):
        for data in (b"", bytearray(b"abc"), memoryview(b"x" * 16384), b"y" * 16385, b"z" * 40000):
            await server.send_all(data)
            assert await receive_exactly(client, len(data)) == bytes(data)
        assert server.try_send(b"w" * 20000)
        assert await receive_exactly(client, 20000) == b"w" * 20000


async def test_no_more_is_received_than_asked_for(store: CertificateStore) -> None:
    async with session(store) as (server, client):
        await client.send_all(b"abcdef")
        assert [await server.receive_some(size) for size in (1, 2, 100)] == [b"a", b"bc", b"def"]
        for size in (0, -1):
            with pytest.raises(ValueError):
                await server.receive_some(size)


async def test_a_cancelled_send_leaves_nothing_behind_it(store: CertificateStore) -> None:
    async with session(store) as (server, client):
        with trio.move_on_after(0.05) as scope:
            await server.send_all(bytes(10**7))
        assert scope.cancelled_caught
        with pytest.raises(trio.BrokenResourceError):
            await server.send_all(b"421 too slow\r\n")
        assert not server.try_send(b"421 too slow\r\n")
        server.close()
        with pytest.raises(trio.BrokenResourceError):
            while await client.receive_some():
                pass


async def test_last_words_are_not_waited_for(store: CertificateStore) -> None:
    async with session(store) as (server, client):
        while server.try_send(bytes(16384)):
            pass
        with pytest.raises(trio.BrokenResourceError):
            await server.send_all(b"more")
        server.close()
        with pytest.raises(TlsTruncatedError):
            while await client.receive_some():
                pass


async def test_a_cancelled_receive_loses_nothing(store: CertificateStore) -> None:
    async with session(store) as (server, client):
        with trio.move_on_after(0.01):
            await server.receive_some()
        await client.send_all(b"late")
        assert await server.receive_some() == b"late"


async def test_two_senders_are_a_bug(store: CertificateStore) -> None:
    async with session(store) as (server, _), trio.open_nursery() as nursery:
        nursery.start_soon(server.send_all, bytes(10**7))
        await trio.testing.wait_all_tasks_blocked()
        for use in (server.send_all(b"x"), server.send_eof(), server.wait_send_all_might_not_block()):
            with pytest.raises(trio.BusyResourceError):
                await use
        assert not server.try_send(b"x")
        nursery.cancel_scope.cancel()


async def test_room_to_send_is_waited_for(store: CertificateStore) -> None:
    async with session(store) as (server, _):
        with trio.fail_after(5):
            await server.wait_send_all_might_not_block()
        with trio.move_on_after(0.05):
            await server._transport.send_all(bytes(10**7))
        with trio.move_on_after(0.05) as scope:
            await server.wait_send_all_might_not_block()
        assert scope.cancelled_caught


async def test_an_idle_stream_keeps_no_content(store: CertificateStore) -> None:
    async with session(store) as (server, client):
        await client.send_all(bytes(50_000))
        await receive_exactly(server, 50_000)
        assert server._unfed == b""
        assert not isinstance(server._unfed, memoryview)


# Channel binding


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        (ssl.TLSVersion.TLSv1_2, "tls-unique"),
        (ssl.TLSVersion.TLSv1_2, "tls-server-end-point"),
        (ssl.TLSVersion.TLSv1_3, "tls-server-end-point"),
    ],
)
@pytest.mark.parametrize("signed_for", ["ECDSA+SHA256", "RSA-PSS+SHA256"])
async def test_both_ends_have_the_same_channel_binding(
    tmp_path: Path, version: ssl.TLSVersion, kind: str, signed_for: str
) -> None:
    pairs = [write_pair(tmp_path, MX, stem="ec"), write_pair(tmp_path, MX, stem="rsa", key_type=RSA)]
    store = CertificateStore(pairs)
    context = client_context(maximum_version=version)
    context.set_ciphers(
        "ECDHE-ECDSA-AES128-GCM-SHA256" if "ECDSA" in signed_for else "ECDHE-RSA-AES128-GCM-SHA256"
    )
    async with session(store, context) as (server, client):
        (data,) = client.state.channel_bindings[kind]
        assert data in server.state.channel_bindings[kind]
        assert set(server.state.channel_bindings) >= {"tls-server-end-point"}

        decoy, secret = ScramDecoy(bytes(32)), ScramSecret.derive("pencil", iterations=4096)
        asking = ScramPlusClient("user", "pencil", ChannelBinding(kind, data))
        answering = ScramPlusServer(decoy, server.state.channel_bindings)
        assert isinstance(answering.step(asking.initial_response()), SecretRequest)
        challenge = answering.supply(secret)
        for _ in range(2):
            assert isinstance(challenge, Challenge)
            challenge = answering.step(asking.step(challenge.data))
        assert isinstance(challenge, ScramCredentials)


async def test_two_sessions_have_different_unique_bindings(store: CertificateStore) -> None:
    context = client_context(maximum_version=ssl.TLSVersion.TLSv1_2)
    seen: set[tuple[bytes, ...]] = set()
    for _ in range(2):
        async with session(store, context) as (server, _client):
            seen.add(server.state.channel_bindings["tls-unique"])
    assert len(seen) == 2


def test_bindings_are_not_shown() -> None:
    assert "secret" not in repr(TlsState("TLSv1.3", "", 0, channel_bindings={"x": (b"secret",)}))
