"""`harakapy send` of any user: through the server's socket, found by whoever may not read its settings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from harakapy.cli.send import way
from harakapy.log import silent_logger
from harakapy.queue import Selection, SqliteStore
from tests.process.workers_scene import staffed, workers
from tests.served import PATIENCE_S, Served, environment, run, serving

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

MESSAGE = b"To: ann@example.org\nSubject: hello\n\nbody\n"
NOBODY = 65534
CONFIGURATION = """
hostname = "mx.test"
plugins = ["seal.py"]

[dns]
rdns = false

[queue]
min_free_space = 0
min_free_inodes = 0

[smtp]
max_message_size = "1 MiB"

[outbound]
relay_host = "lmtp:///nonexistent/socket"
retry = "1h"
"""
SEAL = """
from harakapy import hookimpl

@hookimpl
def hook_pre_send_trans_email(hmail):
    hmail.header.add("X-Sealed", hmail.uuid)
"""
STRANGER = f"""
import os
import harakapy.cli.send
from harakapy.cli.main import main
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
main()
"""
"""What is imported is imported as root: the project may be where nobody else can read it."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may enter, with settings and a queue that only root may read."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "seal.py").write_text(SEAL)
        yield folder


def configured(folder: Path, more: str = "") -> str:
    """The settings; they are written as a file for root alone, that `serving` then writes into."""
    (folder / "harakapy.toml").touch(0o600)
    return CONFIGURATION + more


def as_nobody(
    folder: Path, *arguments: str, message: bytes = MESSAGE, **variables: str
) -> subprocess.CompletedProcess[str]:
    """``harakapy send`` of another user than ours."""
    return _sent(folder, ["-c", STRANGER, "send", *arguments], message, variables)


def as_ourselves(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return _sent(folder, ["-m", "harakapy", "send", *arguments], MESSAGE, variables)


def _sent(
    folder: Path, command: list[str], message: bytes, variables: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment(folder, **variables),
        input=message.decode(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def stored(folder: Path) -> list[tuple[str, str]]:
    """Reverse-path and content of what is in the queue."""

    async def read() -> list[tuple[str, str]]:
        async with await SqliteStore.open(folder / "state/queue", log=silent_logger()) as store:
            found = []
            for request in (await store.select(Selection(), limit=100)).requests:
                with await store.open_content(request.message.id) as content:
                    found.append((str(request.message.mail_from), content.to_bytes().decode()))
            return found

    return trio.run(read)


def taken(served: Served) -> str:
    """The log line of the next message that a user has sent."""
    return served.wait_for_log("message of a user ")


@needs_root
def test_a_user_who_may_read_neither_settings_nor_queue_can_send(folder: Path) -> None:
    with serving(folder, configured(folder)) as served:
        socket = folder / "state/public/send"
        assert not (folder / "harakapy.toml").stat().st_mode & 0o077
        assert not (folder / "state/queue").stat().st_mode & 0o077
        sent = as_nobody(folder, "--socket", str(socket), "-v", "-t")
        assert (sent.returncode, sent.stderr) == (0, "")
        assert f"uid={NOBODY} " in taken(served)
    ((sender, content),) = stored(folder)
    assert sender == "nobody@mx.test"
    assert f"from userid {NOBODY})" in content
    assert f"X-Sealed: {sent.stdout.removeprefix('queued as ')}".strip() in content


@needs_root
def test_secrets_that_the_settings_point_to_need_not_be_readable(folder: Path) -> None:
    (folder / "secret").touch(0o600)
    (folder / "secret").write_text("smtp://user:password@127.0.0.1:9")
    with serving(folder, CONFIGURATION.replace('"lmtp:///nonexistent/socket"', "{ file = 'secret' }")):
        sent = as_nobody(folder, "--config", "harakapy.toml", "-f", "web@example.com", "ann@example.org")
        assert (sent.returncode, sent.stderr) == (0, "")
    assert [sender for sender, _ in stored(folder)] == ["web@example.com"]


@needs_root
def test_who_is_not_in_the_group_is_not_permitted(folder: Path) -> None:
    with serving(folder, configured(folder, "[send]\nsocket_mode = '0660'\n")):
        refused = as_nobody(folder, "ann@example.org", HARAKAPY_SOCKET=str(folder / "state/public/send"))
        assert as_ourselves(folder, "ann@example.org").returncode == 0
    assert refused.returncode == os.EX_NOPERM
    assert "you may not send through the server at" in refused.stderr
    assert "state/public/send (Permission denied)" in refused.stderr


@needs_root
def test_a_user_is_told_to_come_again_while_the_server_is_stopped(folder: Path) -> None:
    (folder / "harakapy.toml").write_text(CONFIGURATION)
    (folder / "state").mkdir()
    stopped = as_nobody(folder, "--config", "harakapy.toml", "ann@example.org")
    assert stopped.returncode == os.EX_TEMPFAIL
    assert f"no server answers at {folder}/state/public/send (No such file or directory)" in stopped.stderr
    assert "the message was not sent" in stopped.stderr


@needs_root
def test_who_may_not_read_the_settings_hears_which_places_were_tried(folder: Path) -> None:
    file = folder / "harakapy.toml"
    file.touch(0o600)
    unreadable = as_nobody(folder, "ann@example.org", HARAKAPY_CONFIG=str(file))
    assert unreadable.returncode == os.EX_TEMPFAIL
    assert f"you may not read {file}" in unreadable.stderr
    assert all(str(path) in unreadable.stderr for path in way.SOCKETS)
    assert "HARAKAPY_SOCKET" in unreadable.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_the_owner_goes_through_the_running_server_and_its_plugins(folder: Path, workers: int) -> None:
    with staffed(folder, f"workers = {workers}\n" + configured(folder)) as served:
        sent = as_ourselves(folder, "-v", "-t")
        assert (sent.returncode, sent.stderr) == (0, "")
        assert f"uid={os.getuid()} " in taken(served)
    ((_, content),) = stored(folder)
    assert "X-Sealed: " in content


def test_mail_of_users_waits_while_workers_are_restarted(folder: Path) -> None:
    with staffed(folder, "workers = 2\n" + configured(folder)) as served:
        old = workers(served)
        served.process.send_signal(signal.SIGUSR2)
        sent = [as_ourselves(folder, "ann@example.org") for _ in range(3)]
        served.wait_for_log("worker has left .*post=out")
        sent.append(as_ourselves(folder, "ann@example.org"))
        assert workers(served) != old
    assert [(each.returncode, each.stderr) for each in sent] == [(0, "")] * 4


def test_a_stopped_server_has_no_socket_and_its_owner_writes_to_its_queue(folder: Path) -> None:
    with serving(folder, configured(folder)) as served:
        served.process.terminate()
        assert served.wait_stopped() == 0
        assert not (folder / "state/public/send").exists()
    assert as_ourselves(folder, "ann@example.org").returncode == 0
    ((_, content),) = stored(folder)
    assert "X-Sealed" not in content


def test_what_is_too_large_is_refused_by_the_terms_of_the_server(folder: Path) -> None:
    with serving(folder, configured(folder)):
        large = _sent(folder, ["-m", "harakapy", "send", "a@example.org"], b"x" * 2_000_000, {})
    assert large.returncode == os.EX_DATAERR
    assert "more than 1048576 octets" in large.stderr


def test_a_server_whose_disk_is_full_means_later(folder: Path) -> None:
    configuration = configured(folder).replace("min_free_space = 0", "min_free_space = '100000 TiB'")
    with serving(folder, configuration):
        full = as_ourselves(folder, "ann@example.org")
    assert full.returncode == os.EX_TEMPFAIL
    assert "no room" in full.stderr


def test_without_any_server_nothing_looks_as_if_it_were_sent(folder: Path) -> None:
    lost = run(folder, "send", "ann@example.org")
    assert lost.returncode == os.EX_TEMPFAIL
    assert f"{folder}/xdg/harakapy/public/send" in lost.stderr
    assert not (folder / "xdg").exists()


def test_a_socket_that_is_named_is_the_only_one(folder: Path) -> None:
    (folder / "harakapy.toml").write_text(CONFIGURATION)
    lost = as_ourselves(folder, "--socket", "elsewhere", "ann@example.org")
    assert lost.returncode == os.EX_TEMPFAIL
    assert "elsewhere (No such file or directory)" in lost.stderr
    assert not (folder / "state").exists()
