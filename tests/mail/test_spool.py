"""Collecting content: any split, any limit, bounded memory, and disks that fail."""

from __future__ import annotations

import resource
import tempfile
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harakapy.mail import Content, ContentWriter
from harakapy.mail.spool import FLUSH_SIZE

MEBIBYTE = 1024 * 1024
RAW = b"Subject: x\r\nTo: y\r\n\r\nbody\r\n.\r\n\r\n"

SPLITS = st.lists(
    st.one_of(st.sampled_from([b"\r", b"\n", b"\r\n", b"A: b\r\n", b""]), st.binary(max_size=700))
)


def collect(blocks: list[bytes], spool_after: int, directory: Path) -> Content:
    writer = ContentWriter(spool_after, directory)
    for block in blocks:
        writer.write(block)
        if writer.is_flush_due:
            writer.flush()
    return writer.finish()


@given(SPLITS, st.integers(0, 3000))
@example([b"A: b\r", b"", b"\n", b"\r", b"\nx"], 3)
@example([b"", b"\r", b"\n"], 0)
def test_blocks_joined_are_what_was_written(blocks: list[bytes], spool_after: int) -> None:
    raw = b"".join(blocks)
    with collect(blocks, spool_after, Path(tempfile.gettempdir())) as content:
        assert b"".join(content.blocks()) == raw
        assert content.size == len(raw)
        assert content.is_spooled is (len(raw) > spool_after)
        whole = Content.from_bytes(raw)
        assert content.header_size == whole.header_size
        assert content.body == whole.body


@pytest.mark.parametrize("size", range(1, len(RAW) + 1))
def test_the_end_of_the_header_is_found_at_every_split(size: int, tmp_path: Path) -> None:
    blocks = [RAW[at : at + size] for at in range(0, len(RAW), size)]
    with collect(blocks, 0, tmp_path) as content:
        assert content.header_bytes == b"Subject: x\r\nTo: y\r\n"
        assert content.body == b"body\r\n.\r\n\r\n"


def test_one_block_is_not_copied(tmp_path: Path) -> None:
    block = RAW + b"x" * 4096
    assert next(collect([block], MEBIBYTE, tmp_path).blocks()) is block
    assert next(collect([b"", block, b""], MEBIBYTE, tmp_path).blocks()) is block


def test_the_limit_itself_stays_in_memory(tmp_path: Path) -> None:
    assert not collect([b"x" * 10], 10, tmp_path).is_spooled
    with collect([b"x" * 10, b"x"], 10, tmp_path) as content:
        assert content.is_spooled


def test_the_header_is_counted_as_it_arrives(tmp_path: Path) -> None:
    writer = ContentWriter(MEBIBYTE, tmp_path)
    writer.write(b"A: b\r\n")
    assert writer.header_size == 6
    writer.write(b"B: c\r\n\r")
    assert writer.header_size == 13
    writer.write(b"\n" + b"x" * 1000)
    assert writer.header_size == 12
    writer.write(b"\r\n\r\n")
    assert writer.header_size == 12


def test_a_flush_is_due_when_a_piece_is_full(tmp_path: Path) -> None:
    writer = ContentWriter(2 * FLUSH_SIZE, tmp_path)
    writer.write(b"x" * 2 * FLUSH_SIZE)
    due = [writer.is_flush_due]
    writer.write(b"x")
    due.append(writer.is_flush_due)
    writer.flush()
    due.append(writer.is_flush_due)
    writer.write(b"x" * (FLUSH_SIZE - 1))
    due.append(writer.is_flush_due)
    writer.write(b"x")
    due.append(writer.is_flush_due)
    writer.discard()
    assert due == [False, True, False, False, True]


def test_a_flush_before_the_limit_is_no_loss(tmp_path: Path) -> None:
    writer = ContentWriter(MEBIBYTE, tmp_path)
    writer.write(b"a")
    writer.flush()
    writer.write(b"b")
    with writer.finish() as content:
        assert b"".join(content.blocks()) == b"ab"


def test_the_file_has_no_name(tmp_path: Path) -> None:
    with collect([b"x" * 1000], 0, tmp_path):
        assert list(tmp_path.iterdir()) == []


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_discarding_closes_the_file(tmp_path: Path) -> None:
    before = open_files()
    writer = ContentWriter(0, tmp_path)
    writer.write(b"x" * FLUSH_SIZE)
    writer.flush()
    assert open_files() == before + 1
    writer.discard()
    writer.discard()
    assert open_files() == before


def test_twenty_mebibytes_pass_in_less_than_one(tmp_path: Path) -> None:
    writer = ContentWriter(FLUSH_SIZE, tmp_path)
    tracemalloc.start()
    try:
        for _ in range(320):
            writer.write(bytes(65536))
            if writer.is_flush_due:
                writer.flush()
        with writer.finish() as content:
            total = sum(map(len, content.blocks()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == 20 * MEBIBYTE
    assert peak < MEBIBYTE


def test_tiny_segments_do_not_cost_a_multiple(tmp_path: Path) -> None:
    writer = ContentWriter(FLUSH_SIZE, tmp_path)
    tracemalloc.start()
    try:
        for number in range(FLUSH_SIZE // 2):
            writer.write(b"%02d" % (number % 100))
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    writer.discard()
    assert kept < 1.2 * FLUSH_SIZE


def test_many_blocks_go_out_in_few_writes(tmp_path: Path) -> None:
    blocks = [bytes([number % 256]) * 600 for number in range(3000)]
    with collect(blocks, 1_700_000, tmp_path) as content:  # so that all but a few go in one flush
        assert content.is_spooled
        assert b"".join(content.blocks()) == b"".join(blocks)


@contextmanager
def file_size_limit(octets: int) -> Iterator[None]:
    """A disk that is full after so many octets: the system writes what fits, then refuses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    writer = ContentWriter(0, tmp_path)
    writer.write(b"x" * FLUSH_SIZE)
    with file_size_limit(100_000), pytest.raises(OSError, match="File too large"):
        writer.flush()
    writer.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_at_the_end_is_an_error_too(tmp_path: Path) -> None:
    writer = ContentWriter(0, tmp_path)
    writer.write(b"x" * 1000)
    with file_size_limit(999), pytest.raises(OSError, match="File too large"):
        writer.finish()
    writer.discard()


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    writer = ContentWriter(0, tmp_path / "missing")
    writer.write(b"x")
    with pytest.raises(FileNotFoundError):
        writer.finish()
    writer.discard()


def test_a_file_that_lost_octets_is_an_error(tmp_path: Path) -> None:
    with (tmp_path / "short").open("w+b", buffering=0) as file:
        content = Content(b"", file, 10, 10)
        with pytest.raises(OSError, match="shorter"):
            list(content.blocks())
