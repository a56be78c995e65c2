"""The floors: what is left when a server does hardly anything."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.metadata import version

from tests.benchmarks.loads import Load, Plugins, Task
from tests.benchmarks.peers.peer import DELIVERIES, Missing, Peer, Running, Setting, asked

BACKLOG = 1024


class BareTrio(Peer):
    """A loop under trio that answers SMTP without looking at it (`tests.benchmarks.bare_trio`)."""

    name = "bare trio"
    install = ""
    color = "#bab0ac"

    def version(self) -> str:
        """That of trio."""
        return f"trio {version('trio')}"

    def lacks(self, load: Load) -> str:
        """It keeps nothing, and has nothing to hang plugins on."""
        if load.task is Task.RELAY:
            return "does not relay"
        return "has no plugins" if load.plugins is not Plugins.NONE else ""

    def start(self, setting: Setting) -> Running:
        """One process."""
        pair = [str(setting.certificate), str(setting.key)] if setting.certificate else []
        command = [sys.executable, "-m", "tests.benchmarks.bare_trio", str(setting.port), *pair]
        return Running(setting, command, environment=_with_our_path())


class BareRelay(Peer):
    """Accepts, syncs in groups, answers, delivers; no hooks, no retries (`tests.benchmarks.bare_relay`)."""

    name = "bare relay"
    install = ""
    color = "#79706e"

    def version(self) -> str:
        """That of trio."""
        return f"trio {version('trio')}"

    def lacks(self, load: Load) -> str:
        """It relays, and nothing else."""
        if load.task is Task.ACCEPT:
            return "only relays"
        if load.plugins is not Plugins.NONE:
            return "has no plugins"
        return "has no TLS" if load.has_starttls else ""

    def start(self, setting: Setting) -> Running:
        """One process."""
        if setting.routes:
            raise Missing("has one next hop only")
        command = [sys.executable, "-m", "tests.benchmarks.bare_relay"]
        told = [setting.port, setting.next_hop, DELIVERIES]
        return Running(setting, [*command, *map(str, told), "journal"], environment=_with_our_path())


class SmtpSink(Peer):
    """What Postfix has for tests: written in C, it reads mail and drops it."""

    name = "smtp-sink"
    install = "apt-get install postfix"
    color = "#d4c9c3"
    holds_many = False

    def version(self) -> str:
        """That of the Postfix it comes with."""
        if not shutil.which("smtp-sink"):
            raise Missing("smtp-sink is not on the PATH; it comes with Postfix")
        return asked("postconf", "-h", "mail_version")

    def lacks(self, load: Load) -> str:
        """It accepts, in clear."""
        if load.task is Task.RELAY:
            return "does not relay"
        if load.plugins is not Plugins.NONE:
            return "has no plugins"
        return "has no TLS" if load.has_starttls else ""

    def start(self, setting: Setting) -> Running:
        """One process."""
        return Running(setting, sink_command(setting.port))


def sink_command(port: int, *options: str) -> list[str]:
    """The command for a smtp-sink, which wants to be told what to become when root starts it."""
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    return ["smtp-sink", *user, *options, f"inet:127.0.0.1:{port}", str(BACKLOG)]


def _with_our_path() -> dict[str, str]:
    """What lets a process in another folder import the benchmark."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
