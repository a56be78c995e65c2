"""Mail for mailbox servers: one answer for each recipient, folded into one for the client."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from harakapy import ConfigError
from harakapy.config import validate_plugin
from harakapy.plugins.queue_lmtp import QueueLmtp, QueueLmtpConfig
from tests.outbound.scene import MESSAGE, Mailbox, is_worked_off, receiving

from .forwarding import SENDER, passing
from .scene import Keep, problems

SAVED = "250 2.0.0 Saved"
FULL = "452 4.2.2 Mailbox full"
NO_USER = "550 5.1.1 No such user"


@dataclass
class MailboxServer:
    """Speaks LMTP. ``at_rcpt`` and ``at_end`` say what it answers to users, other than that all is well."""

    at_rcpt: dict[str, str] = field(default_factory=dict)
    at_end: dict[str, str] = field(default_factory=dict)
    saved: list[tuple[str, bytes]] = field(default_factory=list)

    async def serve(self, stream: trio.SocketStream) -> None:
        """Hold one session."""
        lines = _Lines(stream)
        await stream.send_all(b"220 mailboxes\r\n")
        users: list[str] = []
        while line := await lines.line():
            verb = line[:4].upper()
            if verb == "LHLO":
                await stream.send_all(b"250-mailboxes\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
            elif verb == "RCPT":
                user = line.partition("<")[2].partition("@")[0]
                answer = self.at_rcpt.get(user, "250 2.1.5 ok")
                users += [user] if answer.startswith("2") else []
                await stream.send_all(f"{answer}\r\n".encode())
            elif verb == "DATA":
                await stream.send_all(b"354 go\r\n")
                content = await lines.content()
                for user in users:
                    answer = self.at_end.get(user, SAVED)
                    if answer == SAVED:
                        self.saved.append((user, content))
                    await stream.send_all(f"{answer}\r\n".encode())
                users = []
            elif verb == "QUIT":  # who closes its idle sessions does not wait for an answer
                break
            else:
                assert verb in ("MAIL", "RSET"), line
                await stream.send_all(b"250 ok\r\n")
        await stream.aclose()

    @asynccontextmanager
    async def listening(self, path: Path | None = None) -> AsyncIterator[str]:
        """Serve on a unix socket, or on TCP; the next hop."""
        if path is None:
            listeners: list[Any] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            url = f"lmtp://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        else:
            unix = trio.socket.socket(socket.AF_UNIX)
            await unix.bind(str(path))
            unix.listen()
            listeners, url = [trio.SocketListener(unix)], f"lmtp://{path}"
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self.serve, listeners)
            yield url
            nursery.cancel_scope.cancel()


class _Lines:
    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._data = b""

    async def _until(self, end: bytes) -> bytes:
        while end not in self._data:
            more = await self._stream.receive_some()
            if not more:
                return b""
            self._data += more
        found, _, self._data = self._data.partition(end)
        return found

    async def line(self) -> str:
        return (await self._until(b"\r\n")).decode()

    async def content(self) -> bytes:
        return await self._until(b"\r\n.\r\n") + b"\r\n"


@pytest.mark.parametrize("is_unix", [False, True], ids=["tcp", "unix"])
async def test_a_message_is_saved_for_each_recipient(tmp_path: Path, is_unix: bool) -> None:
    server = MailboxServer()
    path = tmp_path / "lmtp" if is_unix else None
    async with server.listening(path) as hop, passing(tmp_path, QueueLmtp(next_hop=hop)) as scene:
        assert str(await scene.send("a@example.com")) == "250 2.0.0 Saved"
        assert (await scene.send("a@example.com", "b@example.com")).code == 250
        assert await scene.waiting() == 0
    assert [user for user, _ in server.saved] == ["a", "a", "b"]
    assert all(content.endswith(MESSAGE) for _, content in server.saved)


@pytest.mark.parametrize("phase", ["at_rcpt", "at_end"])
@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"a": NO_USER}, "550 5.1.1 No such user"),
        ({"a": FULL}, "452 4.2.2 Mailbox full"),
        (
            {"a": "552 5.2.2 Over quota"},
            {"at_rcpt": "451 4.2.2 Over quota", "at_end": "552 5.2.2 Over quota"},
        ),
    ],
)
async def test_what_a_mailbox_server_refuses_is_refused(
    tmp_path: Path, phase: str, answers: dict[str, str], expected: str | dict[str, str]
) -> None:
    server = MailboxServer(answers) if phase == "at_rcpt" else MailboxServer(at_end=answers)
    async with server.listening() as hop, passing(tmp_path, QueueLmtp(next_hop=hop)) as scene:
        reply = await scene.send("a@example.com")
        assert await scene.waiting() == 0
    assert str(reply) == (expected if isinstance(expected, str) else expected[phase])


@pytest.mark.parametrize("phase", ["at_rcpt", "at_end"])
async def test_of_answers_that_differ_each_has_its_due(tmp_path: Path, phase: str) -> None:
    answers = {"full": FULL, "nobody": NO_USER}
    server, postbox = (
        MailboxServer(answers) if phase == "at_rcpt" else MailboxServer(at_end=answers),
        Mailbox(),
    )
    async with server.listening() as hop, receiving(tmp_path, postbox) as way_back:
        plugin = QueueLmtp(routes={"example.com": hop})
        outbound = {"retry": "1s", "relay_host": way_back}
        async with passing(tmp_path, plugin, outbound=outbound) as scene:
            reply = await scene.send("a@example.com", "full@example.com", "nobody@example.com")
            assert (reply.code, reply.enhanced) == (250, "2.0.0")
            assert reply.text.startswith("Message taken; for 2 of 3 recipients it is queued or")
            answers.clear()
            (report,) = await postbox.wait_for(1)
            await is_worked_off(scene.server)
    assert sorted(user for user, _ in server.saved) == ["a", "full"]
    assert report.recipients == [SENDER]
    assert b"nobody@example.com" in report.content
    assert b"full@example.com" not in report.content


async def test_nobody_gets_a_message_that_is_put_off_for_one_and_refused_for_others(
    tmp_path: Path,
) -> None:
    server = MailboxServer(at_end={"full": FULL, "nobody": NO_USER})
    async with server.listening() as hop, passing(tmp_path, QueueLmtp(next_hop=hop)) as scene:
        reply = await scene.send("nobody@example.com", "full@example.com")
        assert await scene.waiting() == 0
    assert str(reply) == "452 4.2.2 Mailbox full"


async def test_a_success_that_was_asked_for_is_reported_as_a_delivery(tmp_path: Path) -> None:
    server, postbox = MailboxServer(), Mailbox()
    async with server.listening() as hop, receiving(tmp_path, postbox) as way_back:
        plugin = QueueLmtp(routes={"example.com": hop})
        async with passing(tmp_path, plugin, outbound={"relay_host": way_back}) as scene:
            await scene.client.command(f"MAIL FROM:<{SENDER}>")
            await scene.client.command("RCPT TO:<a@example.com> NOTIFY=SUCCESS")
            await scene.client.command("DATA")
            await scene.client.send(MESSAGE + b".\r\n")
            assert str(await scene.client.reply()) == "250 2.0.0 Saved"
            (report,) = await postbox.wait_for(1)
            await is_worked_off(scene.server)
    assert b"Action: delivered" in report.content
    assert [user for user, _ in server.saved] == ["a"]


async def test_mail_of_relaying_clients_reaches_the_mailboxes_through_the_queue(tmp_path: Path) -> None:
    server = MailboxServer()
    async with server.listening() as hop:
        plugin = QueueLmtp(routes={"example.com": hop})
        async with passing(tmp_path, plugin, relaying=True) as scene:
            assert (await scene.send("a@example.com")).code == 250
            await is_worked_off(scene.server)
    assert [user for user, _ in server.saved] == ["a"]


async def test_recipients_have_the_servers_of_their_domains_and_others_are_left_alone(tmp_path: Path) -> None:
    one, two, keep = MailboxServer(), MailboxServer(), Keep()
    async with one.listening() as first, two.listening(tmp_path / "lmtp") as second:
        plugin = QueueLmtp(routes={"example.com": first, ".example.com": second})
        async with passing(tmp_path, plugin, keep) as scene:
            assert (await scene.send("a@example.com", "b@x.example.com")).code == 250
            assert (await scene.send("c@example.net")).code == 250
            await scene.client.command(f"MAIL FROM:<{SENDER}>")
            assert (await scene.client.command("RCPT TO:<a@example.net>")).code == 250
            assert (await scene.client.command("RCPT TO:<b@example.com>")).code == 452
    assert [user for user, _ in one.saved] == ["a"]
    assert [user for user, _ in two.saved] == ["b"]
    assert [recipients for _, recipients, _ in keep.taken] == [["c@example.net"]]


@pytest.mark.parametrize("table", [{"next_hop": "smtp://host"}, {"routes": {"example.com": "host"}}])
def test_a_next_hop_that_is_not_lmtp_is_an_error(table: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        validate_plugin("queue_lmtp", table, QueueLmtpConfig)
    (problem,) = problems(caught.value).values()
    assert "must be LMTP" in problem
