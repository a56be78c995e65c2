"""Certificates: who is shown which, what makes them unusable, and one of our own making."""

from __future__ import annotations

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from harakapy.net.tls import (
    CertificateError,
    CertificatePair,
    CertificateStore,
    ClientCertificates,
    TlsPolicy,
    find_pairs,
)
from harakapy.net.tls.self_signed import make_self_signed

from .tls_peers import CA, MX, RSA, Reports, client_context, names_shown, replace, session, write_pair

# Who is shown which


@pytest.fixture
def several(tmp_path: Path) -> CertificateStore:
    return CertificateStore(
        [
            write_pair(tmp_path, "default.example"),
            write_pair(tmp_path, MX, "mail.example.org"),
            write_pair(tmp_path, "*.example.org", stem="wildcard"),
            write_pair(tmp_path, "*.deep.example.org", stem="deep"),
        ]
    )


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        (MX, {MX, "mail.example.org"}),
        ("MAIL.Example.Org", {MX, "mail.example.org"}),
        ("smtp.example.org", {"*.example.org"}),
        ("a.deep.example.org", {"*.deep.example.org"}),
        ("deep.example.org", {"*.example.org"}),
        ("a.b.example.org", {"default.example"}),  # a wildcard stands for one label
        ("example.org", {"default.example"}),
        ("elsewhere.example", {"default.example"}),
        ("default.example", {"default.example"}),
        (None, {"default.example"}),
        ("localhost", {"default.example"}),
    ],
)
async def test_client_gets_the_certificate_it_asks_for(
    several: CertificateStore, asked: str | None, shown: set[str]
) -> None:
    assert await names_shown(several, asked) == shown


async def test_default_is_the_one_of_our_own_name(tmp_path: Path) -> None:
    pairs = [write_pair(tmp_path, "other.example"), write_pair(tmp_path, "*.example.org", stem="wildcard")]
    assert await names_shown(CertificateStore(pairs), None) == {"other.example"}
    assert await names_shown(CertificateStore(pairs, default_name="MX.example.org"), None) == {
        "*.example.org"
    }
    assert await names_shown(CertificateStore(pairs, default_name="mx.example.net"), None) == {
        "other.example"
    }


async def test_one_name_may_have_certificates_of_several_key_types(tmp_path: Path) -> None:
    pairs = [
        write_pair(tmp_path, "default.example"),
        write_pair(tmp_path, MX, stem="ec"),
        write_pair(tmp_path, "*.example.org", stem="rsa", key_type=RSA),
    ]
    store = CertificateStore(pairs)
    assert await names_shown(store, "smtp.example.org") == {"*.example.org"}
    context = client_context(maximum_version=ssl.TLSVersion.TLSv1_2)
    shown = []
    for cipher in ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"):
        context.set_ciphers(cipher)
        async with session(store, context) as (_, client):
            assert client.state.peer is not None
            shown.append(set(client.state.peer.names))
    assert shown == [{MX}, {"*.example.org"}]


async def test_of_two_equal_certificates_the_one_that_is_valid_longer_is_shown(tmp_path: Path) -> None:
    pairs = []
    for days in (10, 300, 100):
        issued = CA.issue_cert(MX, f"{days}.example", not_after=datetime.now(UTC) + timedelta(days=days))
        path = tmp_path / f"{days}.pem"
        issued.private_key_and_cert_chain_pem.write_to_path(path)
        pairs.append((path, path))
    store = CertificateStore(pairs)
    assert await names_shown(store, MX) == {MX, "300.example"}
    days_left = [(one.not_after - datetime.now(UTC)).days for one in store.certificates]
    assert days_left == [9, 299, 99]


def write_unusual(directory: Path, key: CertificateIssuerPrivateKeyTypes, common_name: str = "") -> Path:
    """A certificate without alternative names, and its key, in one file."""
    now = datetime.now(UTC)
    attributes = [x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)] if common_name else []
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(attributes))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    )
    path = directory / "unusual.pem"
    path.write_bytes(
        certificate.public_bytes(Encoding.PEM)
        + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return path


async def test_a_certificate_of_old_style_has_its_common_name(tmp_path: Path) -> None:
    path = write_unusual(tmp_path, ec.generate_private_key(ec.SECP256R1()), "MX.Example.org.")
    store = CertificateStore([write_pair(tmp_path, "other.example"), (path, path)])
    assert store.certificates[1].names == (MX,)
    assert store.identity_for(MX).certificates == (store.certificates[1],)


async def test_a_certificate_without_names_and_binding_can_be_the_default(tmp_path: Path) -> None:
    path = write_unusual(tmp_path, ed25519.Ed25519PrivateKey.generate())
    store = CertificateStore([(path, path), write_pair(tmp_path, "other.example")])
    assert store.certificates[0].names == ()
    context = client_context(check_hostname=False, verify_mode=ssl.CERT_NONE)
    async with session(store, context) as (server, client):
        assert server.state.channel_bindings == {}
        assert client.state.channel_bindings == {}


@pytest.mark.parametrize(
    "key",
    [rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP192R1())],
    ids=["RSA", "EC"],
)
def test_keys_that_are_too_short_are_refused(tmp_path: Path, key: CertificateIssuerPrivateKeyTypes) -> None:
    path = write_unusual(tmp_path, key, MX)
    with pytest.RaisesGroup(pytest.RaisesExc(CertificateError, match="is too short to be safe")):
        CertificateStore([(path, path)])


async def test_odd_names_do_no_harm(several: CertificateStore) -> None:
    for name in ("", ".", "..", "*", "*.example.org", "a" * 255, "\x1b[31m", "*." * 60):
        assert several.identity_for(name).certificates


# What cannot be used


@pytest.fixture
def reports() -> Reports:
    return Reports()


def test_all_problems_of_a_list_are_told_at_once(tmp_path: Path) -> None:
    good, other = write_pair(tmp_path, MX), write_pair(tmp_path, "other.example")
    missing = tmp_path / "missing.pem"
    with pytest.RaisesGroup(
        pytest.RaisesExc(CertificateError, match="missing.pem: No such file"),
        pytest.RaisesExc(CertificateError, match="is not the key of the certificate"),
    ):
        CertificateStore([good, (missing, good[1]), (good[0], other[1])])


def test_no_certificate_at_all_is_a_problem(tmp_path: Path) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(CertificateError, match="has no certificate with a key")):
        CertificateStore(tmp_path)
    with pytest.RaisesGroup(pytest.RaisesExc(CertificateError, match="No such file")):
        CertificateStore(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no certificates"):
        CertificateStore([])


def test_missing_authorities_are_a_problem(tmp_path: Path) -> None:
    policy = TlsPolicy(
        client_certificates=ClientCertificates.REQUIRE, client_ca_file=tmp_path / "authorities.pem"
    )
    with pytest.RaisesGroup(pytest.RaisesExc(CertificateError, match=r"authorities.pem: No such file")):
        CertificateStore([write_pair(tmp_path, MX)], policy)


def test_a_directory_works_with_those_that_can_be_used(tmp_path: Path, reports: Reports) -> None:
    write_pair(tmp_path, MX)
    bad = write_pair(tmp_path, "bad.example")
    replace(bad[1], b"nonsense")
    store = CertificateStore(tmp_path, report=reports)
    assert [one.names for one in store.certificates] == [(MX,)]
    assert reports == ["bad.example.key: is no PEM private key"]


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_a_password(tmp_path: Path) -> None:
    certificate, key = write_pair(tmp_path, MX)
    private = load_pem_private_key(key.read_bytes(), None)
    replace(key, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
    with pytest.RaisesGroup(pytest.RaisesExc(CertificateError, match="is encrypted")):
        CertificateStore([(certificate, key)])


def test_ciphers_that_do_not_exist_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no cipher"):
        CertificateStore([write_pair(tmp_path, MX)], TlsPolicy(ciphers="ROT13"))


def test_pairs_are_found_in_every_usual_layout(tmp_path: Path) -> None:
    both = tmp_path / "both.example.pem"
    CA.issue_cert("both.example").private_key_and_cert_chain_pem.write_to_path(both)
    certificate, key = write_pair(tmp_path, "beside.example")
    certificate = certificate.rename(certificate.with_suffix(".crt"))
    acme = tmp_path / "acme.example"
    acme.mkdir()
    issued = CA.issue_cert("acme.example")
    issued.private_key_pem.write_to_path(acme / "privkey.pem")
    issued.cert_chain_pems[0].write_to_path(acme / "fullchain.pem")
    CA.cert_pem.write_to_path(tmp_path / "authority.pem")
    (tmp_path / "README").write_text("not one")
    (tmp_path / "empty").mkdir()

    assert list(find_pairs(tmp_path)) == [
        CertificatePair(acme / "fullchain.pem", acme / "privkey.pem"),
        CertificatePair(certificate, key),
        CertificatePair(both, both),
    ]
    names = {name for one in CertificateStore(tmp_path).certificates for name in one.names}
    assert names == {"acme.example", "beside.example", "both.example"}


# One of our own making


async def test_a_self_signed_pair_serves(tmp_path: Path) -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    pair = make_self_signed("mx_1.Example.org", tmp_path / "tls" / "own", now)
    assert stat.S_IMODE(pair.key_file.stat().st_mode) == 0o600
    certificate = x509.load_pem_x509_certificate(pair.certificate_file.read_bytes())
    assert certificate.not_valid_before_utc < now < certificate.not_valid_after_utc - timedelta(days=3600)

    store = CertificateStore(tmp_path / "tls" / "own")
    assert store.certificates[0].names == ("mx_1.example.org",)
    context = client_context(check_hostname=False, verify_mode=ssl.CERT_NONE)
    async with session(store, context, None) as (server, client):
        assert server.state.version == "TLSv1.3"
        assert client.state.peer is not None


def test_a_self_signed_pair_replaces_nothing(tmp_path: Path) -> None:
    pair = make_self_signed(MX, tmp_path)
    certificate, key = (path.read_bytes() for path in pair)
    with pytest.raises(FileExistsError):
        make_self_signed(MX, tmp_path)
    pair.certificate_file.unlink()
    with pytest.raises(FileExistsError):
        make_self_signed(MX, tmp_path)
    assert pair.key_file.read_bytes() == key
    assert certificate


@pytest.mark.parametrize(
    "hostname", ["", "../x", "a/b", "a b", "a\0b", "m\u00fcller.example", "a..b", ".", "a" * 254]
)
def test_a_self_signed_pair_needs_a_host_name(tmp_path: Path, hostname: str) -> None:
    with pytest.raises(ValueError):
        make_self_signed(hostname, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_long_host_names_are_possible(tmp_path: Path) -> None:
    hostname = ".".join(["a" * 60] * 4)
    make_self_signed(hostname, tmp_path)
    assert CertificateStore(tmp_path).certificates[0].names == (hostname,)
