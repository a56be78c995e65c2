"""Inputs that once did harm, and those that fuzzing begins with, do none."""

from pathlib import Path

import pytest

from .run import FOUND, main
from .seeds import SEEDS
from .targets import TARGETS, Target

INPUTS = [(path.parent.name, path) for path in sorted(FOUND.rglob("*.bin"))]


@pytest.mark.parametrize(("name", "path"), INPUTS, ids=[f"{name}-{path.stem}" for name, path in INPUTS])
def test_what_was_found_is_mended(name: str, path: Path) -> None:
    TARGETS[name](path.read_bytes())


@pytest.mark.parametrize(("name", "target"), TARGETS.items(), ids=TARGETS)
def test_seeds_cut_short_and_run_together_do_no_harm(name: str, target: Target) -> None:
    for seed in SEEDS[name]:
        for end in range(len(seed) + 1):
            target(seed[:end])
            target(seed[end:])
    target(b"".join(SEEDS[name]))
    target(b"")


def test_what_is_found_is_kept_and_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fragile(data: bytes) -> None:
        assert b"MAIL" not in data, "it broke"

    monkeypatch.setitem(TARGETS, "command", fragile)
    monkeypatch.setattr("tests.fuzz.run.FOUND", tmp_path)
    assert main(["--hypothesis", "command", "5"]) == 1
    [kept] = tmp_path.rglob("*.bin")
    assert b"MAIL" in kept.read_bytes()
    assert "it broke" in capsys.readouterr().err
