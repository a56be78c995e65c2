"""The buffer in front of what the log is written to: order, bounds, losses, and nobody waits."""

import fcntl
import io
import os
import re
from collections.abc import Iterator

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from harakapy.log import Descriptor, Sink, StreamTarget


def lines(first: int, last: int) -> list[bytes]:
    return [b"line %d\n" % number for number in range(first, last + 1)]


class MoodyTarget:
    """Takes as many octets as its moods say: 0 is "not now", None a fault. Afterwards it takes everything."""

    write_octets = 24

    def __init__(self, *moods: int | None) -> None:
        self.moods = list(moods)
        self.taken = b""

    def wait_ready(self, timeout_s: float | None) -> bool:
        if self.moods and self.moods[0] == 0:
            self.moods.pop(0)
            return timeout_s is None
        return True

    def write(self, data: bytes) -> int:
        assert 0 < len(data) <= self.write_octets
        mood = self.moods.pop(0) if self.moods else len(data)
        if mood is None:
            raise OSError(28, "No space left on device")
        if mood == 0:
            raise BlockingIOError
        self.taken += data[:mood]
        return min(mood, len(data))

    def close(self) -> None:
        raise AssertionError("nobody closes this")


@pytest.fixture
def stream() -> io.BytesIO:
    return io.BytesIO()


@pytest.fixture
def sink(stream: io.BytesIO) -> Sink:
    return Sink(StreamTarget(stream), buffer_octets=100)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Read and write end of a pipe that holds one page."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    yield read, write
    os.close(read)
    os.close(write)


def test_line_is_written_at_once_when_nobody_collects(sink: Sink, stream: io.BytesIO) -> None:
    for number, line in enumerate(lines(1, 3), start=1):
        sink.emit(line)
        assert stream.getvalue() == b"".join(lines(1, number))
    assert sink.pending_octets == 0


def test_lines_wait_for_a_flush_while_they_are_collected(sink: Sink, stream: io.BytesIO) -> None:
    woken: list[bool] = []
    with sink.batching(lambda: woken.append(True)):
        for line in lines(1, 3):
            sink.emit(line)
        assert stream.getvalue() == b""
        assert woken == [True]
        assert sink.flush()
        assert stream.getvalue() == b"".join(lines(1, 3))
        sink.emit(b"line 4\n")
        assert woken == [True, True]
    assert stream.getvalue() == b"".join(lines(1, 4))
    sink.emit(b"line 5\n")
    assert stream.getvalue() == b"".join(lines(1, 5))


def test_serious_line_is_written_at_once_with_those_before_it(sink: Sink, stream: io.BytesIO) -> None:
    with sink.batching(lambda: None):
        sink.emit(b"line 1\n")
        sink.emit(b"line 2\n", urgent=True)
        assert stream.getvalue() == b"".join(lines(1, 2))


def test_full_buffer_drops_and_says_so_when_there_is_room_again(sink: Sink, stream: io.BytesIO) -> None:
    with sink.batching(lambda: None):
        for line in lines(1, 20):
            sink.emit(line)
        assert sink.lost == 7  # 9 of 7 octets, then 4 of 8: 95 octets
        assert sink.pending_octets == 95
        sink.flush()
        assert stream.getvalue() == b"".join(lines(1, 13)) + b"7 log lines lost\n"
        assert sink.lost == 0
        assert sink.pending_octets == 0


def test_serious_line_has_room_when_the_buffer_is_full() -> None:
    target = MoodyTarget(0)
    sink = Sink(target, buffer_octets=8)
    with sink.batching(lambda: None):
        sink.emit(b"line 1\n")
        sink.emit(b"line 2\n")
        sink.emit(b"line 3\n", urgent=True)
        assert target.taken == b""
    assert target.taken == b"line 1\nline 3\n1 log lines lost\n"


def test_line_that_could_never_fit_is_lost(sink: Sink, stream: io.BytesIO) -> None:
    sink.emit(b"x" * 100 + b"\n")
    sink.emit(b"line 1\n")
    assert stream.getvalue() == b"line 1\n1 log lines lost\n"


def test_disk_that_was_full_gets_the_count_and_whole_lines_afterwards() -> None:
    target = MoodyTarget(3, None)
    sink = Sink(target)
    for line in lines(1, 3):
        sink.emit(line)
    assert target.taken == b"lin\nline 2\n1 log lines lost: No space left on device\nline 3\n"


def test_target_that_stays_broken_costs_lines_and_nothing_else() -> None:
    target = MoodyTarget(*[None] * 100)
    sink = Sink(target)
    for line in lines(1, 40):
        sink.emit(line)
    assert (sink.lost, sink.pending_octets) == (40, 0)
    target.moods.clear()
    sink.emit(b"line 41\n")
    assert target.taken == b"line 41\n40 log lines lost: No space left on device\n"


def test_closed_stream_is_a_broken_target(stream: io.BytesIO, sink: Sink) -> None:
    stream.close()
    sink.emit(b"line 1\n")
    assert sink.lost == 1


def test_loop_that_is_gone_leaves_the_line_to_the_one_who_logs(sink: Sink, stream: io.BytesIO) -> None:
    def wake() -> None:
        raise RuntimeError("the loop is over")

    with sink.batching(wake):
        sink.emit(b"line 1\n")
        assert stream.getvalue() == b"line 1\n"


def test_reader_that_does_not_read_blocks_nobody(pipe: tuple[int, int]) -> None:
    read, write = pipe
    woken: list[bool] = []
    sink = Sink(Descriptor(write))
    long = b"x" * 999 + b"\n"
    with sink.batching(lambda: woken.append(True)):
        for _ in range(20):
            sink.emit(long, urgent=True)
        assert len(woken) >= 16
        assert sink.pending_octets >= 16_000
        assert sink.flush(timeout_s=0.01) is False
        received = b""
        while not sink.flush(timeout_s=0.0) or sink.pending_octets:
            received += os.read(read, 65536)
        received += os.read(read, 65536)
    assert received == long * 20


def test_reader_that_is_gone_costs_lines_only() -> None:
    read, write = os.pipe()
    sink = Sink(Descriptor(write))
    os.close(read)
    sink.emit(b"line 1\n")
    assert sink.lost == 1
    os.close(write)
    sink.emit(b"line 2\n")
    assert sink.lost == 2


async def test_task_that_flushes_in_a_thread_leaves_the_loop_free(pipe: tuple[int, int]) -> None:
    read, write = pipe
    os.set_blocking(read, False)
    sink, expected, received = Sink(Descriptor(write)), lines(1, 2000), b""
    woken = trio.Event()

    async def write_log() -> None:
        nonlocal woken
        while True:
            await woken.wait()
            woken = trio.Event()
            await trio.to_thread.run_sync(sink.flush)

    with sink.batching(lambda: woken.set()):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write_log)
            for line in expected:
                sink.emit(line)
            await trio.testing.wait_all_tasks_blocked(0.01)  # the thread is stuck now; the loop is not
            assert sink.pending_octets > 4096
            while len(received) < len(b"".join(expected)):
                await trio.lowlevel.wait_readable(read)
                received += os.read(read, 65536)
            nursery.cancel_scope.cancel()
    assert received == b"".join(expected)


@given(st.lists(st.one_of(st.none(), st.integers(0, 24)), max_size=30), st.integers(1, 40), st.booleans())
@settings(max_examples=300)
def test_every_line_is_written_whole_or_counted_as_lost(
    moods: list[int | None], count: int, is_batching: bool
) -> None:
    target = MoodyTarget(*moods)
    sink = Sink(target, buffer_octets=200, loss_line=lambda lost, _reason: b"(%d lost)\n" % lost)
    emitted = [b"<line %d>\n" % number for number in range(count)]
    if is_batching:
        with sink.batching(lambda: None):
            for number, line in enumerate(emitted):
                sink.emit(line, urgent=number % 5 == 0)
    else:
        for line in emitted:
            sink.emit(line)
    while not sink.flush(timeout_s=0.0):
        pass
    whole = re.findall(rb"^<line \d+>\n", target.taken, re.MULTILINE)
    assert whole == [line for line in emitted if line in whole]
    reported = re.findall(rb"^\((\d+) lost\)\n", target.taken, re.MULTILINE)
    assert len(whole) + sum(map(int, reported)) == count
    assert (sink.pending_octets, sink.lost) == (0, 0)
