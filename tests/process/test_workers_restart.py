"""Rolling restarts: new workers in the place of old ones, and no client notices."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.process.workers_scene import (
    CONFIGURATION,
    MESSAGE,
    NAMES,
    children,
    client_of,
    killed,
    staffed,
    wait_until,
    workers,
)
from tests.served import PATIENCE_S, Served

PICKY = """\
from pathlib import Path
from harakapy import DENY, hookimpl


@hookimpl
def hook_init_master():
    return DENY("not on a Sunday") if Path("sunday").exists() else None


@hookimpl
def hook_init_child(server):
    return DENY("not on a Monday") if Path("monday").exists() else None
"""


class Load:
    """Clients that connect, hand a message over and leave, one after the other; what went wrong for them."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.sent = 0
        self.problems: list[Exception] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                with self.served.client() as client:
                    client.sendmail("a@client.test", ["load@example.com"], MESSAGE)
                self.sent += 1
            except Exception as error:  # noqa: BLE001  # whatever it is, the test is to see it
                self.problems.append(error)

    @contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            self._thread.join()


def watch(served: Served) -> dict[str, int]:
    """A descriptor for each worker that becomes readable when it is dead."""
    return {name: os.pidfd_open(pid) for name, pid in workers(served).items()}


def wait_gone(watched: dict[str, int]) -> None:
    for descriptor in watched.values():
        assert select.select([descriptor], [], [], PATIENCE_S)[0]
        os.close(descriptor)


def restart(served: Served) -> None:
    served.process.send_signal(signal.SIGUSR2)


@pytest.mark.parametrize("reuseport", ["false", "true"])
def test_a_restart_under_load_refuses_nobody_and_takes_new_settings(tmp_path: Path, reuseport: str) -> None:
    configuration = f"reuseport = {reuseport}\n{CONFIGURATION}"
    with staffed(tmp_path, configuration) as served:
        old, load = watch(served), Load(served)
        before = workers(served)
        (tmp_path / "harakapy.toml").write_text(configuration.replace("mx.test", "new.test"))
        with load.running(), served.client() as busy:
            busy.ehlo()
            busy.mail("a@client.test")
            busy.rcpt("busy@example.com")
            assert busy.docmd("DATA")[0] == 354
            restart(served)
            served.wait_for_log("listening address=")
            busy.send(MESSAGE + b".\r\n")
            assert busy.getreply()[0] == 250
            assert busy.getreply()[0] == 421
            wait_gone(old)
        after = workers(served)
        assert load.problems == []
        assert len(served.mail("maildir", "load")) == load.sent > 0
        assert len(served.mail("maildir", "busy")) == 1
        assert after.keys() == NAMES
        assert not set(before.values()) & set(after.values())
        with served.client() as client:
            assert client.ehlo()[1].startswith(b"new.test")
        served.process.terminate()
        assert served.wait_stopped() == 0


def test_one_restart_may_follow_another(tmp_path: Path) -> None:
    with staffed(tmp_path) as served:
        oldest = watch(served)
        restart(served)
        served.wait_for_log("listening address=")
        old = watch(served)
        restart(served)
        served.wait_for_log("listening address=")
        wait_gone(oldest)
        wait_gone(old)
        with served.client() as client:
            client.sendmail("a@client.test", ["user@example.com"], MESSAGE)
        assert workers(served).keys() == NAMES


def test_a_restart_with_broken_settings_changes_nothing(tmp_path: Path) -> None:
    with staffed(tmp_path) as served:
        before = workers(served)
        (tmp_path / "harakapy.toml").write_text(CONFIGURATION + "[smtp]\nmax_message_sise = '1 MiB'\n")
        restart(served)
        assert "did you mean max_message_size" in served.wait_for_log("not restarted")
        assert workers(served) == before
        with served.client() as client:
            client.sendmail("a@client.test", ["user@example.com"], MESSAGE)


@pytest.fixture
def picky(tmp_path: Path) -> Iterator[Served]:
    """A server with a plugin that refuses to start on some days."""
    (tmp_path / "picky.py").write_text(PICKY)
    with staffed(
        tmp_path, CONFIGURATION.replace('"queue_maildir"]', '"queue_maildir", "picky.py"]')
    ) as served:
        yield served


def test_old_workers_go_on_when_a_plugin_refuses_the_restart(picky: Served, tmp_path: Path) -> None:
    before = watch(picky)
    (tmp_path / "sunday").touch()
    restart(picky)
    assert "not on a Sunday" in picky.wait_for_log("restart refused")
    with client_of(picky, "in1") as client:
        client.sendmail("a@client.test", ["user@example.com"], MESSAGE)
    (tmp_path / "sunday").unlink()
    restart(picky)
    picky.wait_for_log("listening address=")
    wait_gone(before)
    with picky.client() as client:
        client.sendmail("a@client.test", ["user@example.com"], MESSAGE)


def test_old_workers_go_on_until_new_ones_can_start(picky: Served, tmp_path: Path) -> None:
    before = watch(picky)
    (tmp_path / "monday").touch()
    restart(picky)
    picky.wait_for_log("worker died post=in1")
    with picky.client() as client:
        client.sendmail("a@client.test", ["user@example.com"], MESSAGE)
    restart(picky)
    picky.wait_for_log(r"\] restarting$")
    picky.wait_for_log("worker died post=in1")
    (tmp_path / "monday").unlink()
    picky.wait_for_log("listening address=")
    wait_gone(before)
    assert workers(picky).keys() == NAMES


def test_limits_hold_across_a_restart(tmp_path: Path) -> None:
    limits = "[smtp]\nmax_connections_per_address = 1\nunlimited_addresses = []\n"
    with staffed(tmp_path, CONFIGURATION + limits) as served, served.client() as busy:
        busy.ehlo()
        busy.mail("a@client.test")
        restart(served)
        served.wait_for_log("listening address=")
        wait_until(lambda: len(children(served.process.pid)) == len(NAMES) + 1)  # the busy one is left
        with pytest.raises(OSError, match="Too many connections"):
            served.client()
        busy.rset()


def test_a_worker_that_dies_after_a_restart_is_replaced(tmp_path: Path) -> None:
    with staffed(tmp_path) as served:
        old = watch(served)
        restart(served)
        served.wait_for_log("listening address=")
        wait_gone(old)
        killed(workers(served)["in2"])
        served.wait_for_log("worker died post=in2")
        served.wait_for_log("worker ready worker=in2")
        with client_of(served, "in2") as client:
            client.sendmail("a@client.test", ["user@example.com"], MESSAGE)


def test_a_restart_may_change_how_many_workers_there_are(tmp_path: Path) -> None:
    with staffed(tmp_path) as served:
        for number in (4, 1):
            old = watch(served)
            changed = CONFIGURATION.replace("workers = 2", f"workers = {number}")
            (tmp_path / "harakapy.toml").write_text(changed)
            restart(served)
            served.wait_for_log("listening address=")
            wait_gone(old)
            assert len(workers(served)) == number + 1
            with served.client() as client:
                client.sendmail("a@client.test", ["user@example.com"], MESSAGE)
