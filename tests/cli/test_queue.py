"""`harakapy queue`: on a stopped server, on a running one, for people and for programs."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result

from harakapy.cli.main import main
from harakapy.cli.queue.progress import LARGE, Progress
from harakapy.cli.queue.text import BLOCK, Listing
from harakapy.log import silent_logger
from harakapy.outbound.steering import Deliverer, Steering
from harakapy.outbound.steering_request import SteeringRequest
from harakapy.process import control_socket
from harakapy.process.control import Control
from harakapy.process.control_wire import control_path
from harakapy.queue import Deferred, Selection, SqliteStore, Store
from harakapy.queue.memory_store import MemoryStore
from tests.queue.samples import LATER, MINE, NOW, claim_all, message, put

Fill = Callable[[Store], Any]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "harakapy.toml"
    file.write_text("hostname = 'mx.test'\n")
    return file


def queue(file: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["queue", arguments[0], "-c", str(file), *arguments[1:]])


def told(file: Path, *arguments: str) -> Any:
    """What a command says to a program."""
    result = queue(file, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


async def three(store: Store) -> None:
    """Three messages: a new one, one that was deferred, one that is held."""
    await put(store, "new@one.test", "too@one.test", queued=message("NEW"))
    (late,) = await put(store, "late@two.test", queued=message("LATE", mail_from=""))
    await claim_all(store, "two.test")
    await store.record([Deferred(late.key, LATER, due=NOW + 60)], owner=MINE.owner)
    await put(store, "held@three.test", queued=message("HELD"))
    await store.hold(Selection(domain="three.test"))


@pytest.fixture
def stopped(file: Path) -> Path:
    """The configuration of a server that is stopped, with three messages."""

    async def fill() -> None:
        async with await SqliteStore.open(file.parent / "state/queue", log=silent_logger()) as store:
            await three(store)

    trio.run(fill)
    return file


class Ear(Deliverer):
    """An engine that hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def limits(self, request: Any) -> list[str]:
        return ["only one connection at a time to \x1b[31mthis host"]

    def wake(self, request: SteeringRequest) -> None:
        self.heard.append(request.operation.value)


@pytest.fixture
def running(file: Path) -> Iterator[tuple[Path, Ear]]:
    """The same while a server has it in memory."""
    ear, is_up, ends = Ear(), threading.Event(), trio.Event()
    tokens: list[trio.lowlevel.TrioToken] = []

    async def serve() -> None:
        store = MemoryStore()
        await three(store)
        async with trio.open_nursery() as nursery:
            path = control_path(file.parent / "state")
            control = Control(Steering(store, lambda: NOW, ear), silent_logger())
            await nursery.start(control_socket.serve, path, control.handle, silent_logger())
            tokens.append(trio.lowlevel.current_trio_token())
            is_up.set()
            await ends.wait()
            nursery.cancel_scope.cancel()

    (file.parent / "state").mkdir()
    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    assert is_up.wait(60)
    yield file, ear
    tokens[0].run_sync_soon(ends.set)
    thread.join()


def test_statistics_of_a_stopped_server(stopped: Path) -> None:
    found = told(stopped, "stats")
    assert (found["messages"], found["recipients"]) == (3, 4)
    assert found["oldest_s"] == 0  # the samples are from the future
    assert found["states"] == {"waiting": 3, "held": 1, "quarantined": 0, "delivered": 0, "failed": 0}
    assert found["destinations"]["one.test"]["waiting"] == 2


def test_statistics_for_people(stopped: Path) -> None:
    lines = queue(stopped, "stats").stdout.splitlines()
    assert lines[:3] == ["3 messages, 4 recipients, the oldest 0s old", "  3 waiting", "  1 held"]
    assert lines[4].split()[:3] == ["DESTINATION", "RECIPIENTS", "WAITING"]
    assert lines[5].split()[:3] == ["one.test", "2", "2"]


def test_without_a_queue_it_is_said_that_there_is_none_and_none_is_made(file: Path) -> None:
    result = queue(file, "stats", "--json")
    assert result.exit_code == 1
    assert "there is no queue" in result.stderr
    assert not (file.parent / "state").exists()


def test_a_list_for_programs_has_an_object_a_line(stopped: Path) -> None:
    result = queue(stopped, "list", "--json")
    assert [each["id"] for each in json.loads(result.stdout)] == ["NEW", "LATE", "HELD"]
    assert len(result.stdout.splitlines()) == 5
    assert told(stopped, "list", "--domain", "none.test") == []


def test_a_list_for_people_has_a_line_for_each_recipient_and_a_sum(stopped: Path) -> None:
    head, *lines, end = queue(stopped, "list").stdout.splitlines()
    assert head.split() == ["ID", "AGE", "SIZE", "SENDER", "RECIPIENT", "STATE", "TRIES", "NEXT", "ERROR"]
    assert [line.split()[0] for line in lines] == ["NEW", "NEW", "LATE", "HELD"]
    assert "<>" in lines[2]
    assert lines[2].endswith("connection refused")
    assert end == "3 messages, 4 recipients"
    assert queue(stopped, "list", "--limit", "1").stdout.endswith(
        "3 messages, 4 recipients, 2 of them not listed\n"
    )


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (["NEW", "HELD"], ["NEW", "HELD"]),
        (["--sender", "<>"], ["LATE"]),
        (["--recipient", "*@ONE.test"], ["NEW"]),
        (["--domain", "t*.test"], ["LATE", "HELD"]),
        (["--destination", "two.test"], ["LATE"]),
        (["--state", "held"], ["HELD"]),
        (["--state", "held", "--state", "waiting"], ["NEW", "LATE", "HELD"]),
        (["--error", "refused"], ["LATE"]),
        (["--older-than", "1h"], []),
        (["--newer-than", "1h30m", "--domain", "one.test"], ["NEW"]),
    ],
)
def test_options_select(stopped: Path, options: list[str], ids: list[str]) -> None:
    assert [each["id"] for each in told(stopped, "list", *options)] == ids


def test_show_says_why_a_message_waits(stopped: Path) -> None:
    text = queue(stopped, "show", "LATE").stdout
    assert "sender:     <>" in text
    assert "To two.test (1 recipient):" in text
    assert "attempt 1 of 2027-01-15 08:00:00Z, failed; the next try is at 2027-01-15 08:01:00Z" in text
    assert "last reply: connection refused (mx.example.org)" in text
    assert "  Subject: small" in text
    found = told(stopped, "show", "LATE")
    assert found["why"][0]["next_try"] == NOW + 60


def test_show_of_an_unknown_message_fails(stopped: Path) -> None:
    result = queue(stopped, "show", "NONE")
    assert result.exit_code == 1
    assert "no message NONE" in result.stderr


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (["hold", "NEW"], "2 recipients of 1 message held\n"),
        (["release", "--domain", "three.test"], "1 recipient of 1 message released\n"),
        (
            ["flush"],
            "3 recipients of 2 messages made due; 1 recipient selected to whom that does not apply\n",
        ),
        (["remove", "--recipient", "new@*"], "1 recipient of 1 message removed\n"),
        (["bounce", "--sender", "", "--reason", "no"], "1 recipient of 1 message bounced\n"),
        (["reroute", "--to", "smtp://relay.test", "--all"], "4 recipients of 3 messages rerouted\n"),
        (["reroute", "--to", "dns", "NEW"], "2 recipients of 1 message rerouted\n"),
        (["remove", "--all", "--dry-run"], "4 recipients of 3 messages would be removed\n"),
    ],
)
def test_changes_say_what_they_did(stopped: Path, command: list[str], text: str) -> None:
    result = queue(stopped, *command)
    assert result.exit_code == 0, result.output
    assert result.stdout == text
    assert result.stderr == ""


def test_changes_stay(stopped: Path) -> None:
    assert told(stopped, "bounce", "LATE", "--reason", "no such project")["recipients"] == 1
    assert told(stopped, "show", "LATE")["deliveries"][0]["error"] == "no such project"
    assert told(stopped, "reroute", "--to", "relay.test", "NEW")["messages"] == 1
    assert told(stopped, "list", "NEW")[0]["deliveries"][0]["destination"] == "relay.test"
    assert told(stopped, "remove", "--all") == {
        "messages": 3, "recipients": 4, "selected": {"messages": 3, "recipients": 4}, "dry_run": False,
    }  # fmt: skip
    assert told(stopped, "stats")["messages"] == 0


@pytest.mark.parametrize(
    "command", [["remove"], ["bounce"], ["hold"], ["release"], ["reroute", "--to", "relay.test"]]
)
def test_everything_must_be_said(stopped: Path, command: list[str]) -> None:
    result = queue(stopped, *command)
    assert result.exit_code == 1
    assert "--all" in result.stderr
    assert told(stopped, "stats")["states"]["waiting"] == 3


def test_an_id_that_is_not_there_is_an_error_and_a_pattern_that_meets_nothing_is_none(stopped: Path) -> None:
    assert queue(stopped, "remove", "NONE").exit_code == 1
    assert queue(stopped, "remove", "--domain", "none.test").exit_code == 0


def test_a_duration_that_is_none_is_wrong_use(stopped: Path) -> None:
    result = queue(stopped, "list", "--older-than", "yesterday")
    assert result.exit_code == 2
    assert "30s" in result.stderr


def test_a_running_server_is_asked_and_told(running: tuple[Path, Ear]) -> None:
    file, ear = running
    assert told(file, "stats")["recipients"] == 4
    assert [each["id"] for each in told(file, "list")] == ["NEW", "LATE", "HELD"]
    assert queue(file, "flush").exit_code == 0
    assert queue(file, "hold", "NEW").stdout == "2 recipients of 1 message held\n"
    assert ear.heard == ["flush", "hold"]
    assert "--all" in queue(file, "remove").stderr
    assert not (file.parent / "state/queue").exists()


def test_nothing_that_a_terminal_obeys_is_printed(running: tuple[Path, Ear]) -> None:
    text = queue(running[0], "show", "LATE").stdout
    assert "only one connection at a time to \\x1b[31mthis host" in text
    assert "\x1b" not in text


def test_a_server_that_died_is_no_running_one(stopped: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        folder = os.open(stopped.parent / "state", os.O_RDONLY)
        dead.bind(f"/proc/self/fd/{folder}/control")
        os.close(folder)
    assert told(stopped, "stats")["messages"] == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_leaves_nothing_behind_that_the_server_cannot_use(stopped: Path) -> None:
    folder = stopped.parent / "state/queue"
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            for parent in [folder, *folder.parents][: len(folder.parts) - len(Path("/tmp").parts)]:
                parent.chmod(0o755)
            for path in [folder, *folder.rglob("*")]:
                os.chown(path, 65534, 65534)
            status = queue(stopped, "hold", "NEW").exit_code
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert {path.stat().st_uid for path in [folder, *folder.rglob("*")]} == {65534}


def test_a_long_list_is_printed_as_it_comes() -> None:
    printed: list[str] = []
    listing = Listing(printed.append)
    view = {
        "id": "ONE", "age_s": 100_000.0, "size": 5, "sender": "", "recipients": 3,
        "deliveries": [{
            "recipient": "user\u202e@example.org", "state": "waiting", "is_worked_on": True, "attempts": 1,
            "due_in_s": 3661.0, "error": None,
        }],
    }  # fmt: skip
    for _ in range(BLOCK):
        listing.add(view)
    lines = "\n".join(printed).splitlines()
    assert len(lines) == 1 + 2 * BLOCK
    assert lines[1].split() == [
        "ONE",
        "1d3h",
        "5",
        "<>",
        "user\\u202e@example.org",
        "trying",
        "1",
        "1h1m",
        "-",
    ]
    assert lines[2].split() == ["ONE", "...", "and", "2", "more"]
    assert sum(line.startswith("ID") for line in lines) == 1


def test_progress_is_told_for_large_changes_even_if_nobody_may_watch(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Progress("held") as progress:
        for messages in range(0, LARGE, 500):
            progress.on_part({"progress": {"messages": messages, "of": LARGE - 1}})
    assert capsys.readouterr().err == ""
    with Progress("held") as progress:
        for messages in range(500, 2 * LARGE + 500, 500):
            progress.on_part({"progress": {"messages": messages, "of": 2 * LARGE}})
    assert capsys.readouterr().err.splitlines() == [
        "held: 10,000 of 20,000 messages",
        "held: 20,000 of 20,000 messages",
    ]
