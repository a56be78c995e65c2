"""Haraka, from npm."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

from tests.benchmarks.loads import Load, Plugins, Task
from tests.benchmarks.peers.peer import (
    CACHE,
    CACHE_SHOWN,
    DELIVERIES,
    HOOKED,
    MAX_MESSAGE_OCTETS,
    Missing,
    Peer,
    Running,
    Setting,
    asked,
)

FOLDER = Path(os.environ.get("BENCH_HARAKA", CACHE / "haraka"))
"""Where ``npm install Haraka`` was run; the environment variable BENCH_HARAKA chooses it."""
HOOKS = (
    *("connect_init", "lookup_rdns", "connect", "helo", "ehlo", "capabilities", "unrecognized_command"),
    *("vrfy", "noop", "rset", "quit", "disconnect", "mail", "rcpt", "rcpt_ok", "data", "data_post"),
    *("max_data_exceeded", "queue", "queue_outbound", "queue_ok", "reset_transaction", "deny", "log"),
    *("pre_send_trans_email", "send_email", "get_mx", "delivered", "deferred", "bounce"),
)
"""All hooks of its manual but those of its start; the same as we have."""
AWAITING = ("mail", "rcpt", "data_post")
GROUP = """\
-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""
"""ffdhe2048 (RFC 7919 A.1). Without a file Haraka would look for a group of its own while it is measured."""
HELPER = """
const routes = %s
exports.hook_connect_init = (next, connection) => { if (%s) connection.relaying = true; next() }
exports.hook_lookup_rdns = (next) => next(OK, 'localhost')
if (%s) {
  exports.hook_rcpt = (next) => next(OK)
  exports.hook_get_mx = (next, hmail, domain) =>
    next(OK, { priority: 0, exchange: '127.0.0.1', port: routes[domain] || routes['*'] })
}
"""
"""What its own plugins do by files of settings: who may relay, no lookups of names, the next hop."""


class Haraka(Peer):
    """One process (``nodes=0``), as we are."""

    name = "Haraka"
    install = f"npm install --prefix {CACHE_SHOWN}/haraka Haraka"
    color = "#e15759"
    keeps_queue = True

    def version(self) -> str:
        """That of the package, and of node."""
        if not shutil.which("node"):
            raise Missing("node is not on the PATH")
        package = FOLDER / "node_modules" / "Haraka" / "package.json"
        if not package.exists():
            raise Missing("not installed (BENCH_HARAKA)")
        return f"{json.loads(package.read_text())['version']}, node {asked('node', '--version')}"

    def lacks(self, load: Load) -> str:
        """Nothing."""
        return ""

    def start(self, setting: Setting) -> Running:
        """From a folder with a configuration, as its manual says."""
        folder = setting.folder / "haraka"
        if not folder.exists():
            self._configure(folder, setting)
        program = str(FOLDER / "node_modules" / "Haraka" / "bin" / "haraka")
        command = ["node", program, "-c", str(folder)]
        return Running(
            setting,
            command,
            environment={"YES_REALLY_DO_DISCARD": "1"},
            lists_queue=[*command, "--qlist"],
            flushes_queue=[*command, "--qunstick"],
        )

    def _configure(self, folder: Path, setting: Setting) -> None:
        config, plugins = folder / "config", folder / "plugins"
        for each in (config, plugins, folder / "queue"):
            each.mkdir(parents=True)
        names = [*self._write_plugins(plugins, setting.plugins), "bench_helper"]
        relays = "true" if setting.task is Task.RELAY else "false"
        routes = {"*": setting.next_hop, **setting.routes}
        (plugins / "bench_helper.js").write_text(HELPER % (json.dumps(routes), relays, relays))
        if setting.task is Task.ACCEPT:
            names += ["rcpt_to.in_host_list", "queue/discard"]
        if setting.certificate:
            names = ["tls", *names]
            shutil.copy(str(setting.certificate), config / "tls_cert.pem")
            shutil.copy(str(setting.key), config / "tls_key.pem")
            (config / "dhparams.pem").write_text(GROUP)
        # Its limit is of all deliveries, not of those to one destination, so it must fit their number.
        deliveries = DELIVERIES * (1 + len(setting.routes))
        files = {
            "tls.ini": "dhparam=dhparams.pem",
            "me": "mta.example.org",
            "host_list": "example.com",
            "plugins": "\n".join(names),
            "smtp.ini": f"listen=127.0.0.1:{setting.port}\nnodes=0",
            "connection.ini": _without_limit(),
            "log.ini": "[main]\nlevel=info\ntimestamps=true",
            "outbound.ini": f"concurrency_max={deliveries}\nenable_tls=false\nlocal_mx_ok=true",
        }
        for name, text in files.items():
            (config / name).write_text(f"{text}\n")

    def _write_plugins(self, folder: Path, plugins: Plugins) -> list[str]:
        if plugins is Plugins.NONE:
            return []
        hooks, body = (HOOKS, "next()") if plugins is Plugins.NOOP else (AWAITING, "setImmediate(next)")
        source = "\n".join(f"exports.hook_{hook} = (next) => {body}" for hook in hooks)
        names = [f"bench_{number}" for number in range(HOOKED)]
        for name in names:
            (folder / f"{name}.js").write_text(source)
        return names


def _without_limit() -> str:
    """The file of the package, which needs all its sections, with a larger limit of messages."""
    text = (FOLDER / "node_modules" / "Haraka" / "config" / "connection.ini").read_text()
    return re.sub(r"(?m)^bytes=.*$", f"bytes={MAX_MESSAGE_OCTETS}", text)
