"""TLS handshakes, real ones over socket pairs: what is agreed on, and what is refused."""

from __future__ import annotations

import shutil
import socket
import ssl
from functools import partial
from hashlib import sha256
from pathlib import Path
from subprocess import PIPE

import pytest
import trio
from trio.testing import MockClock
from trustme import KeyType

from harakapy.net.stream import SocketStream
from harakapy.net.tls import (
    CertificateStore,
    ClientCertificates,
    TlsHandshakeError,
    TlsPolicy,
    TlsStream,
    accept_tls,
    connect_tls,
)

from .tls_peers import (
    CA,
    ECDSA,
    MX,
    RSA,
    STRANGER,
    TIMEOUT_S,
    client_context,
    session,
    socket_pair,
    write_pair,
)

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
SAYS_LESS = ssl.OPENSSL_VERSION_INFO >= (3, 5)  # of a record; seen with 3.5, and not with 3.0
TOO_LONG = "record layer failure" if SAYS_LESS else "packet length too long"


@pytest.fixture
def store(tmp_path: Path) -> CertificateStore:
    return CertificateStore([write_pair(tmp_path, MX)])


# The handshake


@pytest.mark.parametrize("version", VERSIONS)
async def test_both_ends_talk(store: CertificateStore, version: ssl.TLSVersion) -> None:
    async with session(store, client_context(maximum_version=version)) as (server, client):
        await client.send_all(b"EHLO there\r\n")
        assert await server.receive_some() == b"EHLO there\r\n"
        await server.send_all(b"250 here\r\n")
        assert await client.receive_some(4) == b"250 "
        assert await client.receive_some() == b"here\r\n"


async def test_state_tells_the_session(store: CertificateStore) -> None:
    async with session(store) as (server, client):
        state = server.state
        assert (state.version, state.server_name, state.bits) == ("TLSv1.3", MX, 256)
        assert state.cipher == client.state.cipher == "TLS_AES_256_GCM_SHA384"
        assert (state.is_resumed, state.is_verified, state.peer) == (False, False, None)
        peer = client.state.peer
        assert peer is not None
        assert (peer.is_verified, peer.names) == (True, (MX,))
        assert server.state is state


async def test_state_without_a_name(store: CertificateStore) -> None:
    async with session(store, client_context(check_hostname=False), None) as (server, _):
        assert server.state.server_name == ""


async def test_a_server_that_cannot_be_verified_has_no_names(store: CertificateStore) -> None:
    context = client_context(check_hostname=False, verify_mode=ssl.CERT_NONE)
    async with session(store, context) as (_, client):
        peer = client.state.peer
        assert peer is not None
        assert (peer.is_verified, peer.names, peer.subject) == (False, (), "")


def old_client(version: ssl.TLSVersion) -> ssl.SSLContext:
    """A client that knows nothing newer, and would do anything."""
    with pytest.warns(DeprecationWarning, match=version.name):
        context = client_context(minimum_version=version, maximum_version=version)
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
async def test_old_versions_are_refused(store: CertificateStore, version: ssl.TLSVersion) -> None:
    context = old_client(version)
    with pytest.RaisesGroup(TlsHandshakeError, TlsHandshakeError) as caught:
        async with session(store, context):
            pass
    assert {str(error) for error in caught.value.exceptions} == {
        "unsupported protocol",
        "tlsv1 alert protocol version",
    }


@pytest.mark.parametrize(
    ("cipher", "key_type"),
    [
        ("AES256-GCM-SHA384", RSA),  # no forward secrecy
        ("ECDHE-RSA-AES256-SHA384", RSA),  # CBC
        ("ECDHE-ECDSA-AES256-SHA", ECDSA),
        ("AES128-SHA", RSA),
        ("aNULL", RSA),
        ("aNULL", ECDSA),
    ],
)
async def test_weak_ciphers_are_refused(tmp_path: Path, cipher: str, key_type: KeyType) -> None:
    store = CertificateStore([write_pair(tmp_path, MX, key_type=key_type)])
    context = client_context(maximum_version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(f"{cipher}:@SECLEVEL=0")
    with pytest.RaisesGroup(TlsHandshakeError, TlsHandshakeError) as caught:
        async with session(store, context):
            pass
    assert "no shared cipher" in {str(error) for error in caught.value.exceptions}


async def test_tls_1_3_alone_can_be_asked_for(tmp_path: Path) -> None:
    policy = TlsPolicy(minimum_version=ssl.TLSVersion.TLSv1_3)
    store = CertificateStore([write_pair(tmp_path, MX)], policy)
    async with session(store) as (server, _):
        assert server.state.version == "TLSv1.3"
    with pytest.RaisesGroup(TlsHandshakeError, TlsHandshakeError):
        async with session(store, client_context(maximum_version=ssl.TLSVersion.TLSv1_2)):
            pass


def test_compression_and_renegotiation_are_off(store: CertificateStore) -> None:
    options = store.context(0.0).options
    assert options & ssl.OP_NO_COMPRESSION
    assert options & ssl.OP_NO_RENEGOTIATION


@pytest.mark.skipif(
    shutil.which("openssl") is None, reason="no other client can ask for it: openssl is missing"
)
async def test_renegotiation_is_refused(store: CertificateStore) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    _, port = listener.socket.getsockname()
    command = ["openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.1:{port}"]
    async with trio.open_nursery() as nursery, listener:
        process = await nursery.start(
            partial(
                trio.run_process, command, stdin=PIPE, capture_stderr=True, capture_stdout=True, check=False
            )
        )
        accepted = await listener.accept()
        transport = SocketStream(socket.socket(fileno=accepted.socket.detach()))
        server = await accept_tls(transport, store, timeout_s=TIMEOUT_S)
        await process.stdin.send_all(b"R\n")
        with trio.fail_after(TIMEOUT_S), pytest.raises(trio.BrokenResourceError):
            await server.receive_some()
        server.close()


@pytest.mark.parametrize("version", VERSIONS)
async def test_sessions_are_resumed(store: CertificateStore, version: ssl.TLSVersion) -> None:
    context = client_context(maximum_version=version)
    ticket = None
    for is_resumed in (False, True, True):
        ours, theirs = socket_pair()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        ssl_object = context.wrap_bio(incoming, outgoing, server_hostname=MX, session=ticket)
        client = TlsStream(theirs, ssl_object, incoming, outgoing)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.do_handshake)
            server = await accept_tls(ours, store, timeout_s=TIMEOUT_S)
        await server.send_all(b"220 here\r\n")
        await client.receive_some()  # and the ticket
        ticket = ssl_object.session
        assert server.state.is_resumed is is_resumed
        assert ("tls-unique" in server.state.channel_bindings) is (version == VERSIONS[0] and not is_resumed)
        server.close()
        client.close()


@pytest.mark.parametrize(
    ("hello", "reason"),
    [
        (b"EHLO there.example\r\n", "wrong version number"),
        (b"GET / HTTP/1.0\r\n\r\n", "http request"),
        (b"\x00" * 50, "wrong version number"),
        (b"\x16\x03\x01\x00\x05hello", "unexpected message"),
        (b"\x16\x03\x01\xff\xff" + b"x" * 100, TOO_LONG),
        (b"", "the connection ended in the handshake"),
        (b"\x16\x03\x01\x02\x00\x01", "the connection ended in the handshake"),
    ],
)
async def test_what_is_no_hello_ends_the_handshake(
    store: CertificateStore, hello: bytes, reason: str
) -> None:
    ours, theirs = socket_pair()
    await theirs.send_all(hello)
    await theirs.send_eof()
    with pytest.raises(TlsHandshakeError) as caught:
        await accept_tls(ours, store, timeout_s=TIMEOUT_S)
    assert caught.value.reason == reason
    ours.close()
    theirs.close()


async def test_a_client_that_says_nothing_is_given_up(
    store: CertificateStore, autojump_clock: MockClock
) -> None:
    ours, theirs = socket_pair()
    start = trio.current_time()
    with pytest.raises(TlsHandshakeError, match="no handshake within 30 s"):
        await accept_tls(ours, store, timeout_s=30)
    assert trio.current_time() - start == 30
    ours.close()
    theirs.close()


async def test_a_client_that_dawdles_is_given_up(store: CertificateStore, autojump_clock: MockClock) -> None:
    ours, theirs = socket_pair()
    hello = b"\x16\x03\x01\x40\x00" + b"\x01\x00\x3f\xfc" + bytes(16380)

    async def dawdle() -> None:
        for octet in hello:
            await theirs.send_all(bytes([octet]))
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dawdle)
        with pytest.raises(TlsHandshakeError, match="no handshake within 30 s"):
            await accept_tls(ours, store, timeout_s=30)
        nursery.cancel_scope.cancel()
    ours.close()
    theirs.close()


async def test_a_server_that_says_nothing_is_given_up(autojump_clock: MockClock) -> None:
    ours, theirs = socket_pair()
    with pytest.raises(TlsHandshakeError, match="no handshake within 5 s"):
        await connect_tls(ours, client_context(), MX, timeout_s=5)
    ours.close()
    theirs.close()


async def test_what_was_read_before_belongs_to_the_handshake(store: CertificateStore) -> None:
    ours, theirs = socket_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk_as_client, theirs)
        hello = await ours.receive_some()
        for cut in (len(hello), 1):  # all of it or only its beginning
            async with trio.open_nursery() as inner:
                rest, other = socket_pair()
                await other.send_all(hello[cut:])
                await other.send_eof()
                inner.cancel_scope.deadline = trio.current_time() + TIMEOUT_S
                with pytest.raises(TlsHandshakeError, match="the connection ended"):
                    await accept_tls(rest, store, timeout_s=TIMEOUT_S, received=hello[:cut])
                assert (await other.receive_some())[:3] == b"\x16\x03\x03"  # the server's hello
                rest.close()
                other.close()
        server = await accept_tls(ours, store, timeout_s=TIMEOUT_S, received=hello)
        await server.send_all(b"220 here\r\n")
        assert await server.receive_some() == b"EHLO\r\n"
        assert await server.receive_some() == b""
        server.close()


async def talk_as_client(transport: SocketStream) -> None:
    client = await connect_tls(transport, client_context(), MX, timeout_s=TIMEOUT_S)
    assert await client.receive_some() == b"220 here\r\n"
    await client.send_all(b"EHLO\r\n")
    await client.aclose()


# Client certificates


@pytest.fixture
def authorities(tmp_path: Path) -> Path:
    path = tmp_path / "clients-ca.pem"
    path.write_bytes(CA.cert_pem.bytes())
    return path


def asking(tmp_path: Path, kind: ClientCertificates, authorities: Path) -> CertificateStore:
    return CertificateStore(
        [write_pair(tmp_path, MX)], TlsPolicy(client_certificates=kind, client_ca_file=authorities)
    )


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", [ClientCertificates.REQUEST, ClientCertificates.REQUIRE])
async def test_client_certificate_is_shown(
    tmp_path: Path, authorities: Path, kind: ClientCertificates, version: ssl.TLSVersion
) -> None:
    issued = CA.issue_cert("client.example.org", "tim@example.org", common_name="Tim\x07")
    context = client_context(maximum_version=version)
    issued.configure_cert(context)
    async with session(asking(tmp_path, kind, authorities), context) as (server, _):
        peer = server.state.peer
        assert peer is not None
        assert server.state.is_verified
        assert set(peer.names) == {"client.example.org", "tim@example.org"}
        assert "commonName=Tim?" in peer.subject
        der = ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())
        assert peer.fingerprint == sha256(der).hexdigest()


async def test_a_requested_certificate_may_be_missing(tmp_path: Path, authorities: Path) -> None:
    async with session(asking(tmp_path, ClientCertificates.REQUEST, authorities)) as (server, _):
        assert not server.state.is_verified


async def test_a_certificate_that_was_not_asked_for_is_not_shown(store: CertificateStore) -> None:
    context = client_context()
    CA.issue_cert("client.example.org").configure_cert(context)
    async with session(store, context) as (server, _):
        assert server.state.peer is None


@pytest.mark.parametrize(
    ("kind", "issuer"),
    [
        (ClientCertificates.REQUEST, STRANGER),
        (ClientCertificates.REQUIRE, STRANGER),
        (ClientCertificates.REQUIRE, None),
    ],
)
async def test_unverifiable_certificates_are_refused(
    tmp_path: Path, authorities: Path, kind: ClientCertificates, issuer: object
) -> None:
    context = client_context(maximum_version=ssl.TLSVersion.TLSv1_2)  # with 1.3 the client learns of it later
    if issuer is STRANGER:
        STRANGER.issue_cert("client.example.org").configure_cert(context)
    with pytest.RaisesGroup(TlsHandshakeError, TlsHandshakeError) as caught:
        async with session(asking(tmp_path, kind, authorities), context):
            pass
    reasons = {str(error) for error in caught.value.exceptions}
    assert reasons & {
        "peer did not return a certificate",
        "the peer's certificate: unable to get local issuer certificate",
    }


def test_certificates_cannot_be_asked_for_without_authorities() -> None:
    with pytest.raises(ValueError, match="authorities"):
        TlsPolicy(client_certificates=ClientCertificates.REQUEST)
