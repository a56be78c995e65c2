"""The loads, and who makes them."""

from __future__ import annotations

import pytest

from tests.benchmarks.loads import LOADS, MIB, Plugins, Source, Task, named
from tests.benchmarks.measure import generator_command
from tests.benchmarks.peers.haraka import HOOKS
from tests.benchmarks.peers.harakapy import hook_names, plugin_source


def test_each_load_has_a_name_of_its_own() -> None:
    assert len({load.name for load in LOADS}) == len(LOADS)


def test_a_task_stands_for_all_its_loads() -> None:
    assert named("relay") == tuple(load for load in LOADS if load.task is Task.RELAY)


def test_a_load_named_twice_is_measured_once() -> None:
    assert [load.name for load in named("accept-new,accept-kept,accept-new")] == ["accept-new", "accept-kept"]


def test_an_unknown_load_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no load is called 'accept-fast'"):
        named("accept-fast")


def test_smtp_source_makes_all_loads_that_it_can() -> None:
    own = {load.name.split("-")[1] for load in LOADS if load.source is Source.OWN}
    assert own == {"pipelined", "20m", "starttls"}


def test_smtp_source_is_told_the_shape_of_the_load() -> None:
    (load,) = named("relay-1m")
    command = generator_command(load, 2525, 7)
    assert command[:8] == ["smtp-source", "-d", "-s", str(load.sessions), "-m", "7", "-l", str(MIB)]
    assert command[-1] == "inet:127.0.0.1:2525"


def test_the_own_generator_is_told_the_shape_of_the_load() -> None:
    (load,) = named("accept-starttls")
    command = generator_command(load, 2525, 7)
    assert {"--port=2525", "--messages=7", "--starttls"} <= set(command)
    assert not {"--kept", "--pipelined"} & set(command)


def test_noop_plugins_are_on_every_hook() -> None:
    source = plugin_source(Plugins.NOOP)
    assert all(f"def {name}():" in source for name in hook_names())
    compile(source, "plugin", "exec")


def test_awaiting_plugins_await_on_each_of_their_hooks() -> None:
    source = plugin_source(Plugins.AWAIT)
    assert source.count("async def") == source.count("await trio.sleep") == 3
    compile(source, "plugin", "exec")


def test_haraka_has_noop_plugins_on_hooks_that_we_have_too() -> None:
    assert {f"hook_{name}" for name in HOOKS} <= set(hook_names())
