"""auth_dovecot against a real Dovecot, which runs with a configuration of its own in a temporary folder."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from harakapy.plugins.auth_dovecot import AuthDovecot
from harakapy.smtp.sasl import LoginClient, PlainClient
from tests.inbound.test_auth import greeted, log_in

pytestmark = pytest.mark.live

PATIENCE_S = 20.0
USERS = """
ann@example.com:correct horse::::::
closed@example.com:correct horse::::::nologin
alias@example.com:correct horse::::::user=ann
"""
CONFIGURATION = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols =
ssl = no
auth_mechanisms = plain login
auth_failure_delay = 0
default_internal_user = root
default_internal_group = root
default_login_user = root
passdb {{
  {passdb}
}}
service auth {{
  unix_listener {folder}/auth {{
    mode = 0600
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
"""
PASSWD_FILE = "driver = passwd-file\n  args = scheme=PLAIN {folder}/users"
UNABLE = "driver = checkpassword\n  args = {folder}/unable"
QUICK = {"hook_timeout": "5s", "max_auth_failures": 9}


class Dovecot:
    """A Dovecot that can be started and stopped."""

    def __init__(self, program: str, folder: Path) -> None:
        self.address = f"unix:{folder / 'auth'}"
        self._program = program
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "users").write_text(USERS)
        unable = folder / "unable"
        unable.write_text("#!/bin/sh\nexit 111\n")  # checkpassword's way to say: not now
        unable.chmod(0o755)

    def start(self, passdb: str = PASSWD_FILE) -> None:
        text = CONFIGURATION.format(folder=self._folder, passdb=passdb.format(folder=self._folder))
        (self._folder / "dovecot.conf").write_text(text)
        command = [self._program, "-F", "-c", str(self._folder / "dovecot.conf")]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE_S
        while not (self._folder / "run" / "master.pid").exists() or not (self._folder / "auth").exists():
            assert time.monotonic() < deadline, (self._folder / "log").read_text()
            time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE_S)
            self._process = None


@pytest.fixture
def dovecot() -> Iterator[Dovecot]:
    program = shutil.which("dovecot", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("dovecot is not installed")
    if os.geteuid() != 0:
        pytest.skip("dovecot must be started by root")
    with tempfile.TemporaryDirectory(prefix="dovecot") as folder:  # a path that is short enough for sockets
        found = Dovecot(program, Path(folder))
        found.start()
        try:
            yield found
        finally:
            found.stop()


async def test_dovecot_verifies_passwords(dovecot: Dovecot, tmp_path: Path) -> None:
    async with greeted(tmp_path, AuthDovecot(address=dovecot.address), smtp=QUICK) as client:
        for user, password in [
            ("ann@example.com", "wrong"),
            ("nobody@example.com", "correct horse"),
            ("closed@example.com", "correct horse"),
        ]:
            assert (await log_in(client, PlainClient(user, password))).code == 535
        assert (await log_in(client, LoginClient("ann@example.com", "correct horse"))).code == 235


async def test_the_user_is_who_dovecot_makes_of_the_name(dovecot: Dovecot, tmp_path: Path) -> None:
    async with greeted(tmp_path, AuthDovecot(address=dovecot.address)) as client:
        assert (await log_in(client, PlainClient("alias@example.com", "correct horse"))).code == 235
    assert "user=ann " in (tmp_path / "log").read_text()


async def test_a_dovecot_that_comes_back_is_asked_again(dovecot: Dovecot, tmp_path: Path) -> None:
    async with greeted(tmp_path, AuthDovecot(address=dovecot.address), smtp=QUICK) as client:
        assert (await log_in(client, PlainClient("ann@example.com", "wrong"))).code == 535
        await trio.to_thread.run_sync(dovecot.stop)
        await trio.to_thread.run_sync(dovecot.start)
        assert (await log_in(client, PlainClient("ann@example.com", "correct horse"))).code == 235


async def test_a_database_that_cannot_tell_is_temporary(dovecot: Dovecot, tmp_path: Path) -> None:
    dovecot.stop()
    dovecot.start(UNABLE)
    async with greeted(tmp_path, AuthDovecot(address=dovecot.address), smtp=QUICK) as client:
        assert (await log_in(client, PlainClient("ann@example.com", "correct horse"))).code == 454
