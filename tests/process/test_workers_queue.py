"""Mail that several workers take, and one of them delivers."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.process.workers_scene import MESSAGE, client_of, killed, paused, staffed, workers
from tests.served import Served, run

SOON_S = 30.0
"""What is announced is heeded at once; unannounced, the queue is looked at after a minute only."""

RELAY = """
hostname = "mx.test"
workers = 2
plugins = ["relay"]

[dns]
rdns = false

[queue]
min_free_space = 0
min_free_inodes = 0

[outbound]
relay_host = "smtp://127.0.0.1:{port}"

[plugin.relay]
acl = ["127.0.0.0/8"]
"""


class NextHop:
    """Where mail goes: a server of which each word is the test's."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(SOON_S)
        self.port = self._listening.getsockname()[1]

    @contextmanager
    def called(self) -> Iterator[socket.socket]:
        """The next connection."""
        connection, _ = self._listening.accept()
        connection.settimeout(SOON_S)
        with connection:
            yield connection

    def take(self) -> bytes:
        """Take one message; its content."""
        with self.called() as connection, connection.makefile("rwb") as lines:
            self._say(lines, b"220 hop.test")
            content = b""
            while line := lines.readline():
                verb = line[:4].upper()
                self._say(lines, b"354 go on" if verb == b"DATA" else b"250 hop.test")
                if verb == b"DATA":
                    while (line := lines.readline()) != b".\r\n":
                        content += line
                    self._say(lines, b"250 taken")
                    return content
            return content

    @staticmethod
    def _say(lines, words: bytes) -> None:  # type: ignore[no-untyped-def]  # what makefile gives
        lines.write(words + b"\r\n")
        lines.flush()

    def close(self) -> None:
        self._listening.close()


@contextmanager
def relaying(folder: Path) -> Iterator[tuple[Served, NextHop]]:
    hop = NextHop()
    try:
        with staffed(folder, RELAY.format(port=hop.port)) as served:
            yield served, hop
    finally:
        hop.close()


def send(client_of_worker, text: bytes) -> None:  # type: ignore[no-untyped-def]  # of smtplib
    client_of_worker.sendmail("a@client.test", ["user@example.com"], MESSAGE + text + b"\r\n")


def test_what_any_worker_takes_is_delivered_at_once(tmp_path: Path) -> None:
    with relaying(tmp_path) as (served, hop):
        for name in ("in1", "in2"):
            with client_of(served, name) as client:
                send(client, name.encode())
            assert name.encode() in hop.take()
        served.process.terminate()
        assert served.wait_stopped() == 0
        delivered = [line for line in served.log() if "] delivered " in line]
        assert delivered
        assert all("worker=out" in line for line in delivered)


def test_what_was_claimed_by_a_worker_that_is_killed_is_tried_at_once(tmp_path: Path) -> None:
    with relaying(tmp_path) as (served, hop):
        with client_of(served, "in1") as client:
            send(client, b"hello again")
        with hop.called():
            killed(workers(served)["out"])
        served.wait_for_log("leases of a dead process ended worker=out")
        assert b"hello again" in hop.take()


def test_mail_is_taken_while_nobody_delivers_and_delivered_later(tmp_path: Path) -> None:
    with relaying(tmp_path) as (served, hop):
        with paused(served, "out"):
            with served.client() as client:
                for _ in range(3):
                    send(client, b"in the meantime")
            killed(workers(served)["out"])
        for _ in range(3):
            assert b"in the meantime" in hop.take()


def test_mail_goes_on_over_a_restart(tmp_path: Path) -> None:
    with relaying(tmp_path) as (served, hop):
        old = workers(served)["out"]
        served.process.send_signal(signal.SIGUSR2)
        served.wait_for_log("listening address=")
        assert workers(served)["out"] != old
        with served.client() as client:
            send(client, b"later")
        assert b"later" in hop.take()


def test_operators_reach_the_worker_that_delivers(tmp_path: Path) -> None:
    with relaying(tmp_path) as (served, hop):
        with client_of(served, "in2") as client:
            send(client, b"hello")
        with hop.called() as connection:
            listed = run(tmp_path, "queue", "list", "-c", "harakapy.toml")
            assert "user@example.com" in listed.stdout
            connection.sendall(b"421 not now\r\n")
        served.wait_for_log(r"\] deferred ")
        flushed = run(tmp_path, "queue", "flush", "-c", "harakapy.toml", "--all")
        assert flushed.returncode == 0, flushed.stderr
        assert b"hello" in hop.take()
