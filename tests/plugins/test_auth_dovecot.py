"""auth_dovecot against a Dovecot that does as it is told; tests/live has the real one."""

import base64
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme

from harakapy import Endpoint
from harakapy.config import ConfigError, Settings
from harakapy.log import silent_logger
from harakapy.plugins._dovecot import DovecotClient, DovecotError, DovecotReply, Outcome, parameter
from harakapy.plugins.auth_dovecot import AuthDovecot
from harakapy.process import Server
from harakapy.smtp.sasl import LoginClient, PlainClient
from harakapy.testing import Client
from tests.inbound.test_auth import greeted, log_in
from tests.inbound.test_tls import authority, calling, encrypted, listening

__all__ = ["authority"]

USER, PASSWORD = "ann@example.com", "correct horse"
GREETING = (
    "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nSPID\t7\nCUID\t1\nCOOKIE\t00\nDONE\n"
)
QUICK = {"hook_timeout": "1s", "max_auth_failures": 9}

Answer = Callable[[str, str], str | None]
"""(number, credentials) -> what is sent; None closes the connection."""


def judged(number: str, credentials: str) -> str:
    """What a Dovecot with one user says."""
    known = credentials.endswith(f"\0{USER}\0{PASSWORD}")
    return f"OK\t{number}\tuser={USER}\n" if known else f"FAIL\t{number}\tuser=x\n"


class Dovecot:
    """Answers as it is told; ``lines`` are those it got, ``connections`` how many came."""

    def __init__(self, path: Path, answer: Answer = judged, greeting: str = GREETING) -> None:
        self.path = path
        self.endpoint = Endpoint(path=str(path))
        self.answer = answer
        self.greeting = greeting
        self.lines: list[str] = []
        self.connections = 0
        self.open: list[trio.SocketStream] = []

    @property
    def requests(self) -> list[list[str]]:
        return [line.split("\t") for line in self.lines if line.startswith("AUTH\t")]

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        socket = trio.socket.socket(trio.socket.AF_UNIX)
        await socket.bind(str(self.path))
        socket.listen()
        await trio.serve_listeners(self._talk, [trio.SocketListener(socket)], task_status=task_status)  # type: ignore[arg-type]  # the listeners are of no interest

    async def _talk(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        self.open.append(stream)
        try:
            await stream.send_all(self.greeting.encode())
            received = b""
            while data := await stream.receive_some():
                *lines, received = (received + data).split(b"\n")
                for line in lines:
                    await self._hear(line.decode(), stream)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            pass  # it was told to hang up, or the client has
        finally:
            await trio.aclose_forcefully(stream)

    async def _hear(self, line: str, stream: trio.SocketStream) -> None:
        self.lines.append(line)
        word, *fields = line.split("\t")
        if word not in ("AUTH", "CONT"):
            return
        credentials = base64.b64decode(fields[-1].removeprefix("resp=")).decode()
        answer = self.answer(fields[0], credentials)
        if answer is None:
            await stream.aclose()
        else:
            await stream.send_all(answer.encode())

    async def hang_up(self) -> None:
        while self.open:
            await self.open.pop().aclose()


@asynccontextmanager
async def serving(folder: Path, answer: Answer = judged, greeting: str = GREETING) -> AsyncIterator[Dovecot]:
    dovecot = Dovecot(folder / "auth", answer, greeting)
    async with trio.open_nursery() as nursery:
        await nursery.start(dovecot.serve)
        yield dovecot
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def asking(folder: Path, answer: Answer = judged, timeout_s: float = 25) -> AsyncIterator[Client]:
    """A client of a server that asks a Dovecot."""
    async with serving(folder, answer) as dovecot:
        plugin = AuthDovecot(address=str(dovecot.endpoint), timeout=timeout_s)
        async with greeted(folder, plugin, smtp=QUICK) as client:
            yield client


async def plain(client: Client, user: str = USER, password: str = PASSWORD, authzid: str = "") -> int:
    text = base64.b64encode(f"{authzid}\0{user}\0{password}".encode()).decode()
    return (await client.command(f"AUTH PLAIN {text}")).code


def always(*fields: str) -> Answer:
    return lambda number, _: "\t".join([fields[0], number, *fields[1:]]) + "\n"


async def test_who_has_the_right_password_logs_in(tmp_path: Path) -> None:
    async with asking(tmp_path) as client:
        assert await plain(client, password="wrong") == 535
        assert await plain(client, user="bob") == 535
        assert await plain(client) == 235


async def test_login_is_plain_to_dovecot(tmp_path: Path) -> None:
    async with asking(tmp_path) as client:
        assert "AUTH PLAIN LOGIN" in (await client.command("EHLO client.test")).lines
        assert (await log_in(client, LoginClient(USER, PASSWORD))).code == 235


async def test_dovecot_is_told_of_the_client_and_gets_the_response_last(tmp_path: Path) -> None:
    async with serving(tmp_path) as dovecot:
        plugin = AuthDovecot(address=str(dovecot.endpoint))
        async with greeted(tmp_path, plugin) as client:
            await log_in(client, PlainClient(USER, PASSWORD))
        [[word, number, mechanism, *fields]] = dovecot.requests
    assert (word, number, mechanism) == ("AUTH", "1", "PLAIN")
    assert fields[:-1] == [
        "service=smtp", "lip=192.0.2.25", "rip=192.0.2.1", "lport=25", "rport=40000", "nologin",
    ]  # fmt: skip
    assert base64.b64decode(fields[-1].removeprefix("resp=")).decode() == f"\0{USER}\0{PASSWORD}"
    assert dovecot.lines[0] == "VERSION\t1\t1"
    assert 0 < int(dovecot.lines[1].removeprefix("CPID\t")) < 2**31


async def test_dovecot_is_told_of_tls(tmp_path: Path, authority: trustme.CA) -> None:
    async with serving(tmp_path) as dovecot:
        plugin = AuthDovecot(address=str(dovecot.endpoint))
        async with listening(tmp_path, authority, plugin) as server, await calling(server) as socket:
            client = Client(socket)
            await client.reply()
            await client.command("EHLO client.test")
            await client.command("STARTTLS")
            client = Client(encrypted(socket, authority))
            await client.command("EHLO client.test")
            assert await plain(client) == 235
    [request] = dovecot.requests
    assert "secured" in request


async def test_the_user_is_who_dovecot_says(tmp_path: Path) -> None:
    async with asking(tmp_path, always("OK", "user=ann")) as client:
        assert await plain(client, authzid="bob") == 235
    assert "user=ann " in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (["FAIL"], 535),
        (["FAIL", f"user={USER}", "reason=no"], 535),
        (["FAIL", "user_disabled"], 535),
        (["FAIL", "authz"], 535),
        (["FAIL", "code=pass_expired", "reason=too old"], 535),
        (["FAIL", "code=authz_fail"], 535),
        (["OK", f"user={USER}", "nologin"], 535),
        (["FAIL", "temp"], 454),
        (["FAIL", "code=temp_fail", "temp"], 454),
        (["FAIL", "code=temp_fail"], 454),
        (["FAIL", "code=mech_ssl_required"], 454),
        (["FAIL", "code=of_another_version"], 454),
        (["OK"], 454),
        (["OK", "user="], 454),
        (["OK", "user=a\001n"], 454),
        (["CONT", ""], 454),
    ],
)
async def test_each_answer_has_its_reply(fields: Sequence[str], code: int, tmp_path: Path) -> None:
    async with asking(tmp_path, always(*fields)) as client:
        assert await plain(client) == code
    log = (tmp_path / "log").read_text()
    assert PASSWORD not in log
    assert "too old" in log or "reason=too old" not in fields


async def test_a_dovecot_that_asks_again_is_answered_once_more(tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(number: str, credentials: str) -> str:
        asked.append(credentials)
        return judged(number, credentials) if len(asked) > 1 else f"CONT\t{number}\t\n"

    async with asking(tmp_path, answer) as client:
        assert await plain(client) == 235
    assert asked == [f"\0{USER}\0{PASSWORD}"] * 2


@pytest.mark.parametrize(
    "answer",
    [
        lambda number, credentials: None,
        lambda number, credentials: "x" * 40_000,
        lambda number, credentials: "OK\n",
        lambda number, credentials: "OK\tone\tuser=ann\n",
        lambda number, credentials: f"CONT\t{number}\t\n",
    ],
)
async def test_what_is_no_answer_is_temporary(answer: Answer, tmp_path: Path) -> None:
    async with asking(tmp_path, answer) as client:
        assert await plain(client) == 454


@pytest.mark.parametrize(
    "greeting",
    [
        "VERSION\t2\t0\nDONE\n",
        "VERSION\t1\t1\nMECH\tGSSAPI\nDONE\n",
        "MECH\tPLAIN\n" * 200,
        "x" * 40_000,
    ],
)
async def test_a_greeting_that_does_not_do_is_temporary_and_told(greeting: str, tmp_path: Path) -> None:
    async with serving(tmp_path, greeting=greeting) as dovecot:
        plugin = AuthDovecot(address=str(dovecot.endpoint))
        async with greeted(tmp_path, plugin, smtp=QUICK) as client:
            assert await plain(client) == 454
    assert "Dovecot cannot be asked" in (tmp_path / "log").read_text()


async def test_no_answer_in_time_is_temporary(tmp_path: Path) -> None:
    async with asking(tmp_path, lambda number, credentials: "", timeout_s=0.1) as client:
        assert await plain(client) == 454
        assert await plain(client) == 454
    assert "no answer within 0.1 s" in (tmp_path / "log").read_text()


async def test_without_dovecot_it_is_temporary_until_there_is_one(tmp_path: Path) -> None:
    plugin = AuthDovecot(address=f"unix:{tmp_path / 'auth'}")
    async with greeted(tmp_path, plugin, smtp=QUICK) as client:
        assert await plain(client) == 454
        async with serving(tmp_path):
            assert await plain(client) == 235
    assert "nobody can log in until it is" in (tmp_path / "log").read_text()


async def test_one_connection_serves_all_and_is_made_anew_after_a_restart(tmp_path: Path) -> None:
    async with serving(tmp_path) as dovecot:
        client = DovecotClient(dovecot.endpoint)
        for _ in range(3):
            assert (await ask(client)).outcome is Outcome.OK
        assert dovecot.connections == 1
        await dovecot.hang_up()
        assert (await ask(client)).outcome is Outcome.OK
        assert dovecot.connections == 2
        client.close()


async def test_exchanges_in_flight_get_their_own_answers_in_any_order(tmp_path: Path) -> None:
    waiting: list[str] = []

    def answer(number: str, credentials: str) -> str:
        waiting.insert(0, f"OK\t{number}\tuser={credentials.split(chr(0))[1]}\n")
        return "".join(waiting) if len(waiting) == 20 else ""

    answers: dict[str, str | None] = {}

    async def one(client: DovecotClient, user: str) -> None:
        answers[user] = (await ask(client, user)).get("user")

    async with serving(tmp_path, answer) as dovecot:
        client = DovecotClient(dovecot.endpoint)
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(one, client, f"user{number}")
        assert answers == {f"user{number}": f"user{number}" for number in range(20)}
        assert dovecot.connections == 1
        client.close()


async def test_who_gives_up_while_reading_for_all_leaves_the_others_their_answers(tmp_path: Path) -> None:
    release = trio.Event()
    ids: dict[str, str] = {}

    def answer(number: str, credentials: str) -> str:
        ids[credentials.split("\0")[1]] = number
        if len(ids) == 3:
            release.set()
        return ""

    got: list[str | None] = []

    async def patient(client: DovecotClient, user: str) -> None:
        got.append((await ask(client, user)).get("user"))

    async with serving(tmp_path, answer) as dovecot:
        client = DovecotClient(dovecot.endpoint)
        async with trio.open_nursery() as nursery:
            impatient = trio.CancelScope()
            nursery.start_soon(_within, impatient, client)
            while not dovecot.requests:  # noqa: ASYNC110  # the first is the one that reads
                await trio.sleep(0.01)
            for user in ("ann", "bob"):
                nursery.start_soon(patient, client, user)
            await release.wait()
            await trio.testing.wait_all_tasks_blocked()
            impatient.cancel()
            await trio.testing.wait_all_tasks_blocked()
            for user in ("first", "bob", "ann"):  # the first has gone
                await dovecot.open[0].send_all(f"OK\t{ids[user]}\tuser={user}\n".encode())
        assert sorted(map(str, got)) == ["ann", "bob"]
        client.close()


async def _within(scope: trio.CancelScope, client: DovecotClient) -> None:
    with scope:
        await ask(client, "first")


async def ask(client: DovecotClient, user: str = USER) -> DovecotReply:
    with trio.fail_after(20):
        return await client.authenticate("PLAIN", ["service=smtp"], f"\0{user}\0{PASSWORD}".encode())


async def test_values_and_fields_are_escaped(tmp_path: Path) -> None:
    assert parameter("a", "b\tc\1d\r\n\0") == "a=b\1tc\0011d\1r\1n\0010"
    async with serving(tmp_path, always("FAIL", "reason=a\1tb\1nc\0011d", "temp")) as dovecot:
        client = DovecotClient(dovecot.endpoint)
        reply = await ask(client)
        client.close()
    assert reply.get("reason") == "a\tb\nc\1d"
    assert reply.get("temp") == ""
    assert reply.get("code") is None


async def test_a_mechanism_that_is_not_offered_is_an_error(tmp_path: Path) -> None:
    async with serving(tmp_path) as dovecot:
        client = DovecotClient(dovecot.endpoint)
        with pytest.raises(DovecotError, match="does not offer GSSAPI"):
            await client.authenticate("GSSAPI", [], b"")
        client.close()


async def test_settings_may_name_another_dovecot_while_running(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    async with serving(tmp_path) as first, serving(other) as second:
        plugin = AuthDovecot(address=str(first.endpoint))
        async with greeted(tmp_path, plugin, smtp=QUICK) as client:
            assert await plain(client, password="wrong") == 535
            plugin.reload(plugin.config.model_copy(update={"address": str(second.endpoint)}))
            assert await plain(client) == 235
    assert (len(first.requests), len(second.requests)) == (1, 1)


@pytest.mark.parametrize("address", ["/run/dovecot/auth", "localhost", "localhost:0", "unix:"])
def test_an_address_that_is_none_is_refused(address: str, tmp_path: Path) -> None:
    settings = {"plugins": ["auth_dovecot"], "plugin": {"auth_dovecot": {"address": address}}}
    with pytest.raises(ConfigError, match=r"plugin\.auth_dovecot\.address"):
        Server(Settings.default(listen=[], state_dir=str(tmp_path), **settings), log=silent_logger())
