"""Limits that hold for several processes."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harakapy.net import ConnectionLimits, CountBoard, Refusal, SharedLimits

HOSTS = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "::1", "127.0.0.1", ""]


def processes(board: CountBoard, total: int = 100, per_address: int = 2) -> list[SharedLimits]:
    networks = ["127.0.0.0/8"]
    return [
        SharedLimits(total, per_address, networks, column=board.column(number))
        for number in range(board.columns)
    ]


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(HOSTS), st.booleans())), st.integers(1, 6))
@example([(0, HOSTS[1], True), (0, HOSTS[1], True), (1, HOSTS[0], True), (0, HOSTS[1], True)], 3)
def test_several_processes_refuse_what_one_would_refuse(
    steps: list[tuple[int, str, bool]], total: int
) -> None:
    board = CountBoard.create(3, 10)
    try:
        several, one = processes(board, total), ConnectionLimits(total, 2, ["127.0.0.0/8"])
        held: Counter[tuple[int, str]] = Counter()
        for process, host, comes in steps:
            if comes:
                refusal = several[process].acquire(host)
                assert refusal is one.acquire(host)
                held[process, host] += refusal is None
            elif held[process, host]:
                several[process].release(host)
                one.release(host)
                held[process, host] -= 1
            assert board.total() == one.open
    finally:
        os.close(board.fd)


@pytest.fixture
def board() -> CountBoard:
    return CountBoard.create(2, 100)


def test_who_has_died_is_forgotten(board: CountBoard) -> None:
    dead, alive = processes(board)
    dead.acquire("192.0.2.1")
    dead.acquire("192.0.2.1")
    assert alive.acquire("192.0.2.1") is Refusal.ADDRESS
    board.clear(0)
    assert alive.acquire("192.0.2.1") is None
    assert board.total() == 1


def test_a_process_that_was_forked_counts_in_the_same_memory(board: CountBoard) -> None:
    ours = processes(board)[0]
    child = os.fork()
    if child == 0:
        theirs = processes(board)[1]
        os._exit(theirs.acquire("192.0.2.1") is not None or theirs.acquire("192.0.2.1") is not None)
    assert os.waitpid(child, 0)[1] == 0
    assert ours.acquire("192.0.2.1") is Refusal.ADDRESS
    assert ours.acquire("192.0.2.2") is None


def test_a_process_that_maps_the_file_anew_finds_the_counts(board: CountBoard) -> None:
    processes(board)[0].acquire("192.0.2.1")
    again = CountBoard(board.fd, board.columns, board.connections)
    assert again.total() == 1
    assert processes(again, per_address=1)[1].acquire("192.0.2.1") is Refusal.ADDRESS


def test_all_sites_have_room_however_many_there_are(board: CountBoard) -> None:
    one, other = processes(board, per_address=1)
    hosts = [f"2001:db8:{number:x}::1" for number in range(100)]
    assert [one.acquire(host) for host in hosts] == [None] * 100
    for host in hosts:
        one.release(host)
    assert [other.acquire(host) for host in reversed(hosts)] == [None] * 100
    assert board.total() == 100


def test_sites_that_find_no_slot_are_counted_by_their_own_process() -> None:
    board = CountBoard.create(2, 1)
    one, other = processes(board, total=1000, per_address=1)
    hosts = [f"192.0.2.{number}" for number in range(200)]
    assert [one.acquire(host) for host in hosts] == [None] * 200
    assert [one.acquire(host) for host in hosts] == [Refusal.ADDRESS] * 200
    assert {other.acquire(host) for host in hosts} == {None, Refusal.ADDRESS}
    for host in hosts:
        one.release(host)
    board.clear(1)
    assert board.total() == 0
