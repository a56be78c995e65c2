"""TLS with hosts: what each level demands, and what becomes of a host that cannot or will not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from harakapy.mail.status import EnhancedStatus
from harakapy.net.tls import CertificateStore
from harakapy.outbound.attempt import HostFailed, Phase
from harakapy.outbound.client_tls import ClientTls
from harakapy.outbound.hop import Protocol, TlsLevel
from harakapy.outbound.pool import FRESH_S, Pool
from harakapy.outbound.session import Session
from harakapy.smtp import MailParameters
from tests.net.tls_peers import CA, write_pair
from tests.outbound.hosts import NAME, TERMS, Host, carry, deliver, envelope, facilities, playing

OFFERED = "S: 220 hi\nC: EHLO*\nS: 250-mx.example.org\nS: 250 STARTTLS\n"
STARTED = OFFERED + "C: STARTTLS\nS: 220 go\nTLS\n"
AGAIN = "C: EHLO me.example.com\nS: 250-mx.example.org\nS: 250 PIPELINING\n"
MESSAGE_TAKEN = "C: MAIL*\nC: RCPT*\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\nS: 250 taken\n"
NEEDED = [TlsLevel.ENCRYPT, TlsLevel.VERIFY]


@pytest.fixture
def store(tmp_path: Path) -> CertificateStore:
    """Certificates of the host."""
    return CertificateStore([write_pair(tmp_path, NAME)])


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    """The authority that they come from."""
    path = tmp_path / "authorities.crt"
    path.write_bytes(CA.cert_pem.bytes())
    return path


@asynccontextmanager
async def opened(
    host: Host,
    level: TlsLevel,
    *,
    ca_file: Path | None = None,
    name: str = NAME,
    protocol: Protocol = Protocol.SMTP,
) -> AsyncIterator[Session]:
    """A session with TLS of this level."""
    async with facilities(tls=ClientTls(ca_file)) as shared:
        session = await Session.open(host.target(protocol, name), replace(TERMS, tls=level), shared)
        yield session
        await session.close()


async def failing(
    script: str,
    level: TlsLevel,
    store: CertificateStore,
    *,
    ca_file: Path | None = None,
    protocol: Protocol = Protocol.SMTP,
) -> HostFailed:
    """How opening a session fails."""
    async with playing(script, store=store) as host, facilities(tls=ClientTls(ca_file)) as shared:
        with pytest.raises(HostFailed) as failed:
            await Session.open(host.target(protocol), replace(TERMS, tls=level), shared)
    assert failed.value.answer.phase is Phase.TLS
    return failed.value


@pytest.mark.parametrize("level", [TlsLevel.MAY, *NEEDED])
async def test_starttls_is_used_where_it_is_offered(
    level: TlsLevel, store: CertificateStore, ca_file: Path
) -> None:
    async with (
        playing(STARTED + AGAIN + MESSAGE_TAKEN, store=store) as host,
        opened(host, level, ca_file=ca_file) as session,
    ):
        assert session.tls is not None
        assert session.tls.server_name == NAME
        assert session.tls.is_verified is (level is TlsLevel.VERIFY)
        assert session.capabilities.pipelining
        assert (await deliver(session))[0].is_delivered


async def test_starttls_is_not_used_where_it_is_not_wanted(store: CertificateStore) -> None:
    async with playing(OFFERED, store=store) as host, opened(host, TlsLevel.NONE) as session:
        assert session.tls is None


@pytest.mark.parametrize("level", NEEDED)
async def test_a_host_without_starttls_fails_where_tls_is_needed(
    level: TlsLevel, store: CertificateStore
) -> None:
    failed = await failing("S: 220 hi\nC: EHLO*\nS: 250 hi\n", level, store)
    assert failed.answer.status == EnhancedStatus(4, 7, 4)


@pytest.mark.parametrize("reply", ["454 not now", "554 never"])
async def test_a_refused_starttls_goes_on_in_clear_where_it_may(reply: str, store: CertificateStore) -> None:
    script = OFFERED + f"C: STARTTLS\nS: {reply}\n"
    async with playing(script, store=store) as host, opened(host, TlsLevel.MAY) as session:
        assert session.tls is None
        assert session.is_usable
    for level in NEEDED:
        assert str((await failing(script, level, store)).answer.reply) == reply


@pytest.mark.parametrize("broken", ["TAKE\nSEND b'no TLS here, sorry'\nCLOSE", "CLOSE"])
async def test_a_failed_handshake_is_followed_by_a_call_in_clear_where_it_may(
    broken: str, store: CertificateStore
) -> None:
    script = OFFERED + f"C: STARTTLS\nS: 220 go\n{broken}"
    plain = OFFERED + "C: MAIL*\nS: 550 no\n"
    async with playing(script, plain, store=store) as host, opened(host, TlsLevel.MAY) as session:
        assert host.connections == 2
        assert session.tls is None
        assert (await deliver(session))[0].phase is Phase.MAIL


@pytest.mark.parametrize("level", NEEDED)
async def test_a_failed_handshake_fails_the_host_where_tls_is_needed(
    level: TlsLevel, store: CertificateStore, ca_file: Path
) -> None:
    script = OFFERED + "C: STARTTLS\nS: 220 go\n"
    cut_off, babble = script + "CLOSE", script + "TAKE\nSEND b'no TLS here, sorry'\nCLOSE"
    assert (await failing(cut_off, level, store, ca_file=ca_file)).answer.status == EnhancedStatus(4, 7, 0)
    assert (await failing(babble, level, store, ca_file=ca_file)).answer.status == EnhancedStatus(4, 7, 5)


@pytest.mark.parametrize("level", [TlsLevel.MAY, *NEEDED])
async def test_octets_behind_the_reply_to_starttls_end_the_session(
    level: TlsLevel, store: CertificateStore
) -> None:
    script = OFFERED + r"C: STARTTLS" + "\n" + r"SEND b'220 go\r\n250 injected\r\n'" + "\nSILENCE"
    failed = await failing(script, level, store)
    assert failed.answer.reply is None
    assert "STARTTLS" in failed.answer.text


async def test_smtps_begins_with_tls(store: CertificateStore, ca_file: Path) -> None:
    script = "TLS\nS: 220 hi\n" + AGAIN + MESSAGE_TAKEN
    async with (
        playing(script, store=store) as host,
        opened(host, TlsLevel.VERIFY, ca_file=ca_file, protocol=Protocol.SMTPS) as session,
    ):
        assert session.tls is not None
        assert session.tls.is_verified
        assert (await deliver(session))[0].is_delivered


async def test_smtps_never_goes_in_clear(store: CertificateStore) -> None:
    await failing("S: 220 hi\nCLOSE", TlsLevel.MAY, store, protocol=Protocol.SMTPS)


async def test_requiretls_is_passed_on_over_verified_tls_to_a_host_that_offers_it(
    store: CertificateStore, ca_file: Path
) -> None:
    script = STARTED + AGAIN.replace("250 PIPELINING", "250 REQUIRETLS")
    script += "C: MAIL FROM:<me@example.com> REQUIRETLS\nS: 550 enough\n"
    async with (
        playing(script, store=store) as host,
        opened(host, TlsLevel.VERIFY, ca_file=ca_file) as session,
    ):
        (answer,) = await deliver(session, envelope(params=MailParameters(requiretls=True)))
        assert answer.reply is not None


@pytest.mark.parametrize(("level", "offer"), [(TlsLevel.ENCRYPT, "REQUIRETLS"), (TlsLevel.VERIFY, "HELP")])
async def test_requiretls_is_not_sent_where_it_is_not_honoured(
    level: TlsLevel, offer: str, store: CertificateStore, ca_file: Path
) -> None:
    script = STARTED + AGAIN.replace("250 PIPELINING", f"250 {offer}")
    async with playing(script, store=store) as host, opened(host, level, ca_file=ca_file) as session:
        (answer,) = await deliver(session, envelope(params=MailParameters(requiretls=True)))
        assert answer.reply is None
        assert answer.status == EnhancedStatus(5, 7, 30)
        assert session.is_usable


async def test_a_session_with_tls_is_kept_too(store: CertificateStore) -> None:
    script = STARTED + AGAIN + MESSAGE_TAKEN * 3 + "C: QUIT\nS: 221 bye\n"
    async with playing(script, store=store) as host, facilities() as shared:
        pool = Pool(shared)
        for _ in range(3):
            assert (await carry(pool, host)).is_delivered
        assert host.connections == 1
        pool.close()


async def test_a_session_whose_tls_the_host_has_ended_is_not_used_again(store: CertificateStore) -> None:
    script = STARTED + AGAIN + MESSAGE_TAKEN
    async with playing(script + "CLOSE", script, store=store) as host, facilities() as shared:
        pool = Pool(shared)
        for _ in range(2):
            assert (await carry(pool, host)).is_delivered
            await trio.sleep(FRESH_S)
        assert host.connections == 2
        pool.close()
