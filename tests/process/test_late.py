"""What a start imports: nothing that only some servers need, nothing that can wait until clients are there.

Modules are looked at, not time: a test that measures a start says most about the machine it runs on.
"""

import errno
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio
import trio.testing

from harakapy.process import late
from harakapy.process.late import LATE

CONFIGURATION = """\
plugins = ["rcpt_to_in_host_list", "queue_maildir"]
[plugin.rcpt_to_in_host_list]
hosts = ["localhost"]
"""

SERVER = """\
import harakapy.cli.serve
from pathlib import Path
from harakapy.cli.configuration import load_settings
from harakapy.log import silent_logger
from harakapy.process import Server
Server(load_settings(Path("harakapy.toml")), log=silent_logger())
"""

HELP = "from harakapy.cli.main import main; main(['--help'], standalone_mode=False)"


def _imported(folder: Path, code: str) -> set[str]:
    """The modules that are there after this code, in a process of its own."""
    code += "\nimport sys; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return set(result.stdout.splitlines()[-1].split())


def test_a_server_is_made_without_what_can_wait(tmp_path: Path) -> None:
    (tmp_path / "harakapy.toml").write_text(CONFIGURATION)
    imported = _imported(tmp_path, SERVER)
    assert "harakapy.outbound.engine" in imported
    assert not imported & {*LATE, "cryptography", "dns", "asyncio", "rich", "structlog", "argon2"}


def test_help_needs_click_alone(tmp_path: Path) -> None:
    imported = _imported(tmp_path, HELP)
    assert {name for name in imported if name.startswith("harakapy")} == {
        "harakapy", "harakapy.cli", "harakapy.cli.main",
    }  # fmt: skip
    assert not imported & {"pydantic", "trio", "pluggy", "idna", "sqlite3", "ssl"}


@pytest.mark.parametrize("name", LATE)
def test_what_comes_late_brings_what_is_slow(tmp_path: Path, name: str) -> None:
    assert _imported(tmp_path, f"import {name}") & {"dns.asyncresolver", "cryptography.x509"}


async def test_what_cannot_be_imported_late_is_left_to_who_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(late, "import_module", fail)
    await late.import_late_in_thread()
    with pytest.raises(OSError, match="Too many open files"):
        late.import_late()


async def test_an_import_under_way_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    done = []

    def slow(name: str) -> None:
        time.sleep(0.05)
        done.append(name)

    monkeypatch.setattr(late, "import_module", slow)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(late.import_late_in_thread)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert tuple(done) == LATE
