"""The server against a small model of which command may come when (RFC 5321 4.1.4, 3.3; RFC 3030).

The model knows no more than whether the client has introduced itself, whether there is a sender and how many
recipients were taken, and says for each command which codes may answer it. The machine says whatever it
likes, in groups and cut anywhere, to a real server on a port of loopback. The codes must be those of the
model, there must be one reply for each command, and as many messages must have been kept as the model counts.
"""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from harakapy import DENY, DENYSOFT, OK, Address, Plugin, Server, Settings, Verdict, hookimpl
from harakapy.log import silent_logger

PATIENCE_S = 30

CLEAN = [b"", b"Subject: x\r\n\r\nbody\r\n", b"..\r\n", b"..x\r\n\r\nMAIL FROM:<a@b.test>\r\n", b"QUIT\r\n"]
DIRTY = [b"a\n.\nb\r\n", b"\r\r\n.\r\r\n", b"x\0\r\n", b"\n.\r\n", b"\r.\r\nRSET\r\n"]
CHUNKS = [b"", b"abc", b"\r\n.\r\n", b"RSET\r\n", b"a\nb\n"]


@dataclass(frozen=True)
class Say:
    """One command: what goes over the wire, what it is, and what it brings."""

    wire: bytes
    verb: str
    fate: Literal["good", "refused", "malformed"] = "good"
    octets: int = 0
    is_last: bool = False


HELLO = [
    Say(b"EHLO a.test\r\n", "EHLO"),
    Say(b"helo a.test\r\n", "HELO"),
    Say(b"EHLO\r\n", "EHLO", "malformed"),
]
MAIL = [
    Say(b"MAIL FROM:<a@b.test>\r\n", "MAIL"),
    Say(b"mail from:<> BODY=8BITMIME SIZE=10\r\n", "MAIL"),
    Say(b"MAIL FROM:<refuse@b.test>\r\n", "MAIL", "refused"),
    Say(b"MAIL FROM:<later@b.test>\r\n", "MAIL", "refused"),
    Say(b"MAIL FROM:<a@b.test> SIZE=99999999999\r\n", "MAIL", "refused"),
    Say(b"MAIL FROM:a@b.test\r\n", "MAIL"),
    Say(b"MAIL FROM:AUTH=a@b.test\r\n", "MAIL", "malformed"),
    Say(b"MAIL FROM:<a@b.test> WHAT=1\r\n", "MAIL", "malformed"),
]
RCPT = [
    Say(b"RCPT TO:<b@example.com>\r\n", "RCPT"),
    Say(b"Rcpt To:<postmaster>\r\n", "RCPT"),
    Say(b"RCPT TO:<refuse@example.com>\r\n", "RCPT", "refused"),
    Say(b"RCPT TO:<later@example.com>\r\n", "RCPT", "refused"),
    Say(b"RCPT TO:<b@elsewhere.test>\r\n", "RCPT", "refused"),
    Say(b"RCPT TO:<>\r\n", "RCPT", "malformed"),
]
OTHER = [
    Say(b"RSET\r\n", "RSET"),
    Say(b"RSET now\r\n", "RSET", "malformed"),
    Say(b"NOOP\r\n", "NOOP"),
    Say(b"VRFY somebody\r\n", "VRFY"),
    Say(b"HELP\r\n", "HELP"),
    Say(b"EXPN list\r\n", "EXPN"),
    Say(b"NONSENSE\r\n", "?", "malformed"),
    Say(b"\r\n", "?", "malformed"),
    Say(b"STARTTLS\r\n", "?", "malformed"),
    Say(b"AUTH PLAIN =\r\n", "?", "malformed"),
]
DATA = Say(b"DATA\r\n", "DATA")
QUIT = Say(b"QUIT\r\n", "QUIT")
SYNTAX = {500, 501, 502, 503, 504, 530, 550, 553, 555}
DENIED = {450, 452, 550, 552}


def chunk(octets: bytes, *, is_last: bool) -> Say:
    last = b" LAST" if is_last else b""
    return Say(b"BDAT %d%s\r\n%s" % (len(octets), last, octets), "BDAT", "good", len(octets), is_last)


@dataclass
class Model:
    """What RFC 5321 says of a session."""

    has_greeted: bool = False
    is_in_transaction: bool = False
    recipients: int = 0
    has_chunks: bool = False
    messages: int = 0

    def reset(self) -> None:
        self.is_in_transaction, self.recipients, self.has_chunks = False, 0, False

    def answers(self, said: Say) -> set[int]:
        """The codes that may answer; the model has moved on then."""
        if said.fate == "malformed":
            return SYNTAX
        return getattr(self, f"_{said.verb.lower()}")(said)  # type: ignore[no-any-return]

    def _ehlo(self, said: Say) -> set[int]:
        self.has_greeted = True
        self.reset()
        return {250}

    _helo = _ehlo

    def _mail(self, said: Say) -> set[int]:
        if not self.has_greeted or self.is_in_transaction:
            return {503}
        if said.fate == "refused":
            return DENIED
        self.is_in_transaction = True
        return {250}

    def _rcpt(self, said: Say) -> set[int]:
        if not self.is_in_transaction or self.has_chunks:
            return {503}
        if said.fate == "refused":
            return DENIED
        self.recipients += 1
        return {250}

    def _data(self, said: Say) -> set[int]:
        if not self.is_in_transaction or self.has_chunks:
            return {503}
        return {354} if self.recipients else {503, 554}  # RFC 5321 3.3 has both

    def content(self, is_clean: bool) -> set[int]:
        self.reset()
        self.messages += is_clean
        return {250} if is_clean else {554}

    def _bdat(self, said: Say) -> set[int]:
        if not self.recipients:
            return {503, 554}
        self.has_chunks = True
        if said.is_last:
            self.reset()
            self.messages += 1
        return {250}

    def _rset(self, said: Say) -> set[int]:
        self.reset()
        return {250}

    def _noop(self, said: Say) -> set[int]:
        return {250}

    def _vrfy(self, said: Say) -> set[int]:
        return {250, 252}

    def _help(self, said: Say) -> set[int]:
        return {211, 214}

    def _expn(self, said: Say) -> set[int]:
        return {250, 252, 502}

    def _quit(self, said: Say) -> set[int]:
        return {221}


class Keep(Plugin):
    """Takes mail for example.com and counts it."""

    messages = 0

    @hookimpl
    def hook_mail(self, sender: Address) -> Verdict | None:
        return {"refuse": DENY, "later": DENYSOFT}.get(sender.user)

    @hookimpl
    def hook_rcpt(self, recipient: Address) -> Verdict | None:
        is_ours = recipient.host in ("example.com", "")
        return {"refuse": DENY, "later": DENYSOFT}.get(recipient.user, OK if is_ours else None)

    @hookimpl
    def hook_queue(self) -> Verdict:
        self.messages += 1
        return OK


class Running:
    """A server in a thread of its own, for tests that are not asynchronous."""

    def __init__(self, folder: Path, keep: Keep) -> None:
        self._settings = Settings.default(
            hostname="mx.test",
            state_dir=str(folder),
            listen=[{"address": "127.0.0.1:0"}],
            dns={"rdns": False},
            smtp={"max_errors": 10**6, "max_junk_commands": 10**6},
        )
        self._keep = keep
        self._ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._main,))
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)

    async def _main(self) -> None:
        server = Server(self._settings, plugins=[self._keep], log=silent_logger())
        async with server.running():
            self._stop, self._token = trio.Event(), trio.lowlevel.current_trio_token()
            self.port = server.addresses[0].port
            self._ready.set()
            await self._stop.wait()

    def close(self) -> None:
        self._token.run_sync_soon(self._stop.set)
        self._thread.join()


chunks = st.builds(chunk, st.sampled_from(CHUNKS), is_last=st.booleans())
commands = st.one_of(
    st.sampled_from([*HELLO, *MAIL]), st.sampled_from(RCPT), chunks, st.sampled_from([*RCPT, *OTHER])
)
groups = st.lists(commands, min_size=1, max_size=8)


class Session(RuleBasedStateMachine):
    """A client that says anything, and the model that follows it."""

    running: Running
    keep: Keep

    @initialize()
    def connect(self) -> None:
        self.model = Model()
        self.before = self.keep.messages
        self.socket = socket.create_connection(("127.0.0.1", self.running.port), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.socket.makefile("rb")
        self.is_open = True
        assert self.code() == 220

    def code(self) -> int:
        line = self.stream.readline()
        while line[3:4] == b"-":
            line = self.stream.readline()
        assert line.endswith(b"\r\n")
        return int(line[:3])

    def say(self, wire: bytes, cut: int = 0) -> None:
        for piece in filter(None, (wire[:cut], wire[cut:])):
            self.socket.sendall(piece)

    @precondition(lambda self: self.is_open)
    @rule(group=groups, cut=st.integers(0, 60))
    def say_a_group(self, group: list[Say], cut: int) -> None:
        self.say(b"".join(said.wire for said in group), cut)
        for said in group:
            allowed = self.model.answers(said)
            assert self.code() in allowed, said

    @precondition(lambda self: self.is_open)
    @rule(recipients=st.integers(1, 3), group=groups)
    def begin_a_transaction(self, recipients: int, group: list[Say]) -> None:
        self.say_a_group([HELLO[0], MAIL[0], *[RCPT[0]] * recipients, *group], 0)

    @precondition(lambda self: self.is_open)
    @rule(content=st.sampled_from([*CLEAN, *DIRTY]), cut=st.integers(0, 30))
    def send_content(self, content: bytes, cut: int) -> None:
        allowed = self.model.answers(DATA)
        self.say(DATA.wire)
        code = self.code()
        assert code in allowed
        if code == 354:
            self.say(content + b".\r\n", cut)
            assert self.code() in self.model.content(content in CLEAN)

    @precondition(lambda self: self.is_open)
    @rule(behind=st.sampled_from([b"", b"NOOP\r\n", b"MAIL FROM:<a@b.test>\r\n"]))
    def leave(self, behind: bytes) -> None:
        self.say(QUIT.wire + behind)
        assert self.code() == 221
        assert self.stream.read() == b""
        self.is_open = False

    @precondition(lambda self: not self.is_open)
    @rule()
    def come_again(self) -> None:
        self.teardown()
        self.connect()

    @invariant()
    def as_many_messages_were_kept(self) -> None:
        if hasattr(self, "model"):
            assert self.keep.messages - self.before == self.model.messages

    def teardown(self) -> None:
        if hasattr(self, "socket"):
            self.stream.close()
            self.socket.close()


@pytest.fixture
def running() -> Iterator[Running]:
    with tempfile.TemporaryDirectory() as folder:
        Session.keep = Keep()
        running = Session.running = Running(Path(folder), Session.keep)
        yield running
        running.close()


def test_the_server_answers_as_the_model_says(running: Running) -> None:
    case = Session.TestCase
    case.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
    case().runTest()
