"""Several workers: what clients, operators and plugins see of them."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.process.workers_scene import (
    CONFIGURATION,
    MESSAGE,
    NAMES,
    admitted,
    children,
    client_of,
    killed,
    staffed,
    wait_until,
    workers,
)
from tests.served import PATIENCE_S, Served, run, started

BUSY = (421, b"4.7.0 Too many connections from your address, try again later")

CALLED = """\
import os
from harakapy import DENY, Plugin, hookimpl


class Called(Plugin):
    @hookimpl
    def hook_init_master(self, server):
        server.notes["master"] = os.getpid()
        self.lognotice("master called", pid=os.getpid())

    @hookimpl
    def hook_init_child(self, server):
        name = str(server.part.post)
        self.lognotice("child called", pid=os.getpid(), of=server.notes["master"])
        if name == os.environ.get("REFUSED"):
            return DENY("not on a Sunday")
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with staffed(tmp_path) as served:
        yield served


def greeting(client: socket.socket) -> tuple[int, bytes]:
    """The first reply to a client, as smtplib gives it."""
    client.settimeout(PATIENCE_S)
    line = client.recv(1000)
    return int(line[:3]), line[4:].strip()


def connected(served: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", served.port))


def manager_socket(folder: Path) -> socket.socket:
    """The socket at which a service manager listens for states."""
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(str(folder / "notify"))
    receiver.settimeout(PATIENCE_S)
    return receiver


def started_with(folder: Path, configuration: str, **variables: str) -> AbstractContextManager[Served]:
    """A server that listens where its configuration says."""
    (folder / "harakapy.toml").write_text(configuration)
    return started(folder, "--config", "harakapy.toml", **variables)


def test_each_worker_is_a_process_with_a_name(served: Served) -> None:
    assert workers(served).keys() == NAMES


def test_any_worker_takes_mail_and_its_lines_name_it(served: Served) -> None:
    for name in ("in1", "in2"):
        with client_of(served, name) as client:
            client.sendmail("a@client.test", ["user@example.com"], MESSAGE)
        assert f"worker={name}" in served.wait_for_log(r"\] message ")
    assert len(served.mail("maildir", "user")) == 2


def test_sigterm_sends_the_idle_away_and_lets_the_busy_finish(served: Served) -> None:
    with client_of(served, "in1") as idle, client_of(served, "in2") as busy:
        idle.ehlo()
        busy.ehlo()
        busy.mail("a@client.test")
        busy.rcpt("user@example.com")
        assert busy.docmd("DATA")[0] == 354
        served.process.send_signal(signal.SIGTERM)
        assert idle.getreply() == (421, b"4.3.2 Service shutting down, try again later")
        wait_until(lambda: "in1" not in workers(served))
        with pytest.raises(ConnectionRefusedError):
            connected(served)
        busy.send(MESSAGE + b".\r\n")
        assert busy.getreply()[0] == 250
        assert busy.getreply()[0] == 421
    assert served.wait_stopped() == 0
    assert len(served.mail("maildir", "user")) == 1
    assert served.log()[-1].endswith("] stopped")


def test_a_second_signal_stops_at_once(served: Served) -> None:
    with served.client() as busy:
        busy.ehlo()
        busy.mail("a@client.test")
        served.process.send_signal(signal.SIGTERM)
        served.wait_for_log("stopping signal=SIGTERM")
        served.process.send_signal(signal.SIGINT)
        assert busy.getreply()[0] == 421
    assert served.wait_stopped() == 0


def test_a_terminal_or_service_manager_may_signal_all_processes_at_once(served: Served) -> None:
    with served.client() as busy:
        busy.ehlo()
        busy.mail("a@client.test")
        busy.rcpt("user@example.com")
        for number in (signal.SIGINT, signal.SIGTERM):
            for pid in workers(served).values():
                os.kill(pid, number)
        served.process.send_signal(signal.SIGINT)
        served.wait_for_log("stopping signal=SIGINT")
        assert busy.data(MESSAGE)[0] == 250
        assert busy.getreply()[0] == 421
    assert served.wait_stopped() == 0


def test_without_supervisor_workers_stop_orderly(served: Served) -> None:
    watched = [os.pidfd_open(pid) for pid in workers(served).values()]
    with served.client() as client:
        client.ehlo()
        killed(served.process.pid)
        assert client.getreply()[0] == 421
    for worker in watched:
        assert select.select([worker], [], [], PATIENCE_S)[0]
        os.close(worker)


def test_a_worker_that_dies_is_replaced_at_once_and_others_go_on_meanwhile(served: Served) -> None:
    with client_of(served, "in2") as other:
        killed(workers(served)["in1"])
        assert "again_in_s=0" in served.wait_for_log("worker died post=in1 how=SIGKILL")
        other.sendmail("a@client.test", ["user@example.com"], MESSAGE)
    served.wait_for_log("worker ready worker=in1")
    with client_of(served, "in1") as client:
        client.sendmail("a@client.test", ["user@example.com"], MESSAGE)


def test_a_worker_that_dies_again_waits_before_it_comes_back(served: Served) -> None:
    killed(workers(served)["in1"])
    served.wait_for_log("worker ready worker=in1")
    killed(workers(served)["in1"])
    assert "again_in_s=1" in served.wait_for_log("worker died")
    assert "in1" not in workers(served)
    served.wait_for_log("worker ready worker=in1")


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Served]:
    """A server that takes two connections of an address."""
    limits = "[smtp]\nmax_connections_per_address = 2\nunlimited_addresses = []\n"
    with staffed(tmp_path, CONFIGURATION + limits) as served:
        yield served


def test_a_limit_for_an_address_holds_for_all_workers_together(limited: Served) -> None:
    with client_of(limited, "in1") as one, client_of(limited, "in2"):
        for _ in range(4):
            with connected(limited) as refused:
                assert greeting(refused) == BUSY
        one.quit()
        with admitted(limited), connected(limited) as refused:
            assert greeting(refused) == BUSY


def test_connections_of_a_worker_that_is_dead_do_not_count(limited: Served) -> None:
    with client_of(limited, "in1"), client_of(limited, "in2"):
        killed(workers(limited)["in1"])
        limited.wait_for_log("worker ready worker=in1")
        with limited.client(), connected(limited) as refused:
            assert greeting(refused) == BUSY


def test_sighup_reloads_all_workers_and_drops_nobody(tmp_path: Path) -> None:
    with (
        manager_socket(tmp_path) as manager,
        staffed(tmp_path, NOTIFY_SOCKET=str(tmp_path / "notify")) as served,
    ):
        assert manager.recv(100) == b"READY=1"
        with served.client() as old:
            old.ehlo()
            assert old.esmtp_features["size"] == str(25 * 1024 * 1024)
            limited = CONFIGURATION + "[smtp]\nmax_message_size = '1 MiB'\n"
            (tmp_path / "harakapy.toml").write_text(limited)
            served.process.send_signal(signal.SIGHUP)
            assert manager.recv(100).startswith(b"RELOADING=1\n")
            assert manager.recv(100) == b"READY=1"
            for name in ("in1", "in2"):
                with client_of(served, name) as new:
                    new.ehlo()
                    assert new.esmtp_features["size"] == str(1024 * 1024)
            old.sendmail("a@client.test", ["user@example.com"], MESSAGE)
        killed(workers(served)["in1"])
        served.wait_for_log("worker ready worker=in1")
        with client_of(served, "in1") as later:
            later.ehlo()
            assert later.esmtp_features["size"] == str(1024 * 1024)
        served.process.terminate()
        assert manager.recv(100) == b"STOPPING=1"
        assert served.wait_stopped() == 0


def test_a_broken_file_keeps_the_old_settings_and_is_told_once(tmp_path: Path) -> None:
    with (
        manager_socket(tmp_path) as manager,
        staffed(tmp_path, NOTIFY_SOCKET=str(tmp_path / "notify")) as served,
    ):
        (tmp_path / "harakapy.toml").write_text(CONFIGURATION + "[smtp]\nmax_message_sise = '1 MiB'\n")
        assert manager.recv(100) == b"READY=1"
        served.process.send_signal(signal.SIGHUP)
        assert manager.recv(100).startswith(b"RELOADING=1\n")
        assert manager.recv(100) == b"READY=1"
        with served.client() as client:
            client.sendmail("a@client.test", ["user@example.com"], MESSAGE)
        served.process.terminate()
        assert served.wait_stopped() == 0
        assert sum("settings not reloaded" in line for line in served.log()) == 1


def test_sighup_has_all_processes_go_on_in_a_fresh_log_file(tmp_path: Path) -> None:
    log = tmp_path / "state/mail.log"
    configuration = CONFIGURATION + "[log]\nfile = 'mail.log'\n[[listen]]\naddress = 'unix:mail.sock'\n"
    with (
        manager_socket(tmp_path) as manager,
        started_with(tmp_path, configuration, NOTIFY_SOCKET=str(tmp_path / "notify")) as served,
    ):
        assert manager.recv(100) == b"READY=1"
        rotated = log.rename(log.with_suffix(".old"))
        served.process.send_signal(signal.SIGHUP)
        manager.recv(100)
        assert manager.recv(100) == b"READY=1"
        served.process.terminate()
        assert served.wait_stopped() == 0
    assert "stopped" not in rotated.read_text()
    stopped = [line for line in log.read_text().splitlines() if "] stopped" in line]
    assert len(stopped) == len(NAMES) + 1
    assert not (tmp_path / "mail.sock").exists()


def test_init_master_is_called_once_and_init_child_in_each_worker(tmp_path: Path) -> None:
    (tmp_path / "called.py").write_text(CALLED)
    configuration = CONFIGURATION.replace('"queue_maildir"]', '"queue_maildir", "called.py"]')
    with staffed(tmp_path, configuration) as served:
        processes = workers(served)
        served.process.terminate()
        assert served.wait_stopped() == 0
        log = served.log()
    supervisor = served.process.pid
    assert sum("master called" in line for line in log) == 1
    assert any(f"master called plugin=called pid={supervisor}" in line for line in log)
    told = {line.partition("child called ")[2] for line in log if "child called" in line}
    assert told == {
        f"worker={name} plugin=called pid={pid} of={supervisor}" for name, pid in processes.items()
    }


def test_a_worker_that_is_refused_at_the_start_keeps_the_server_from_starting(tmp_path: Path) -> None:
    (tmp_path / "called.py").write_text(CALLED)
    configuration = CONFIGURATION.replace('"queue_maildir"]', '"queue_maildir", "called.py"]')
    (tmp_path / "harakapy.toml").write_text(configuration)
    result = run(tmp_path, "serve", "--listen", "127.0.0.1:0", REFUSED="out")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == "Error: plugin called: not on a Sunday"


def test_ready_is_told_when_all_workers_are(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import os, socket\nfrom harakapy import hookimpl\n\n\n"
        "@hookimpl\ndef hook_init_child(server):\n"
        "    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:\n"
        "        sender.sendto(str(server.part.post).encode(), os.environ['NOTIFY_SOCKET'])\n"
    )
    configuration = CONFIGURATION.replace('"queue_maildir"]', '"queue_maildir", "slow.py"]')
    with (
        manager_socket(tmp_path) as manager,
        staffed(tmp_path, configuration, NOTIFY_SOCKET=str(tmp_path / "notify")),
    ):
        assert {manager.recv(100).decode() for _ in NAMES} == NAMES
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("reuseport", ["true", "false"])
def test_many_clients_are_all_served(tmp_path: Path, reuseport: str) -> None:
    configuration = f"reuseport = {reuseport}\n{CONFIGURATION}"
    with staffed(tmp_path, configuration) as served:
        clients = [served.client() for _ in range(40)]
        for client in clients:
            client.sendmail("a@client.test", ["user@example.com"], MESSAGE)
            client.close()
        assert len(served.mail("maildir", "user")) == 40


def test_cpus_stands_for_one_worker_on_each_core(tmp_path: Path) -> None:
    with staffed(tmp_path, CONFIGURATION.replace("workers = 2", 'workers = "cpus"')) as served:
        cores = len(os.sched_getaffinity(0))
        assert len(children(served.process.pid)) == (cores + 1 if cores > 1 else 0)


def test_one_worker_is_one_process(tmp_path: Path) -> None:
    with staffed(tmp_path, CONFIGURATION.replace("workers = 2", "workers = 1")) as served:
        assert children(served.process.pid) == []
        with served.client() as client:
            client.sendmail("a@client.test", ["user@example.com"], MESSAGE)
        assert "worker=" not in served.wait_for_log(r"\] message ")
