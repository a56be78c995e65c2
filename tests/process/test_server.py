"""A server as part of a program: sockets, streams in memory, and nothing that two of them share."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from harakapy import DENY, OK, ConfigError, Plugin, PluginConfig, Server, Settings, Verdict, hookimpl
from harakapy.log import StreamTarget, open_logger, silent_logger
from harakapy.process import StartRefused
from harakapy.process.control_client import ControlClient, ControlLost
from harakapy.process.control_wire import control_path
from harakapy.queue.memory_store import MemoryStore
from harakapy.testing import Client, connect


class GreetingConfig(PluginConfig):
    text: str = "hello"


class Greeting(Plugin[GreetingConfig]):
    """Greets with a text of its own, and notes on the server that it did."""

    @hookimpl
    def hook_connect(self) -> Any:
        self.server.notes["greeted"] = self.server.notes.get("greeted", 0) + 1
        return OK(self.config.text)


def settings(folder: Path, **values: Any) -> Settings:
    return Settings.default(**{"state_dir": str(folder), "listen": [], "dns": {"rdns": False}, **values})


async def greeting_of(server: Server) -> str:
    async with connect(server) as client:
        reply = await client.reply()
        assert reply is not None
        return reply.text


async def test_port_0_is_bound_and_known_before_the_first_connection(tmp_path: Path) -> None:
    listen = [{"address": "127.0.0.1:0"}, {"address": f"unix:{tmp_path}/socket"}]
    server = Server(settings(tmp_path, listen=listen), plugins=[Greeting()], log=silent_logger())
    async with server.running():
        tcp, unix = server.addresses
        assert tcp.port != 0
        assert unix.path == f"{tmp_path}/socket"
        async with await trio.open_tcp_stream("127.0.0.1", tcp.port) as stream:
            reply = await Client(stream).reply()
            assert reply is not None
            assert reply.text == "hello"
        async with await trio.open_unix_socket(unix.path) as socket:
            reply = await Client(socket).reply()
            assert reply is not None
            assert reply.code == 220


async def test_serve_hands_the_server_back_when_it_accepts(tmp_path: Path) -> None:
    server = Server(settings(tmp_path, listen=[{"address": "127.0.0.1:0"}]), log=silent_logger())
    async with trio.open_nursery() as nursery:
        assert await nursery.start(server.serve) is server
        async with await trio.open_tcp_stream("127.0.0.1", server.addresses[0].port) as stream:
            assert (await Client(stream).reply()) is not None
        server.stop()


async def test_two_servers_in_one_process_share_nothing(tmp_path: Path) -> None:
    one = Server(settings(tmp_path / "1"), plugins=[Greeting(text="one")], log=silent_logger())
    two = Server(settings(tmp_path / "2"), plugins=[Greeting(text="two")], log=silent_logger())
    async with one.running(), two.running():
        assert await greeting_of(one) == "one"
        assert await greeting_of(two) == "two"
        assert await greeting_of(two) == "two"
        assert one.notes == {"greeted": 1}
        assert two.notes == {"greeted": 2}
        one.stop()
        assert await greeting_of(two) == "two"


async def test_what_the_block_raises_comes_out_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Server(settings(tmp_path), log=silent_logger()).running():
            raise ZeroDivisionError


async def test_a_server_that_does_not_run_does_not_converse(tmp_path: Path) -> None:
    stream, _ = trio.testing.memory_stream_pair()
    with pytest.raises(RuntimeError, match="does not run"):
        await Server(settings(tmp_path), log=silent_logger()).converse(stream)


async def test_reload_is_for_new_connections(tmp_path: Path) -> None:
    async with Server(settings(tmp_path), log=silent_logger()).running() as server:
        async with connect(server) as old:
            await old.reply()
            server.reload(settings(tmp_path, smtp={"max_message_size": "1 MiB"}))
            assert "SIZE 26214400" in (await old.command("EHLO client.test")).lines
        async with connect(server) as new:
            await new.reply()
            assert "SIZE 1048576" in (await new.command("EHLO client.test")).lines


async def test_a_plugin_that_refuses_the_start_is_named(tmp_path: Path) -> None:
    class Fussy:
        @hookimpl
        def hook_init_master(self) -> Any:
            raise AssertionError("never called: the one before has answered")

    class First:
        @hookimpl
        def hook_init_master(self) -> Any:
            return DENY("not today")

    server = Server(settings(tmp_path), plugins=[First(), Fussy()], log=silent_logger())
    with pytest.raises(StartRefused, match="plugin first: not today"):
        async with server.running():
            raise AssertionError("it must not start")


async def test_shutdown_is_told_to_plugins_behind_the_last_disconnect(tmp_path: Path) -> None:
    seen: list[str] = []

    class Watch:
        @hookimpl
        def hook_disconnect(self) -> None:
            seen.append("disconnect")

        @hookimpl
        def hook_shutdown(self) -> None:
            seen.append("shutdown")

    async with Server(settings(tmp_path), plugins=[Watch()], log=silent_logger()).running() as server:
        await greeting_of(server)
    assert seen == ["disconnect", "shutdown"]


def test_every_problem_of_every_plugin_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise ValueError('out of order')\n")
    values = {
        "plugins": ["queue_maildur", str(tmp_path / "broken.py"), "queue_discard", "rcpt_to_in_host_list"],
        "plugin": {
            "queue_discard": {"only_makred": True},
            "rcpt_to_in_host_list": {"hosts": 5},
        },
    }
    with pytest.raises(ConfigError) as caught:
        Server(settings(tmp_path, **values), log=silent_logger())
    message = str(caught.value)
    assert "did you mean queue_maildir" in message
    assert "ValueError: out of order" in message
    assert "plugin.queue_discard.only_makred: is not a known key; did you mean only_marked?" in message
    assert "plugin.rcpt_to_in_host_list.hosts" in message
    assert len(caught.value.problems) == 4


def test_a_table_of_a_plugin_that_is_not_loaded_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"plugin\.greetings: no plugin of that name is loaded.*greeting"):
        Server(
            settings(tmp_path, plugin={"greetings": {"text": "hi"}}), plugins=[Greeting], log=silent_logger()
        )


def test_a_plugin_given_as_a_class_has_its_table(tmp_path: Path) -> None:
    server = Server(
        settings(tmp_path, plugin={"greeting": {"text": "hi"}}), plugins=[Greeting], log=silent_logger()
    )
    (loaded,) = server.plugins
    assert isinstance(loaded.plugin, Greeting)
    assert loaded.plugin.config.text == "hi"


class Incomplete(Plugin):
    def register(self) -> None:
        raise LookupError("the key is missing")


class Unreadable(Plugin):
    def register(self) -> None:
        (self.server.settings.state_dir / "nothing").read_text()


def test_plugins_that_cannot_register_are_told_all_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Server(settings(tmp_path), plugins=[Incomplete(), Unreadable()], log=silent_logger())
    first, second = map(str, caught.value.problems)
    assert "plugin.incomplete" in first
    assert "LookupError" in first
    assert "the key is missing" in first
    assert "plugin.unreadable" in second
    assert "No such file" in second


def test_warnings_tell_what_no_plugin_does(tmp_path: Path) -> None:
    first, second = Server(settings(tmp_path), log=silent_logger()).warnings()
    assert "hook_rcpt" in first
    assert "hook_queue" in second


async def test_the_line_of_a_message_names_sender_and_recipients(tmp_path: Path) -> None:
    class Accept(Plugin):
        @hookimpl
        def hook_rcpt(self) -> Verdict:
            return OK

        @hookimpl
        def hook_queue(self) -> Verdict:
            return OK

    written = io.BytesIO()
    log = open_logger(target=StreamTarget(written))
    async with (
        Server(settings(tmp_path), plugins=[Accept], log=log).running() as server,
        connect(server) as client,
    ):
        await client.reply()
        await client.command("HELO client.test")
        await client.hand_over("a@b.test", ["c@d.test", '"e f"@g.test'], b"Subject: x\r\n\r\n")
    [line] = [line for line in written.getvalue().decode().splitlines() if "] message " in line]
    assert ' status=accepted sender=<a@b.test> recipients=2 to="c@d.test,\\"e f\\"@g.test" octets=14 ' in line


async def test_an_operator_who_cannot_be_answered_now_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What answers is imported with the first operator, which fails where there are no file descriptors."""

    def ask() -> dict[str, Any]:
        with ControlClient.connect(control_path(tmp_path)) as client:
            return client.execute({"do": "stats"}, lambda part: None)

    server = Server(settings(tmp_path), log=silent_logger(), store=MemoryStore())
    server.owns_state = True
    async with server.running():
        with monkeypatch.context() as lacking:
            lacking.setitem(sys.modules, "harakapy.process.control", None)
            with pytest.raises(ControlLost):
                await trio.to_thread.run_sync(ask)
        assert (await trio.to_thread.run_sync(ask))["messages"] == 0
