"""Checking credentials at other hosts: what they say, how it is asked, and that there is one attempt."""

import base64
from pathlib import Path

import pytest
import trustme

from harakapy.net.tls import CertificateStore
from harakapy.outbound.client_tls import ClientTls
from harakapy.outbound.hop import Target, TlsLevel
from harakapy.outbound.login_answer import LoginAnswer, LoginCheck
from harakapy.outbound.login_check import check_login
from harakapy.outbound.terms import Terms

from .hosts import NAME, Host, facilities, playing

USER, PASSWORD = "ann@example.com", "correct horse"
ACCEPTED, REFUSED, UNKNOWN = LoginAnswer.ACCEPTED, LoginAnswer.REFUSED, LoginAnswer.UNKNOWN
RESPONSE = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
HELLO = "S: 220 mx.example.org ready\nC: EHLO me.example.com\n"
OFFER = HELLO + "S: 250-mx.example.org\nS: 250 AUTH CRAM-MD5 LOGIN PLAIN SCRAM-SHA-256\n"
ASKED = OFFER + f"C: AUTH PLAIN {RESPONSE}\n"


def terms(target: Target) -> Terms:
    return Terms(helo="me.example.com", tls=target.hop.tls or TlsLevel.NONE)


async def check(*hosts: Host, password: str = PASSWORD, clear: bool = True, **shared: object) -> LoginCheck:
    targets = [host.target(auth_without_tls=clear, tls=shared.get("level")) for host in hosts]
    given = {name: value for name, value in shared.items() if name != "level"}
    async with facilities(**given) as around:
        return await check_login(targets, USER, password, terms=terms, facilities=around)


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("235 welcome", ACCEPTED),
        ("535 5.7.8 no", REFUSED),
        ("550 no", REFUSED),
        ("554 5.7.1 no", REFUSED),
        ("454 4.7.0 later", UNKNOWN),
        ("421 busy", UNKNOWN),
        ("500 what", UNKNOWN),
        ("504 5.5.4 not this one", UNKNOWN),
        ("530 5.7.0 STARTTLS first", UNKNOWN),
        ("534 5.7.9 too weak", UNKNOWN),
        ("538 5.7.11 encrypt", UNKNOWN),
        ("garbage", UNKNOWN),
    ],
)
async def test_the_reply_to_auth_decides_after_one_attempt(reply: str, answer: LoginAnswer) -> None:
    async with playing(ASKED + f"S: {reply}\n") as host:
        found = await check(host)
    assert found.answer is answer
    assert str(host.port) in found.text
    assert PASSWORD not in found.text


@pytest.mark.parametrize(
    "script",
    [
        "S: 554 go away\n",
        "S: 421 busy\n",
        "CLOSE",
        HELLO + "S: 250 mx.example.org\n",
        HELLO + "S: 250-mx.example.org\nS: 250 AUTH GSSAPI\n",
        ASKED + "CLOSE",
        ASKED + "S: 454 later\n",
    ],
)
async def test_a_host_that_cannot_tell_is_followed_by_the_next(script: str) -> None:
    async with playing(script) as first, playing(ASKED + "S: 235 welcome\n") as second:
        assert (await check(first, second)).answer is ACCEPTED
    async with playing(script) as first, playing(ASKED + "S: 535 no\n") as second:
        assert (await check(first, second)).answer is REFUSED


async def test_a_host_that_refuses_is_followed_by_none() -> None:
    async with playing(ASKED + "S: 535 no\n") as first, playing() as second:
        assert (await check(first, second)).answer is REFUSED
        assert second.connections == 0


async def test_in_clear_the_password_does_not_leave() -> None:
    async with playing(HELLO + "S: 250-mx.example.org\nS: 250 AUTH PLAIN LOGIN\n") as host:
        found = await check(host, clear=False)
    assert found.answer is UNKNOWN
    assert "without TLS" in found.text


async def test_in_clear_a_proof_may_leave() -> None:
    script = OFFER + "C: AUTH SCRAM-SHA-256 *\nS: 535 no\n"
    async with playing(script) as host:
        assert (await check(host, clear=False)).answer is REFUSED


async def test_a_password_that_cannot_be_sent_is_wrong() -> None:
    async with playing(HELLO + "S: 250-mx.example.org\nS: 250 AUTH PLAIN\n") as host:
        assert (await check(host, password="a\0b")).answer is REFUSED


async def test_without_targets_nothing_is_known() -> None:
    assert (await check()).answer is UNKNOWN


async def test_with_verified_tls_the_password_may_leave(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert(NAME)
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    store = CertificateStore([(tmp_path / "cert.pem", tmp_path / "key.pem")])
    before = HELLO + "S: 250-mx.example.org\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nTLS\n"
    script = before + ASKED.partition("\n")[2] + "S: 235 welcome\n"
    async with playing(script, store=store) as host:
        tls = ClientTls(tmp_path / "ca.pem")
        assert (await check(host, clear=False, level=TlsLevel.VERIFY, tls=tls)).answer is ACCEPTED


async def test_where_tls_must_be_and_is_not_nothing_is_sent() -> None:
    async with playing(OFFER) as host:
        assert (await check(host, level=TlsLevel.VERIFY)).answer is UNKNOWN
