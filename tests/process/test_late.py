"""What a start imports: nothing that only some servers need, nothing that can wait until clients are there.

Modules are looked at, not time: a test that measures a start says most about the machine it runs on.
"""

import ast
import errno
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio
import trio.testing

import harakapy
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

TOP = Path(harakapy.__file__).parent

TOLD = "\nimport sys; print(*sys.modules)"

NOT_AT_THE_START = (
    "cryptography", "dns", "email.policy", "harakapy.mail.report", "harakapy.mail.seven_bit",
    "harakapy.net.proxy_protocol", "harakapy.outbound.opening", "harakapy.outbound.steering",
    "harakapy.process.supervisor", "harakapy.queue.memory_store", "harakapy.smtp.sasl",
    "asyncio", "rich", "structlog", "argon2",
)  # fmt: skip
"""Whatever is not needed until clients are there; of each folder or file it is enough to name the top."""

READY = """
import os, sys
from pathlib import Path
from harakapy.cli.main import main
from harakapy.process import run

def tell(server, state):
    print(*sys.modules, flush=True)
    os._exit(0)

run.tell_manager = tell
main(["serve", "-c", "harakapy.toml", "--listen", "127.0.0.1:0"])
"""

HELP = "from harakapy.cli.main import main; main(['--help'], standalone_mode=False)" + TOLD


def _imported(folder: Path, code: str) -> set[str]:
    """The modules that are there after this code, in a process of its own."""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return set(result.stdout.splitlines()[-1].split())


def test_a_server_is_made_without_what_can_wait(tmp_path: Path) -> None:
    (tmp_path / "harakapy.toml").write_text(CONFIGURATION)
    imported = _imported(tmp_path, SERVER + TOLD)
    assert "harakapy.outbound.engine" in imported
    assert imported & {*LATE, *NOT_AT_THE_START} == set()


def test_a_server_is_ready_without_what_can_wait(tmp_path: Path) -> None:
    (tmp_path / "harakapy.toml").write_text(CONFIGURATION)
    imported = _imported(tmp_path, READY)
    assert "harakapy.outbound.engine" in imported
    assert imported & {*LATE, *NOT_AT_THE_START} == set()


def test_help_needs_click_alone(tmp_path: Path) -> None:
    imported = _imported(tmp_path, HELP)
    assert {name for name in imported if name.startswith("harakapy")} == {
        "harakapy", "harakapy.cli", "harakapy.cli.main",
    }  # fmt: skip
    assert not imported & {"pydantic", "trio", "pluggy", "idna", "sqlite3", "ssl"}


@pytest.mark.parametrize("name", LATE)
def test_what_comes_late_is_there(tmp_path: Path, name: str) -> None:
    assert name in _imported(tmp_path, f"import {name}" + TOLD)


def test_all_that_functions_import_comes_late(tmp_path: Path) -> None:
    """Who has given up rights may not be able to read the files any more."""
    (tmp_path / "harakapy.toml").write_text(CONFIGURATION)
    imported = _imported(tmp_path, SERVER + "from harakapy.process import late; late.import_late()" + TOLD)
    modules = [TOP.joinpath(*name.split(".")[1:]) for name in imported if _is_ours(name)]
    files = [path / "__init__.py" if path.is_dir() else path.with_suffix(".py") for path in modules]
    wanted = {name for file in files for name in _imported_in_functions(file)}
    assert wanted >= {"harakapy.inbound.login", "harakapy.net.tls.leaf", "email"}
    assert wanted - imported == {"harakapy.process.supervisor"}  # the start itself needs it, or nobody


def _is_ours(name: str) -> bool:
    return name.startswith("harakapy.") and not name.startswith("harakapy.plugins")


def _imported_in_functions(file: Path) -> set[str]:
    found: set[str] = set()
    for function in ast.walk(ast.parse(file.read_text())):
        for node in (
            ast.walk(function) if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) else ()
        ):
            if isinstance(node, ast.ImportFrom):
                own = (
                    f"{file.parent.relative_to(TOP.parent).as_posix().replace('/', '.')}."
                    if node.level
                    else ""
                )
                found.add(f"{own}{node.module}")
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
    return found


async def test_what_cannot_be_imported_late_is_left_to_who_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(late, "import_module", fail)
    await late.import_late_in_thread()
    with pytest.raises(OSError, match="Too many open files"):
        late.import_late()


async def test_an_import_under_way_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = trio.Event()
    done: list[str] = []

    def slow(name: str) -> None:
        if not done:
            trio.from_thread.run_sync(begun.set)
            time.sleep(0.05)  # in which the cancellation comes
        done.append(name)

    monkeypatch.setattr(late, "import_module", slow)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(late.import_late_in_thread)
        await begun.wait()
        nursery.cancel_scope.cancel()
    assert tuple(done) == LATE
