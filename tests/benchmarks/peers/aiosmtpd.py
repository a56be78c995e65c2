"""aiosmtpd with the least of handlers: it accepts everything and throws it away."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version

from tests.benchmarks.loads import Load, Plugins, Task
from tests.benchmarks.peers.peer import MAX_MESSAGE_OCTETS, Missing, Peer, Running, Setting

PROGRAM = """
import asyncio, ssl, sys
from aiosmtpd.smtp import SMTP

class Handler:
    async def handle_DATA(self, server, session, envelope):
        return "250 OK"

port, limit, *pair = sys.argv[1:]
context = None
if pair:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*pair)

def session():
    return SMTP(Handler(), hostname="mta.example.org", data_size_limit=int(limit), tls_context=context)

async def serve():
    server = await asyncio.get_running_loop().create_server(session, "127.0.0.1", int(port), backlog=1024)
    await server.serve_forever()

asyncio.run(serve())
"""


class Aiosmtpd(Peer):
    """A library, so the handler is ours; it has neither queue nor delivery."""

    name = "aiosmtpd"
    install = "pip install aiosmtpd"
    color = "#b07aa1"

    def version(self) -> str:
        """That of the package in this environment."""
        try:
            return version("aiosmtpd")
        except PackageNotFoundError:
            raise Missing("not installed") from None

    def lacks(self, load: Load) -> str:
        """It has no plugins and does not relay."""
        if load.task is Task.RELAY:
            return "does not relay"
        return "has no plugins" if load.plugins is not Plugins.NONE else ""

    def start(self, setting: Setting) -> Running:
        """One process, one event loop."""
        pair = [str(setting.certificate), str(setting.key)] if setting.certificate else []
        return Running(
            setting, [sys.executable, "-c", PROGRAM, str(setting.port), str(MAX_MESSAGE_OCTETS), *pair]
        )
