"""Pages that are a story are played: files written as they say, commands run, output compared.

A block with a title is a file. ``sh`` is run, and must fail if ``fails`` stands behind it; ``harakapy serve``
goes on in the background until the next one. ``text`` must be in the output, line by line. The port of the
page becomes a free one, and pip gets what it needs to work without a network.
"""

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Block, blocks_of
from tests.served import PATIENCE_S, Served, environment, started

TUTORIAL = ROOT / "docs/tutorial.md"
PLAYED = {TUTORIAL}
PORT = "2525"


class Player:
    """Plays the blocks of a page in a folder of its own."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder / "work"
        self._site = folder / "site"
        self._folder.mkdir()
        self._site.mkdir()
        self._stack = stack
        self._port = str(_free_port())
        self._served: Served | None = None
        self._output = ""

    def play(self, block: Block) -> None:
        text = block.text.replace(PORT, self._port)
        if block.title:
            file = self._folder / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        elif block.language == "sh":
            self._output = "".join(self._run(line, block) for line in text.splitlines())
        elif block.language == "text":
            for line in text.splitlines():
                assert _squeezed(line) in _squeezed(self._output), self._output
        else:
            raise AssertionError(f"{block}: a block in a page that is played must be a file, sh or text")

    def _run(self, line: str, block: Block) -> str:
        if line.startswith("harakapy serve"):
            self._serve(line.split()[2:])
            return ""
        result = subprocess.run(
            line,
            shell=True,
            cwd=self._folder,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert bool(result.returncode) is block.is_failing, f"{block}: {line}\n{result.stdout}"
        return result.stdout

    def _serve(self, arguments: list[str]) -> None:
        if self._served is not None:
            self._served.process.send_signal(signal.SIGINT)
            assert self._served.wait_stopped() == 0
        self._served = self._stack.enter_context(
            started(self._folder, *arguments, PYTHONPATH=str(self._site))
        )
        self._served.wait_for_log("listening address=")

    def _environment(self) -> dict[str, str]:
        return environment(
            self._folder,
            PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            PYTHONPATH=str(self._site),
            PIP_TARGET=str(self._site),
            PIP_NO_DEPS="1",
            PIP_NO_INDEX="1",
            PIP_NO_BUILD_ISOLATION="0",  # pip reads this as the option without its "no"
        )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def _squeezed(text: str) -> str:
    """Text whose columns may be wider or narrower."""
    return re.sub(" +", " ", text.strip())


@pytest.mark.parametrize("page", sorted(PLAYED), ids=lambda page: page.stem)
def test_page(page: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("pip") is None or importlib.util.find_spec("hatchling") is None:
        pytest.skip("needs pip and hatchling in the environment of the tests")
    with ExitStack() as stack:
        player = Player(tmp_path, stack)
        for block in blocks_of(page):
            player.play(block)


def test_the_plugin_of_the_readme_does_what_the_readme_says(tmp_path: Path) -> None:
    files = [block for block in blocks_of(ROOT / "README.md") if block.title]
    assert [block.title for block in files] == ["lottery.py", "harakapy.toml"]
    for block in files:
        (tmp_path / block.title).write_text(block.text, encoding="utf-8")
    with started(tmp_path, "-c", "harakapy.toml", "--listen", "127.0.0.1:0") as served:
        served.port = int(served.wait_for_log("listening address=").rpartition(":")[2])
        with served.client() as client:
            client.ehlo()
            for subject, answer in [("An INHERITANCE", (550, b"5.7.1 We have won enough")), ("Lunch", None)]:
                client.mail("a@client.test")
                client.rcpt("user@example.com")
                code, text = client.data(f"Subject: {subject}\r\n\r\nHello!\r\n")
                assert (code, text) == answer if answer else code == 250
        assert len(served.mail("maildir", "example.com", "user")) == 1
