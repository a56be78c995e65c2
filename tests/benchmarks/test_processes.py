"""Accounting of processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.benchmarks.processes import TICKS_PER_S, Stat, Tree, all_processes, descendants

LINE = "{pid} (a (b) c) {state} {parent} 1 1 0 -1 4194560 9 0 0 0 {user} {system} {cuser} {csystem} 20 0 1 0"


def _line(
    pid: int = 7, parent: int = 1, state: str = "S", user: int = 0, system: int = 0, children: int = 0
) -> str:
    return LINE.format(
        pid=pid, parent=parent, state=state, user=user, system=system, cuser=children, csystem=children
    )


def test_a_name_with_spaces_and_parentheses_is_skipped() -> None:
    stat = Stat.parse(_line(pid=7, parent=3, state="Z"))
    assert (stat.pid, stat.parent, stat.state) == (7, 3, "Z")


def test_time_of_children_waited_for_counts() -> None:
    assert Stat.parse(_line(user=1, system=2, children=4)).cpu_s == 11 / TICKS_PER_S


def test_a_line_cut_short_is_refused() -> None:
    with pytest.raises(ValueError, match="not a line"):
        Stat.parse("7 (name) S 1")


def test_descendants_are_found_at_any_depth_and_others_are_not() -> None:
    parents = {2: 1, 5: 2, 4: 5, 9: 1, 3: 4}
    processes = [Stat(pid, parent, "S", 0.0) for pid, parent in parents.items()]
    assert {process.pid for process in descendants(processes, 2)} == {2, 5, 4, 3}


def test_a_tree_has_memory_until_it_is_killed() -> None:
    program = (
        "import subprocess, sys; print(1, flush=True); subprocess.run([sys.executable, '-c', 'input()'])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        others = {stat.pid for stat in descendants(all_processes(), os.getpid())} - {process.pid, os.getpid()}
        tree = Tree(process.pid, others)
        assert tree.memory_octets() > 0
        tree.kill()
        assert tree.memory_octets() == 0
