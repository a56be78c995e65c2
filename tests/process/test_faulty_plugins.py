"""A plugin that fails in whatever way hurts the client it failed for, and nobody else."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import trio

from harakapy import OK, Address, Server, Settings, hookimpl
from harakapy.log import Logger, open_logger, silent_logger
from harakapy.log.target import StreamTarget
from harakapy.testing import Client, connect

MESSAGE = b"Subject: hello\r\n\r\nbody\r\n"
TEMPORARY = (451, "4.3.0", ("Temporary failure, try again later",))


class Faulty:
    """Fails for recipients whose local part says how."""

    @hookimpl(timeout_s=0.05)
    def hook_rcpt(self, recipient: Address) -> Any:
        if recipient.user == "raise":
            raise RuntimeError("the secret of the plugin")
        if recipient.user == "nonsense":
            return 42
        if recipient.user == "block":
            time.sleep(0.2)  # the fault under test: it keeps the whole event loop waiting
        return None

    @hookimpl(specname="hook_rcpt", timeout_s=3600)
    async def hang(self, recipient: Address) -> None:
        if recipient.user == "hang":
            await trio.sleep_forever()


class TakeAll:
    """Takes everything."""

    @hookimpl(trylast=True)
    def hook_rcpt(self) -> Any:
        return OK

    @hookimpl
    def hook_queue(self) -> Any:
        return OK


@asynccontextmanager
async def serving(folder: Path, log: Logger | None = None) -> AsyncIterator[Server]:
    settings = Settings.default(state_dir=str(folder), listen=[], dns={"rdns": False})
    server = Server(settings, plugins=[Faulty(), TakeAll()], log=log or silent_logger())
    async with server.running():
        yield server


@asynccontextmanager
async def greeted(server: Server) -> AsyncIterator[Client]:
    async with connect(server) as client:
        await client.reply()
        await client.command("HELO client.test")
        yield client


@pytest.mark.parametrize("fault", ["raise", "nonsense", "block", "hang"])
async def test_the_client_is_asked_to_come_back_and_others_notice_nothing(
    fault: str, tmp_path: Path, autojump_clock: trio.abc.Clock
) -> None:
    async with serving(tmp_path) as server, greeted(server) as unlucky, greeted(server) as other:
        await unlucky.command("MAIL FROM:<a@client.test>")
        await unlucky.send(f"RCPT TO:<{fault}@example.com>\r\n".encode())
        await trio.testing.wait_all_tasks_blocked()  # now the plugin hangs, or has failed
        began = trio.current_time()
        replies = await other.hand_over("a@client.test", ["user@example.com"], MESSAGE)
        assert [reply.code for reply in replies] == [250, 250, 354, 250]
        assert trio.current_time() == began
        reply = await unlucky.reply()
        assert reply is not None
        assert (reply.code, reply.enhanced, reply.lines) == TEMPORARY
        replies = await unlucky.hand_over("", ["user@example.com"], MESSAGE)
        assert replies[0].code == 503  # the transaction is still there, and takes another recipient
        assert (await unlucky.command("RCPT TO:<user@example.com>")).code == 250


async def test_the_log_has_the_traceback_that_the_client_does_not_see(tmp_path: Path) -> None:
    stream = BytesIO()
    log = open_logger(format_name="json", target=StreamTarget(stream))
    async with serving(tmp_path, log) as server, greeted(server) as client:
        await client.command("MAIL FROM:<a@client.test>")
        reply = await client.command("RCPT TO:<raise@example.com>")
        assert "secret" not in str(reply)
        assert server.hooks.faults == {("faulty", "rcpt"): 1}
    log.output.sink.close()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    (fault,) = [line for line in lines if line["level"] == "crit"]
    assert fault["plugin"] == "faulty"
    assert fault["hook"] == "rcpt"
    assert "the secret of the plugin" in json.dumps(fault)
    assert "test_faulty_plugins.py" in json.dumps(fault)
