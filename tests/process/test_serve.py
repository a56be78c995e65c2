"""`harakapy serve` from start to stop: what it says, what it heeds, and how it ends."""

import contextlib
import os
import signal
import smtplib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.served import Served, run, serving, started

MAILDIR = """
hostname = "mx.test"
plugins = ["rcpt_to_in_host_list", "queue_maildir"]

[plugin.rcpt_to_in_host_list]
hosts = ["example.com"]

[plugin.queue_maildir]
path = "maildir/{user}"
"""
MESSAGE = b"From: a@client.test\r\nSubject: hello\r\n\r\n.a line with a dot\r\n"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, MAILDIR) as served:
        yield served


def test_without_configuration_three_lines_say_what_happens_to_mail(tmp_path: Path) -> None:
    with started(tmp_path, "--listen", "127.0.0.1:0") as served:
        first = served.wait_for_output("^harakapy .* listens on 127.0.0.1:")
        second = served.wait_for_output(" ")
        third = served.wait_for_output(" ")
        assert second.startswith("Mail for localhost")
        assert f"{tmp_path}/xdg/harakapy/maildir/" in second
        assert second.endswith("nothing is relayed.")
        assert "Ctrl-C" in third
        served.port = int(first.removesuffix(".").rpartition(":")[2])
        with served.client() as client:
            client.sendmail("a@client.test", ["user@localhost"], MESSAGE)
            client.docmd("MAIL", "FROM:<a@client.test>")
            assert client.docmd("RCPT", "TO:<user@example.com>")[0] == 550
        served.process.send_signal(signal.SIGINT)
        assert served.wait_stopped() == 0
        assert len(served.output()) == 3
    assert len(list((tmp_path / "xdg/harakapy/maildir/localhost/user/new").iterdir())) == 1


def test_without_configuration_the_queue_is_worked_off_and_can_be_steered(tmp_path: Path) -> None:
    with started(tmp_path, "--listen", "127.0.0.1:0") as served:
        served.wait_for_output("Ctrl-C")
        assert (tmp_path / "xdg/harakapy/control").is_socket()
        assert (tmp_path / "xdg/harakapy/queue/queue.db").is_file()
        served.process.send_signal(signal.SIGINT)
        assert served.wait_stopped() == 0


def test_a_message_arrives_as_sent_behind_trace_fields(served: Served) -> None:
    with served.client() as client:
        client.sendmail("a@client.test", ["user@example.com"], MESSAGE)
    (file,) = served.mail("maildir", "user")
    stored = file.read_bytes()
    assert stored.endswith(MESSAGE)
    trace = stored.removesuffix(MESSAGE).decode().replace("\r\n\t", " ").splitlines()
    assert [line.partition(":")[0] for line in trace] == ["Return-Path", "Received"]
    assert "from client.test" in trace[1]
    assert "by mx.test" in trace[1]


def test_each_connection_and_message_has_a_line_in_the_log(served: Served) -> None:
    with served.client() as client:
        client.sendmail("a@client.test", ["user@example.com"], MESSAGE)
    message = served.wait_for_log(r"\] message ")
    connection = served.wait_for_log(r"\] connection ")
    assert "status=accepted sender=<a@client.test> recipients=1" in message
    assert "remote=127.0.0.1" in connection
    assert "accepted=1" in connection


def test_sigterm_sends_the_idle_away_and_lets_the_busy_finish(served: Served) -> None:
    with served.client() as idle, served.client() as busy:
        idle.ehlo()
        busy.ehlo()
        busy.mail("a@client.test")
        busy.rcpt("user@example.com")
        assert busy.docmd("DATA")[0] == 354
        served.process.send_signal(signal.SIGTERM)
        assert idle.getreply() == (421, b"4.3.2 Service shutting down, try again later")
        assert idle.sock is not None
        assert idle.sock.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", served.port))
        busy.send(MESSAGE.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        assert busy.getreply()[0] == 250
        assert busy.getreply()[0] == 421
    assert served.wait_stopped() == 0
    assert len(served.mail("maildir", "user")) == 1
    assert served.log()[-1].endswith("stopped")


def test_a_second_signal_stops_at_once(served: Served) -> None:
    with served.client() as busy:
        busy.ehlo()
        busy.mail("a@client.test")
        served.process.send_signal(signal.SIGTERM)
        served.wait_for_log("stopping signal=SIGTERM")
        served.process.send_signal(signal.SIGINT)
        assert busy.getreply()[0] == 421
    assert served.wait_stopped() == 0


def test_sighup_gives_new_connections_new_limits_and_keeps_old_ones(served: Served) -> None:
    with served.client() as old:
        old.ehlo()
        assert old.esmtp_features["size"] == str(25 * 1024 * 1024)
        _reconfigure(served, MAILDIR + "[smtp]\nmax_message_size = '1 MiB'\n")
        served.wait_for_log("settings reloaded")
        with served.client() as new:
            new.ehlo()
            assert new.esmtp_features["size"] == str(1024 * 1024)
        old.ehlo()
        assert old.esmtp_features["size"] == str(25 * 1024 * 1024)
        old.sendmail("a@client.test", ["user@example.com"], MESSAGE)


def test_sighup_hands_plugins_their_new_settings(served: Served) -> None:
    _reconfigure(served, MAILDIR.replace("example.com", "example.org"))
    served.wait_for_log("settings reloaded")
    with served.client() as client:
        client.sendmail("a@client.test", ["user@example.org"], MESSAGE)
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail("a@client.test", ["user@example.com"], MESSAGE)


def test_a_broken_file_keeps_the_old_settings_and_is_told(served: Served) -> None:
    _reconfigure(served, MAILDIR + "[smtp]\nmax_message_sise = '1 MiB'\n")
    line = served.wait_for_log("ERROR")
    assert "settings not reloaded" in line
    assert "did you mean max_message_size" in line
    with served.client() as client:
        client.ehlo()
        assert client.esmtp_features["size"] == str(25 * 1024 * 1024)


def test_sighup_goes_on_in_a_fresh_log_file(tmp_path: Path) -> None:
    log = tmp_path / "state/mail.log"
    with serving(tmp_path, MAILDIR + "[log]\nfile = 'mail.log'\n", ready=False) as served:
        while not (log.exists() and "listening" in log.read_text()):
            assert served.process.poll() is None
            os.sched_yield()  # nothing tells of a line in a file
        rotated = log.rename(log.with_suffix(".old"))
        served.process.send_signal(signal.SIGHUP)
        served.process.send_signal(signal.SIGTERM)  # heeded behind the other: its number is greater
        assert served.wait_stopped() == 0
    assert "stopped" not in rotated.read_text()
    assert log.read_text().endswith("stopped\n")


def test_what_keeps_it_from_starting_is_told_without_a_traceback(tmp_path: Path) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        result = run(tmp_path, "serve", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert result.returncode == 1
    assert "another program listens there" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_plugin_may_refuse_the_start(tmp_path: Path) -> None:
    (tmp_path / "fussy.py").write_text(
        "from harakapy import DENY, hookimpl\n\n\n"
        "@hookimpl\ndef hook_init_master():\n    return DENY('not on a Sunday')\n"
    )
    (tmp_path / "harakapy.toml").write_text("plugins = ['fussy.py']\n")
    result = run(tmp_path, "serve", "--listen", "127.0.0.1:0")
    assert result.returncode == 1
    assert "plugin fussy: not on a Sunday" in result.stderr
    assert "Traceback" not in result.stderr


def test_wrong_use_has_an_exit_status_of_its_own(tmp_path: Path) -> None:
    result = run(tmp_path, "serve", "--listen", "nonsense")
    assert result.returncode == 2
    assert "--listen" in result.stderr


def _reconfigure(served: Served, configuration: str) -> None:
    (served.folder / "harakapy.toml").write_text(configuration, encoding="utf-8")
    served.process.send_signal(signal.SIGHUP)
