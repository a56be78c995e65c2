"""Results: samples, their medians, ratios between peers, and all that as JSON."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

OURS = "harakapy"


@dataclass(frozen=True, slots=True)
class Sample:
    """What one round of one load has shown of one peer.

    ``rate`` in messages a second; ``cpu_us`` and ``memory_octets`` of all its processes, CPU for each
    message, memory at its peak (PSS); ``ready_s`` from the start to the greeting; ``generator_share`` is how
    much of one core the generator used: near 1 it may have been the limit.
    """

    rate: float
    cpu_us: float
    memory_octets: int
    ready_s: float
    messages: int
    generator_share: float


@dataclass(slots=True)
class Results:
    """All of a run: samples by load and peer, why others are missing, and the extra measurements."""

    machine: dict[str, Any]
    versions: dict[str, str]
    missing: dict[str, str] = field(default_factory=dict)
    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    failures: dict[str, dict[str, str]] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    def add(self, load: str, peer: str, sample: Sample) -> None:
        """Keep a sample."""
        self.samples.setdefault(load, {}).setdefault(peer, []).append(sample)

    def fail(self, load: str, peer: str, reason: str) -> None:
        """Keep why a round was not measured."""
        self.failures.setdefault(load, {})[peer] = reason

    def median(self, load: str, peer: str, value: str = "rate") -> float | None:
        """The median of all rounds; None if there was none, or one has failed."""
        samples = self.samples.get(load, {}).get(peer)
        if not samples or peer in self.failures.get(load, {}):
            return None
        return float(statistics.median(getattr(sample, value) for sample in samples))

    def spread(self, load: str, peer: str) -> float:
        """How far the rates of the rounds are apart: the largest less the smallest, by the median."""
        rates = [sample.rate for sample in self.samples[load][peer]]
        return (max(rates) - min(rates)) / statistics.median(rates)

    def ratio(self, load: str, ours: str, other: str, other_load: str = "") -> float | None:
        """The rate of one peer by that of another: the median of the ratios within the rounds.

        What disturbs a whole round disturbs both, so this is steadier than a ratio of medians.
        """
        if self.median(load, ours) is None or self.median(other_load or load, other) is None:
            return None
        pairs = zip(self.samples[load][ours], self.samples[other_load or load][other], strict=False)
        return statistics.median(one.rate / two.rate for one, two in pairs)

    def cpu_ratio(self, load: str, ours: str, other: str, other_load: str = "") -> float | None:
        """The CPU time that the other takes for a message by that of ours: above 1 if ours takes less.

        It depends less than rates do on what else the machine does.
        """
        one, two = self.median(load, ours, "cpu_us"), self.median(other_load or load, other, "cpu_us")
        return two / one if one and two else None

    def as_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them again."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Results:
        """What `as_json` gave."""
        results = cls(**value)
        results.samples = {
            load: {peer: [Sample(**sample) for sample in samples] for peer, samples in peers.items()}
            for load, peers in value["samples"].items()
        }
        return results


@dataclass(frozen=True, slots=True)
class Goal:
    """What we want to reach: ``least`` times the rate of a peer, with the server that is ``ours``."""

    load: str
    peer: str
    least: float
    other_load: str = ""
    ours: str = OURS


GOALS = (
    Goal("accept-new", "Haraka", 3.0),
    Goal("accept-new", "aiosmtpd", 3.0),
    Goal("accept-new", "bare trio", 0.5),
    Goal("accept-kept", "Haraka", 1.7),
    Goal("accept-kept", "aiosmtpd", 3.0),
    Goal("accept-kept", "bare trio", 0.6),
    Goal("accept-1m", "Haraka", 1.5),
    Goal("accept-1m", "smtp-sink", 0.8),
    Goal("relay-kept", "Postfix", 3.0),
    Goal("relay-kept", "Haraka", 5.0),
    Goal("relay-kept", "bare relay", 0.5),
    Goal("accept-noop", OURS, 0.85, "accept-kept"),
    # The load with most work for each message: there the generator, which shares the cores, matters least.
    Goal("accept-await", OURS, 1.6, ours="harakapy x2"),
)
"""Of the speed that is aimed at; docs/benchmark.md tells which are met."""


def reached(results: Results, goals: Iterable[Goal] = GOALS) -> list[tuple[Goal, float, float | None]]:
    """The goals that this run says something about, each with the ratios of rates and of CPU time."""
    found = []
    for goal in goals:
        compared = goal.load, goal.ours, goal.peer, goal.other_load
        ratio = results.ratio(*compared)
        if ratio is not None:
            found.append((goal, ratio, results.cpu_ratio(*compared)))
    return found


def this_machine() -> dict[str, Any]:
    """What a reader must know of the machine, and the time."""
    text = Path("/proc/cpuinfo").read_text()
    models = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": models[0] if models else "unknown",
        "cores": len(os.sched_getaffinity(0)),
        "memory_octets": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }
