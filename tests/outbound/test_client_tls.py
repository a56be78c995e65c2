"""The contexts for TLS as a client."""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from harakapy.net.tls import CertificateStore, TlsHandshakeError, TlsStream, accept_tls
from harakapy.outbound.client_tls import ClientTls
from harakapy.outbound.hop import TlsLevel
from tests.net.tls_peers import CA, MX, socket_pair, write_pair


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    """The authority that certificates come from."""
    path = tmp_path / "authorities.crt"
    path.write_bytes(CA.cert_pem.bytes())
    return path


async def start(tls: ClientTls, level: TlsLevel, name: str, store: CertificateStore) -> TlsStream:
    """A handshake with a server that has these certificates; the client's end, or its error."""
    ours, theirs = socket_pair()
    ends: list[TlsStream | TlsHandshakeError] = []

    async def call() -> None:
        try:
            ends.append(await tls.start(ours, level, name, timeout_s=10))
        except TlsHandshakeError as error:
            ends.append(error)
            ours.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        with suppress(TlsHandshakeError):
            await accept_tls(theirs, store, timeout_s=10)
        theirs.close()
    ours.close()
    if isinstance(ends[0], TlsHandshakeError):
        raise ends[0]
    return ends[0]


def test_each_context_is_made_once() -> None:
    tls = ClientTls()
    assert tls.context(TlsLevel.MAY) is tls.context(TlsLevel.ENCRYPT)
    assert tls.context(TlsLevel.VERIFY) is tls.context(TlsLevel.VERIFY)


def test_old_versions_of_tls_are_not_spoken() -> None:
    for level in (TlsLevel.MAY, TlsLevel.VERIFY):
        assert ClientTls().context(level).minimum_version is ssl.TLSVersion.TLSv1_2


async def test_any_certificate_will_do_where_nothing_is_verified(tmp_path: Path) -> None:
    store = CertificateStore([write_pair(tmp_path, "other.example.org")])
    stream = await start(ClientTls(), TlsLevel.ENCRYPT, MX, store)
    assert not stream.state.is_verified


async def test_a_good_certificate_is_verified(tmp_path: Path, ca_file: Path) -> None:
    store = CertificateStore([write_pair(tmp_path, MX)])
    assert (await start(ClientTls(ca_file), TlsLevel.VERIFY, MX, store)).state.is_verified


async def test_a_certificate_for_another_name_is_refused(tmp_path: Path, ca_file: Path) -> None:
    store = CertificateStore([write_pair(tmp_path, "other.example.org")])
    with pytest.raises(TlsHandshakeError, match="certificate"):
        await start(ClientTls(ca_file), TlsLevel.VERIFY, MX, store)


async def test_a_certificate_of_a_stranger_is_refused(tmp_path: Path) -> None:
    store = CertificateStore([write_pair(tmp_path, MX)])
    with pytest.raises(TlsHandshakeError, match="certificate"):
        await start(ClientTls(), TlsLevel.VERIFY, MX, store)


@pytest.mark.parametrize("name", ["", "a..b", ".x"])
async def test_a_name_that_is_none_cannot_be_verified(name: str, tmp_path: Path, ca_file: Path) -> None:
    store = CertificateStore([write_pair(tmp_path, MX)])
    with pytest.raises(TlsHandshakeError, match="name"):
        await start(ClientTls(ca_file), TlsLevel.VERIFY, name, store)


@pytest.mark.parametrize(("content", "reason"), [(b"nothing", "no PEM"), (None, "cannot be read")])
def test_authorities_that_cannot_be_used_are_named(
    content: bytes | None, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "authorities"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TlsHandshakeError, match=f"authorities.*{reason}"):
        ClientTls(path).context(TlsLevel.VERIFY)
