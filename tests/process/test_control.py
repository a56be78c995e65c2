"""The control socket: who may use it, what it answers, and what clients cannot do to the server."""

from __future__ import annotations

import io
import json
import os
import socket
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from harakapy.log import (
    Level,
    Logger,
    Output,
    Sink,
    StreamTarget,
    make_logger,
    renderer,
    silent_logger,
)
from harakapy.net import ListenError
from harakapy.outbound.steering import Steering
from harakapy.outbound.steering_request import RequestRefused
from harakapy.process import control_socket
from harakapy.process.control import MAX_CLIENTS, REQUEST_TIMEOUT_S, SEND_TIMEOUT_S, Control
from harakapy.process.control_client import ControlClient, ControlLost, ServerNotRunning
from harakapy.process.control_wire import MAX_REQUEST, control_path, encode, reachable
from harakapy.queue import State, Store
from harakapy.queue.memory_store import MemoryStore
from tests.queue.samples import NOW, put

STATS = {"do": "stats"}


class Kept:
    """What was logged."""

    def __init__(self) -> None:
        self._stream = io.BytesIO()
        output = Output(
            Sink(StreamTarget(self._stream)), renderer("text", timestamps=False), level=Level.INFO
        )
        self.log = make_logger(output)

    @property
    def text(self) -> str:
        return self._stream.getvalue().decode()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may enter, with a path short enough for a socket."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@asynccontextmanager
async def serving(path: Path, store: Store, log: Logger | None = None) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        log = log or silent_logger()
        control = Control(Steering(store, lambda: NOW), log)
        await nursery.start(control_socket.serve, path, control.handle, log)
        yield
        nursery.cancel_scope.cancel()


async def connect(path: Path) -> trio.SocketStream:
    with reachable(path) as short:
        return await trio.open_unix_socket(short)


async def answers(stream: trio.SocketStream, *lines: bytes) -> list[dict[str, Any]]:
    """What comes back for these lines, up to as many ends of answers."""
    await stream.send_all(b"".join(lines))
    found: list[dict[str, Any]] = []
    rest = b""
    while sum("done" in each or "error" in each for each in found) < len(lines):
        block = await stream.receive_some()
        if not block:
            break
        *complete, rest = (rest + block).split(b"\n")
        found += map(json.loads, complete)
    return found


async def test_a_request_is_answered_and_the_next_one_too(folder: Path) -> None:
    store, path = MemoryStore(), control_path(folder)
    await put(store)
    async with serving(path, store), await connect(path) as stream:
        found = await answers(stream, encode(STATS), encode({"do": "list"}))
        assert found[0]["done"]["recipients"] == 1
        assert found[1]["message"]["sender"] == "sender@example.com"
        assert found[2] == {"done": {"listed": 1, "messages": 1, "recipients": 1}}


async def test_requests_come_in_any_pieces(folder: Path) -> None:
    path = control_path(folder)
    async with serving(path, MemoryStore()), await connect(path) as stream:
        for octet in encode(STATS):
            await stream.send_all(bytes([octet]))
        assert "done" in (await answers(stream, encode(STATS)))[0]


async def test_the_socket_is_ours_alone_and_goes_with_the_server(folder: Path) -> None:
    path = control_path(folder)
    async with serving(path, MemoryStore()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_ISSOCK(path.stat().st_mode)
    assert not path.exists()


async def test_a_socket_left_behind_by_a_crash_is_replaced(folder: Path) -> None:
    path = control_path(folder)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with serving(path, MemoryStore()), await connect(path) as stream:
        assert "done" in (await answers(stream, encode(STATS)))[0]


async def test_a_second_server_is_told_that_there_is_one(folder: Path) -> None:
    path = control_path(folder)
    async with serving(path, MemoryStore()):
        with pytest.raises(ListenError, match="another program"):
            await control_socket.serve(path, trio.aclose_forcefully, silent_logger())
        async with await connect(path) as stream:
            assert "done" in (await answers(stream, encode(STATS)))[0]


async def test_a_path_too_long_for_a_socket_works(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    path = control_path(folder)
    async with serving(path, MemoryStore()):
        assert stat.S_ISSOCK(path.stat().st_mode)
        done = await trio.to_thread.run_sync(ask, path, STATS)
        assert done["messages"] == 0
    assert not path.exists()


STRANGER = """
import contextlib, os, socket, sys
os.setgid(65534); os.setuid(65534)
with socket.socket(socket.AF_UNIX) as stranger:
    stranger.connect(sys.argv[1])
    with contextlib.suppress(BrokenPipeError):  # shut out already
        stranger.sendall(b'{"do": "remove", "all": true}\\n')
    print(stranger.makefile().readline())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
async def test_the_kernel_tells_who_is_a_stranger_even_if_the_mode_lets_one_in(folder: Path) -> None:
    store, path, kept = MemoryStore(), control_path(folder), Kept()
    await put(store)
    async with serving(path, store, kept.log):
        command = [sys.executable, "-c", STRANGER, str(path)]
        shut = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
        assert b"PermissionError" in shut.stderr
        path.chmod(0o666)
        let_in = await trio.run_process(command, capture_stdout=True)
        assert json.loads(let_in.stdout)["error"]["problem"] == "refused"
        assert (await store.stats()).messages == 1
    assert "control connection refused uid=65534" in kept.text


def test_the_owner_and_root_are_no_strangers() -> None:
    guard = Control(Steering(MemoryStore(), lambda: NOW), silent_logger())
    assert guard.is_allowed(os.geteuid())
    assert guard.is_allowed(0)
    assert not guard.is_allowed(os.geteuid() + 1)


@pytest.mark.parametrize(
    "line",
    [b"\n", b"nonsense\n", b"[" * 100_000 + b"\n", b"\xff\n", b"[]\n", b'{"do": []}\n', b"1" * 5000 + b"\n"],
)
async def test_nonsense_is_answered_and_the_connection_goes_on(folder: Path, line: bytes) -> None:
    path = control_path(folder)
    async with serving(path, MemoryStore()), await connect(path) as stream:
        wrong, right = await answers(stream, line, encode(STATS))
        assert wrong["error"]["problem"] == "malformed"
        assert "done" in right


async def test_a_request_without_end_is_cut_off(folder: Path) -> None:
    path = control_path(folder)
    async with serving(path, MemoryStore()), await connect(path) as stream:
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await stream.send_all(b"x" * 65536)
        assert str(MAX_REQUEST) in json.loads(await stream.receive_some())["error"]["text"]


async def test_a_client_that_says_nothing_is_let_go(folder: Path, autojump_clock: MockClock) -> None:
    path = control_path(folder)
    async with serving(path, MemoryStore()), await connect(path) as stream:
        assert await stream.receive_some() == b""
        assert trio.current_time() == pytest.approx(REQUEST_TIMEOUT_S, abs=1)


async def test_a_client_that_does_not_read_is_let_go_and_holds_nobody_up(
    folder: Path, autojump_clock: MockClock
) -> None:
    store, path = MemoryStore(), control_path(folder)
    for _ in range(300):
        await put(store, *(f"user{number}@example.org" for number in range(20)))
    async with serving(path, store), await connect(path) as deaf, await connect(path) as other:
        await deaf.send_all(encode({"do": "list"}))
        assert "done" in (await answers(other, encode(STATS)))[0]
        await trio.sleep(SEND_TIMEOUT_S + 1)
        received = b""
        while block := await deaf.receive_some():
            received += block
        assert b'"done"' not in received


async def test_too_many_clients_are_told_to_come_again(folder: Path) -> None:
    path = control_path(folder)
    async with serving(path, MemoryStore()), trio.open_nursery() as nursery:
        streams = [await connect(path) for _ in range(MAX_CLIENTS)]
        for stream in streams:
            assert "done" in (await answers(stream, encode(STATS)))[0]
        async with await connect(path) as late:
            assert json.loads(await late.receive_some())["error"]["problem"] == "busy"
        for stream in streams:
            nursery.start_soon(stream.aclose)


async def test_a_client_that_goes_away_stops_its_change(folder: Path) -> None:
    class Slow(MemoryStore):
        """Holds up changes until the client is gone."""

        gone = trio.Event()

        async def hold(self, selection: Any) -> Any:
            await self.gone.wait()
            return await super().hold(selection)

    store, path, kept = Slow(), control_path(folder), Kept()
    for _ in range(100):
        await put(store)
    async with serving(path, store, kept.log):
        async with await connect(path) as stream:
            await stream.send_all(encode({"do": "hold", "all": True}))
        store.gone.set()
        while "went away" not in kept.text:
            await trio.lowlevel.checkpoint()
    assert 0 < (await store.stats()).states[State.HELD] < 100


async def test_a_bug_is_logged_and_the_server_goes_on(folder: Path) -> None:
    class Faulty(MemoryStore):
        async def count(self, selection: Any) -> Any:
            raise RuntimeError("secret")

    path, kept = control_path(folder), Kept()
    async with serving(path, Faulty(), kept.log), await connect(path) as stream:
        wrong, right = await answers(stream, encode({"do": "list"}), encode(STATS))
        assert wrong["error"]["problem"] == "internal"
        assert "secret" not in wrong["error"]["text"]
        assert "done" in right
    assert "RuntimeError" in kept.text


async def test_the_log_says_who_has_changed_what_and_no_password(folder: Path) -> None:
    store, path, kept = MemoryStore(), control_path(folder), Kept()
    await put(store)
    async with serving(path, store, kept.log), await connect(path) as stream:
        hop = "smtp://user:secret@relay.test"
        await answers(stream, encode({"do": "reroute", "select": {"domain": "*.org"}, "to": hop}))
        await answers(stream, encode({"do": "remove", "select": {"destination": hop}}))
        await answers(stream, encode({"do": "remove", "all": True, "dry_run": True}))
        await answers(stream, encode({"do": "remove"}), encode(STATS))
    first, second, third = kept.text.splitlines()
    assert f"operation=reroute uid={os.geteuid()} pid={os.getpid()} messages=1 recipients=1" in first
    assert "*.org" in first
    assert "user:*@relay.test" in second
    assert "secret" not in kept.text
    assert "problem=refused" in third


def ask(path: Path, request: dict[str, Any]) -> dict[str, Any]:
    with ControlClient.connect(path) as client:
        return client.execute(request, lambda _: None)


async def test_the_client_hands_over_the_parts_and_gives_the_end(folder: Path) -> None:
    store, path = MemoryStore(), control_path(folder)
    for _ in range(3):
        await put(store)
    parts: list[dict[str, Any]] = []

    def work() -> dict[str, Any]:
        with ControlClient.connect(path) as client:
            client.execute({"do": "list"}, parts.append)
            return client.execute(STATS, parts.append)

    async with serving(path, store):
        assert (await trio.to_thread.run_sync(work))["messages"] == 3
    assert len(parts) == 3


async def test_the_client_raises_what_the_server_refuses(folder: Path) -> None:
    path = control_path(folder)
    async with serving(path, MemoryStore()):
        with pytest.raises(RequestRefused, match="--all"):
            await trio.to_thread.run_sync(ask, path, {"do": "remove"})


@pytest.mark.parametrize("is_left_behind", [True, False])
def test_the_client_knows_that_no_server_runs(folder: Path, *, is_left_behind: bool) -> None:
    if is_left_behind:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(control_path(folder)))
    with pytest.raises(ServerNotRunning):
        ControlClient.connect(control_path(folder))


@pytest.mark.parametrize("answer", [b"", b"nonsense\n", b"[]\n", b'{"done"'])
async def test_the_client_notices_that_the_server_is_lost(folder: Path, answer: bytes) -> None:
    path = control_path(folder)
    with trio.socket.socket(trio.socket.AF_UNIX) as listening:
        await listening.bind(str(path))
        listening.listen()
        async with trio.open_nursery() as nursery:

            async def answer_once() -> None:
                connection, _ = await listening.accept()
                with connection:
                    await connection.recv(1000)
                    await connection.send(answer)

            nursery.start_soon(answer_once)
            with pytest.raises(ControlLost):
                await trio.to_thread.run_sync(ask, path, STATS)
