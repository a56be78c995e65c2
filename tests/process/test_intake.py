"""Messages of this machine's users: what the server takes, what it refuses, and what nobody can do to it."""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from harakapy import HMail, Plugin, Server, Settings, hookimpl
from harakapy.log import Level, Output, Sink, StreamTarget, make_logger, renderer
from harakapy.process import intake
from harakapy.process.control_wire import encode
from harakapy.process.intake import own_address
from harakapy.process.intake_client import IntakeClient, IntakeLost
from harakapy.process.intake_wire import MAX_LINE, IntakeProblem, IntakeRefused, Submission
from harakapy.queue import Selection, StoreFull
from harakapy.queue.memory_store import MemoryStore
from harakapy.smtp import Address

MESSAGE = b"Subject: hello\r\n\r\nbody\r\n"
ANN = Address.parse("ann@example.org")
ENVELOPE = Submission(sender=None, recipients=(ANN,), size=len(MESSAGE))


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


class Scene:
    """A server that owns its state, with its queue in memory, and what it logs."""

    def __init__(self, folder: Path, store: MemoryStore, plugins: tuple[object, ...], **values: Any) -> None:
        self.store = store
        self._log = io.BytesIO()
        output = Output(Sink(StreamTarget(self._log)), renderer("text", timestamps=False), level=Level.INFO)
        settings = Settings.default(
            hostname="mx.test",
            state_dir=str(folder),
            listen=[],
            outbound={"relay_host": "lmtp:///none"},
            **values,
        )
        self.path = settings.send_socket
        self.server = Server(settings, plugins=plugins, log=make_logger(output), store=store)
        self.server.owns_state = True

    @property
    def log(self) -> str:
        return self._log.getvalue().decode()

    async def send(self, submission: Submission = ENVELOPE, content: bytes = MESSAGE) -> str:
        """Send as a command does."""

        def work() -> str:
            with IntakeClient.connect(self.path) as client:
                return client.send(submission, [content])

        return await trio.to_thread.run_sync(work)

    async def connect(self) -> trio.SocketStream:
        """A connection on which the terms were read."""
        stream = await trio.open_unix_socket(self.path)
        assert b'"terms"' in await stream.receive_some()
        return stream

    async def answer(self, *octets: bytes) -> dict[str, Any]:
        """What comes back for these octets."""
        async with await self.connect() as stream:
            for each in octets:
                await stream.send_all(each)
            answer: dict[str, Any] = json.loads(await stream.receive_some())
            return answer

    async def stored(self) -> list[tuple[str, bytes]]:
        """The reverse-path and the content of what is in the queue."""
        found = []
        for request in (await self.store.select(Selection(), limit=100)).requests:
            with await self.store.open_content(request.message.id) as content:
                found.append((str(request.message.mail_from), content.to_bytes()))
        return found


@asynccontextmanager
async def serving(
    folder: Path, *plugins: object, store: MemoryStore | None = None, **values: Any
) -> AsyncIterator[Scene]:
    scene = Scene(folder, store or MemoryStore(), plugins, **values)
    async with scene.server.running():
        yield scene


async def test_a_message_is_in_the_queue_when_the_answer_comes(folder: Path) -> None:
    async with serving(folder) as scene:
        message_id = await scene.send()
        ((sender, content),) = await scene.stored()
    assert sender == str(own_address(os.getuid(), "mx.test"))
    received, *fields = content.decode().replace("\r\n\t", " ").split("\r\n")
    assert received.startswith(
        f"Received: by mx.test (harakapy, from userid {os.getuid()}) id {message_id}; "
    )
    assert [field.partition(":")[0] for field in fields] == [
        "Subject", "Date", "Message-ID", "", "body", "",
    ]  # fmt: skip
    assert f"[{message_id}] message of a user uid={os.getuid()}" in scene.log


async def test_a_user_may_give_another_sender(folder: Path) -> None:
    async with serving(folder) as scene:
        await scene.send(Submission(sender=ANN, recipients=(ANN,), size=0), b"")
        await scene.send(Submission(sender=Address.parse("<>"), recipients=(ANN,), size=0), b"")
        assert [sender for sender, _ in await scene.stored()] == ["ann@example.org", ""]


async def test_plugins_see_the_message_and_may_change_it(folder: Path) -> None:
    class Seal(Plugin):
        @hookimpl
        async def hook_pre_send_trans_email(self, hmail: HMail) -> None:
            assert [str(each) for each in hmail.rcpt_to] == ["ann@example.org"]
            assert hmail.header.get("Message-ID") == f"<{hmail.uuid}@mx.test>"
            hmail.header.add("X-Seal", hmail.uuid)

    async with serving(folder, Seal()) as scene:
        message_id = await scene.send()
        ((_, content),) = await scene.stored()
    assert f"X-Seal: {message_id}\r\n".encode() in content


async def test_a_large_message_is_stored_whole(folder: Path) -> None:
    content = MESSAGE + b"0123456789abcdef\r\n" * 100_000
    async with serving(folder) as scene:
        await scene.send(Submission(sender=ANN, recipients=(ANN,), size=len(content)), content)
        ((_, stored),) = await scene.stored()
    assert stored.endswith(content.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"a\0b\r\n", "NUL"),
        (b"a\nb\r\n", "bare"),
        (b"X: " + b"x" * 200_000 + b"\r\n\r\n", "header"),
        (b"Received: x\r\n" * 51 + b"\r\n", "loop"),
        (b"x" * 2_000_000, "more than 1048576 octets"),
    ],
)
async def test_content_is_held_to_the_terms_of_smtp(folder: Path, content: bytes, text: str) -> None:
    async with serving(folder, smtp={"max_message_size": "1 MiB"}) as scene:
        with pytest.raises(IntakeRefused, match=text) as refused:
            await scene.send(Submission(sender=ANN, recipients=(ANN,), size=len(content)), content)
        assert refused.value.problem is IntakeProblem.REFUSED
        assert await scene.stored() == []
    assert "message of a user refused" in scene.log


@pytest.mark.parametrize(
    "line", [b"\n", b"nonsense\n", b"[" * 100_000 + b"\n", b"\xff\n", b"[]\n", b"{}\n", b"1" * 5000 + b"\n"]
)
async def test_an_envelope_that_is_none_is_refused(folder: Path, line: bytes) -> None:
    async with serving(folder) as scene:
        assert (await scene.answer(line))["error"]["problem"] == "refused"
        await scene.send()


async def test_nothing_but_sending_can_be_done_here(folder: Path) -> None:
    async with serving(folder) as scene:
        for request in ({"do": "list"}, {"do": "remove", "all": True}):
            assert "error" in await scene.answer(encode(request))


async def test_a_message_of_a_program_that_was_killed_is_none(folder: Path) -> None:
    async with serving(folder) as scene:
        async with await scene.connect() as stream:
            await stream.send_all(encode(ENVELOPE.to_json()) + MESSAGE[:-1])
            await stream.send_eof()
            assert await stream.receive_some() == b""
        assert await scene.stored() == []


async def test_how_the_octets_are_cut_changes_nothing(folder: Path) -> None:
    octets = encode(ENVELOPE.to_json()) + MESSAGE
    async with serving(folder) as scene:
        assert "done" in await scene.answer(octets)
        assert "done" in await scene.answer(*[octets[at : at + 1] for at in range(len(octets))])
        assert "done" in await scene.answer(octets + b"a tail")
        contents = [content.partition(b"\r\nSubject")[2] for _, content in await scene.stored()]
    assert {content.partition(b"\r\n\r\n")[2] for content in contents} == {b"body\r\n"}


async def test_an_envelope_without_end_is_cut_off(folder: Path) -> None:
    async with serving(folder) as scene, await scene.connect() as stream:
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await stream.send_all(b"x" * 65536)
        assert str(MAX_LINE) in json.loads(await stream.receive_some())["error"]["text"]


async def test_a_client_that_says_nothing_is_let_go(folder: Path, autojump_clock: MockClock) -> None:
    async with serving(folder) as scene, await scene.connect() as stream:
        assert await stream.receive_some() == b""
        assert trio.current_time() == pytest.approx(intake.MESSAGE_TIMEOUT_S, abs=1)


async def test_a_client_that_sends_an_octet_at_times_is_let_go(
    folder: Path, autojump_clock: MockClock
) -> None:
    async with serving(folder) as scene, await scene.connect() as stream:
        await stream.send_all(encode(Submission(sender=ANN, recipients=(ANN,), size=1000).to_json()))
        begun = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await trio.sleep(1)
                await stream.send_all(b"x")
        assert trio.current_time() - begun < intake.MESSAGE_TIMEOUT_S + 5


async def test_one_user_cannot_take_all_places(folder: Path) -> None:
    async with serving(folder) as scene:
        streams = [await scene.connect() for _ in range(intake.MAX_CLIENTS_OF_ONE_USER)]
        with pytest.raises(IntakeRefused, match="later") as refused:
            await scene.send()
        assert refused.value.problem is IntakeProblem.BUSY
        for stream in streams:
            await stream.aclose()
        await scene.server._intake.open_connections.wait_value(0)
        await scene.send()
    assert intake.MAX_CLIENTS_OF_ONE_USER < intake.MAX_CLIENTS


async def test_a_full_queue_means_later(folder: Path) -> None:
    class Full(MemoryStore):
        async def commit(self, *_: Any, **__: Any) -> None:
            raise StoreFull("less than 128 MiB is left in /secret")

    async with serving(folder, store=Full()) as scene:
        with pytest.raises(IntakeRefused, match="no room") as refused:
            await scene.send()
    assert refused.value.problem is IntakeProblem.STORE
    assert "secret" not in str(refused.value)
    assert "/secret" in scene.log


async def test_a_bug_is_logged_and_the_server_goes_on(folder: Path) -> None:
    class Faulty(MemoryStore):
        faults = 1

        async def commit(self, *arguments: Any, **more: Any) -> None:
            if self.faults:
                self.faults -= 1
                raise RuntimeError("secret")
            await super().commit(*arguments, **more)

    async with serving(folder, store=Faulty()) as scene:
        with pytest.raises(IntakeRefused) as refused:
            await scene.send()
        assert refused.value.problem is IntakeProblem.INTERNAL
        assert "secret" not in str(refused.value)
        await scene.send()
    assert "RuntimeError" in scene.log


class Slow(MemoryStore):
    """Stores nothing until it may."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.may_go_on = trio.Event(), trio.Event()

    async def commit(self, *arguments: Any, **more: Any) -> None:
        self.begun.set()
        await self.may_go_on.wait()
        await super().commit(*arguments, **more)


async def test_what_is_being_stored_at_a_stop_is_stored_and_told(folder: Path) -> None:
    store = Slow()
    answers: list[dict[str, Any]] = []
    async with (
        serving(folder, store=store, smtp={"shutdown_timeout": 0}) as scene,
        trio.open_nursery() as nursery,
    ):

        async def send() -> None:
            answers.append(await scene.answer(encode(ENVELOPE.to_json()) + MESSAGE))

        nursery.start_soon(send)
        await store.begun.wait()
        scene.server.stop()
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        assert not answers
        store.may_go_on.set()
    assert "done" in answers[0]


async def test_what_cannot_be_stored_in_time_means_later(folder: Path, autojump_clock: MockClock) -> None:
    async with serving(folder, store=Slow()) as scene:
        answer = await scene.answer(encode(ENVELOPE.to_json()) + MESSAGE)
        assert answer["error"]["problem"] == "store"


async def test_a_silent_client_does_not_hold_up_a_stop(folder: Path, autojump_clock: MockClock) -> None:
    async with serving(folder) as scene:
        stream = await scene.connect()
        begun = trio.current_time()
    assert trio.current_time() - begun < 1
    await stream.aclose()
    assert not scene.path.exists()


@pytest.mark.parametrize("greeting", [b"", b"220 mx.test ESMTP\r\n", b"{}\n"])
async def test_the_client_notices_what_is_no_server_of_ours(folder: Path, greeting: bytes) -> None:
    with trio.socket.socket(trio.socket.AF_UNIX) as listening:
        await listening.bind(str(folder / "send"))
        listening.listen()
        async with trio.open_nursery() as nursery:

            async def greet() -> None:
                connection, _ = await listening.accept()
                with connection:
                    if greeting:
                        await connection.send(greeting)

            nursery.start_soon(greet)
            with pytest.raises(IntakeLost):
                await trio.to_thread.run_sync(IntakeClient.connect, folder / "send")


def test_a_user_without_a_name_has_an_address_by_number() -> None:
    assert str(own_address(4_000_000_000, "mx.test")) == "4000000000@mx.test"
    assert str(own_address(0, "mx.test")) == "root@mx.test"
