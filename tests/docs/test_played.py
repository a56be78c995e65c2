"""Pages that are a story are played: files written as they say, commands run, output compared.

A block with a title is a file. ``sh`` is run, and must fail if ``fails`` stands behind it; ``harakapy serve``
goes on in the background until it is started anew with the same options. ``text`` must be in the output, line
by line; ``...`` in it stands for anything, and an id of a message for the one in the output, also further
down. What only looks at the queue is run again until it shows what it is to show. Other blocks are tested as
those of other pages are. The ports of the page become free ones, and pip gets what it needs to work without a
network.
"""

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Block, blocks_of
from tests.served import PATIENCE_S, Served, environment, started

PLAYED = {ROOT / "docs/tutorial.md", ROOT / "docs/outbound.md"}
PORTS = ("2525", "2526")
LOOKS = re.compile(r"harakapy queue (list|show|stats)\b|ls ")
"""Commands that may be run again and again."""

_ID = re.compile(r"[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}\.1")


class Player:
    """Plays the blocks of a page in a folder of its own."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder / "work"
        self._site = folder / "site"
        self._folder.mkdir()
        self._site.mkdir()
        self._ports = {port: str(_free_port()) for port in PORTS}
        self._ids: dict[str, str] = {}
        self._served: dict[tuple[str, ...], Served] = {}
        self._stack = stack
        self._commands: list[str] = []
        self._output = ""

    def play(self, block: Block) -> None:
        text = block.text
        for written, ours in (self._ports | self._ids).items():
            text = text.replace(written, ours)
        if block.title:
            file = self._folder / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        elif block.language == "sh":
            self._commands = text.splitlines()
            self._output = "".join(self._run(line, block) for line in self._commands)
        elif block.language == "text":
            self._compare(text.splitlines(), block)

    def _compare(self, lines: list[str], block: Block) -> None:
        """See whether the output has the lines; if it may come to have them, wait for that."""
        deadline = time.monotonic() + PATIENCE_S
        while not all(map(self._has, lines)) and all(map(LOOKS.match, self._commands)):
            assert time.monotonic() < deadline, f"{block}\n{self._output}"
            time.sleep(0.2)
            self._output = "".join(self._run(line, block) for line in self._commands)
        for line in lines:
            assert self._has(line), f"{block}: {line}\n{self._output}"

    def _has(self, line: str) -> bool:
        """Whether a line is in the output; if it is, the id in it is that of the output from now on."""
        pattern = re.escape(_squeezed(line)).replace(re.escape("..."), ".*")
        written = _ID.search(line)
        if written is None or written[0] in self._ids.values():
            return re.search(pattern, _squeezed(self._output)) is not None
        pattern = pattern.replace(re.escape(written[0]), f"({_ID.pattern})")
        found = re.search(pattern, _squeezed(self._output))
        if found is not None:
            self._ids[written[0]] = found[1]
        return found is not None

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
        before = self._served.pop(tuple(arguments), None)
        if before is not None:
            before.process.send_signal(signal.SIGINT)
            assert before.wait_stopped() == 0
        served = self._stack.enter_context(started(self._folder, *arguments, PYTHONPATH=str(self._site)))
        served.wait_for_log("listening address=")
        self._served[tuple(arguments)] = served

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


def is_played(block: Block) -> bool:
    """Whether a block of a page that is played takes part."""
    is_test = block.title.startswith("test_")
    return (bool(block.title) and not is_test) or block.language in ("sh", "text")


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
    assert [block.title for block in files] == ["lottery.py", "harakapy.toml", "relay.toml"]
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
