"""What extensions bring with a message, from the client to the plugins that take it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from harakapy import (
    OK,
    Address,
    Connection,
    ListenSettings,
    MailParameters,
    Plugin,
    RcptParameters,
    Verdict,
    hookimpl,
)
from harakapy.smtp import DeliverBy, Notify, OriginalRecipient, Reply, Ret
from harakapy.testing import Client, connect

from .scene import MESSAGE, Accept, greeted, serving
from .test_tls import authority, calling, encrypted, listening

__all__ = ["authority"]

SUBMISSION = {"role": "submission", "auth_without_tls": True}
LOGIN = "AUTH PLAIN AGEAYg=="


class Take(Plugin):
    """Takes all mail, lets everybody log in, and remembers the parameters of each message."""

    def __init__(self) -> None:
        super().__init__()
        self.mail: list[MailParameters] = []
        self.rcpt: list[dict[Address, RcptParameters]] = []

    @hookimpl
    def hook_auth(self) -> Verdict:
        return OK

    @hookimpl(trylast=True)
    def hook_rcpt(self) -> Verdict:
        return OK

    @hookimpl
    def hook_queue(self, connection: Connection) -> Verdict:
        transaction = connection.transaction
        assert transaction is not None
        self.mail.append(transaction.mail_params)
        self.rcpt.append(transaction.rcpt_params)
        return OK

    @hookimpl
    def hook_queue_outbound(self, connection: Connection) -> Verdict:
        return self.hook_queue(connection)


class Trust(Plugin):
    """Lets every client relay."""

    @hookimpl
    def hook_connect(self, connection: Connection) -> None:
        connection.relaying = True


@asynccontextmanager
async def greeting_client(
    folder: Path, *plugins: object, listener: Mapping[str, Any], **values: Any
) -> AsyncIterator[tuple[Client, Reply]]:
    """A client of that listener, and the reply to its EHLO; it has logged in where it must."""
    listen = ListenSettings(address="127.0.0.1:25", **listener)
    async with serving(folder, *plugins, **values) as server, connect(server, listen=listen) as client:
        await client.reply()
        hello = await client.command("EHLO client.test")
        if listen.role == "submission":
            await client.command(LOGIN)
        yield client, hello


async def send(client: Client, mail: str = "", rcpt: str = "") -> Reply:
    """The last reply to a message with these parameters."""
    reply = await client.command(f"MAIL FROM:<a@client.test> {mail}".rstrip())
    if reply.is_positive:
        reply = await client.command(f"RCPT TO:<b@example.com> {rcpt}".rstrip())
    if reply.is_positive:
        await client.command("DATA")
        await client.send(MESSAGE + b".\r\n")
        last = await client.reply()
        assert last is not None
        return last
    return reply


async def test_wishes_for_reports_reach_who_takes_the_message(tmp_path: Path) -> None:
    take = Take()
    async with greeting_client(tmp_path, take, listener={}) as (client, hello):
        assert "DSN" in hello.lines
        orcpt = "ORCPT=rfc822;B+2Bx@example.com"
        assert (await send(client, "RET=HDRS ENVID=QQ+2B1", f"NOTIFY=SUCCESS,FAILURE {orcpt}")).code == 250
    assert take.mail == [MailParameters(ret=Ret.HDRS, envid="QQ+1")]
    expected = RcptParameters(
        notify=frozenset({Notify.SUCCESS, Notify.FAILURE}),
        orcpt=OriginalRecipient("rfc822", "B+x@example.com"),
    )
    assert take.rcpt == [{Address("b", "example.com"): expected}]


async def test_a_recipient_that_a_plugin_puts_in_anothers_place_keeps_the_parameters(tmp_path: Path) -> None:
    class Alias(Plugin):
        @hookimpl
        def hook_rcpt(self, connection: Connection) -> None:
            assert connection.transaction is not None
            connection.transaction.rcpt_to[-1:] = [Address("c", "example.com"), Address("d", "example.com")]

    take = Take()
    async with greeting_client(tmp_path, Alias, take, listener={}) as (client, _):
        assert (await send(client, "", "NOTIFY=NEVER")).code == 250
    never = RcptParameters(notify=frozenset({Notify.NEVER}))
    assert take.rcpt == [dict.fromkeys((Address(user, "example.com") for user in "bcd"), never)]


@pytest.mark.parametrize("plugins", [(), (Trust,)], ids=["stranger", "relaying"])
async def test_a_time_limit_reaches_who_takes_the_message(
    plugins: tuple[object, ...], tmp_path: Path
) -> None:
    take = Take()
    async with greeting_client(tmp_path, *plugins, take, listener={}) as (client, hello):
        assert "DELIVERBY" in hello.lines
        assert (await send(client, "BY=120;RT")).code == 250
    assert take.mail == [MailParameters(by=DeliverBy(120, "R", trace=True))]


@pytest.mark.parametrize(
    ("plugins", "asked", "kept"),
    [((), 4, 0), ((), -4, -4), ((Trust,), 4, 4), ((Trust,), -4, -4)],
    ids=["stranger-up", "stranger-down", "relaying-up", "relaying-down"],
)
async def test_only_who_may_relay_is_urgent(
    plugins: tuple[object, ...], asked: int, kept: int, tmp_path: Path
) -> None:
    take = Take()
    async with greeting_client(tmp_path, *plugins, take, listener={}) as (client, hello):
        assert "MT-PRIORITY" in hello.lines
        assert (await send(client, f"RET=FULL MT-PRIORITY={asked}")).code == 250
    assert take.mail == [MailParameters(ret=Ret.FULL, mt_priority=kept)]


async def test_who_has_logged_in_is_as_urgent_as_it_says(tmp_path: Path) -> None:
    take = Take()
    async with greeting_client(tmp_path, take, listener=SUBMISSION) as (client, _):
        assert (await send(client, "MT-PRIORITY=9")).code == 250
    assert take.mail == [MailParameters(mt_priority=9)]


async def test_a_plugins_own_words_stay_when_the_priority_is_lowered(tmp_path: Path) -> None:
    class Speak(Plugin):
        @hookimpl
        def hook_mail(self) -> Verdict:
            return OK("2.1.0 you again")

    async with greeting_client(tmp_path, Speak, listener={}) as (client, _):
        reply = await client.command("MAIL FROM:<a@client.test> MT-PRIORITY=1")
        assert str(reply) == "250 2.1.0 you again"


async def test_future_release_tells_how_long_and_until_when(tmp_path: Path) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    hours = {"max_future_release": "2h"}
    async with greeting_client(tmp_path, Take(), listener=SUBMISSION, smtp=hours) as (_, hello):
        (line,) = [line for line in hello.lines if line.startswith("FUTURERELEASE")]
    _, interval, until = line.split()
    assert interval == "7200"
    ahead = datetime.fromisoformat(until) - before
    assert timedelta(hours=2) <= ahead <= timedelta(hours=2, minutes=1)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ("HOLDFOR=7200", 250),
        ("HOLDFOR=7201", 501),
        ("HOLDFOR=0", 501),
        ("HOLDFOR=-1", 501),
        ("HOLDFOR=60 HOLDUNTIL={soon}", 501),
        ("HOLDUNTIL={soon}", 250),
        ("HOLDUNTIL={late}", 501),
        ("HOLDUNTIL=2001-01-01T00:00:00Z", 250),  # it is over: nothing to hold
        ("HOLDUNTIL=tomorrow", 501),
        ("HOLDFOR=60 BY=60;R", 501),
        ("HOLDFOR=60 BY=61;R", 250),
        ("HOLDFOR=60 BY=30;N", 250),
    ],
)
async def test_a_message_is_held_no_longer_than_is_offered(
    parameters: str, code: int, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    times = {"soon": now + timedelta(hours=1), "late": now + timedelta(hours=3)}
    words = parameters.format(**{name: f"{time:%Y-%m-%dT%H:%M:%SZ}" for name, time in times.items()})
    take = Take()
    hours = {"max_future_release": "2h"}
    async with greeting_client(tmp_path, take, listener=SUBMISSION, smtp=hours) as (client, _):
        reply = await send(client, words)
        assert reply.code == code
        assert reply.enhanced == ("2.0.0" if code == 250 else "5.5.4")
        assert (await send(client)).code == 250
    assert len(take.mail) == (2 if code == 250 else 1)


async def test_each_listener_has_its_own_extensions(tmp_path: Path) -> None:
    mx = {"extensions": {"deliverby": False, "futurerelease": True}}
    async with greeting_client(tmp_path, Take(), listener=mx) as (_, hello):
        words = {line.split()[0] for line in hello.lines}
    assert {"DSN", "MT-PRIORITY", "FUTURERELEASE"} <= words
    assert "DELIVERBY" not in words
    submission = {**SUBMISSION, "extensions": {"futurerelease": False}}
    async with greeting_client(tmp_path, Take(), listener=submission) as (client, hello):
        assert not any(line.startswith("FUTURERELEASE") for line in hello.lines)
        assert (await client.command("MAIL FROM:<a@client.test> HOLDFOR=60")).code == 555


@pytest.mark.parametrize("is_offered", [True, False])
async def test_requiretls_is_offered_under_tls_only(
    is_offered: bool, tmp_path: Path, authority: trustme.CA
) -> None:
    take = Take()
    listener = {"extensions": {"requiretls": is_offered}}
    async with (
        listening(tmp_path, authority, take, listener=listener) as server,
        await calling(server) as socket,
    ):
        client = Client(socket)
        await client.reply()
        assert "REQUIRETLS" not in (await client.command("EHLO client.test")).lines
        assert (await client.command("MAIL FROM:<a@client.test> REQUIRETLS")).code == 555
        await client.command("STARTTLS")
        client = Client(encrypted(socket, authority))
        assert ("REQUIRETLS" in (await client.command("EHLO client.test")).lines) is is_offered
        assert (await send(client, "REQUIRETLS")).code == (250 if is_offered else 555)
    assert take.mail == ([MailParameters(requiretls=True)] if is_offered else [])


async def test_without_a_limit_nothing_is_said_of_messages(tmp_path: Path) -> None:
    async with serving(tmp_path, Accept()) as server, connect(server) as client:
        await greeted(client)
        assert "LIMITS RCPTMAX=1000" in (await client.command("EHLO client.test")).lines
