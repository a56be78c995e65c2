import errno
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from harakapy.net import Endpoint, Listener, SocketStream, open_listeners, serve
from harakapy.net.acceptor import ACCEPTS_AT_ONCE, BACKOFF_S


@dataclass
class Log:
    """Keeps what is logged."""

    events: list[str] = field(default_factory=list)
    fields: list[dict[str, object]] = field(default_factory=list)

    def error(self, event: str, /, **fields: object) -> None:
        self.events.append(f"error: {event}")
        self.fields.append(fields)

    def notice(self, event: str, /, **fields: object) -> None:
        self.events.append(f"notice: {event}")
        self.fields.append(fields)


class FailingSocket(socket.socket):
    """A listening socket whose accept fails with these errors first, one a call."""

    failures: list[int]
    calls: int

    @classmethod
    def of(cls, listener: Listener, failures: Iterable[int]) -> Listener:
        failing = cls(fileno=listener.socket.detach())
        failing.setblocking(False)
        failing.failures = list(failures)
        failing.calls = 0
        return Listener(listener.endpoint, failing)

    def accept(self) -> tuple[socket.socket, object]:
        self.calls += 1
        if self.failures:
            code = self.failures.pop(0)
            raise OSError(code, os.strerror(code))
        return super().accept()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    (listener,) = open_listeners([Endpoint("127.0.0.1", 0)])
    yield listener
    listener.close()


def connect(listener: Listener) -> socket.socket:
    return socket.create_connection((listener.endpoint.host, listener.endpoint.port))


async def greet(stream: SocketStream) -> None:
    async with stream:
        await stream.send_all(b"220 ready\r\n")
        await stream.receive_some()


async def test_each_connection_gets_a_task_with_its_stream(nursery: trio.Nursery, listener: Listener) -> None:
    streams: list[SocketStream] = []

    async def handler(stream: SocketStream) -> None:
        streams.append(stream)
        await greet(stream)

    nursery.start_soon(serve, listener, handler, nursery, Log())
    clients = [connect(listener) for _ in range(3 * ACCEPTS_AT_ONCE)]
    for client in clients:
        with client:
            stream = SocketStream(client)
            assert await stream.receive_some() == b"220 ready\r\n"
    with trio.fail_after(10):
        while len(streams) < len(clients):
            await trio.testing.wait_all_tasks_blocked()
    assert len({stream.remote for stream in streams}) == len(clients)


async def test_who_shares_a_socket_and_accepts_one_at_a_time_leaves_the_others_their_part(
    nursery: trio.Nursery, listener: Listener
) -> None:
    accepted = [0, 0]
    shared = Listener(listener.endpoint, listener.socket.dup())
    clients = [connect(listener) for _ in range(2 * ACCEPTS_AT_ONCE)]
    for number, each in enumerate((listener, shared)):

        async def handler(stream: SocketStream, number: int = number) -> None:
            accepted[number] += 1
            stream.close()

        nursery.start_soon(partial(serve, at_once=1), each, handler, nursery, Log())
    with trio.fail_after(10):
        while sum(accepted) < len(clients):
            await trio.testing.wait_all_tasks_blocked()
    assert min(accepted) >= len(clients) // 4
    for client in clients:
        client.close()
    shared.close()


async def test_the_peers_address_is_known_from_accepting(nursery: trio.Nursery, listener: Listener) -> None:
    send, receive = trio.open_memory_channel[SocketStream](1)
    nursery.start_soon(serve, listener, send.send, nursery, Log())
    with connect(listener) as client:
        async with await receive.receive() as stream:
            assert stream.remote == client.getsockname()
            assert stream.local == client.getpeername()


async def test_connections_over_a_unix_socket_are_served(nursery: trio.Nursery, tmp_path: Path) -> None:
    (listener,) = open_listeners([Endpoint(path=str(tmp_path / "mail.sock"))])
    nursery.start_soon(serve, listener, greet, nursery, Log())
    client = socket.socket(socket.AF_UNIX)
    client.connect(listener.endpoint.path)
    async with SocketStream(client) as stream:
        assert await stream.receive_some() == b"220 ready\r\n"
    listener.close()


@pytest.mark.parametrize(
    "code", [errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.ECONNRESET]
)
async def test_a_connection_that_broke_before_it_was_accepted_delays_nobody(
    nursery: trio.Nursery, listener: Listener, autojump_clock: MockClock, code: int
) -> None:
    log = Log()
    started = trio.current_time()
    failing = FailingSocket.of(listener, [code] * 3)
    nursery.start_soon(serve, failing, greet, nursery, log)
    async with SocketStream(connect(failing)) as client:
        assert await client.receive_some() == b"220 ready\r\n"
    assert trio.current_time() == started
    assert not log.events
    failing.close()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EIO])
async def test_in_want_of_resources_it_waits_and_recovers_with_one_line_each(
    nursery: trio.Nursery, listener: Listener, autojump_clock: MockClock, code: int
) -> None:
    log = Log()
    started = trio.current_time()
    failing = FailingSocket.of(listener, [code] * 50)
    nursery.start_soon(serve, failing, greet, nursery, log)
    async with SocketStream(connect(failing)) as client:
        assert await client.receive_some() == b"220 ready\r\n"
    assert trio.current_time() - started == pytest.approx(50 * BACKOFF_S)
    assert log.events == ["error: cannot accept connections", "notice: accepting connections again"]
    assert log.fields == [
        {
            "listener": str(failing.endpoint),
            "error": f"{errno.errorcode[code]}: {os.strerror(code)}",
            "retry_s": BACKOFF_S,
        },
        {"listener": str(failing.endpoint), "after_s": 5.0},
    ]
    failing.close()


@pytest.mark.parametrize("code", [errno.EBADF, errno.EINVAL, errno.ENOTSOCK])
async def test_a_socket_that_does_not_listen_is_our_own_mistake(
    nursery: trio.Nursery, listener: Listener, code: int
) -> None:
    failing = FailingSocket.of(listener, [code])
    with connect(failing), pytest.raises(OSError, match=os.strerror(code)):
        await serve(failing, greet, nursery, Log())
    failing.close()


async def test_a_cancelled_loop_leaves_the_connections_alone(
    nursery: trio.Nursery, listener: Listener
) -> None:
    accepting = trio.CancelScope()

    async def accept() -> None:
        with accepting:
            await serve(listener, greet, nursery, Log())

    nursery.start_soon(accept)
    async with SocketStream(connect(listener)) as client:
        assert await client.receive_some() == b"220 ready\r\n"
        accepting.cancel()
        await trio.testing.wait_all_tasks_blocked()
        await client.send_all(b"QUIT\r\n")
        assert await client.receive_some() == b""


STARVED_SERVER = """
import resource, sys, trio
from harakapy.net import Endpoint, open_listeners, serve

class Log:
    def error(self, event, /, **fields): print("error:", event, fields["error"], flush=True)
    def notice(self, event, /, **fields): print("notice:", event, flush=True)

async def greet(stream):
    async with stream:
        await stream.send_all(b"220 ready\\r\\n")
        await stream.receive_some()

async def main():
    (listener,) = open_listeners([Endpoint("127.0.0.1", 0)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, listener, greet, nursery, Log())
        print(listener.endpoint.port, flush=True)

resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
trio.run(main)
"""


def test_a_server_out_of_file_descriptors_serves_everybody_in_the_end() -> None:
    command = [sys.executable, "-c", STARVED_SERVER]
    project = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=project) as server:
        assert server.stdout is not None
        address = ("127.0.0.1", int(server.stdout.readline()))
        clients = [socket.create_connection(address, timeout=30) for _ in range(60)]
        assert server.stdout.readline() == "error: cannot accept connections EMFILE: Too many open files\n"
        for client in clients:  # in the order of their arrival: each leaves room for another
            with client:
                assert client.recv(100) == b"220 ready\r\n"
        assert server.stdout.readline() == "notice: accepting connections again\n"
        server.terminate()
        assert server.stdout.read() == ""
