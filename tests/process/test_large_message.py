"""A message far larger than the memory that the server may take for it."""

import random
import time
from pathlib import Path

import pytest

from tests.process.test_serve import MAILDIR, MESSAGE
from tests.served import serving

MESSAGE_OCTETS = 20_000_000
GROWTH_OCTETS = 8 * 1024 * 1024


def _message() -> bytes:
    """Lines of all lengths, of which many begin with dots."""
    dice = random.Random(20)
    alphabet = bytes(range(32, 127)) + b"." * 20
    line = bytes(dice.choices(alphabet, k=70_000))
    cuts = sorted(dice.sample(range(1, len(line)), 1500))
    lines = [line[start:end] for start, end in zip([0, *cuts], [*cuts, len(line)], strict=True)]
    page = b"\r\n".join([*lines, b".", b"..", b""]) + b"\r\n"
    return b"Subject: large\r\n\r\n" + page * (MESSAGE_OCTETS // len(page) + 1)


def _memory_octets(pid: int, field: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition(f"{field}:")[2].split()[0]) * 1024


def _wait_for_late_imports(pid: int) -> None:
    """Until what a server imports after its start is there, which would count as growth."""
    maps, size = Path(f"/proc/{pid}/maps"), 0
    while "cryptography" not in maps.read_text() or size < _memory_octets(pid, "VmRSS"):
        size = _memory_octets(pid, "VmRSS")
        time.sleep(0.1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_twenty_megabytes_arrive_unchanged_in_little_memory(tmp_path: Path) -> None:
    message = _message()
    assert len(message) >= MESSAGE_OCTETS
    with serving(tmp_path, MAILDIR) as served:
        with served.client() as client:
            client.sendmail("a@client.test", ["warm@example.com"], MESSAGE)
        _wait_for_late_imports(served.process.pid)
        before = _memory_octets(served.process.pid, "VmRSS")
        with served.client() as client:
            client.sendmail("a@client.test", ["large@example.com"], message)
        growth = _memory_octets(served.process.pid, "VmHWM") - before
        (file,) = served.mail("maildir", "large")
        stored = file.read_bytes()
        assert not list(served.folder.glob("state/spool/*"))
    assert stored.endswith(message)
    assert len(stored) - len(message) < 1000
    assert growth < GROWTH_OCTETS
