"""Sockets from the service manager, and what it is told."""

from __future__ import annotations

import os
import signal
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harakapy.process.notify import notify, reloading
from tests.served import PATIENCE_S, Served, environment

CONFIGURATION = """\
hostname = "mx.test"
plugins = ["queue_discard"]

[[listen]]
address = "systemd:smtp"

[[listen]]
address = "unix:mail.sock"
socket_mode = "0660"

[dns]
rdns = false
"""

START = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, "-m", "harakapy", "serve"])
"""


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket at which a service manager listens for states."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(PATIENCE_S)
        yield receiver


@contextmanager
def activated(folder: Path, listening: socket.socket) -> Iterator[Served]:
    """A server started as systemd starts one: its socket is descriptor 3, and LISTEN_PID its process."""
    (folder / "harakapy.toml").write_text(CONFIGURATION, encoding="utf-8")
    number = listening.fileno()
    process = subprocess.Popen(
        [sys.executable, "-c", START, str(number)],
        cwd=folder,
        env=environment(folder, LISTEN_FDS="1", LISTEN_FDNAMES="smtp", NOTIFY_SOCKET=str(folder / "notify")),
        pass_fds=[number],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    served = Served(process, folder)
    try:
        yield served
    finally:
        served.close()


def test_a_server_takes_its_socket_and_tells_how_it_is(tmp_path: Path, manager: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        # Who connects before the server runs waits in the queue of the socket.
        with socket.create_connection(("127.0.0.1", port)) as early, activated(tmp_path, listening) as served:
            assert f"127.0.0.1:{port}" in served.wait_for_log("listening address=")
            assert manager.recv(100) == b"READY=1"
            early.settimeout(PATIENCE_S)
            assert early.recv(100).startswith(b"220 mx.test")
            with smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE_S) as client:
                assert client.noop()[0] == 250
            assert (tmp_path / "mail.sock").stat().st_mode & 0o777 == 0o660

            before = time.monotonic_ns() // 1000
            served.process.send_signal(signal.SIGHUP)
            state, _, microseconds = manager.recv(100).decode().partition("\nMONOTONIC_USEC=")
            assert state == "RELOADING=1"
            assert before <= int(microseconds) <= time.monotonic_ns() // 1000
            assert manager.recv(100) == b"READY=1"

            served.process.send_signal(signal.SIGTERM)
            assert manager.recv(100) == b"STOPPING=1"
            assert served.wait_stopped() == 0
        with socket.create_connection(("127.0.0.1", port)):  # the socket is the manager's and listens on
            pass


def test_a_service_manager_that_does_not_listen_stops_nobody(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        activated(tmp_path, listening) as served,
    ):
        served.wait_for_log(r"the service manager could not be told state=\"?READY=1")
        served.process.send_signal(signal.SIGTERM)
        assert served.wait_stopped() == 0


@pytest.mark.parametrize("where", ["", "vsock:2:1234", "relative"])
def test_without_a_service_manager_nobody_is_told(where: str) -> None:
    notify("READY=1", {"NOTIFY_SOCKET": where} if where else {})


def test_an_abstract_socket_is_told_too() -> None:
    name = f"harakapy-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{name}")
        notify(reloading(), {"NOTIFY_SOCKET": f"@{name}"})
        assert receiver.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
