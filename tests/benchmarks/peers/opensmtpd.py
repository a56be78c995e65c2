"""OpenSMTPD: whose folders are compiled in, so that it runs where it has a machine of its own only."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.benchmarks.loads import Load, Plugins, Task
from tests.benchmarks.peers.peer import MAX_MESSAGE_OCTETS, Missing, Peer, Running, Setting, asked

PROGRAM = os.environ.get("BENCH_OPENSMTPD") or "/usr/sbin/smtpd"
SPOOL = Path("/var/spool/smtpd")


class OpenSmtpd(Peer):
    """Its queue is in /var/spool/smtpd whatever is configured; what is in there already is left alone."""

    name = "OpenSMTPD"
    install = "apt-get install opensmtpd (not beside Postfix or Exim: their packages exclude each other)"
    color = "#59a14f"
    keeps_queue = True

    def version(self) -> str:
        """What the binary says."""
        if not Path(PROGRAM).exists():
            raise Missing("not installed; its package excludes those of Postfix and Exim")
        if os.geteuid() != 0:
            raise Missing("needs root")
        if any(SPOOL.glob("queue/*/*")):
            raise Missing(f"{SPOOL} has mail, which is not ours")
        return asked(PROGRAM, "-h").removeprefix("version: ").splitlines()[0]

    def lacks(self, load: Load) -> str:
        """Its filters are other processes; it has no way to throw mail away."""
        if load.task is Task.ACCEPT:
            return "cannot throw mail away"
        return "has no plugins" if load.plugins is not Plugins.NONE else ""

    def start(self, setting: Setting) -> Running:
        """In the foreground."""
        file = setting.folder / "smtpd.conf"
        tls, pki = "", ""
        if setting.certificate:
            pki = f'pki bench cert "{setting.certificate}"\npki bench key "{setting.key}"\n'
            tls = " tls pki bench"
        named = [
            (f'for domain "{domain}" ', f"route_{port}", port) for domain, port in setting.routes.items()
        ]
        actions = [*named, ("for any ", "all", setting.next_hop)]
        defined = "".join(
            f'action "{name}" relay host "smtp://127.0.0.1:{port}"\n'
            for name, port in {name: port for _, name, port in actions}.items()
        )
        matches = "".join(f'match from any {what}action "{name}"\n' for what, name, _ in actions)
        file.write_text(
            f"{pki}smtp max-message-size {MAX_MESSAGE_OCTETS}\n"
            f"listen on 127.0.0.1 port {setting.port}{tls} hostname mta.example.org\n{defined}{matches}"
        )
        if not shutil.which("smtpctl"):
            raise Missing("smtpctl is not on the PATH")
        return Running(setting, [PROGRAM, "-d", "-f", str(file)], lists_queue=["smtpctl", "show", "queue"])
