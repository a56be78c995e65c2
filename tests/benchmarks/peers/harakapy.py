"""harakapy itself."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version

import harakapy.hooks.hookspecs as hookspecs
from tests.benchmarks.loads import Load, Plugins, Task
from tests.benchmarks.peers.peer import DELIVERIES, HOOKED, MAX_MESSAGE_OCTETS, Peer, Running, Setting

AWAITING = ("hook_mail", "hook_rcpt", "hook_data_post")
"""Hooks on which the plugins of Plugins.AWAIT let others run: of the envelope and of the content."""


def hook_names() -> list[str]:
    """All hooks there are."""
    return [name for name in vars(hookspecs) if name.startswith("hook_")]


def plugin_source(plugins: Plugins) -> str:
    """The code of one plugin that does nothing, on every hook or by awaiting."""
    if plugins is Plugins.NOOP:
        functions = [f"@hookimpl\ndef {name}():\n    return None\n" for name in hook_names()]
        return "\n\n".join(["from harakapy import hookimpl", *functions])
    functions = [f"@hookimpl\nasync def {name}():\n    await trio.sleep(0)\n" for name in AWAITING]
    return "\n\n".join(["import trio\n\nfrom harakapy import hookimpl", *functions])


class Harakapy(Peer):
    """The server of this project, as `harakapy serve` starts it: one process."""

    name = "harakapy"
    install = ""
    color = "#4e79a7"
    keeps_queue = True
    workers = 1

    def version(self) -> str:
        """That of the package in this environment."""
        return version("harakapy")

    def lacks(self, load: Load) -> str:
        """Nothing."""
        return ""

    def start(self, setting: Setting) -> Running:
        """As an operator does, from a configuration file."""
        file = setting.folder / "harakapy.toml"
        if not file.exists():
            file.write_text(self._configuration(setting))
        command = [sys.executable, "-m", "harakapy"]
        return Running(
            setting,
            [*command, "serve", "-c", str(file)],
            lists_queue=[*command, "queue", "list", "-c", str(file)],
            flushes_queue=[*command, "queue", "flush", "--all", "-c", str(file)],
        )

    def _configuration(self, setting: Setting) -> str:
        accept = ["rcpt_to_in_host_list", "queue_discard"]
        names = self._write_plugins(setting) + (accept if setting.task is Task.ACCEPT else ["relay"])
        tables = [
            f"hostname = 'mta.example.org'\nstate_dir = 'state'\nworkers = {self.workers}",
            f"plugins = {json.dumps(names)}",
            f"[[listen]]\naddress = '127.0.0.1:{setting.port}'",
            f"[smtp]\nmax_message_size = {MAX_MESSAGE_OCTETS}",
            "[dns]\nrdns = false",
            "[log]\nfile = 'log'",
        ]
        if setting.certificate:
            pair = f"certificate = '{setting.certificate}'\nkey = '{setting.key}'"
            tables.append(f"[[tls.certificates]]\n{pair}")
        if setting.task is Task.ACCEPT:
            tables.append("[plugin.rcpt_to_in_host_list]\nhosts = ['example.com']")
        else:
            tables.append("[plugin.relay]\nacl = ['127.0.0.0/8']")
            tables += self._routes(setting)
        return "\n\n".join(tables) + "\n"

    def _routes(self, setting: Setting) -> list[str]:
        hop = f"relay_host = 'smtp://127.0.0.1:{setting.next_hop}'"
        limit = f"max_connections_per_destination = {DELIVERIES}"
        return [
            f"[outbound]\n{hop}\n{limit}",
            *(
                f"[[outbound.route]]\ndomains = ['{domain}']\nto = 'smtp://127.0.0.1:{port}'"
                for domain, port in setting.routes.items()
            ),
        ]

    def _write_plugins(self, setting: Setting) -> list[str]:
        if setting.plugins is Plugins.NONE:
            return []
        names = [f"bench_{number}.py" for number in range(HOOKED)]
        for name in names:
            (setting.folder / name).write_text(plugin_source(setting.plugins))
        return names


class HarakapyWorkers(Harakapy):
    """The same with two processes that receive, and one that delivers."""

    name = "harakapy x2"
    color = "#76b7b2"
    workers = 2
