"""What the log is written to."""

import os
import stat
from pathlib import Path

import pytest

from harakapy.log import Descriptor, LogFile, Nowhere


def test_log_file_is_made_for_its_owner_and_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "mail.log"
    for text in (b"first\n", b"second\n"):
        file = LogFile(path)
        assert file.write(text) == len(text)
        file.close()
    assert path.read_bytes() == b"first\nsecond\n"
    assert stat.S_IMODE(path.stat().st_mode) & ~0o640 == 0


def test_log_file_goes_on_under_its_name_after_rotation(tmp_path: Path) -> None:
    path, rotated = tmp_path / "mail.log", tmp_path / "mail.log.1"
    file = LogFile(path)
    file.write(b"first\n")
    path.rename(rotated)
    file.write(b"still the old one\n")
    file.reopen()
    file.write(b"second\n")
    file.close()
    assert rotated.read_bytes() == b"first\nstill the old one\n"
    assert path.read_bytes() == b"second\n"


def test_log_file_that_cannot_be_reopened_goes_on_where_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    file = LogFile(folder / "mail.log")
    folder.rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError):
        file.reopen()
    file.write(b"here\n")
    file.close()
    assert (tmp_path / "moved" / "mail.log").read_bytes() == b"here\n"


def test_log_file_in_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        LogFile(tmp_path / "missing" / "mail.log")


def test_pipe_takes_pieces_that_do_not_mix_and_says_when_it_is_full() -> None:
    read, write = os.pipe()
    pipe = Descriptor(write)
    assert pipe.write_octets == 4096
    assert pipe.wait_ready(None)
    while pipe.wait_ready(0.0):
        pipe.write(b"x" * pipe.write_octets)
    assert not pipe.wait_ready(0.001)
    os.read(read, 65536)
    assert pipe.wait_ready(0.0)
    os.close(read)
    os.close(write)


def test_descriptor_is_left_open_for_whoever_opened_it() -> None:
    read, write = os.pipe()
    Descriptor(write).close()
    assert os.write(write, b"x") == 1
    os.close(read)
    os.close(write)


def test_nowhere_takes_everything() -> None:
    nowhere = Nowhere()
    assert nowhere.wait_ready(0.0)
    assert nowhere.write(b"abc") == 3
