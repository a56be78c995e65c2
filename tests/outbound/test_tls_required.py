"""Mail that came with REQUIRETLS: which hosts may have it, and what follows if none may."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import trio

from harakapy import Settings
from harakapy.mail import Content
from harakapy.net.tls import CertificateStore
from harakapy.outbound.client_tls import ClientTls
from harakapy.outbound.courier import Courier, Ending
from harakapy.outbound.failure import Action
from harakapy.outbound.hop import NextHop, Protocol, Target, TlsLevel
from harakapy.outbound.hosts import DeadHosts
from harakapy.outbound.pool import Pool
from harakapy.outbound.route import Route
from harakapy.smtp import MailParameters
from tests.net.tls_peers import CA, write_pair
from tests.outbound.hosts import MESSAGE, NAME, Host, envelope, facilities, playing

HOP: dict[str, Any] = {"tls": TlsLevel.MAY, "helo": "me.example.com"}
PLAIN = "S: 220 hi\nC: EHLO*\nS: 250 mx.example.org\n"
ASKED = "S: 220 hi\nC: EHLO*\nS: 250-mx.example.org\nS: 250 STARTTLS\nC: STARTTLS\n"
STARTED = ASKED + "S: 220 go\nTLS\nC: EHLO*\n"
UNTRUSTED = ASKED + "S: 220 go\nNO-TLS\n"
CUT_OFF = ASKED + "S: 220 go\nTAKE\nCLOSE"
BABBLING = ASKED + "S: 220 go\nTAKE\nSEND b'no TLS here, sorry'\nCLOSE"
OUT_OF_MEMORY = ASKED + r"S: 220 go" + "\nTAKE\n" + r"SEND b'\x15\x03\x03\x00\x02\x02\x50'" + "\nCLOSE"
UNAWARE = STARTED + "S: 250 mx.example.org\n"
TAKES = "C: RCPT TO:*\nS: 250 ok\nC: DATA\nS: 354 go on\nCONTENT\nS: 250 taken\n"
HONOURING = (
    STARTED + "S: 250-mx.example.org\nS: 250 REQUIRETLS\nC: MAIL FROM:<{}> REQUIRETLS\nS: 250 ok\n" + TAKES
)
FROM_ME = HONOURING.format("me@example.com")


@pytest.fixture
def store(tmp_path: Path) -> CertificateStore:
    """Certificates of the hosts, from an authority that is trusted for one name."""
    return CertificateStore([write_pair(tmp_path, NAME)])


async def carry(
    tmp_path: Path, *targets: Host | Target, sender: str = "me@example.com", name: str = NAME
) -> Ending:
    """How an attempt at these hosts ends."""
    authorities = tmp_path / "authorities.crt"
    authorities.write_bytes(CA.cert_pem.bytes())
    route = Route(
        tuple(each if isinstance(each, Target) else each.target(name=name, **HOP) for each in targets)
    )
    async with facilities(tls=ClientTls(authorities)) as shared, trio.open_nursery() as nursery:
        pool = Pool(shared)
        nursery.start_soon(pool.run)
        courier = Courier(Settings.default().outbound, pool, DeadHosts(), trio.current_time)
        wanted = envelope(sender=sender, params=MailParameters(requiretls=True))
        (ending,) = await courier.carry(wanted, Content.from_bytes(MESSAGE), route)
        pool.close()
        nursery.cancel_scope.cancel()
    return ending


def outcome(ending: Ending) -> tuple[Action, str]:
    return ending.judgement.action, str(ending.judgement.diagnostic.status)


@pytest.mark.parametrize(
    ("script", "status"),
    [
        (PLAIN, "5.7.30"),
        (UNAWARE, "5.7.30"),
        (UNTRUSTED, "5.7.10"),
        (BABBLING, "5.7.10"),
        (ASKED + "S: 554 never\n", "5.7.10"),
    ],
    ids=["no STARTTLS", "no REQUIRETLS", "a bad certificate", "no TLS behind STARTTLS", "STARTTLS refused"],
)
async def test_a_host_that_can_never_have_it_fails_it_at_once(
    script: str, status: str, tmp_path: Path, store: CertificateStore
) -> None:
    name = "other.example.org" if script is UNTRUSTED else NAME
    async with playing(script, store=store) as host:
        assert outcome(await carry(tmp_path, host, name=name)) == (Action.FAIL, status)


@pytest.mark.parametrize("script", [PLAIN, UNAWARE, BABBLING, CUT_OFF])
async def test_another_host_may_have_it(script: str, tmp_path: Path, store: CertificateStore) -> None:
    async with playing(script, store=store) as one, playing(FROM_ME, store=store) as two:
        ending = await carry(tmp_path, one, two)
        assert ending.is_delivered, ending.answer
        assert ending.tls is not None
        assert ending.tls.is_verified


@pytest.mark.parametrize(
    "script",
    [CUT_OFF, OUT_OF_MEMORY, ASKED + "S: 454 not now\n"],
    ids=["the handshake breaks off", "the host has no memory left", "STARTTLS put off"],
)
async def test_what_may_pass_is_waited_for(script: str, tmp_path: Path, store: CertificateStore) -> None:
    async with playing(script, store=store) as host:
        assert (await carry(tmp_path, host)).judgement.action is Action.DEFER


async def test_it_waits_for_a_host_that_cannot_be_reached_before_it_fails(
    tmp_path: Path, store: CertificateStore
) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        closed = Target(NextHop(host=NAME, port=reserved.getsockname()[1], **HOP), NAME, "127.0.0.1")
        async with playing(PLAIN, store=store) as host:
            assert (await carry(tmp_path, closed, host)).judgement.action is Action.DEFER


async def test_authorities_that_cannot_be_read_fail_no_mail(tmp_path: Path, store: CertificateStore) -> None:
    async with (
        playing(ASKED + "S: 220 go\n", store=store) as host,
        facilities(tls=ClientTls(tmp_path / "missing")) as shared,
    ):
        courier = Courier(Settings.default().outbound, Pool(shared), DeadHosts(), trio.current_time)
        wanted = envelope(params=MailParameters(requiretls=True))
        (ending,) = await courier.carry(wanted, Content.from_bytes(MESSAGE), Route((host.target(**HOP),)))
        assert ending.judgement.action is Action.DEFER


@pytest.mark.parametrize("script", [PLAIN, UNAWARE])
async def test_a_report_goes_as_other_mail_where_nobody_honours_it(
    script: str, tmp_path: Path, store: CertificateStore
) -> None:
    taken = script + "C: MAIL FROM:<>\nS: 250 ok\n" + TAKES
    if script is UNAWARE:  # the session that was verified is of no use for other mail
        script += "C: QUIT\nS: 221 bye\n"
    async with playing(script, taken, store=store) as host:
        assert (await carry(tmp_path, host, sender="")).is_delivered


async def test_a_report_goes_with_requiretls_where_a_host_honours_it(
    tmp_path: Path, store: CertificateStore
) -> None:
    async with playing(PLAIN, store=store) as one, playing(HONOURING.format(""), store=store) as two:
        ending = await carry(tmp_path, one, two, sender="")
        assert ending.is_delivered, ending.answer


async def test_a_unix_socket_needs_no_tls(tmp_path: Path) -> None:
    path = tmp_path / "lmtp"
    hop = NextHop(path=str(path), protocol=Protocol.LMTP, **HOP)
    script = "S: 220 hi\nC: LHLO*\nS: 250 here\nC: MAIL FROM:<me@example.com>\nS: 250 ok\n" + TAKES
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.setblocking(False)
        host = Host(listener, (script,), None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.serve)
            assert (await carry(tmp_path, Target(hop, "", ""))).is_delivered
