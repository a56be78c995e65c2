"""Logging in: what is malformed, what is guessed, and what a failed login leaves behind."""

import base64
from pathlib import Path

import pytest
import trio
import trio.testing

from harakapy import OK, Connection, Credentials, ListenSettings, Plugin, Verdict, hookimpl
from harakapy.smtp.sasl import ScramClient
from harakapy.testing import Client, connect, play
from tests.inbound.scene import Accept, serving
from tests.inbound.test_auth import ALL, CLEAR, PASSWORD, USER, Judge, JudgeOfAll, log_in, plain

from .scene import codes, esmtp, in_step


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


PLAIN = {
    "AUTH PLAIN": None,  # and then an empty line
    "AUTH PLAIN =": 501,
    "AUTH PLAIN ==": 501,
    f"AUTH PLAIN {base64_of('a')}": 501,
    f"AUTH PLAIN {base64_of(chr(0))}": 501,
    f"AUTH PLAIN {base64_of(chr(0) * 2)}": 501,
    f"AUTH PLAIN {base64_of(chr(0) * 3)}": 501,
    f"AUTH PLAIN {base64_of(chr(0) + 'a' + chr(0))}": 535,
    f"AUTH PLAIN {base64_of(chr(0) + 'a' + chr(0) + 'b' + chr(0))}": 501,
    f"AUTH PLAIN {base64_of(chr(0) + 'a' + chr(0) + 'b')}": 535,
    f"AUTH PLAIN {base64_of(chr(0) + 'a' + chr(0) + 'b')[:-1]}": 501,
    "AUTH PLAIN A": 501,
    "AUTH PLAIN a*b=": 501,
    "AUTH PLAIN AGEAYg== x": 501,
    "AUTH PLAIN " + "A" * 8000: 501,
    "AUTH": 501,
    "AUTH NONSENSE": 504,
    "AUTH CRAM-MD5 YQ==": 501,
}


@pytest.mark.parametrize(("line", "code"), PLAIN.items(), ids=[line[:40] for line in PLAIN])
async def test_a_malformed_login_is_refused_and_the_session_goes_on(
    line: str, code: int | None, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with esmtp(tmp_path, JudgeOfAll(), listen=CLEAR) as client:
        reply = await client.command(line)
        if code is None:
            assert reply.code == 334
            reply = await client.command("")
            code = 501
        assert reply.code == code
        assert await in_step(client)


async def test_a_response_of_a_hundred_kilobytes_ends_the_session(tmp_path: Path) -> None:
    async with esmtp(tmp_path, Judge(), listen=CLEAR) as client:
        assert (await client.command("AUTH PLAIN")).code == 334
        await client.send(b"A" * 100_000 + b"\r\n")
        assert await codes(client) == [500]


async def test_a_password_of_one_character_is_a_password(tmp_path: Path) -> None:
    class OneCharacter(Plugin):
        @hookimpl
        def hook_auth(self, credentials: Credentials) -> Verdict | None:
            return OK if getattr(credentials, "password", "") == "x" else None

    async with esmtp(tmp_path, OneCharacter, listen=CLEAR) as client:
        assert (await client.command(f"AUTH PLAIN {plain(password='x')}")).code == 235


@pytest.mark.parametrize("mechanism", ALL)
async def test_every_exchange_can_be_cancelled(
    mechanism: str, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with esmtp(tmp_path, JudgeOfAll(), listen=CLEAR) as client:
        reply = await client.command(f"AUTH {mechanism}")
        if reply.code == 334:
            assert (await client.command("*")).code == 501
        else:
            assert reply.code == 504  # it needs TLS
        assert await in_step(client)


async def test_auth_is_refused_twice_and_within_a_transaction(tmp_path: Path) -> None:
    async with esmtp(tmp_path, Judge(), listen=CLEAR) as client:
        await client.command("MAIL FROM:<a@b.test>")
        assert (await client.command(f"AUTH PLAIN {plain()}")).code == 503
        await client.command("RSET")
        assert (await client.command(f"AUTH PLAIN {plain()}")).code == 235
        assert (await client.command(f"AUTH PLAIN {plain()}")).code == 503
        assert await in_step(client)


async def test_three_failures_are_slow_and_end_the_session_and_the_neighbour_notices_nothing(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with (
        serving(tmp_path, Judge(), Accept()) as server,
        connect(server, listen=CLEAR) as guesser,
        connect(server, listen=CLEAR) as neighbour,
    ):
        for client in (guesser, neighbour):
            await client.reply()
            await client.command("EHLO client.test")
        began = trio.current_time()
        await play(
            f"C: AUTH PLAIN {plain(password='1')}\nS: 535 5.7.8 *\n"
            f"C: AUTH PLAIN {plain(password='2')}\nS: 535 5.7.8 *\n"
            f"C: AUTH PLAIN {plain(password='3')}\nS: 421 4.7.0 *\nS: EOF",
            guesser,
            timeout_s=60,
        )
        assert trio.current_time() - began >= 7
        assert (await neighbour.command(f"AUTH PLAIN {plain()}")).code == 235


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
async def test_an_unknown_user_is_answered_like_a_wrong_password(
    mechanism: str, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    answers = []
    for user in (USER, "nobody@example.com"):
        async with esmtp(tmp_path, JudgeOfAll(), listen=CLEAR) as client:
            began = trio.current_time()
            if mechanism == "PLAIN":
                reply = await client.command(f"AUTH PLAIN {plain(user, 'wrong')}")
            else:
                reply = await log_in(client, ScramClient(user, "wrong"))
            answers.append((str(reply), trio.current_time() - began))
    assert answers[0] == answers[1]
    assert answers[0][0].startswith("535 5.7.8 ")


BEARERS = {
    "no fields": "n,,\x01\x01",
    "no end": "n,,\x01auth=Bearer t0ken",
    "other scheme": "n,,\x01auth=Basic t0ken\x01\x01",
    "wrong host": "n,a=x,\x01host=elsewhere.test\x01auth=Bearer t0ken\x01\x01",
    "wrong token": "n,,\x01auth=Bearer expired\x01\x01",
    "binding": "p=tls-unique,,\x01auth=Bearer t0ken\x01\x01",
}


@pytest.mark.parametrize("response", BEARERS.values(), ids=BEARERS)
async def test_a_token_that_is_no_good_is_explained_in_json_and_then_refused(
    response: str, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with esmtp(tmp_path, JudgeOfAll(), listen=CLEAR) as client:
        reply = await client.command(f"AUTH OAUTHBEARER {base64_of(response)}")
        if reply.code == 334:
            assert base64.b64decode(reply.text).startswith(b'{"status":')
            reply = await client.command(base64_of("\x01"))
        assert reply.code in (501, 535)
        assert (await client.command("MAIL FROM:<a@b.test>")).code == 250
        assert (await client.command("RCPT TO:<x@elsewhere.test>")).code == 550
        assert await in_step(client)


SCRAM = {
    "another nonce": lambda nonce: f"c=biws,r=other{nonce},p=dGVzdA==",
    "a nonce cut": lambda nonce: f"c=biws,r={nonce[:-3]},p=dGVzdA==",
    "a binding claimed": lambda nonce: f"c=cD10bHMtdW5pcXVlLCw=,r={nonce},p=dGVzdA==",
    "no proof": lambda nonce: f"c=biws,r={nonce}",
    "an extension that must be known": lambda nonce: f"m=x,c=biws,r={nonce},p=dGVzdA==",
}


@pytest.mark.parametrize("final", SCRAM.values(), ids=SCRAM)
async def test_a_scram_exchange_that_was_tampered_with_fails(
    final: object, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    assert callable(final)
    async with esmtp(tmp_path, JudgeOfAll(), listen=CLEAR) as client:
        reply = await client.command(f"AUTH SCRAM-SHA-256 {base64_of(f'n,,n={USER},r=abc')}")
        assert reply.code == 334
        nonce = base64.b64decode(reply.text).decode().partition(",")[0].removeprefix("r=")
        reply = await client.command(base64_of(final(nonce)))
        assert reply.code in (501, 535)
        assert await in_step(client)


@pytest.mark.parametrize("header", ["p=tls-unique,,", "p=tls-exporter,,", "x,,", ","])
async def test_a_scram_exchange_with_a_binding_that_there_is_not_fails(
    header: str, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with esmtp(tmp_path, JudgeOfAll(), listen=CLEAR) as client:
        reply = await client.command(f"AUTH SCRAM-SHA-256 {base64_of(f'{header}n={USER},r=abc')}")
        assert reply.code in (501, 535)
        assert await in_step(client)


@pytest.mark.parametrize("user", ["a\r\nX-Evil: 1", "a;b", "a\x1b[31m", "%s%n", 'a" b', "ü", "x" * 9000])
async def test_a_users_name_is_never_raw_in_log_or_reply(
    user: str, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with esmtp(tmp_path, JudgeOfAll(), listen=CLEAR) as client:
        for mechanism in ("PLAIN", "LOGIN"):
            reply = await client.command(
                f"AUTH PLAIN {plain(user, 'wrong')}"
                if mechanism == "PLAIN"
                else f"AUTH LOGIN {base64_of(user)}"
            )
            if reply.code == 334:
                reply = await client.command(base64_of("wrong"))
            assert reply.code in (500, 501, 535)
            assert "Evil" not in str(reply)
        assert await in_step(client)
    log = (tmp_path / "log").read_text("utf-8")
    assert all(line.isprintable() and not line.startswith("X-Evil") for line in log.split("\n"))
    assert "wrong" not in log


class Seen(Plugin):
    """Who the client is at MAIL."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, bool]] = []

    @hookimpl
    def hook_mail(self, connection: Connection) -> None:
        self.seen.append((connection.auth_user, connection.relaying))


async def test_a_failed_login_gives_nothing(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    seen = Seen()
    async with esmtp(tmp_path, Judge(), Accept(), seen, listen=CLEAR) as client:
        assert (await client.command(f"AUTH PLAIN {plain(password='wrong')}")).code == 535
        assert (await client.command("MAIL FROM:<ann@example.com>")).code == 250
        assert (await client.command("RCPT TO:<x@elsewhere.test>")).code == 550
        assert (await client.command("RSET")).code == 250
        assert (await client.command(f"AUTH PLAIN {plain()}")).code == 235
        assert (await client.command("MAIL FROM:<ann@example.com>")).code == 250
        assert (await client.command("RCPT TO:<x@elsewhere.test>")).code == 250
    assert seen.seen == [("", False), (USER, True)]


async def test_a_submission_listener_takes_nothing_from_who_failed_to_log_in(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    submission = ListenSettings(address="127.0.0.1:0", auth_without_tls=True, role="submission")
    async with esmtp(tmp_path, Judge(), Accept(), listen=submission) as client:
        assert (await client.command(f"AUTH PLAIN {plain(password=PASSWORD + 'x')}")).code == 535
        assert (await client.command("MAIL FROM:<ann@example.com>")).code == 530


async def test_a_secret_in_a_wrong_place_is_not_logged(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    secret = base64_of("\0ann\0hunter2")
    async with esmtp(tmp_path, JudgeOfAll(), listen=CLEAR) as client:
        for line in (
            f"AUTH PLAIN {secret} x",
            f"AUTH  PLAIN {secret}",
            f"auth plain {secret}",
            f"AUTH NO {secret}",
        ):
            await _any(client, line)
        await client.command("AUTH LOGIN")
        await client.command(base64_of("ann"))
        await client.command(base64_of("hunter2"))
    log = (tmp_path / "log").read_bytes()
    for hidden in (secret, "hunter2", base64_of("hunter2")):
        assert hidden.encode() not in log


async def _any(client: Client, line: str) -> None:
    reply = await client.command(line)
    if reply.code == 334:
        await client.command("*")
