"""Connecting to targets."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trio
import trio.testing

from harakapy.outbound.dialing import CannotConnect, dial
from harakapy.outbound.hop import NextHop, Protocol, Target


def target(port: int, address: str = "127.0.0.1") -> Target:
    """A port of this machine."""
    return Target(NextHop(host="mx.example.org", port=port), "mx.example.org", address)


def at_path(path: Path) -> Target:
    """A unix socket."""
    return Target(NextHop(path=str(path), protocol=Protocol.LMTP), "", "")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_a_port_is_connected_to(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as listener:
        port = listener.getsockname()[1]
        stream = await dial(target(port, address), timeout_s=10)
        assert stream.remote == (address, port)
        stream.close()


async def test_a_unix_socket_is_connected_to(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        stream = await dial(at_path(path), timeout_s=10)
        assert stream.remote == ("", 0)
        stream.close()


async def test_the_source_address_of_the_same_version_of_ip_is_used() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = await dial(
            target(listener.getsockname()[1]), bind=("::1", "127.0.0.2", "127.0.0.3"), timeout_s=10
        )
        assert stream.local.host == "127.0.0.2"
        stream.close()


async def test_without_a_source_address_of_that_version_the_system_chooses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = await dial(target(listener.getsockname()[1]), bind=("::1",), timeout_s=10)
        assert stream.local.host == "127.0.0.1"
        stream.close()


async def test_a_source_address_that_is_not_ours_is_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(CannotConnect, match="assign"):
        await dial(target(listener.getsockname()[1]), bind=("192.0.2.1",), timeout_s=10)


async def test_a_refusal_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(CannotConnect, match="refused"):
        await dial(target(port), timeout_s=10)


async def test_a_missing_unix_socket_is_told(tmp_path: Path) -> None:
    with pytest.raises(CannotConnect, match="no such file"):
        await dial(at_path(tmp_path / "socket"), timeout_s=10)


async def test_a_name_is_never_looked_up() -> None:
    with pytest.raises(CannotConnect):
        await dial(target(25, "localhost"), timeout_s=10)


async def test_a_full_queue_is_waited_for_until_the_time_is_over(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(str(path))
        listener.listen(0)
        first.connect(str(path))
        with pytest.raises(CannotConnect, match="within 30 s"):
            await dial(at_path(path), timeout_s=30)
        assert trio.current_time() >= 30


async def test_a_host_that_does_not_answer_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        waiting = [await dial(target(port), timeout_s=10)]  # fills the queue
        with pytest.raises(CannotConnect, match="within 30 s"):
            waiting += [await dial(target(port), timeout_s=30) for _ in range(5)]
        for stream in waiting:
            stream.close()
