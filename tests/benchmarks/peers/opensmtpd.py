"""OpenSMTPD: unpacked from its package, and with mounts of its own, as its folders are compiled in."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
from pathlib import Path

from tests.benchmarks.loads import Load, Plugins, Task
from tests.benchmarks.peers.peer import (
    CACHE,
    CACHE_SHOWN,
    MAX_MESSAGE_OCTETS,
    Missing,
    Peer,
    Running,
    Setting,
    asked,
)

UNPACKED = CACHE / "opensmtpd" / "usr" / "sbin" / "smtpd"
PROGRAM = Path(os.environ.get("BENCH_OPENSMTPD", UNPACKED))
"""The binary; the environment variable BENCH_OPENSMTPD chooses it."""
USERS = ("opensmtpd", "opensmtpq")
PLACES = {"spool": "/var/spool", "lib": "/var/lib", "run": "/run"}
"""Folders of ours by the places where it sees them."""
COMMON = f"""\
smtp max-message-size {MAX_MESSAGE_OCTETS}
smtp limit max-mails 1000000
"""


class OpenSmtpd(Peer):
    """A handful of processes with fixed duties."""

    name = "OpenSMTPD"
    install = (
        f"apt-get download opensmtpd && dpkg -x opensmtpd_*.deb {CACHE_SHOWN}/opensmtpd && "
        "useradd --system opensmtpd && useradd --system opensmtpq"
    )
    color = "#59a14f"
    holds_many = False  # its own limit of sessions

    def version(self) -> str:
        """What the binary says."""
        if not PROGRAM.exists():
            raise Missing("not unpacked (BENCH_OPENSMTPD)")
        if os.geteuid() != 0 or not shutil.which("unshare"):
            raise Missing("needs root and unshare")
        for user in USERS:
            try:
                pwd.getpwnam(user)
            except KeyError:
                raise Missing(f"there is no user {user}") from None
        return asked(str(PROGRAM), "-h").removeprefix("version: OpenSMTPD ").splitlines()[0]

    def lacks(self, load: Load) -> str:
        """Its filters are other processes; it has no way to throw mail away."""
        if load.task is Task.ACCEPT:
            return "cannot throw mail away"
        return "has no plugins" if load.plugins is not Plugins.NONE else ""

    def start(self, setting: Setting) -> Running:
        """In the foreground, with mounts that nobody else sees."""
        file = setting.folder / "smtpd.conf"
        file.write_text(self._configuration(setting))
        file.chmod(0o644)
        (setting.folder / "spool" / "smtpd").mkdir(parents=True, exist_ok=True)
        (setting.folder / "spool" / "smtpd").chmod(0o711)
        (setting.folder / "lib" / "opensmtpd" / "empty").mkdir(parents=True, exist_ok=True)
        (setting.folder / "run").mkdir(exist_ok=True)
        mounts = [
            f"mount --bind {shlex.quote(str(setting.folder / ours))} {theirs}"
            for ours, theirs in PLACES.items()
        ]
        script = " && ".join([*mounts, f"exec {shlex.quote(str(PROGRAM))} -d -f {shlex.quote(str(file))}"])
        return Running(setting, ["unshare", "--mount", "sh", "-c", script])

    def _configuration(self, setting: Setting) -> str:
        tls, pki = "", ""
        if setting.certificate:
            setting.key.chmod(0o600)  # type: ignore[union-attr]  # it comes with the certificate
            pki = f'pki bench cert "{setting.certificate}"\npki bench key "{setting.key}"\n'
            tls = " tls pki bench"
        ports = {
            "any": setting.next_hop,
            **{f'domain "{name}"': port for name, port in setting.routes.items()},
        }
        actions = "".join(
            f'action "to_{port}" relay host "smtp+notls://127.0.0.1:{port}"\n' for port in set(ports.values())
        )
        matches = "".join(
            f'match from any for {what} action "to_{port}"\n' for what, port in reversed(ports.items())
        )
        listen = f"listen on 127.0.0.1 port {setting.port}{tls} hostname mta.example.org\n"
        return COMMON + pki + listen + actions + matches
