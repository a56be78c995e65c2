"""auth_proxy in front of other servers of ours, which listen on the loopback."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from pydantic import ValidationError

from harakapy import (
    DENYSOFT,
    OK,
    Connection,
    Credentials,
    PasswordCredentials,
    Plugin,
    Server,
    Verdict,
    hookimpl,
)
from harakapy.log import silent_logger
from harakapy.plugins.auth_proxy import MAX_REMEMBERED, AuthProxy, Memory
from harakapy.smtp.sasl import LoginClient
from harakapy.testing import Client, connect
from tests.inbound.scene import settings
from tests.inbound.test_auth import CLEAR, greeted, log_in

USER, PASSWORD = "ann@example.com", "correct horse"
QUICK = {"hook_timeout": "1s", "max_auth_failures": 9}
NOBODY = "smtp://127.0.0.1:1?tls=none&auth_without_tls=true"
"""Nothing listens there."""


class Judge(Plugin):
    """Lets one password in, for every name; counts what it is asked."""

    def __init__(self, unless: Verdict | None = None) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.unless = unless
        self.password = PASSWORD

    @hookimpl
    def hook_auth(self, connection: Connection, credentials: Credentials) -> Verdict | None:
        assert isinstance(credentials, PasswordCredentials)
        self.seen.append(credentials.authcid)
        return OK if credentials.password == self.password else self.unless


@asynccontextmanager
async def other(folder: Path, judge: Judge) -> AsyncIterator[str]:
    """Another server with this judge; the URL to log in there in clear."""
    values = settings(folder, smtp=QUICK, listen=[{"address": "127.0.0.1:0", "auth_without_tls": True}])
    async with Server(values, plugins=[judge], log=silent_logger()).running() as server:
        yield f"smtp://127.0.0.1:{server.addresses[0].port}?tls=none&auth_without_tls=true"


async def plain(client: Client, user: str = USER, password: str = PASSWORD, authzid: str = "") -> int:
    text = base64.b64encode(f"{authzid}\0{user}\0{password}".encode()).decode()
    return (await client.command(f"AUTH PLAIN {text}")).code


async def test_who_can_log_in_there_is_let_in_here(tmp_path: Path) -> None:
    judge = Judge()
    async with other(tmp_path, judge) as url:
        plugin = AuthProxy(domains={"Example.COM": url})
        async with greeted(tmp_path, plugin, smtp=QUICK) as client:
            assert "AUTH PLAIN LOGIN" in (await client.command("EHLO client.test")).lines
            assert await plain(client, password="wrong") == 535
            assert judge.seen == [USER]
            assert (await log_in(client, LoginClient(USER, PASSWORD))).code == 235
    assert PASSWORD not in (tmp_path / "log").read_text()


async def test_the_domain_says_where(tmp_path: Path) -> None:
    first, second, rest = Judge(), Judge(), Judge()
    async with other(tmp_path, first) as a, other(tmp_path, second) as b, other(tmp_path, rest) as c:
        plugin = AuthProxy(domains={"example.com": a, ".example.com": b}, default=c)
        for user in ("x@example.com", "x@sub.example.com", "x@example.org", "x"):
            async with greeted(tmp_path, plugin, smtp=QUICK) as client:
                assert await plain(client, user) == 235
    assert first.seen == ["x@example.com"]
    assert second.seen == ["x@sub.example.com"]
    assert rest.seen == ["x@example.org", "x"]


async def test_a_domain_that_is_not_listed_is_left_to_others(tmp_path: Path) -> None:
    judge = Judge()
    async with (
        other(tmp_path, judge) as url,
        greeted(tmp_path, AuthProxy(domains={"example.com": url}), smtp=QUICK) as client,
    ):
        assert await plain(client, "ann@example.org") == 535
        assert await plain(client, "ann") == 535
    assert judge.seen == []


async def test_who_wants_to_act_as_another_is_refused(tmp_path: Path) -> None:
    async with (
        other(tmp_path, Judge()) as url,
        greeted(tmp_path, AuthProxy(default=url), smtp=QUICK) as client,
    ):
        assert await plain(client, authzid="bob@example.com") == 535


async def test_the_next_server_is_asked_if_one_is_not_there(tmp_path: Path) -> None:
    async with (
        other(tmp_path, Judge()) as url,
        greeted(tmp_path, AuthProxy(default=[NOBODY, url]), smtp=QUICK) as client,
    ):
        assert await plain(client) == 235


async def test_if_none_can_tell_it_is_temporary(tmp_path: Path) -> None:
    async with (
        other(tmp_path, Judge(unless=DENYSOFT)) as url,
        greeted(tmp_path, AuthProxy(default=[NOBODY, url]), smtp=QUICK) as client,
    ):
        assert await plain(client, password="wrong") == 454
    assert "login cannot be checked" in (tmp_path / "log").read_text()


async def test_without_a_word_of_tls_there_must_be_verified_tls(tmp_path: Path) -> None:
    judge = Judge()
    async with (
        other(tmp_path, judge) as url,
        greeted(tmp_path, AuthProxy(default=url.partition("?")[0]), smtp=QUICK) as client,
    ):
        assert await plain(client) == 454
    assert judge.seen == []
    assert "must go encrypted" in (tmp_path / "log").read_text()


async def test_a_server_that_does_not_answer_in_time_is_temporary(tmp_path: Path) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    plugin = AuthProxy(default=f"smtp://127.0.0.1:{port}?tls=none&auth_without_tls=true", timeout=0.1)
    async with greeted(tmp_path, plugin, smtp=QUICK) as client:
        assert await plain(client) == 454
    assert "no answer within 0.1 s" in (tmp_path / "log").read_text()
    await listeners[0].aclose()


@pytest.mark.parametrize(("remember", "asked"), [(0.0, 3), (60.0, 2)])
async def test_what_was_accepted_is_remembered_if_that_is_wanted(
    remember: float, asked: int, tmp_path: Path
) -> None:
    judge = Judge()
    async with other(tmp_path, judge) as url:
        plugin = AuthProxy(default=url, remember=remember)
        server = Server(settings(tmp_path, smtp=QUICK), plugins=[plugin], log=silent_logger(), strict=True)
        async with server.running():
            for password, code in ((PASSWORD, 235), (PASSWORD, 235), ("wrong", 535)):
                async with connect(server, listen=CLEAR) as client:
                    await client.reply()
                    await client.command("EHLO client.test")
                    assert await plain(client, password=password) == code
    assert len(judge.seen) == asked


def credentials(user: str = USER, password: str = PASSWORD) -> PasswordCredentials:
    return PasswordCredentials("PLAIN", user, "", password)


def test_the_memory_forgets_in_time_and_knows_the_password() -> None:
    memory = Memory(60.0)
    assert not memory.has(credentials(), 0.0)
    memory.add(credentials(), 0.0)
    assert memory.has(credentials(), 59.0)
    assert not memory.has(credentials(), 60.0)
    assert not memory.has(credentials(password="wrong"), 1.0)
    assert not memory.has(credentials(user=USER + "c", password="orrect horse"), 1.0)


def test_the_memory_may_be_off_and_is_bounded() -> None:
    off = Memory(0.0)
    off.add(credentials(), 0.0)
    assert not off.has(credentials(), 0.0)
    memory = Memory(60.0)
    for number in range(MAX_REMEMBERED + 1):
        memory.add(credentials(user=str(number)), 0.0)
    assert not memory.has(credentials(user="0"), 1.0)
    assert memory.has(credentials(user="1"), 1.0)


@pytest.mark.parametrize(
    "values",
    [
        {"default": "lmtp://host"},
        {"default": "smtp://user:s3cret@host"},
        {"domains": {"example.com": ["smtp://host", "smtps://user:s3cret@host"]}},
        {"default": "http://host"},
        {"domains": {"a b": "smtp://host"}},
        {"remember": -1},
    ],
)
def test_wrong_settings_are_refused_without_passwords(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        AuthProxy(**values)
    assert all("s3cret" not in str(error["msg"]) for error in caught.value.errors())
