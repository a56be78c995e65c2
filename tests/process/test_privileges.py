"""Whom a server runs as."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harakapy import ConfigError, Settings
from harakapy.process.privileges import NotPermitted, drop_privileges, identity_of
from tests.process.workers_scene import CONFIGURATION, MESSAGE, children, staffed
from tests.served import serving

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
NOBODY = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that anybody can reach, with one for the state that belongs to nobody."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "state").mkdir()
        os.chown(folder / "state", NOBODY, NOBODY)
        yield folder


def identity(pid: int) -> dict[str, set[int]]:
    """Real, effective, saved and file system ids of a process, and its further groups."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {key: set(map(int, lines[key].split())) for key in ("Uid", "Gid", "Groups")}


@needs_root
@pytest.mark.parametrize("workers", [1, 2])
def test_all_processes_become_the_user_once_sockets_are_bound(folder: Path, workers: int) -> None:
    changed = CONFIGURATION.replace("workers = 2", f'workers = {workers}\nuser = "{NOBODY}"')
    with staffed(folder, changed) as served:
        for pid in (served.process.pid, *children(served.process.pid)):
            found = identity(pid)
            assert found["Uid"] == {NOBODY}
            assert found["Gid"] == {NOBODY}
            assert 0 not in found["Groups"]
        with served.client() as client:
            client.sendmail("a@client.test", ["user@example.com"], MESSAGE)
        (message,) = served.mail("maildir", "user")
        assert message.stat().st_uid == NOBODY
        served.process.terminate()
        assert served.wait_stopped() == 0


@needs_root
def test_the_log_belongs_to_the_user_and_can_be_opened_again(folder: Path) -> None:
    changed = CONFIGURATION.replace("workers = 2", f'workers = 1\nuser = "{NOBODY}"\ngroup = "{NOBODY}"')
    log = folder / "state/mail.log"
    with serving(folder, changed + "[log]\nfile = 'mail.log'\n", ready=False) as served:
        while not (log.exists() and "listening" in log.read_text()):
            assert served.process.poll() is None
            os.sched_yield()  # nothing tells of a line in a file
        rotated = log.rename(log.with_suffix(".old"))
        served.process.send_signal(signal.SIGHUP)
        served.process.send_signal(signal.SIGTERM)
        assert served.wait_stopped() == 0
    assert {path.stat().st_uid for path in (log, rotated)} == {NOBODY}
    assert "stopped" in log.read_text()


def test_no_user_changes_nothing() -> None:
    assert identity_of(Settings.default()) is None
    drop_privileges(None)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"user": "no such user"}, 'user: this machine has no such user (got "no such user")'),
        ({"user": "4123456789"}, 'user: this machine has no such user (got "4123456789")'),
        (
            {"user": "0", "group": "no such group"},
            'group: this machine has no such group (got "no such group")',
        ),
        ({"group": "0"}, "group: needs a user, too"),
    ],
)
def test_who_does_not_exist_is_told(values: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        identity_of(Settings.default(**values))
    assert str(caught.value) == problem


def test_one_may_be_who_one_is() -> None:
    drop_privileges(identity_of(Settings.default(user=str(os.getuid()))))


@needs_root
def test_who_is_not_root_can_become_nobody_else() -> None:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            drop_privileges(identity_of(Settings.default(user=str(NOBODY))))
            drop_privileges(identity_of(Settings.default(user="0")))
        except NotPermitted as error:
            status = 0 if "only root" in str(error) and os.geteuid() == NOBODY else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
