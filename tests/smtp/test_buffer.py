"""The receive buffer: lines end with CR LF, in linear time, within a bound."""

from __future__ import annotations

import sys
import time

import pytest

from harakapy.smtp.buffer import ReceiveBuffer
from harakapy.smtp.content import ChunkDecoder
from harakapy.smtp.errors import RemoteProtocolError

BOUND = 20


def lines_of(data: bytes, step: int) -> tuple[list[bytes], RemoteProtocolError | None]:
    """The lines taken from ``data`` given in blocks of ``step``, and how it was refused."""
    buffer, lines = ReceiveBuffer(), []
    for start in range(0, len(data), step):
        buffer.append(data[start : start + step])
        try:
            while (line := buffer.take_line(BOUND)) is not None:
                lines.append(line)
        except RemoteProtocolError as error:
            return lines, error
    return lines, None


@pytest.mark.parametrize(
    ("data", "lines", "reason"),
    [
        (b"", [], ""),
        (b"a\r\n", [b"a"], ""),
        (b"\r\n\r\n", [b"", b""], ""),
        (b"a\r\nbc\r\nd", [b"a", b"bc"], ""),
        (b"a\rb\r\r\n", [b"a\rb\r"], ""),  # a bare CR is for the parser to refuse
        (b"a\nb\r\n", [], "bare LF"),
        (b"\n", [], "bare LF"),
        (b"\nNOOP\r", [], "bare LF"),
        (b"a\r\n\n", [b"a"], "bare LF"),
        (b"a\r\nb\n\r\n", [b"a"], "bare LF"),
        (b"x" * 18 + b"\r\n", [b"x" * 18], ""),
        (b"x" * 19 + b"\r\n", [], "no line end"),
        (b"x" * 19, [], ""),
        (b"x" * 20, [], "no line end"),
        (b"a\r\n" + b"x" * 100 + b"\r\n", [b"a"], "no line end"),
        (b"x" * 20 + b"\n", [], "no line end"),
    ],
)
def test_lines_are_the_same_at_any_split(data: bytes, lines: list[bytes], reason: str) -> None:
    for step in (1, 2, 3, len(data) or 1):
        seen, error = lines_of(data, step)
        assert seen == lines
        assert (error.reason if error else "").startswith(reason)
        assert (error is not None) is bool(reason)
        assert error is None or (error.closes and error.reply.code == 500)


def test_content_and_lines_take_turns() -> None:
    buffer = ReceiveBuffer()
    buffer.append(b"one\r\n12345two\r\n")
    assert buffer.take_line(BOUND) == b"one"
    assert buffer.take_block(ChunkDecoder(5)) == b"12345"
    assert buffer.startswith(b"two")
    assert not buffer.startswith(b"one")
    assert buffer.peek(2) == b"tw"
    assert buffer.peek(100) == b"two\r\n"
    assert len(buffer) == 5
    assert not buffer.is_empty
    assert buffer.take_line(BOUND) == b"two"
    assert buffer.is_empty


def test_what_was_not_taken_stays_until_it_is_cleared() -> None:
    buffer = ReceiveBuffer()
    buffer.append(b"one\r\ntw")
    buffer.take_line(BOUND)
    buffer.append(b"o\r\nrest")
    assert buffer.take_line(BOUND) == b"two"
    assert len(buffer) == 4
    buffer.clear()
    assert buffer.is_empty
    assert buffer.take_line(BOUND) is None


def test_a_new_buffer_is_empty_and_gives_nothing() -> None:
    buffer = ReceiveBuffer()
    assert buffer.is_empty
    assert len(buffer) == 0
    assert buffer.take_line(BOUND) is None
    assert buffer.peek(10) == b""
    buffer.append(b"")
    assert buffer.is_empty


def test_what_was_taken_is_let_go() -> None:
    buffer, line = ReceiveBuffer(), b"x" * 10 + b"\r\n"
    held = sys.getrefcount(line)
    buffer.append(line)
    buffer.take_line(BOUND)
    assert sys.getrefcount(line) == held
    buffer.append(line)
    buffer.take_block(ChunkDecoder(5))
    buffer.take_block(ChunkDecoder(7))
    assert sys.getrefcount(line) == held


def test_a_cleared_buffer_counts_from_zero() -> None:
    buffer = ReceiveBuffer()
    buffer.append(b"one\r\ntwo")
    buffer.take_line(BOUND)
    buffer.clear()
    assert len(buffer) == 0
    buffer.append(b"x")
    assert len(buffer) == 1


def test_many_lines_are_taken_in_linear_time() -> None:
    def seconds(count: int) -> float:
        buffer = ReceiveBuffer()
        buffer.append(b"NOOP\r\n" * count)
        began = time.perf_counter()
        while buffer.take_line(BOUND) is not None:
            pass
        return time.perf_counter() - began

    few = min(seconds(2_000) for _ in range(5))
    many = min(seconds(200_000) for _ in range(3))
    assert many < few * 100 * 5  # quadratic would be 10,000 times
