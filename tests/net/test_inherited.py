"""Sockets that somebody else has opened before us."""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from harakapy.net import Endpoint, Listener, ListenError, SocketStream, open_listeners

PEERS = [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX]


@pytest.fixture
def opened() -> Iterator[list[socket.socket]]:
    """Sockets put here are closed after the test, unless the test has given them away."""
    sockets: list[socket.socket] = []
    yield sockets
    for each in sockets:
        with suppress(OSError):  # its descriptor was given away, and closed by who got it
            each.close()


def listening(opened: list[socket.socket], family: int = socket.AF_INET, address: str = "") -> int:
    """The descriptor of a socket that listens, as a service manager opens it."""
    made = socket.socket(family)
    opened.append(made)
    made.bind(address or ("127.0.0.1", 0))
    made.listen()
    descriptor = made.detach()
    os.set_inheritable(descriptor, True)
    return descriptor


def adopt(text: str) -> list[Listener]:
    return open_listeners([Endpoint.parse(text)])


def hand_over(
    monkeypatch: pytest.MonkeyPatch, descriptors: list[int], names: str | None, pid: int = 0
) -> None:
    """Have these descriptors look like those of systemd."""
    monkeypatch.setattr("harakapy.net.inherited.FIRST_DESCRIPTOR", min(descriptors))
    assert descriptors == list(range(min(descriptors), max(descriptors) + 1))
    monkeypatch.setenv("LISTEN_PID", str(pid or os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", str(len(descriptors)))
    monkeypatch.delenv("LISTEN_FDNAMES", raising=False)
    if names is not None:
        monkeypatch.setenv("LISTEN_FDNAMES", names)


def in_a_row(opened: list[socket.socket], count: int) -> list[int]:
    """Descriptors of listening sockets that follow one another."""
    found = [listening(opened) for _ in range(count)]
    first = 700
    for number, descriptor in enumerate(found):
        os.dup2(descriptor, first + number)
        os.close(descriptor)
    return [first + number for number in range(count)]


def test_a_descriptor_is_taken_over_as_it_is(opened: list[socket.socket]) -> None:
    descriptor = listening(opened)
    (listener,) = adopt(f"fd:{descriptor}")
    assert listener.socket.fileno() == descriptor
    assert listener.endpoint.host == "127.0.0.1"
    assert listener.endpoint.port > 0
    assert not listener.socket.get_inheritable()
    assert listener.socket.gettimeout() == 0
    with socket.create_connection((listener.endpoint.host, listener.endpoint.port)):
        pass
    listener.close()


def test_the_file_of_a_unix_socket_stays_with_who_made_it(
    opened: list[socket.socket], tmp_path: Path
) -> None:
    path = tmp_path / "mail.sock"
    (listener,) = adopt(f"fd:{listening(opened, socket.AF_UNIX, str(path))}")
    assert str(listener.endpoint) == f"unix:{path}"
    listener.close()
    assert path.is_socket()


def test_all_sockets_of_a_name_are_taken(
    opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _, third = descriptors = in_a_row(opened, 3)
    hand_over(monkeypatch, descriptors, "smtp:submission:smtp")
    listeners = adopt("systemd:smtp")
    assert [listener.socket.fileno() for listener in listeners] == [first, third]
    listeners += adopt("systemd:submission")
    for listener in listeners:
        listener.close()


@pytest.mark.parametrize("names", [None, "", "smtp:"])
def test_a_socket_without_a_name_is_called_unknown(
    names: str | None, opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptors = in_a_row(opened, 2)
    hand_over(monkeypatch, descriptors, names)
    listeners = adopt("systemd:unknown")
    assert len(listeners) == (1 if names == "smtp:" else 2)
    for listener in listeners:
        listener.close()
    if len(listeners) == 1:
        os.close(descriptors[0])


def test_an_unknown_name_is_told_with_those_there_are(
    opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptors = in_a_row(opened, 2)
    hand_over(monkeypatch, descriptors, "submission:smtp")
    with pytest.raises(ListenError, match=r"cannot listen on systemd:smpt: .* but smtp, submission$"):
        adopt("systemd:smpt")
    for descriptor in descriptors:
        os.close(descriptor)


@pytest.mark.parametrize(("pid", "count"), [(1, "1"), (0, ""), (0, "x"), (0, "0")])
def test_what_was_meant_for_another_process_is_not_taken(
    pid: int, count: str, opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    (descriptor,) = in_a_row(opened, 1)
    hand_over(monkeypatch, [descriptor], "smtp", pid)
    monkeypatch.setenv("LISTEN_FDS", count)
    with pytest.raises(ListenError, match=r"but no socket at all$"):
        adopt("systemd:smtp")
    os.close(descriptor)


def test_what_is_no_listening_socket_is_refused_and_left_open(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file, pytest.raises(ListenError, match="is no open socket"):
        adopt(f"fd:{file.fileno()}")
    with pytest.raises(ListenError, match="is no open socket"):
        adopt("fd:999999")
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as idle:
            with pytest.raises(ListenError, match="is no stream socket that listens"):
                adopt(f"fd:{idle.fileno()}")
            assert idle.getsockname()


async def test_ipv4_over_a_socket_for_both_is_plain_ipv4(opened: list[socket.socket]) -> None:
    try:
        both = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    except (OSError, ValueError):
        pytest.skip("this machine has no IPv6")
    opened.append(both)
    (listener,) = adopt(f"fd:{both.detach()}")
    with socket.create_connection(("127.0.0.1", listener.endpoint.port)):
        await trio.lowlevel.wait_readable(listener.socket)
        stream = SocketStream(listener.socket.accept()[0])
        assert stream.remote.host == "127.0.0.1"
        assert stream.local.host == "127.0.0.1"
        stream.close()
    listener.close()
