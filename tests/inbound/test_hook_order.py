"""Which hooks fire, in which order: the sequences that plugin authors may rely on."""

from pathlib import Path
from typing import Any

import pytest
import trio

from harakapy import DENY, HOOK_NEXT, OK, Address, Connection, Plugin, Server, Verdict, hookimpl
from harakapy.hooks import IllegalAnswer, hook_specs
from harakapy.log import silent_logger
from harakapy.testing import Client, connect, play

from .scene import MESSAGE, serving, settings

CONNECTING = "connect_init lookup_rdns connect"
NOT_FOR_CONNECTIONS = ("init_", "log", "shutdown")


class Record(Plugin):
    """Notes the name of every hook of a connection, and lets everything pass."""

    def __init__(self, *, relaying: bool = False) -> None:
        super().__init__()
        self.fired: list[str] = []
        self.relaying = relaying

    def register(self) -> None:
        for name, spec in hook_specs().items():
            if spec.arguments[0] == "connection":
                self.register_hook(name, self._recorder(name))

    def _recorder(self, name: str) -> Any:
        def record(connection: Connection) -> Verdict | None:
            self.fired.append(name)
            if name == "connect" and self.relaying:
                connection.relaying = True
            return OK if name in ("queue", "queue_outbound") else None

        return record

    @hookimpl
    def hook_rcpt(self, recipient: Address) -> Verdict:
        return OK if recipient.user == "good" else DENY


async def _sequence(folder: Path, dialogue: str, record: Record, **values: Any) -> str:
    async with serving(folder, record, **values) as server, connect(server) as client:
        await play("S: 220 *\n" + dialogue, client)
    return " ".join(record.fired)


HELO = "C: HELO client.test\nS: 250 *\n"
TO_RCPT = "C: MAIL FROM:<a@b.test>\nS: 250 *\nC: RCPT TO:<good@example.com>\nS: 250 *\n"


@pytest.mark.parametrize(
    ("dialogue", "expected"),
    [
        (
            HELO + TO_RCPT + "C: DATA\nS: 354 *\nC: .\nS: 250 *\nC: QUIT\nS: 221 *\nS: EOF",
            "helo mail rcpt rcpt_ok data data_post queue queue_ok reset_transaction quit disconnect",
        ),
        (
            HELO + "C: MAIL FROM:<>\nS: 250 *\nC: RCPT TO:<bad@example.com>\nS: 550 *",
            "helo mail rcpt deny reset_transaction disconnect",
        ),
        (HELO + "C: RSET\nS: 250 *", "helo rset disconnect"),
        (HELO + TO_RCPT + "C: RSET\nS: 250 *", "helo mail rcpt rcpt_ok rset reset_transaction disconnect"),
        (HELO + TO_RCPT + HELO, "helo mail rcpt rcpt_ok reset_transaction helo disconnect"),
        ("C: EHLO client.test\n" + "S: 250-*\n" * 11 + "S: 250 *", "ehlo capabilities disconnect"),
        (HELO + TO_RCPT, "helo mail rcpt rcpt_ok reset_transaction disconnect"),
        (HELO + TO_RCPT + "C: QUIT\nS: 221 *", "helo mail rcpt rcpt_ok quit reset_transaction disconnect"),
        (
            "C: NOOP\nS: 250 *\nC: VRFY x\nS: 252 *\nC: XYZZY\nS: 500 *",
            "noop vrfy unrecognized_command disconnect",
        ),
    ],
)
async def test_sequence(dialogue: str, expected: str, tmp_path: Path) -> None:
    assert await _sequence(tmp_path, dialogue, Record()) == f"{CONNECTING} {expected}"


async def test_sequence_of_a_relaying_client(tmp_path: Path) -> None:
    dialogue = HELO + TO_RCPT + "C: DATA\nS: 354 *\nC: .\nS: 250 *"
    expected = "helo mail rcpt rcpt_ok data data_post queue_outbound queue_ok reset_transaction disconnect"
    assert await _sequence(tmp_path, dialogue, Record(relaying=True)) == f"{CONNECTING} {expected}"


async def test_sequence_of_a_message_too_big(tmp_path: Path) -> None:
    dialogue = HELO + TO_RCPT + f"C: DATA\nS: 354 *\nC: {'x' * 2000}\nC: .\nS: 552 *"
    expected = "helo mail rcpt rcpt_ok data max_data_exceeded reset_transaction disconnect"
    sequence = await _sequence(tmp_path, dialogue, Record(), smtp={"max_message_size": 1024})
    assert sequence == f"{CONNECTING} {expected}"


async def test_deny_may_undo_a_denial(tmp_path: Path) -> None:
    told: list[tuple[str, str, str]] = []

    class Mercy(Plugin):
        @hookimpl
        def hook_deny(self, verdict: Verdict, plugin: str, hook: str) -> Verdict:
            told.append((str(verdict), plugin, hook))
            return OK

    class Strict(Plugin):
        @hookimpl
        def hook_mail(self) -> Verdict:
            return DENY("5.7.1 no")

    async with serving(tmp_path, Mercy, Strict) as server, connect(server) as client:
        await play("S: 220 *\nC: HELO x.test\nS: 250 *\nC: MAIL FROM:<a@b.test>\nS: 250 2.1.0 *", client)
    assert told == [("DENY('5.7.1 no')", "strict", "mail")]


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (HOOK_NEXT("noop"), "250 2.0.0 OK"),
        (HOOK_NEXT("hook_vrfy"), "252 2.1.5 *"),
        (HOOK_NEXT("mail"), "451 4.3.0 *"),
        (HOOK_NEXT, "451 4.3.0 *"),
        (OK("2.0.0 done", code=250), "250 2.0.0 done"),
        (DENY, "500 5.5.1 Unrecognized command"),
    ],
    ids=str,
)
async def test_a_plugin_may_know_a_command(answer: Verdict, reply: str, tmp_path: Path) -> None:
    heard: list[tuple[str, str]] = []

    class Know(Plugin):
        @hookimpl
        def hook_unrecognized_command(self, verb: str, argument: str) -> Verdict:
            heard.append((verb, argument))
            return answer

    async with serving(tmp_path, Know) as server, connect(server) as client:
        await play(f"S: 220 *\nC: xyzzy one  two\nS: {reply}\nC: NOOP\nS: 250 *", client)
    assert heard == [("XYZZY", "one  two")]


async def test_rset_by_hook_next_ends_the_transaction(tmp_path: Path) -> None:
    class Know(Plugin):
        @hookimpl
        def hook_unrecognized_command(self) -> Verdict:
            return HOOK_NEXT("rset")

    async with serving(tmp_path, Know) as server, connect(server) as client:
        await play(
            "S: 220 *\nC: HELO x.test\nS: 250 *\nC: MAIL FROM:<>\nS: 250 *\nC: ABORT\nS: 250 2.0.0 OK\n"
            "C: RCPT TO:<a@b.test>\nS: 503 5.5.1 *",
            client,
        )


async def test_capabilities_can_be_added_and_removed(tmp_path: Path) -> None:
    class Offer(Plugin):
        @hookimpl
        def hook_capabilities(self, connection: Connection) -> list[str]:
            connection.capabilities.remove("SMTPUTF8")
            return ["XFOO 1"]

    async with serving(tmp_path, Offer) as server, connect(server) as client:
        await client.reply()
        assert (await client.command("EHLO x.test")).lines[1:] == (
            "PIPELINING",
            "8BITMIME",
            "ENHANCEDSTATUSCODES",
            "CHUNKING",
            "BINARYMIME",
            "DSN",
            "DELIVERBY",
            "MT-PRIORITY",
            "SIZE 26214400",
            "LIMITS RCPTMAX=1000",
            "XFOO 1",
        )


async def test_a_refused_hello_has_not_happened(tmp_path: Path) -> None:
    names: list[str] = []

    class Strict(Plugin):
        @hookimpl
        def hook_helo(self, host: str) -> Verdict | None:
            return DENY if host == "bad.test" else None

        @hookimpl
        def hook_mail(self, connection: Connection) -> None:
            names.append(connection.hello.host)

    async with serving(tmp_path, Strict) as server, connect(server) as client:
        await play(
            "S: 220 *\nC: HELO bad.test\nS: 550 5.7.1 HELO denied\nC: MAIL FROM:<>\nS: 503 *\n"
            "C: HELO good.test\nS: 250 *\nC: HELO bad.test\nS: 550 *\nC: MAIL FROM:<>\nS: 250 *",
            client,
        )
    assert names == ["good.test"]


async def test_a_task_of_a_plugin_ends_with_the_connection_and_cannot_break_it(tmp_path: Path) -> None:
    ended: list[str] = []

    class Tasks(Plugin):
        @hookimpl
        def hook_connect(self, connection: Connection) -> None:
            connection.start_soon(self._fail)
            connection.start_soon(self._wait)

        async def _fail(self) -> None:
            raise RuntimeError("a defect")

        async def _wait(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                ended.append("ended")

    async with serving(tmp_path, Tasks) as server:
        async with connect(server) as client:
            await _say_noop(client)
        assert ended == ["ended"]


async def _say_noop(client: Client) -> None:
    await client.reply()
    assert (await client.command("NOOP")).code == 250


async def test_a_plugin_may_replace_recipients(tmp_path: Path) -> None:
    queued: list[str] = []

    class Alias(Plugin):
        @hookimpl
        def hook_rcpt(self, connection: Connection) -> Verdict:
            assert connection.transaction is not None
            connection.transaction.rcpt_to[-1:] = [Address("x", "one.test"), Address("y", "two.test")]
            return OK

        @hookimpl
        def hook_queue(self, connection: Connection) -> Verdict:
            assert connection.transaction is not None
            queued.extend(map(str, connection.transaction.rcpt_to))
            return OK

    async with serving(tmp_path, Alias) as server, connect(server) as client:
        await play("S: 220 *\nC: HELO x.test\nS: 250 *", client)
        await client.hand_over("a@b.test", ["list@example.com"], MESSAGE)
    assert queued == ["x@one.test", "y@two.test"]


async def test_an_answer_that_a_hook_does_not_accept_fails_the_test_of_a_strict_server(
    tmp_path: Path,
) -> None:
    class Wrong(Plugin):
        @hookimpl
        def hook_noop(self) -> str:
            return "fine"

    server = Server(settings(tmp_path), plugins=[Wrong], log=silent_logger(), strict=True)
    with pytest.RaisesGroup(IllegalAnswer, flatten_subgroups=True):
        async with server.running(), connect(server) as client:
            await client.reply()
            await client.send(b"NOOP\r\n")
            await client.reply()
