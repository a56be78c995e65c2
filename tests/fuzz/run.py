"""Fuzz all targets for a given time: ``python -m tests.fuzz.run SECONDS [TARGET...]``.

With atheris, if it can be imported: it follows the branches that an input takes. Else with Hypothesis, which
only knows the seeds. Each target has its share of the time, in a process of its own. An input that a target
does not stand is kept in ``found``, which the test suite replays, and the exit status is 1.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

FOUND = Path(__file__).parent / "found"
MAX_OCTETS = 2048  # longer inputs are slow, and parsers have no new branches for them
INSTRUMENTED = ["harakapy.smtp", "harakapy.net.proxy_protocol", "harakapy.mail"]
PATIENCE_S = 60  # beyond the time given: an engine ends only between two inputs


def main(arguments: list[str]) -> int:
    """Fuzz; the exit status."""
    if arguments[:1] == ["--atheris"]:
        return _fuzz_with_atheris(arguments[1], float(arguments[2]))
    if arguments[:1] == ["--hypothesis"]:
        return _fuzz_with_hypothesis(arguments[1], float(arguments[2]))
    from tests.fuzz.targets import TARGETS

    seconds = float(arguments[0]) if arguments else 60.0
    names = arguments[1:] or list(TARGETS)
    engine = "atheris" if importlib.util.find_spec("atheris") else "hypothesis"
    print(f"{len(names)} targets, {seconds / len(names):.1f} s each, with {engine}")  # noqa: T201
    before = set(FOUND.rglob("*.bin"))
    failed = [name for name in names if not _run(engine, name, seconds / len(names))]
    for path in sorted(set(FOUND.rglob("*.bin")) - before):
        print(f"found {path}")  # noqa: T201
    print("failed: " + ", ".join(failed) if failed else "nothing found")  # noqa: T201
    return 1 if failed else 0


def _run(engine: str, name: str, seconds: float) -> bool:
    (FOUND / name).mkdir(parents=True, exist_ok=True)
    process = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.run", f"--{engine}", name, str(seconds)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        timeout=seconds + PATIENCE_S, check=False,
    )  # fmt: skip
    lines = process.stderr.splitlines()
    runs = [line for line in lines if line.startswith(("Done ", "stat::number_of_executed_units"))]
    print(f"{name}: {runs[-1] if runs else lines[-1] if lines else 'done'}")  # noqa: T201
    if process.returncode:
        told = [line for line in lines if not line.startswith(("#", "INFO", " INFO", "WARNING", "stat::"))]
        sys.stderr.write("\n".join([*told, ""]))
    if not any((FOUND / name).iterdir()):
        (FOUND / name).rmdir()
    return process.returncode == 0


def keep(name: str, data: bytes) -> Path:
    """Write an input to where the test suite finds it."""
    path = FOUND / name / f"{hashlib.sha256(data).hexdigest()[:16]}.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _fuzz_with_atheris(name: str, seconds: float) -> int:
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=INSTRUMENTED):
        from tests.fuzz.targets import TARGETS
    from tests.fuzz.seeds import SEEDS

    def target(data: bytes) -> None:
        try:
            TARGETS[name](data)
        except BaseException:
            keep(name, data)
            raise

    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(SEEDS[name]):
            (Path(corpus) / str(number)).write_bytes(seed)
        limits = [f"-max_total_time={max(1, int(seconds))}", f"-max_len={MAX_OCTETS}", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={corpus}/", corpus], target)
        atheris.Fuzz()  # ends the process
    return 0


def _fuzz_with_hypothesis(name: str, seconds: float) -> int:
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st

    from tests.fuzz.seeds import SEEDS
    from tests.fuzz.targets import TARGETS

    until = time.monotonic() + seconds
    pieces = st.one_of(
        st.sampled_from(SEEDS[name]), st.binary(max_size=40), st.sampled_from(_words(SEEDS[name]))
    )
    runs = 0

    @settings(
        max_examples=500, database=None, deadline=None, suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )  # fmt: skip
    @given(st.lists(pieces, max_size=12).map(b"".join))
    def search(data: bytes) -> None:
        nonlocal runs
        runs += 1
        last.append(data)
        TARGETS[name](data)

    while time.monotonic() < until:
        last: list[bytes] = []
        try:
            search()
        except BaseException:  # noqa: BLE001  # whatever it is, it is what was looked for
            keep(name, last[-1])
            traceback.print_exc()
            return 1
    sys.stderr.write(f"Done {runs} runs\n")
    return 0


def _words(seeds: list[bytes]) -> list[bytes]:
    """Pieces of the seeds, to be put together anew."""
    return sorted({word for seed in seeds for word in seed.replace(b"\r\n", b" \r\n ").split(b" ") if word})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
