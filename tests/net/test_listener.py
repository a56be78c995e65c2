import errno
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from harakapy.net import Endpoint, Listener, ListenError, open_listeners
from harakapy.net.listener import IN_USE


@pytest.fixture
def opened() -> Iterator[list[Listener]]:
    """Listeners put here are closed after the test."""
    listeners: list[Listener] = []
    yield listeners
    for listener in listeners:
        listener.close()


def listen(opened: list[Listener], *texts: str) -> list[Listener]:
    listeners = open_listeners(map(Endpoint.parse, texts))
    opened += listeners
    return listeners


def connects_to(endpoint: Endpoint) -> bool:
    family = (
        socket.AF_UNIX if endpoint.is_unix else socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    )
    with socket.socket(family) as client:
        return client.connect_ex(endpoint.path or (endpoint.host, endpoint.port)) == 0


def test_the_bound_address_is_known_before_the_first_connection(opened: list[Listener]) -> None:
    (listener,) = listen(opened, "127.0.0.1:0")
    assert listener.endpoint.host == "127.0.0.1"
    assert listener.endpoint.port > 0
    assert connects_to(listener.endpoint)


def test_listeners_come_in_the_order_of_their_endpoints(opened: list[Listener], tmp_path: Path) -> None:
    path = tmp_path / "mail.sock"
    listeners = listen(opened, f"unix:{path}", "127.0.0.2:0", "127.0.0.1:0")
    assert [listener.endpoint.host for listener in listeners] == ["", "127.0.0.2", "127.0.0.1"]


def test_a_name_is_listened_at_on_one_port_of_all_its_addresses(opened: list[Listener]) -> None:
    listeners = listen(opened, "localhost:0")
    assert {listener.endpoint.host for listener in listeners} <= {"127.0.0.1", "::1"}
    assert len({listener.endpoint.port for listener in listeners}) == 1
    assert all(connects_to(listener.endpoint) for listener in listeners)


def test_addresses_of_a_name_that_this_machine_lacks_are_left_out(
    opened: list[Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0))
        for host in ("192.0.2.1", "127.0.0.1", "127.0.0.1")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert [listener.endpoint.host for listener in listen(opened, "mail.example:0")] == ["127.0.0.1"]


def test_a_free_port_that_is_taken_at_the_next_address_is_given_up_for_another(
    opened: list[Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []

    class UnluckySocket(socket.socket):
        def bind(self, address: tuple[str, int]) -> None:  # type: ignore[override]  # narrower is enough here
            if address[0] == "127.0.0.2" and not taken:
                taken.append(address[1])
                raise OSError(errno.EADDRINUSE, "Address already in use")
            super().bind(address)

    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in ("127.0.0.1", "127.0.0.2")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "socket", UnluckySocket)
    listeners = listen(opened, "mail.example:0")
    assert [listener.endpoint.host for listener in listeners] == ["127.0.0.1", "127.0.0.2"]
    (port,) = {listener.endpoint.port for listener in listeners}
    assert port != taken[0]


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine does not speak IPv6")
def test_ipv4_and_ipv6_share_a_port_side_by_side(opened: list[Listener]) -> None:
    (v6,) = listen(opened, "[::]:0")
    (v4,) = listen(opened, f"0.0.0.0:{v6.endpoint.port}")
    assert v4.endpoint.port == v6.endpoint.port
    assert str(v6.endpoint) == f"[::]:{v6.endpoint.port}"


def test_accepted_connections_send_at_once(opened: list[Listener]) -> None:
    (listener,) = listen(opened, "127.0.0.1:0")
    with socket.create_connection((listener.endpoint.host, listener.endpoint.port)):
        listener.socket.setblocking(True)
        accepted, _ = listener.socket.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_can_be_listened_at_again_right_after_its_connections(opened: list[Listener]) -> None:
    (listener,) = listen(opened, "127.0.0.1:0")
    with socket.create_connection((listener.endpoint.host, listener.endpoint.port)) as client:
        listener.socket.setblocking(True)
        accepted, _ = listener.socket.accept()
        accepted.close()  # who closes first keeps the port in TIME_WAIT
        assert client.recv(1) == b""
    listener.close()
    assert listen(opened, str(listener.endpoint))[0].endpoint == listener.endpoint


def test_a_port_in_use_is_named_with_what_to_do(opened: list[Listener]) -> None:
    (listener,) = listen(opened, "127.0.0.1:0")
    with pytest.raises(ListenError) as caught:
        listen(opened, str(listener.endpoint))
    assert str(caught.value) == f"cannot listen on {listener.endpoint}: {IN_USE}"
    assert caught.value.endpoint == listener.endpoint


def test_an_address_of_another_machine_is_named_with_what_to_do(opened: list[Listener]) -> None:
    with pytest.raises(
        ListenError, match=r"cannot listen on 192\.0\.2\.1:0: this machine has no such address"
    ):
        listen(opened, "192.0.2.1:0")


def test_a_name_without_addresses_is_named_with_what_to_do(
    opened: list[Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(ListenError, match=r"no address found for 'mail\.example'; check the name"):
        listen(opened, "mail.example:25")


def test_a_port_that_needs_rights_is_named_with_what_to_do(
    opened: list[Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    class UnprivilegedSocket(socket.socket):
        def bind(self, address: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket, "socket", UnprivilegedSocket)
    with pytest.raises(
        ListenError, match="ports below 1024 need root or the capability CAP_NET_BIND_SERVICE"
    ):
        listen(opened, "127.0.0.1:25")


def test_when_one_fails_none_stays_open(opened: list[Listener], tmp_path: Path) -> None:
    path = tmp_path / "mail.sock"
    with pytest.raises(ListenError):
        listen(opened, f"unix:{path}", "192.0.2.1:0")
    assert not path.exists()


def test_a_unix_socket_is_removed_when_it_is_closed(opened: list[Listener], tmp_path: Path) -> None:
    path = tmp_path / "mail.sock"
    (listener,) = listen(opened, f"unix:{path}")
    assert connects_to(listener.endpoint)
    listener.close()
    listener.close()
    assert not path.exists()


def test_a_unix_socket_of_a_dead_server_is_replaced(opened: list[Listener], tmp_path: Path) -> None:
    path = tmp_path / "mail.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    (listener,) = listen(opened, f"unix:{path}")
    assert connects_to(listener.endpoint)


@pytest.mark.parametrize("backlog_is_full", [False, True])
def test_a_unix_socket_of_a_living_server_is_left_alone(
    opened: list[Listener], tmp_path: Path, backlog_is_full: bool
) -> None:
    path = tmp_path / "mail.sock"
    with socket.socket(socket.AF_UNIX) as living, socket.socket(socket.AF_UNIX) as client:
        living.bind(str(path))
        living.listen(0)
        if backlog_is_full:
            client.connect(str(path))
        with pytest.raises(ListenError, match=IN_USE):
            listen(opened, f"unix:{path}")
        assert path.is_socket()


def test_a_datagram_socket_is_left_alone(opened: list[Listener], tmp_path: Path) -> None:
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        with pytest.raises(ListenError, match=IN_USE):
            listen(opened, f"unix:{path}")
    assert path.is_socket()


def test_a_file_that_is_no_socket_is_left_alone(opened: list[Listener], tmp_path: Path) -> None:
    path = tmp_path / "mail.sock"
    path.write_text("precious")
    with pytest.raises(ListenError, match="a file that is no socket has this name"):
        listen(opened, f"unix:{path}")
    assert path.read_text() == "precious"


def test_a_missing_directory_is_named_with_what_to_do(opened: list[Listener], tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="the directory of the socket does not exist; create it"):
        listen(opened, f"unix:{tmp_path}/missing/mail.sock")


def test_closing_leaves_the_socket_of_a_successor_alone(opened: list[Listener], tmp_path: Path) -> None:
    path = tmp_path / "mail.sock"
    (old,) = listen(opened, f"unix:{path}")
    path.rename(tmp_path / "old.sock")  # keeps its inode from being given to the new one
    (new,) = listen(opened, f"unix:{path}")
    old.close()
    assert path.is_socket()
    assert connects_to(new.endpoint)


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_the_file_of_a_unix_socket_gets_the_mode_that_was_asked_for(
    mode: int, opened: list[Listener], tmp_path: Path
) -> None:
    path = tmp_path / "mail.sock"
    opened += open_listeners([Endpoint(path=str(path))], socket_mode=mode)
    assert path.stat().st_mode & 0o777 == mode
    assert connects_to(opened[-1].endpoint)
