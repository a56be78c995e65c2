"""What an idle session costs: ``python -m tests.benchmarks.idle_sessions [SESSIONS]``.

A server of its own process takes that many connections (10,000 unless told) that have said EHLO and then
nothing; the clients live in another process. Shown is by how much the server's memory has grown, divided by
the sessions: RSS, and PSS, which counts what processes share in part only. What the kernel has for sockets
is in neither. With ``--tls`` the sessions begin with TLS. ``--trace`` shows where it is allocated, which
makes everything slower and larger.
"""

from __future__ import annotations

import os
import re
import resource
import socket
import ssl
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

SESSIONS = 10_000
SPARE_DESCRIPTORS = 500
CLIENTS_PER_ADDRESS = 5000  # so that the ports of one address pair do not run out
AIM_OCTETS = 8192
SETTINGS: dict[str, Any] = {
    "hostname": "mx.test",
    "plugins": ["queue_discard", "rcpt_to_in_host_list"],
    "listen": [{"address": "127.0.0.1:0"}],
    "smtp": {"max_connections": 100_000, "command_timeout": "1h"},
    "dns": {"rdns": False},
    "log": {"level": "notice"},
}
SHOWN_PLACES = 60


def main(arguments: list[str]) -> int:
    """Measure; the exit status is 1 if a session costs more than was aimed at."""
    if arguments[:1] == ["--clients"]:
        return _be_clients(int(arguments[1]), int(arguments[2]), is_tls="--tls" in arguments)
    if arguments[:1] == ["--server"]:
        return _be_server(is_traced="--trace" in arguments, is_tls="--tls" in arguments)
    options = [each for each in arguments if each in ("--trace", "--tls")]
    numbers = [int(argument) for argument in arguments if argument.isdigit()]
    sessions = numbers[0] if numbers else SESSIONS
    _raise_limit(sessions)
    with tempfile.TemporaryDirectory() as folder:
        return _measure(sessions, Path(folder), options)


def _raise_limit(sessions: int) -> None:
    needed = sessions + SPARE_DESCRIPTORS
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        sys.exit(f"needs {needed} file descriptors (ulimit -n), and may have {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _measure(sessions: int, folder: Path, options: list[str]) -> int:
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    this = [sys.executable, "-m", "tests.benchmarks.idle_sessions"]
    with (
        subprocess.Popen(
            [*this, "--server", *options], cwd=folder, env=environment, text=True,
            stdout=subprocess.PIPE, stdin=subprocess.PIPE,
        ) as server,
    ):  # fmt: skip
        assert server.stdout is not None
        assert server.stdin is not None
        port = server.stdout.readline().strip()
        _warm_up(int(port), is_tls="--tls" in options)
        before = _memory(server.pid)
        with subprocess.Popen(
            [*this, "--clients", port, str(sessions), *options],
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
        ) as clients:
            assert clients.stdout is not None
            assert clients.stdin is not None
            assert clients.stdout.readline().strip() == "all have said EHLO"
            after = _memory(server.pid)
            server.stdin.write("\n")
            server.stdin.flush()
            if "--trace" in options:
                print(server.stdout.read().replace("@", "\n").strip())  # noqa: T201
            clients.stdin.close()
        server.kill()
    each = {name: (after[name] - before[name]) / sessions for name in before}
    shown = ", ".join(f"{name} {octets:,.0f} octets" for name, octets in each.items())
    print(f"{sessions} idle sessions, each: {shown}")  # noqa: T201
    return int("--tls" not in options and max(each.values()) > AIM_OCTETS)


def _warm_up(port: int, *, is_tls: bool) -> None:
    """Have the server load and cache what it needs for any session."""
    for _ in range(50):
        with _connected(port, is_tls=is_tls) as client:
            client.sendall(b"EHLO client.test\r\nQUIT\r\n")
            while client.recv(65536):
                pass


def _memory(process: int) -> dict[str, int]:
    """What the process has of memory, in octets."""
    text = Path(f"/proc/{process}/smaps_rollup").read_text()
    return {name: int(re.search(rf"^{name}: +(\d+) kB", text, re.M)[1]) * 1024 for name in ("Rss", "Pss")}  # type: ignore[index]


def _connected(port: int, address: str = "127.0.0.1", *, is_tls: bool) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), source_address=(address, 0))
    return _client_tls().wrap_socket(client) if is_tls else client


@cache
def _client_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _be_clients(port: int, sessions: int, *, is_tls: bool) -> int:
    _raise_limit(sessions)
    clients = []
    for number in range(sessions):
        address = f"127.0.0.{2 + number // CLIENTS_PER_ADDRESS}"
        client = _connected(port, address, is_tls=is_tls)
        client.sendall(b"EHLO client.test\r\n")
        clients.append(client)
    for client in clients:
        received = b""
        while b"\r\n250 " not in received:
            received += client.recv(4096)
    print("all have said EHLO", flush=True)  # noqa: T201
    sys.stdin.read()
    return 0


def _be_server(*, is_traced: bool, is_tls: bool) -> int:
    import tracemalloc

    import trio

    from harakapy import Server, Settings

    settings = {**SETTINGS, **_tls_settings()} if is_tls else SETTINGS

    async def serve() -> None:
        server = Server(Settings.default(state_dir=str(Path.cwd()), **settings))
        async with server.running():
            print(server.addresses[0].port, flush=True)  # noqa: T201
            if is_traced:
                await trio.sleep(1)
                tracemalloc.start(8)
            await trio.to_thread.run_sync(sys.stdin.readline)
            if is_traced:
                for place in tracemalloc.take_snapshot().statistics("lineno")[:SHOWN_PLACES]:
                    print(f"{place.size / SESSIONS:8.1f} {place}", end="@")  # noqa: T201
                print(flush=True)  # noqa: T201
                os._exit(0)

    trio.run(serve)
    return 0


def _tls_settings() -> dict[str, Any]:
    import trustme

    certificate = trustme.CA().issue_cert("mx.test")
    certificate.cert_chain_pems[0].write_to_path("server.crt")
    certificate.private_key_pem.write_to_path("server.key")
    here = Path.cwd()
    pair = {"certificate": str(here / "server.crt"), "key": str(here / "server.key")}
    return {
        "listen": [{"address": "127.0.0.1:0", "tls": "implicit"}],
        "tls": {"certificates": [pair], "handshake_timeout": "10m"},
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
