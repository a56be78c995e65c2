"""Results as a page of tables, in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from tests.benchmarks.loads import LOADS, MIB
from tests.benchmarks.results import OURS, Goal, Results, reached

GENERATOR_IS_BUSY = 0.8
"""From this share of a core on, a faster server could have shown no more. Picked."""

Cell = Callable[[str, str], str]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown: the first column to the left, the others to the right."""
    lines = [header, ["---", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def shown(number: float | None) -> str:
    """A number with as many digits as it is worth; a dash for none."""
    if number is None:
        return "-"
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def page(results: Results) -> str:
    """All tables of a run that have something in them."""
    parts = [_about(results)]
    if results.samples:
        parts += [
            f"Messages a second, median of the rounds (and its ratio to that of {OURS} in the same rounds):",
            _by_load(results, _rate_cell(results)),
            "CPU time for each message, in microseconds, all processes of the server:",
            _by_load(results, _cell(results, "cpu_us")),
            "Memory of the server at its peak, in MiB:",
            _by_load(results, _cell(results, "memory_octets", MIB)),
            f"Noise: the rates of {OURS}'s rounds are {_noise(results)} apart (median over the loads).",
            f"The generator took more than {GENERATOR_IS_BUSY:.0%} of a core with: {_limited(results)}.",
            f"Seconds from the start to the greeting, median: {_ready(results)}.",
        ]
        if goals := reached(results):
            parts.append(_goals(goals))
    parts += [_extra_table(title, rows) for title, rows in results.extra.items()]
    failures = [
        f"- {load}, {peer}: {reason}"
        for load, peers in results.failures.items()
        for peer, reason in peers.items()
    ]
    if failures:
        parts.append("Not measured:\n\n" + "\n".join(failures))
    return "\n\n".join(parts) + "\n"


def _about(results: Results) -> str:
    machine = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    missing = "".join(f"\n- without {name}: {reason}" for name, reason in results.missing.items())
    return (
        f"{machine['date']}: {machine['cores']} cores of {machine['processor']}, "
        f"{machine['memory_octets'] / MIB / 1024:.0f} GiB, {machine['system']}, Python {machine['python']}; "
        f"load of the machine before: {machine['load_before']:.1f}\n\n{versions}{missing}"
    )


def _by_load(results: Results, cell: Cell) -> str:
    peers = [name for name in results.versions if any(name in each for each in results.samples.values())]
    loads = [load for load in LOADS if load.name in results.samples]
    return table(["", *peers], [[load.title, *(cell(load.name, peer) for peer in peers)] for load in loads])


def _rate_cell(results: Results) -> Cell:
    def cell(load: str, peer: str) -> str:
        ratio = results.ratio(load, peer, OURS)
        text = shown(results.median(load, peer))
        return text if ratio is None or peer == OURS else f"{text} ({ratio:.2f})"

    return cell


def _cell(results: Results, value: str, unit: float = 1.0) -> Cell:
    def cell(load: str, peer: str) -> str:
        median = results.median(load, peer, value)
        return shown(None if median is None else median / unit)

    return cell


def _noise(results: Results) -> str:
    spreads = [
        results.spread(load, OURS) for load, peers in results.samples.items() if len(peers.get(OURS, ())) > 1
    ]
    return f"{statistics.median(spreads):.0%}" if spreads else "unknown: a single round"


def _ready(results: Results) -> str:
    times: dict[str, list[float]] = {}
    for peers in results.samples.values():
        for peer, samples in peers.items():
            times.setdefault(peer, []).extend(sample.ready_s for sample in samples)
    medians = {peer: statistics.median(times[peer]) for peer in results.versions if peer in times}
    return ", ".join(f"{peer} {median:.2f}" for peer, median in medians.items())


def _limited(results: Results) -> str:
    """The loads in which a generator was busy most of the time, for some peer."""
    busy = [
        f"{load} with {peer}"
        for load, peers in results.samples.items()
        for peer in peers
        if (results.median(load, peer, "generator_share") or 0) > GENERATOR_IS_BUSY
    ]
    return ", ".join(busy) or "none"


def _goals(goals: Sequence[tuple[Goal, float, float | None]]) -> str:
    rows = [[_title(goal), shown(goal.least), shown(rates), shown(cpu)] for goal, rates, cpu in goals]
    header = ["", "aim, rates", "reached, rates", "reached, CPU time"]
    return "What is aimed at, and what was reached:\n\n" + table(header, rows)


def _title(goal: Goal) -> str:
    other = "the same without plugins" if goal.other_load else goal.peer
    return f"{goal.ours} by {other}: {next(load.title for load in LOADS if load.name == goal.load)}"


def _extra_table(title: str, extra: dict[str, Any]) -> str:
    return f"{title}:\n\n" + table(extra["header"], extra["rows"])
