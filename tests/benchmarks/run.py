"""The benchmark: ``python -m tests.benchmarks.run --help``, or ``nox -s bench``."""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks import durable, extras
from tests.benchmarks.loads import LOADS, Load, named
from tests.benchmarks.measure import Bench, Failed
from tests.benchmarks.peers import ALL, Missing, Peer
from tests.benchmarks.plot import plot
from tests.benchmarks.processes import adopt_orphans
from tests.benchmarks.results import Results, this_machine
from tests.benchmarks.sink import Stuck
from tests.benchmarks.table import page, shown

ROUNDS, SECONDS = 3, 3.0
QUICK_LOADS = "accept-new,accept-kept,accept-1m,relay-kept"
QUICK_ROUNDS, QUICK_SECONDS = 1, 1.0


def main(arguments: Sequence[str]) -> int:
    """Measure what was asked for, and write it down."""
    told = _parser().parse_args(arguments)
    adopt_orphans()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # either ends the servers, and shows what there is
    try:
        loads = named(told.loads) if told.loads else (named(QUICK_LOADS) if told.quick else LOADS)
        peers, results = _present(_chosen(told.peers))
    except ValueError as error:
        print(f"bench: {error}", file=sys.stderr)  # noqa: T201
        return 2
    for name, reason in results.missing.items():
        _say(f"without {name}: {reason}")
    try:
        _measure(told, peers, loads, results)
    except KeyboardInterrupt:
        _say("interrupted; this is what was measured until then")
    print(page(results))  # noqa: T201
    if told.output:
        _write(results, told.output)
    return int(any(results.failures.values()))


def _measure(
    told: argparse.Namespace, peers: Sequence[Peer], loads: Sequence[Load], results: Results
) -> None:
    if told.durable_check:
        results.extra["Mail after a crash"] = durable.check(peers, _say)
        return
    seconds = told.seconds or (QUICK_SECONDS if told.quick else SECONDS)
    for number in range(told.rounds or (QUICK_ROUNDS if told.quick else ROUNDS)):
        if not told.only_extras:
            _say(f"round {number + 1}")
            measure_round(peers, loads, Bench(seconds), results)
        if told.output:
            _write(results, told.output)
    if told.extras or told.only_extras:
        results.extra.update(extras.measure(peers, told.queue, told.idle, _say))


def measure_round(peers: Sequence[Peer], loads: Sequence[Load], bench: Bench, results: Results) -> None:
    """All loads, each with all peers one after another, in an order of its own."""
    for load in loads:
        failed = results.failures.get(load.name, {})
        able = [peer for peer in peers if not peer.lacks(load) and peer.name not in failed]
        for peer in random.sample(able, len(able)):
            try:
                sample = bench.measure(peer, load)
            except (Missing, Failed, Stuck, OSError) as error:
                results.fail(load.name, peer.name, str(error))
                _say(f"{load.name}, {peer.name}: failed: {error}")
            else:
                results.add(load.name, peer.name, sample)
                _say(f"{load.name}, {peer.name}: {shown(sample.rate)}/s, {shown(sample.cpu_us)} us")


def _chosen(names: str) -> list[Peer]:
    if not names:
        return list(ALL)
    by_name = {peer.name.lower().replace(" ", "-"): peer for peer in ALL}
    unknown = [name for name in names.lower().split(",") if name not in by_name]
    if unknown:
        raise ValueError(f"no peer is called {unknown[0]!r}; there are {', '.join(by_name)}")
    return [by_name[name] for name in names.lower().split(",")]


def _present(chosen: Sequence[Peer]) -> tuple[list[Peer], Results]:
    results = Results(this_machine(), {})
    present = []
    for peer in chosen:
        try:
            results.versions[peer.name] = peer.version()
            present.append(peer)
        except Missing as error:
            results.missing[peer.name] = f"{error}; to install: {peer.install}"
    return present, results


def _write(results: Results, stem: Path) -> None:
    stem.with_suffix(".json").write_text(json.dumps(results.as_json(), indent=1) + "\n", encoding="utf-8")
    stem.with_suffix(".md").write_text(page(results), encoding="utf-8")
    if results.samples:
        stem.with_suffix(".svg").write_text(plot(results), encoding="utf-8")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute or two: few loads, one short round")
    parser.add_argument(
        "--loads", default="", metavar="A,B", help="only these; 'accept' and 'relay' mean all of them"
    )
    parser.add_argument(
        "--peers", default="", metavar="A,B", help="only these, such as harakapy,haraka,bare-trio"
    )
    parser.add_argument("--rounds", type=int, help=f"how often each is measured ({ROUNDS})")
    parser.add_argument("--seconds", type=float, help=f"how long each measurement takes, about ({SECONDS:g})")
    parser.add_argument(
        "--extras", action="store_true", help="idle sessions, a large queue and dead destinations, too"
    )
    parser.add_argument("--only-extras", action="store_true", help="these and nothing else")
    parser.add_argument("--queue", type=int, default=100_000, help="messages of the large queue")
    parser.add_argument("--idle", type=int, default=10_000, help="idle sessions")
    parser.add_argument(
        "--durable-check", action="store_true", help="instead: who loses mail when it is killed?"
    )
    parser.add_argument("--output", type=Path, metavar="STEM", help="write STEM.json, STEM.md and STEM.svg")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
