"""The servers that are measured, each with how it is installed and configured."""

from tests.benchmarks.peers.aiosmtpd import Aiosmtpd
from tests.benchmarks.peers.exim import Exim
from tests.benchmarks.peers.floors import BareRelay, BareTrio, SmtpSink
from tests.benchmarks.peers.haraka import Haraka
from tests.benchmarks.peers.harakapy import Harakapy, HarakapyWorkers
from tests.benchmarks.peers.opensmtpd import OpenSmtpd
from tests.benchmarks.peers.peer import Missing, Peer, Running, Setting, no_reason
from tests.benchmarks.peers.postfix import Postfix

__all__ = ["ALL", "Missing", "Peer", "Running", "Setting", "no_reason"]

ALL: tuple[Peer, ...] = (
    Harakapy(),
    HarakapyWorkers(),
    Haraka(),
    Postfix(),
    Exim(),
    OpenSmtpd(),
    Aiosmtpd(),
    BareTrio(),
    BareRelay(),
    SmtpSink(),
)
"""In the order of the tables: ours, those a user may choose, the floors."""
