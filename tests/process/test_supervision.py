"""The parts of supervision that need no processes."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harakapy import Settings
from harakapy.net import ListenError
from harakapy.process.backoff import Backoff
from harakapy.process.channel import Channel, News, Order
from harakapy.process.crew import Crew, Worker
from harakapy.process.handover import VARIABLE, Handover
from harakapy.process.part import Post, Role
from harakapy.process.rehearsal import Rehearsal
from harakapy.process.reload_round import ReloadRound
from harakapy.process.signals import describe_exit
from harakapy.process.sockets import Sockets

OUT = Post(Role.OUTBOUND)


def worker(post: Post, **values: Any) -> Worker:
    channel = Channel(socket.socket())
    channel.close()  # nobody talks to it here
    return Worker(0, post, channel, values.pop("column", 0), "owner", 0.0, **values)


def test_pauses_grow_until_a_worker_lives_long() -> None:
    backoff = Backoff()
    assert [backoff.died(0.0, lived_s=1.0) for _ in range(9)] == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert backoff.due == 60.0
    assert backoff.died(1000.0, lived_s=500.0) == 0.0
    assert backoff.due == 1000.0


def test_what_is_said_arrives_in_order_and_the_end_is_noticed() -> None:
    one, other = Channel.pair()
    assert other.receive() == []
    one.send(News.FAILED, "two\nlines")
    one.send(News.READY)
    assert other.receive() == [("failed", "two\nlines"), ("ready", "")]
    one.send(News.RELOADED)
    one.close()
    assert other.receive() == [("reloaded", "")]
    assert other.receive() is None
    other.send(Order.STOP)
    other.close()


def test_the_post_of_delivery_is_free_only_when_nobody_delivers() -> None:
    crew = Crew(2, [worker(OUT, is_old=True), worker(Post(Role.INBOUND, 0), is_old=True)])
    assert list(map(str, crew.free_posts())) == ["in1", "in2"]
    crew.workers.pop(0)
    assert list(map(str, crew.free_posts())) == ["in1", "in2", "out"]


def test_all_posts_must_be_filled_by_new_workers_who_are_ready() -> None:
    first, second = Post(Role.INBOUND, 0), Post(Role.INBOUND, 1)
    crew = Crew(2, [worker(first, is_ready=True), worker(second, is_ready=True, is_old=True)])
    assert not crew.are_ready(Role.INBOUND)
    crew.workers.append(worker(second, is_ready=True))
    assert crew.are_ready(Role.INBOUND)
    assert not crew.are_ready(Role.INBOUND, Role.OUTBOUND)


def test_a_column_is_one_worker_s() -> None:
    crew = Crew(1, [worker(OUT, column=0), worker(Post(Role.INBOUND), column=2)])
    assert crew.free_column(4) == 1
    crew.workers.append(worker(Post(Role.INBOUND), column=1))
    with pytest.raises(OSError, match="still here"):
        crew.free_column(3)


def test_workers_reload_one_after_the_other_and_nobody_waits_for_the_dead() -> None:
    ends = [Channel.pair() for _ in range(3)]
    first, second, third = (Worker(0, OUT, ours, 0, "", 0.0) for ours, _ in ends)
    done: list[str] = []
    round_ = ReloadRound(lambda: done.append("done"))
    round_.begin([first, second, third], Order.RELOAD)
    heard = [theirs.receive() for _, theirs in ends]
    assert heard == [[("reload", "")], [], []]
    round_.is_dead(second)
    round_.done(first)
    assert [theirs.receive() for _, theirs in ends] == [[], [], [("reload", "")]]
    round_.begin([third], Order.REOPEN_LOG)
    round_.done(third)
    assert ends[2][1].receive() == [("reopen log", "")]
    assert done == []
    round_.is_dead(third)
    assert done == ["done"]
    for pair in ends:
        for end in pair:
            end.close()


@given(st.integers(1, 6), st.integers(1, 6))
def test_each_socket_has_a_worker_and_each_worker_a_socket(copies: int, workers: int) -> None:
    tables = [{"address": "127.0.0.1:0"}]
    opened = Sockets.open(Settings.default(listen=tables, workers=copies, reuseport=True))
    try:
        (endpoint,) = opened.endpoints
        shares = [opened.share_of(number, workers) for number in range(workers)]
        assert all(shares)
        found = {listener.socket.fileno() for share in shares for _, listener in share}
        assert len(found) == copies
        assert {listener.endpoint for share in shares for _, listener in share} == {endpoint}
    finally:
        opened.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.default(
        listen=[{"address": "127.0.0.1:0"}, {"address": f"unix:{tmp_path}/socket"}], workers=2
    )


def test_sockets_that_are_there_are_taken_over_and_others_closed(settings: Settings, tmp_path: Path) -> None:
    before = Sockets.open(settings)
    restored = Sockets.restored([*before.described()])
    for _, listener in before.share_of(0, 1):
        listener.socket.detach()  # as exec does
    assert restored.endpoints == before.endpoints
    again = Sockets.open(settings.model_copy(update={"listen": settings.listen[:1]}), before=restored)
    assert again.endpoints == before.endpoints[:1]
    assert not (tmp_path / "socket").exists()
    again.close()


def test_sockets_that_were_there_stay_when_another_cannot_be_opened(settings: Settings) -> None:
    before = Sockets.open(settings)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        more = {"address": f"127.0.0.1:{taken.getsockname()[1]}"}
        changed = Settings.default(listen=[each.model_dump() for each in settings.listen] + [more])
        with pytest.raises(ListenError):
            Sockets.open(changed, before=before)
    assert all(each["fd"] >= 0 for each in before.described())
    before.close()


def test_a_worker_does_not_remove_the_file_of_a_socket(settings: Settings, tmp_path: Path) -> None:
    sockets = Sockets.open(settings)
    for _, listener in sockets.share_of(0, 2):
        listener.close()
    assert (tmp_path / "socket").exists()
    (tmp_path / "socket").unlink()


def test_a_handover_is_for_this_process_alone(tmp_path: Path) -> None:
    assert Handover.received({}) is None
    assert Handover.received({VARIABLE: f"{os.getppid()}:3"}) is None


def test_a_handover_that_fails_changes_nothing() -> None:
    ends = os.pipe()
    handover = Handover(sockets=[], workers=[], board=(ends[0], 1, 1), wakes=ends, dead_owners=[])
    with pytest.raises(FileNotFoundError):
        handover.hand_over(["/nonexistent/program"])
    assert not any(os.get_inheritable(end) for end in ends)
    for end in ends:
        os.close(end)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ([], ""),
        ([sys.executable, "-c", ""], ""),
        ([sys.executable, "-c", "raise SystemExit('it is broken')"], "it is broken"),
        ([sys.executable, "-c", "raise SystemExit(3)"], "the check ended with 3"),
        (["/nonexistent/program"], "cannot be checked: [Errno 2] No such file or directory"),
    ],
)
def test_a_rehearsal_tells_once_what_is_wrong(command: list[str], expected: str) -> None:
    rehearsal = Rehearsal(command)
    assert rehearsal.ended() is None
    rehearsal.begin()
    while (problem := rehearsal.ended()) is None:
        os.sched_yield()
    assert problem.startswith(expected)
    assert bool(problem) == bool(expected)
    assert rehearsal.ended() is None
    assert not rehearsal.is_running


@pytest.mark.parametrize(
    ("status", "text"), [(0, "exit status 0"), (3 << 8, "exit status 3"), (9, "SIGKILL")]
)
def test_it_is_told_how_a_process_ended(status: int, text: str) -> None:
    assert describe_exit(status) == text
