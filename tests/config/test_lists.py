"""List and table files: what an entry is, and what happens when the file changes."""

import os
import re
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from harakapy.config import ConfigError, ListFile, PatternFile, Problem, TableFile


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "host_list"


def write(path: Path, text: str) -> None:
    """Replace the file, with a time of its own however fast the test is."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(text)
    os.utime(path, ns=(before + 1_000_000, before + 1_000_000))


def test_entries_are_the_lines_without_space_and_comments(path: Path) -> None:
    path.write_bytes(
        b"\xef\xbb\xbfexample.com\r\n\n  # a comment\n  Example.ORG  \n#other\nb\xc3\xbccher.example"
    )
    hosts = ListFile(path)
    assert hosts.entries == ("example.com", "Example.ORG", "bücher.example")
    assert list(hosts) == ["example.com", "Example.ORG", "bücher.example"]
    assert len(hosts) == 3


def test_names_are_found_in_any_case_and_only_whole(path: Path) -> None:
    path.write_text("Example.com\n")
    hosts = ListFile(path)
    assert "example.COM" in hosts
    assert "mail.example.com" not in hosts
    assert "" not in hosts
    assert None not in hosts


def test_missing_file_is_refused_to_begin_with(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"host_list: cannot be read: No such file or directory$"):
        ListFile(path)


def test_change_is_seen_after_a_second(path: Path, clock: Clock) -> None:
    write(path, "a\n")
    hosts = ListFile(path, now=clock)
    write(path, "b\n")
    clock.time = 0.9
    assert hosts.entries == ("a",)
    clock.time = 1.0
    assert hosts.entries == ("b",)
    assert "b" in hosts


def test_file_that_is_renamed_over_or_linked_elsewhere_is_seen(path: Path, clock: Clock) -> None:
    write(path, "a\n")
    hosts = ListFile(path, now=clock)
    other = path.with_name("other")
    other.write_text("b\n")
    status = path.stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(path)
    clock.time = 1.0
    assert hosts.entries == ("b",)
    other.write_text("c\n")
    path.unlink()
    path.symlink_to(other)
    clock.time = 2.0
    assert hosts.entries == ("c",)


def test_file_that_is_gone_keeps_its_entries_and_is_reported_once(path: Path, clock: Clock) -> None:
    reported: list[Problem] = []
    write(path, "a\n")
    hosts = ListFile(path, report=reported.append, now=clock)
    path.unlink()
    for clock.time in (1.0, 2.0, 3.0):
        assert hosts.entries == ("a",)
    assert [str(problem) for problem in reported] == [f"{path}: cannot be read: No such file or directory"]
    write(path, "b\n")
    clock.time = 4.0
    assert hosts.entries == ("b",)


def test_file_that_is_no_text_keeps_its_entries(path: Path, clock: Clock) -> None:
    reported: list[Problem] = []
    write(path, "a\n")
    hosts = ListFile(path, report=reported.append, now=clock)
    path.write_bytes(b"\xff\xfe")
    clock.time = 1.0
    assert hosts.entries == ("a",)
    assert [problem.message for problem in reported] == ["is not UTF-8 text"]


def test_file_is_looked_at_once_a_second_at_most(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text("a\n")
    hosts = ListFile(path, now=clock)
    looks: list[Path] = []
    stat = Path.stat

    def counted(self: Path) -> os.stat_result:
        looks.append(self)
        return stat(self)

    monkeypatch.setattr(Path, "stat", counted)
    for clock.time in (0.0, 0.5, 1.0, 1.5, 1.9, 2.0):
        assert "a" in hosts
    assert len(looks) == 2


def test_pattern_matches_the_whole_name_in_any_case(path: Path) -> None:
    path.write_text("# ours\n(.+\\.)?example\\.com\nmx[0-9]#?\\.test | other\n")
    hosts = PatternFile(path)
    assert "example.com" in hosts
    assert "MAIL.Example.com" in hosts
    assert "example.com.evil" not in hosts
    assert "badexample.com" not in hosts
    assert "mx1#.test " in hosts
    assert None not in hosts
    assert len(hosts) == 2


def test_alternatives_of_one_line_do_not_spill_into_another(path: Path) -> None:
    path.write_text("a|b\nc\n")
    assert [name for name in ("a", "b", "c", "ac", "bc", "a|b") if name in PatternFile(path)] == [
        "a",
        "b",
        "c",
    ]


def test_groups_and_flags_of_one_line_do_not_meddle_with_another(path: Path) -> None:
    path.write_text("(a)(b)\\2\n(?P<x>c)(?P=x)\n(?P<x>d)\\1\n(?x) e f\n")
    assert [name for name in ("abb", "aba", "cc", "dd", "ef") if name in PatternFile(path)] == [
        "abb",
        "cc",
        "dd",
        "ef",
    ]


def test_empty_file_of_patterns_matches_nothing(path: Path) -> None:
    path.write_text("# nothing yet\n")
    assert "" not in PatternFile(path)
    assert "a" not in PatternFile(path)


def test_broken_patterns_are_all_told_with_their_lines(path: Path) -> None:
    path.write_text("ok\n(\n\n*\n")
    with pytest.raises(ConfigError) as caught:
        PatternFile(path)
    assert [problem.key for problem in caught.value.problems] == ["line 2", "line 4"]
    assert "is not a regular expression: missing )" in caught.value.problems[0].message


def test_broken_pattern_keeps_the_old_ones(path: Path, clock: Clock) -> None:
    reported: list[Problem] = []
    write(path, "a+\n")
    hosts = PatternFile(path, report=reported.append, now=clock)
    write(path, "b+\n(\n")
    clock.time = 1.0
    assert "aa" in hosts
    assert "bb" not in hosts
    assert hosts.entries == ("a+",)
    assert [problem.key for problem in reported] == ["line 2"]


class Ports(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    ports: dict[str, int] = {}


def test_a_table_is_a_model_and_is_read_again_when_it_changes(path: Path, clock: Clock) -> None:
    problems: list[Problem] = []
    write(path, "[ports]\nsmtp = 25\n")
    table = TableFile(path, Ports, report=problems.append, now=clock)
    before = table.value
    assert before.ports == {"smtp": 25}
    clock.time += 2
    assert table.value is before
    write(path, "[ports]\nsmtp = 'often'\n[port]\n")
    clock.time += 2
    assert table.value is before
    assert [problem.key for problem in problems] == ["ports.smtp", "port"]
    assert "often" not in str(problems)
    write(path, "[ports]\nsubmission = 587\n")
    clock.time += 2
    assert table.value.ports == {"submission": 587}


@pytest.mark.parametrize("octets", [b"a = ", b"\xff", b"ports = 25\n"])
def test_a_table_that_is_wrong_to_begin_with_is_an_error(octets: bytes, path: Path) -> None:
    path.write_bytes(octets)
    with pytest.raises(ConfigError, match=re.escape(str(path))):
        TableFile(path, Ports)
