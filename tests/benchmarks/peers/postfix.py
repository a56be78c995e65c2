"""Postfix: an instance of its own beside the one of the system, if there is one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.benchmarks.loads import Load, Plugins, Task
from tests.benchmarks.peers.peer import DELIVERIES, MAX_MESSAGE_OCTETS, Missing, Peer, Running, Setting, asked

SERVICES = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
flush unix n - n 1000? 0 flush
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
"""master.cf: as it comes, without chroot and without local delivery."""


class Postfix(Peer):
    """With the queue it always has: it writes what it will throw away, too."""

    name = "Postfix"
    install = "apt-get install postfix"
    color = "#f28e2b"
    holds_many = False
    keeps_queue = True

    def version(self) -> str:
        """What postconf says."""
        if not shutil.which("postconf") or not shutil.which("postfix"):
            raise Missing("not installed")
        if os.geteuid() != 0:
            raise Missing("its master process needs root")
        return asked("postconf", "-h", "mail_version")

    def lacks(self, load: Load) -> str:
        """Milters are no plugins: they are other processes."""
        return "has no plugins" if load.plugins is not Plugins.NONE else ""

    def start(self, setting: Setting) -> Running:
        """The master process, from our folders."""
        config = setting.folder / "config"
        daemons = asked("postconf", "-h", "daemon_directory")
        if not config.exists():
            self._configure(config, daemons, setting)
        asked("postfix", "-c", str(config), "check")  # makes the folders of the queue
        return Running(
            setting,
            [f"{daemons}/master", "-c", str(config), "-d"],
            lists_queue=["postqueue", "-c", str(config), "-p"],
            flushes_queue=["postqueue", "-c", str(config), "-f"],
        )

    def _configure(self, config: Path, daemons: str, setting: Setting) -> None:
        folder = setting.folder
        config.mkdir()
        (folder / "queue").mkdir()
        (folder / "data").mkdir()
        shutil.chown(folder / "data", "postfix")
        (config / "master.cf").write_text(SERVICES.format(port=setting.port))
        parameters = {
            "compatibility_level": "3.6",
            "queue_directory": folder / "queue",
            "data_directory": folder / "data",
            "daemon_directory": daemons,
            "maillog_file": folder / "log",
            "maillog_file_prefixes": folder,
            "myhostname": "mta.example.org",
            "mydestination": "",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "mynetworks": "127.0.0.0/8",
            "alias_maps": "",
            "smtpd_peername_lookup": "no",
            "in_flow_delay": 0,  # or each message waits a second when many come
            "smtpd_relay_restrictions": "permit_mynetworks, reject",
            "message_size_limit": MAX_MESSAGE_OCTETS,
            "default_destination_concurrency_limit": DELIVERIES,
            "default_destination_recipient_limit": 100,
            "smtp_tls_security_level": "none",
            "relayhost": f"[127.0.0.1]:{setting.next_hop}",
            **self._task(setting),
        }
        (config / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in parameters.items()))

    def _task(self, setting: Setting) -> dict[str, object]:
        chosen: dict[str, object] = {}
        if setting.task is Task.ACCEPT:
            chosen["smtpd_recipient_restrictions"] = "check_recipient_access static:discard"
        if setting.certificate:
            chosen["smtpd_tls_security_level"] = "may"
            chosen["smtpd_tls_chain_files"] = f"{setting.key}, {setting.certificate}"
        if setting.routes:
            routes = ", ".join(f"{domain}=smtp:[127.0.0.1]:{port}" for domain, port in setting.routes.items())
            chosen["transport_maps"] = f"inline:{{{routes}}}"
        return chosen
