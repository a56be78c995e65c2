"""Logging in at hosts."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from harakapy.outbound.attempt import HostFailed, Phase
from harakapy.outbound.session import Session
from tests.outbound.hosts import TERMS, facilities, playing


def b64(text: str) -> str:
    """Base64 of a text."""
    return base64.b64encode(text.encode()).decode()


def offering(mechanisms: str) -> str:
    """A host with these mechanisms."""
    return f"S: 220 hi\nC: EHLO*\nS: 250-hi\nS: 250 AUTH {mechanisms}\n"


PLAIN = f"C: AUTH PLAIN {b64(chr(0) + 'me' + chr(0) + 'secret')}\n"
PASSWORD = {"user": "me", "password": "secret", "auth_without_tls": True}


async def opening(*scripts: str, **hop: object) -> Session:
    """A session with a host, logged in; closed."""
    async with playing(*scripts) as host, facilities() as shared:
        opened = await Session.open(host.target(**hop), TERMS, shared)  # type: ignore[arg-type]  # what a test gives
        await opened.close()
    return opened


async def failing(*scripts: str, **hop: object) -> HostFailed:
    """How opening a session fails."""
    async with playing(*scripts) as host, facilities() as shared:
        with pytest.raises(HostFailed) as failed:
            await Session.open(host.target(**hop), TERMS, shared)  # type: ignore[arg-type]  # what a test gives
    assert failed.value.answer.phase is Phase.AUTH
    assert "secret" not in str(failed.value.answer)
    return failed.value


async def test_plain_is_one_command() -> None:
    await opening(offering("LOGIN PLAIN") + PLAIN + "S: 235 welcome\n", **PASSWORD)


async def test_login_answers_two_prompts() -> None:
    script = offering("LOGIN") + f"C: AUTH LOGIN\nS: 334 {b64('Username:')}\nC: {b64('me')}\n"
    script += f"S: 334 {b64('Password:')}\nC: {b64('secret')}\nS: 235 welcome\n"
    await opening(script, **PASSWORD)


async def test_a_password_is_not_sent_in_clear() -> None:
    hop = {**PASSWORD, "auth_without_tls": False}
    assert "without TLS" in (await failing(offering("LOGIN PLAIN"), **hop)).answer.text


async def test_a_mechanism_that_hides_the_password_may_be_used_in_clear() -> None:
    script = offering("PLAIN CRAM-MD5") + f"C: AUTH CRAM-MD5\nS: 334 {b64('<1@host>')}\nC: bWUg*\nS: 235 hi\n"
    await opening(script, **{**PASSWORD, "auth_without_tls": False})


@pytest.mark.parametrize("mechanisms", ["GSSAPI", ""])
async def test_a_host_without_a_mechanism_that_is_known_fails(mechanisms: str) -> None:
    assert "no way to log in" in (await failing(offering(mechanisms), **PASSWORD)).answer.text


async def test_a_refused_mechanism_is_followed_by_the_next() -> None:
    script = offering("CRAM-MD5 PLAIN") + f"C: AUTH CRAM-MD5\nS: 334 {b64('<1@host>')}\nC: bWUg*\nS: 535 no\n"
    await opening(script + PLAIN + "S: 235 welcome\n", **PASSWORD)


@pytest.mark.parametrize("reply", ["535 5.7.8 wrong", "454 4.7.0 later", "421 go"])
async def test_a_refused_login_is_the_answer(reply: str) -> None:
    answer = (await failing(offering("PLAIN") + PLAIN + f"S: {reply}\n", **PASSWORD)).answer
    assert str(answer.reply).startswith(reply[:3])


async def test_a_later_is_not_followed_by_another_mechanism() -> None:
    await failing(offering("PLAIN LOGIN") + PLAIN + "S: 454 later\nC: QUIT\nS: 221 bye\n", **PASSWORD)


@pytest.mark.parametrize("challenge", ["%%%", b64("nonsense")])
async def test_an_exchange_that_is_out_of_hand_is_cancelled(challenge: str) -> None:
    script = offering("SCRAM-SHA-256") + f"C: AUTH SCRAM-SHA-256 *\nS: 334 {challenge}\nC: *\nS: 501 ok\n"
    answer = (await failing(script, **PASSWORD)).answer
    assert answer.reply is None
    assert answer.status is not None
    assert answer.status.is_transient


async def test_a_host_that_does_not_prove_itself_is_not_believed() -> None:
    await failing(offering("SCRAM-SHA-256") + "C: AUTH SCRAM-SHA-256 *\nS: 235 welcome\n", **PASSWORD)


async def test_a_refused_token_is_replaced_once(tmp_path: Path) -> None:
    command = tmp_path / "command"
    command.write_text(f"#!/bin/sh\necho x >> {tmp_path}/runs\nprintf 'token%s' $(wc -l < {tmp_path}/runs)\n")
    command.chmod(0o755)
    script = offering("XOAUTH2")
    for number, end in ((1, f"334 {b64('{}')}\nC:\nS: 535 expired"), (2, "235 welcome")):
        message = f"user=me\x01auth=Bearer token{number}\x01\x01"
        script += f"C: AUTH XOAUTH2 {b64(message)}\nS: {end}\n"
    await opening(script, user="me", token_command=(str(command),), auth_without_tls=True)


async def test_a_token_that_is_refused_and_stays_the_same_is_not_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("secret")
    script = offering("XOAUTH2 OAUTHBEARER") + "C: AUTH OAUTHBEARER *\nS: 535 no\nC: QUIT\nS: 221 bye\n"
    answer = (await failing(script, user="me", token_file=path, auth_without_tls=True)).answer
    assert answer.reply is not None


async def test_a_token_that_cannot_be_had_fails_the_host() -> None:
    hop = {"user": "me", "token_file": Path("/no/such/file"), "auth_without_tls": True}
    assert "no token" in (await failing(offering("XOAUTH2"), **hop)).answer.text


async def test_an_initial_response_that_is_too_long_for_a_command_comes_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("x" * 3000)
    message = b64(f"user=me\x01auth=Bearer {'x' * 3000}\x01\x01")
    script = offering("XOAUTH2") + f"C: AUTH XOAUTH2\nS: 334\nC: {message}\nS: 235 welcome\n"
    await opening(script, user="me", token_file=path, auth_without_tls=True)
