"""Limits: what a client gets that goes over one, and that its neighbour does not notice."""

import errno
import os
import resource
import socket
import subprocess
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from harakapy import OK, Plugin, Verdict, hookimpl
from harakapy.net import SocketAddress
from harakapy.testing import Client, connect, play
from tests.inbound.scene import MESSAGE, Accept, serving
from tests.process.test_serve import MAILDIR
from tests.served import Served
from tests.served import serving as serving_process

from .scene import codes, esmtp, in_step, open_transaction, to_data

MIB = 1 << 20
NEIGHBOUR = SocketAddress("198.51.100.1", 40000)


async def greeted(client: Client) -> None:
    await client.reply()
    assert (await client.command("EHLO client.test")).code == 250


async def is_served(client: Client) -> bool:
    """Whether a whole message still passes."""
    return (await client.hand_over("a@b.test", ["b@example.com"], MESSAGE))[-1].code == 250


async def test_a_command_that_trickles_is_cut_by_the_deadline(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """An octet every ten seconds: each is in time, the command is not."""
    async with serving(tmp_path, Accept(), smtp={"command_timeout": "1m"}) as server:
        async with connect(server) as slow, trio.open_nursery() as nursery:
            await greeted(slow)
            began = trio.current_time()

            async def drip() -> None:
                for octet in b"NOOP " + b"x" * 300:
                    await slow.send(bytes([octet]))
                    await trio.sleep(10)

            nursery.start_soon(drip)
            await trio.sleep(50)
            async with connect(server, NEIGHBOUR) as neighbour:
                await greeted(neighbour)
                assert await is_served(neighbour)
            assert await codes(slow) == [421]
            nursery.cancel_scope.cancel()
        assert trio.current_time() - began < 65


async def test_who_connects_and_says_nothing_is_sent_away(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with (
        serving(tmp_path, Accept(), smtp={"command_timeout": "30s"}) as server,
        connect(server) as silent,
        connect(server, NEIGHBOUR) as neighbour,
    ):
        await greeted(neighbour)
        assert await codes(silent) == [220, 421]
        async with connect(server, NEIGHBOUR) as another:
            await greeted(another)
            assert await is_served(another)


async def test_the_twenty_first_error_ends_the_session(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, Accept()) as server,
        connect(server) as client,
        connect(server, NEIGHBOUR) as neighbour,
    ):
        await greeted(client)
        await greeted(neighbour)
        await client.send(b"NONSENSE\r\n" * 30)
        assert await codes(client) == [500] * 20 + [421]
        assert await is_served(neighbour)


@pytest.mark.parametrize("command", ["NOOP", "RSET", "VRFY x", "HELP", "EXPN x", "EHLO client.test"])
async def test_the_hundred_and_first_idle_command_ends_the_session(command: str, tmp_path: Path) -> None:
    async with (
        serving(tmp_path, Accept()) as server,
        connect(server) as client,
        connect(server, NEIGHBOUR) as neighbour,
    ):
        await greeted(client)
        await greeted(neighbour)
        for number in range(100):
            assert (await client.command(command)).code != 421, number
        assert (await client.command(command)).code == 421
        assert await client.reply() is None
        assert await is_served(neighbour)


@pytest.mark.parametrize("where", ["command", "AUTH", "DATA"])
async def test_a_line_without_end_takes_no_memory(where: str, tmp_path: Path) -> None:
    """64 MiB without a line end; in a command it ends the session, in content it is a long line."""
    smtp = {"max_message_size": MIB}
    async with (
        serving(tmp_path, Accept(), smtp=smtp, listen=[{"address": "127.0.0.1:0"}]) as server,
        await trio.open_tcp_stream("127.0.0.1", server.addresses[0].port) as stream,
        connect(server, NEIGHBOUR) as neighbour,
    ):
        client = Client(stream)
        await greeted(client)
        await greeted(neighbour)
        if where == "DATA":
            await to_data(client)
        await client.send({"command": b"NOOP ", "AUTH": b"AUTH PLAIN ", "DATA": b"X: "}[where])
        tracemalloc.start()
        with suppress(trio.BrokenResourceError):
            for _ in range(1024):
                await client.send(b"A" * 65536)
        if where == "DATA":
            await client.send(b"\r\n.\r\n")
            assert str(await client.reply()).startswith("552 5.3.4")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 4 * MIB
        assert await is_served(neighbour)
        if where == "DATA":
            assert await in_step(client)
        else:
            assert await codes(client) in ([500], [])  # a reset may overtake the reply to who does not read


CHATTER = {
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "HTTP": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\nMAIL FROM:<a@b.test>\r\n",
    "random octets": bytes(range(255, -1, -1)) * 4,
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "RDP": b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00",
    "SOCKS": b"\x05\x01\x00\x05\x01\x00\x03\x04test\x00\x19",
    "nothing but line ends": b"\r\n" * 100,
}


@pytest.mark.parametrize("octets", CHATTER.values(), ids=CHATTER)
async def test_another_protocol_on_our_port_ends_the_session_or_waits_for_its_time(
    octets: bytes, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with serving(tmp_path, Accept()) as server, connect(server) as client:
        async with connect(server, NEIGHBOUR) as neighbour:
            await greeted(neighbour)
            await client.send(octets)
            assert await is_served(neighbour)
        got = await codes(client)
        assert got[0] == 220
        assert all(code in (421, 500, 501) for code in got[1:])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_spool_on_a_full_disk_is_a_452_and_leaves_nothing(tmp_path: Path, small_disk: Path) -> None:
    accept = Accept()
    async with (
        serving(tmp_path, accept, smtp={"spool_after": 1024, "spool_dir": str(small_disk)}) as server,
        connect(server) as client,
        connect(server, NEIGHBOUR) as neighbour,
    ):
        await greeted(client)
        await greeted(neighbour)
        await _is_refused_for_want_of_room(client, b"Subject: x\r\n\r\n" + (b"x" * 998 + b"\r\n") * 2000)
        assert list(small_disk.iterdir()) == []
        assert await is_served(neighbour)
        assert await is_served(client)
    assert len(accept.messages) == 2


async def _is_refused_for_want_of_room(client: Client, content: bytes) -> None:
    replies = await client.hand_over("a@b.test", ["b@example.com"], content)
    assert str(replies[-1]).startswith("452 4.3.1 ")


async def test_a_maildir_on_a_full_disk_is_a_452_and_leaves_nothing(tmp_path: Path, small_disk: Path) -> None:
    table = {
        "rcpt_to_in_host_list": {"hosts": ["example.com"]},
        "queue_maildir": {"path": str(small_disk / "{user}")},
    }
    plugins = ["rcpt_to_in_host_list", "queue_maildir"]
    async with esmtp(tmp_path, plugins=plugins, plugin=table) as client:
        content = b"Subject: x\r\n\r\n" + (b"x" * 998 + b"\r\n") * 150
        replies = await client.hand_over("a@b.test", ["b@example.com"], content)
        assert replies[-1].code == 250
        await _is_refused_for_want_of_room(client, content)
        assert len([path for path in small_disk.rglob("*") if path.is_file()]) == 1
        for path in small_disk.rglob("*"):
            if path.is_file():
                path.unlink()
        replies = await client.hand_over("a@b.test", ["b@example.com"], content)
        assert replies[-1].code == 250
        assert await in_step(client)


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE], ids=errno.errorcode.get
)
@pytest.mark.parametrize("step", ["write", "open"])
async def test_whatever_the_disk_says_while_spooling_is_a_452(
    number: int, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = Accept()

    def refuse(*_: Any, **__: Any) -> int:
        raise OSError(number, os.strerror(number))

    async with esmtp(tmp_path, accept, smtp={"spool_after": 1024}) as client:
        with monkeypatch.context() as broken:
            if step == "write":
                broken.setattr(os, "writev", refuse)
            else:
                broken.setattr("tempfile.TemporaryFile", refuse)
            await _is_refused_for_want_of_room(client, b"Subject: x\r\n\r\n" + b"x" * 300_000 + b"\r\n")
        assert list((tmp_path / "spool").iterdir()) == []
        assert await is_served(client)
        assert await in_step(client)
    assert len(accept.messages) == 1


async def test_a_chunk_that_finds_the_disk_full_is_a_452_and_the_session_stays_in_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    accept = Accept()
    async with esmtp(tmp_path, accept, smtp={"spool_after": 1024}) as client:
        await open_transaction(client)
        with monkeypatch.context() as broken:
            broken.setattr(os, "writev", refuse)
            await client.send(b"BDAT 600000\r\nA: b\r\n\r\n" + b"x" * 599_992)
            reply = await client.reply()
        assert str(reply).startswith("452 4.3.1 ")
        await client.send(b"BDAT 6 LAST\r\nQUIT\r\n")
        assert str(await client.reply()).startswith("503 ")
        assert await in_step(client)
    assert accept.messages == []


class Limited:
    """A process of the server with few file descriptors left."""

    def __init__(self, served: Served, free: int) -> None:
        self.served = served
        self.folder = Path(f"/proc/{served.process.pid}")
        self.free(free)

    def free(self, count: int) -> None:
        """Let it open so many more."""
        numbers = [int(path.name) for path in (self.folder / "fd").iterdir()]
        limit = max(numbers) + 1 + count
        _, hard = resource.prlimit(self.served.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.served.process.pid, resource.RLIMIT_NOFILE, (limit, hard))

    def cpu_s(self) -> float:
        """The processor time it has used."""
        fields = (self.folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _connection(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts file descriptors in /proc")
def test_out_of_file_descriptors_open_sessions_go_on_and_new_ones_wait_their_turn(tmp_path: Path) -> None:
    with serving_process(tmp_path, MAILDIR) as served, ExitStack() as stack:
        neighbour = stack.enter_context(served.client())
        neighbour.ehlo()
        neighbour.sendmail("a@b.test", ["first@example.com"], MESSAGE)
        limited = Limited(served, free=8)
        crowd = [stack.enter_context(_connection(served.port)) for _ in range(60)]
        served.wait_for_log("cannot accept connections .*EMFILE")
        before = limited.cpu_s()
        time.sleep(1)
        assert limited.cpu_s() - before < 0.3, "it waits, it does not spin"
        assert neighbour.noop()[0] == 250
        neighbour.mail("a@b.test")
        neighbour.rcpt("second@example.com")
        assert neighbour.data(MESSAGE)[0] in (451, 452), "a message that cannot be stored now"
        for each in crowd:
            each.close()
        served.wait_for_log("accepting connections again")
        neighbour.sendmail("a@b.test", ["second@example.com"], MESSAGE)
        with served.client() as late:
            late.sendmail("a@b.test", ["third@example.com"], MESSAGE)
        assert [len(served.mail("maildir", name)) for name in ("first", "second", "third")] == [1, 1, 1]


async def test_a_plugin_that_hangs_holds_up_its_own_client_only(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    class Hang(Plugin):
        @hookimpl
        async def hook_mail(self, sender: object) -> Verdict | None:
            if "hang" in str(sender):
                await trio.sleep_forever()
            return None

        @hookimpl
        def hook_rcpt(self) -> Verdict:
            return OK

    async with (
        serving(tmp_path, Hang, Accept()) as server,
        connect(server) as client,
        connect(server, NEIGHBOUR) as neighbour,
    ):
        await greeted(client)
        await greeted(neighbour)
        began = trio.current_time()
        await client.send(b"MAIL FROM:<hang@b.test>\r\n")
        assert await is_served(neighbour)
        assert trio.current_time() == began
        await play("S: 451 4.3.0 *", client, timeout_s=60)
        assert trio.current_time() - began == pytest.approx(30, abs=1)
        assert await is_served(client)
