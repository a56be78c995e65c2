"""Exim: from its package, which may be unpacked only, since it cannot be installed beside Postfix."""

from __future__ import annotations

import os
import pwd
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

UNPACKED = CACHE / "exim" / "usr" / "sbin" / "exim4"
PROGRAM = os.environ.get("BENCH_EXIM") or shutil.which("exim4") or shutil.which("exim") or str(UNPACKED)
"""The binary; the environment variable BENCH_EXIM chooses it."""
USER = "Debian-exim"


class Exim(Peer):
    """A daemon that forks for each connection and each delivery."""

    name = "Exim"
    install = (
        "apt-get install exim4-daemon-light, or beside Postfix: apt-get download exim4-daemon-light && "
        f"dpkg -x exim4-daemon-light_*.deb {CACHE_SHOWN}/exim && useradd --system {USER}"
    )
    color = "#76b7b2"
    holds_many = False
    keeps_queue = True

    def version(self) -> str:
        """What the binary says."""
        if not Path(PROGRAM).exists():
            raise Missing("not installed, and not unpacked either (BENCH_EXIM)")
        if os.geteuid() != 0:
            raise Missing("needs root, or may not choose its configuration")
        words = asked(PROGRAM, "-C", "/dev/null", "-bV").split()
        if "version" not in words:
            raise Missing(" ".join(words))
        return words[words.index("version") + 1]

    def lacks(self, load: Load) -> str:
        """It has a language of its own for policies, and no plugins."""
        return "has no plugins" if load.plugins is not Plugins.NONE else ""

    def start(self, setting: Setting) -> Running:
        """The daemon in the foreground."""
        file = setting.folder / "exim.conf"
        for name in ("spool", "log"):
            (setting.folder / name).mkdir(exist_ok=True)
            shutil.chown(setting.folder / name, USER, pwd.getpwnam(USER).pw_gid)
        file.write_text(self._configuration(setting))
        return Running(
            setting,
            [PROGRAM, "-C", str(file), "-bdf", "-q30m"],
            lists_queue=[PROGRAM, "-C", str(file), "-bp"],
            flushes_queue=[PROGRAM, "-C", str(file), "-qqff"],
        )

    def _configuration(self, setting: Setting) -> str:
        verb = "discard" if setting.task is Task.ACCEPT else "accept"
        tls = ""
        if setting.certificate:
            pair = f"tls_certificate = {setting.certificate}\ntls_privatekey = {setting.key}"
            tls = f"tls_advertise_hosts = *\n{pair}"
        routes = "".join(f"; {domain} 127.0.0.1::{port}" for domain, port in setting.routes.items())
        return f"""\
exim_path = {PROGRAM}
primary_hostname = mta.example.org
spool_directory = {setting.folder}/spool
log_file_path = {setting.folder}/log/%slog
daemon_smtp_ports = {setting.port}
local_interfaces = 127.0.0.1
message_size_limit = {MAX_MESSAGE_OCTETS}
smtp_accept_max = 200
smtp_accept_queue_per_connection = 0
smtp_accept_max_per_connection = 0
smtp_connect_backlog = 1024
rfc1413_query_timeout = 0s
keep_environment =

{tls or "tls_advertise_hosts ="}
acl_smtp_rcpt = rcpt
acl_smtp_data = content
begin acl
rcpt:
  {verb}
content:
  accept
begin routers
all:
  driver = manualroute
  route_list = {routes.removeprefix("; ")}{"; " if routes else ""}* 127.0.0.1::{setting.next_hop or 1}
  transport = remote
  self = send
begin transports
remote:
  driver = smtp
  allow_localhost
  hosts_avoid_tls = *
begin retry
* * F,2h,15m
"""
