"""Processes that write to one log, one after the other."""

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import pytest

from harakapy.log import Descriptor, Sink, Turns

WRITER = """
import sys
from harakapy.log import Descriptor, Sink, Turns
sink = Sink(Descriptor(1), buffer_octets=1 << 24)
sink.turns = Turns(int(sys.argv[1]))
sys.stdin.read()
for number in range(100):
    sink.emit(sys.argv[2].encode() * 10000 + b"\\n")
"""


@pytest.fixture
def lock() -> Iterator[int]:
    with tempfile.TemporaryFile() as file:
        yield file.fileno()


def test_lines_longer_than_a_pipe_takes_at_once_stay_whole(lock: int) -> None:
    read, write = os.pipe()
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(lock), name],
            pass_fds=[lock],
            stdin=subprocess.PIPE,
            stdout=write,
        )
        for name in "ab"
    ]
    os.close(write)
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.close()
    with os.fdopen(read, "rb") as pipe:
        lines = pipe.read().splitlines()
    assert [writer.wait() for writer in writers] == [0, 0]
    assert sorted(lines) == [b"a" * 10000] * 100 + [b"b" * 10000] * 100


def test_who_is_killed_in_his_turn_holds_up_nobody(lock: int) -> None:
    child = os.fork()
    if child == 0:
        fcntl.lockf(lock, fcntl.LOCK_EX, 1)
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    turns = Turns(lock)
    assert turns.take(0.0)
    assert turns.take(0.0)
    turns.end()
    turns.end()


def test_a_serious_line_waits_in_the_buffer_while_it_is_anothers_turn(lock: int) -> None:
    ready_read, ready_write = os.pipe()
    go_read, go_write = os.pipe()
    child = os.fork()
    if child == 0:
        fcntl.lockf(lock, fcntl.LOCK_EX, 1)
        os.write(ready_write, b"x")
        os.read(go_read, 1)
        os._exit(0)
    os.read(ready_read, 1)
    log_read, log_write = os.pipe()
    sink = Sink(Descriptor(log_write))
    sink.turns = Turns(lock)
    with sink.batching(lambda: None):
        sink.emit(b"serious\n", urgent=True)
        assert sink.pending_octets == 8
        os.write(go_write, b"x")
        os.waitpid(child, 0)
        assert sink.flush()
    assert os.read(log_read, 100) == b"serious\n"
    for descriptor in (ready_read, ready_write, go_read, go_write, log_read, log_write):
        os.close(descriptor)
