"""Certificates whose files change while the server runs: new ones are shown, broken ones are not."""

from __future__ import annotations

import itertools
import shutil
import ssl
from pathlib import Path

import pytest

from harakapy.net.tls import (
    CertificateStore,
    ClientCertificates,
    TlsHandshakeError,
    TlsPolicy,
)

from .tls_peers import (
    CA,
    MX,
    RSA,
    STRANGER,
    Reports,
    client_context,
    names_shown,
    replace,
    session,
    write_pair,
)

LATER = itertools.count(10.0**9, 10.0)  # after any time that trio tells


async def fingerprint_shown(store: CertificateStore) -> str:
    async with session(store) as (_, client):
        peer = client.state.peer
        assert peer is not None
        return peer.fingerprint


def look_again(store: CertificateStore) -> ssl.SSLContext:
    """Let a second pass for the store."""
    return store.context(next(LATER))


@pytest.fixture
def reports() -> Reports:
    return Reports()


async def test_a_renewed_certificate_is_shown_and_sessions_go_on(tmp_path: Path) -> None:
    store = CertificateStore([write_pair(tmp_path, MX)])
    async with session(store) as (server, client):
        before = await fingerprint_shown(store)
        write_pair(tmp_path, MX)
        look_again(store)
        assert await fingerprint_shown(store) != before
        await client.send_all(b"NOOP\r\n")
        assert await server.receive_some() == b"NOOP\r\n"


def test_files_are_looked_at_once_a_second_at_most(tmp_path: Path) -> None:
    store = CertificateStore([write_pair(tmp_path, MX)])
    old = store.context(100.0)
    write_pair(tmp_path, MX)
    assert store.context(100.9) is old
    assert store.context(101.0) is not old


def test_unchanged_identities_keep_their_contexts(tmp_path: Path) -> None:
    pairs = [write_pair(tmp_path, "a.example"), write_pair(tmp_path, "b.example")]
    store = CertificateStore(pairs)
    a, b = store.identity_for("a.example"), store.identity_for("b.example")
    write_pair(tmp_path, "b.example")
    assert store.context(1.0) is a.context
    assert store.identity_for("a.example") is a
    assert store.identity_for("b.example") is not b


def test_nothing_is_read_when_nothing_changed(tmp_path: Path) -> None:
    store = CertificateStore([write_pair(tmp_path, MX)])
    contexts = {id(store.context(float(now))) for now in range(10)}
    assert len(contexts) == 1


async def test_a_broken_new_pair_keeps_the_old_one_and_is_reported_once(
    tmp_path: Path, reports: Reports
) -> None:
    pair = write_pair(tmp_path, MX)
    other = write_pair(tmp_path, "other.example")
    store = CertificateStore([pair, other], report=reports)
    before = await fingerprint_shown(store)

    key = pair[1].read_bytes()
    write_pair(tmp_path, MX)
    new_key = pair[1].read_bytes()
    replace(pair[1], key)  # as between the two writes of a renewal
    old_other = store.identity_for("other.example")
    write_pair(tmp_path, "other.example")
    for _ in range(3):
        look_again(store)
    assert reports == [f"{MX}.key: is not the key of the certificate"]
    assert await fingerprint_shown(store) == before
    assert store.identity_for("other.example") is not old_other

    replace(pair[1], new_key)
    look_again(store)
    assert len(reports) == 1
    assert await fingerprint_shown(store) != before


@pytest.mark.parametrize(
    ("break_it", "problem"),
    [
        (lambda certificate, key: certificate.unlink(), f"{MX}.pem: No such file or directory"),
        (lambda certificate, key: key.unlink(), f"{MX}.key: No such file or directory"),
        (
            lambda certificate, key: replace(certificate, b""),
            f"{MX}.pem: is no PEM certificate that can be read",
        ),
        (lambda certificate, key: replace(key, b"nonsense"), f"{MX}.key: is no PEM private key"),
        (
            lambda certificate, key: replace(certificate, certificate.read_bytes()[:300]),
            f"{MX}.pem: is no PEM certificate that can be read",
        ),
    ],
)
async def test_whatever_breaks_the_old_certificate_stays(
    tmp_path: Path, reports: Reports, break_it: object, problem: str
) -> None:
    pair = write_pair(tmp_path, MX)
    store = CertificateStore([pair], report=reports)
    before = await fingerprint_shown(store)
    assert callable(break_it)
    break_it(*pair)
    look_again(store)
    assert reports == [problem]
    assert await fingerprint_shown(store) == before


async def test_one_broken_key_type_keeps_the_other_too(tmp_path: Path, reports: Reports) -> None:
    ec = write_pair(tmp_path, MX, stem="ec")
    rsa = write_pair(tmp_path, MX, stem="rsa", key_type=RSA)
    store = CertificateStore([ec, rsa], report=reports)
    identity = store.identity_for(MX)
    write_pair(tmp_path, MX, stem="ec")
    replace(rsa[0], b"")
    look_again(store)
    assert store.identity_for(MX) is identity
    assert reports == ["rsa.pem: is no PEM certificate that can be read"]


async def test_a_directory_gains_and_loses_certificates(tmp_path: Path, reports: Reports) -> None:
    write_pair(tmp_path, "a.example")
    store = CertificateStore(tmp_path, report=reports)
    write_pair(tmp_path, "b.example")
    look_again(store)
    assert await names_shown(store, "b.example") == {"b.example"}
    (tmp_path / "b.example.pem").unlink()
    look_again(store)
    assert await names_shown(store, "b.example") == {"a.example"}
    assert reports == []


async def test_a_directory_that_is_gone_leaves_what_was_there(tmp_path: Path, reports: Reports) -> None:
    directory = tmp_path / "tls"
    directory.mkdir()
    write_pair(directory, MX)
    store = CertificateStore(directory, report=reports)
    (directory / f"{MX}.key").unlink()
    look_again(store)
    shutil.rmtree(directory)
    for _ in range(2):
        look_again(store)
    assert reports == ["tls: has no certificate with a key", "tls: No such file or directory"]
    assert await names_shown(store, MX) == {MX}


def test_a_file_that_cannot_be_read_keeps_no_other_from_being_renewed(
    tmp_path: Path, reports: Reports
) -> None:
    write_pair(tmp_path, "a.example")
    store = CertificateStore(tmp_path, report=reports)
    before = store.identity_for("a.example")
    (tmp_path / "loop.pem").symlink_to(tmp_path / "loop.pem")
    write_pair(tmp_path, "a.example")
    look_again(store)
    assert store.identity_for("a.example") is not before
    assert reports == ["loop.pem: Too many levels of symbolic links"]


def test_new_authorities_do_not_wait_for_a_pair_to_be_mended(tmp_path: Path) -> None:
    authorities = tmp_path / "clients"
    replace(authorities, STRANGER.cert_pem.bytes())
    policy = TlsPolicy(client_certificates=ClientCertificates.REQUIRE, client_ca_file=authorities)
    pair = write_pair(tmp_path, MX)
    store = CertificateStore([pair, write_pair(tmp_path, "other.example")], policy)
    old = store.identity_for(MX)
    aside = pair[1].rename(tmp_path / "aside")
    replace(authorities, CA.cert_pem.bytes())
    look_again(store)
    assert store.identity_for(MX) is old  # it cannot be made anew
    aside.rename(pair[1])  # the very file of before
    look_again(store)
    assert store.identity_for(MX) is not old


async def test_new_authorities_count_for_the_next_client(tmp_path: Path, reports: Reports) -> None:
    authorities = tmp_path / "clients"
    replace(authorities, STRANGER.cert_pem.bytes())
    policy = TlsPolicy(client_certificates=ClientCertificates.REQUIRE, client_ca_file=authorities)
    store = CertificateStore([write_pair(tmp_path, MX)], policy, report=reports)
    context = client_context(maximum_version=ssl.TLSVersion.TLSv1_2)
    CA.issue_cert("client.example.org").configure_cert(context)
    with pytest.RaisesGroup(TlsHandshakeError, TlsHandshakeError):
        async with session(store, context):
            pass
    replace(authorities, CA.cert_pem.bytes())
    look_again(store)
    async with session(store, context) as (server, _):
        assert server.state.is_verified
    replace(authorities, b"")
    look_again(store)
    async with session(store, context) as (server, _):
        assert server.state.is_verified
    assert reports == ["clients: has no PEM certificates of authorities"]
