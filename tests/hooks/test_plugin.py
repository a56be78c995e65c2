from typing import Any, Generic, TypeVar

import pytest
from pydantic import ValidationError

from harakapy.hooks import OK, Plugin, PluginConfig, hookimpl
from harakapy.log import Level

from .scene import Subject, hooks_of


class GreetingConfig(PluginConfig):
    text: str = "hello"


class Greeting(Plugin[GreetingConfig]):
    @hookimpl
    def hook_connect(self) -> Any:
        return OK(self.config.text)


def test_a_plugin_is_made_with_its_settings_in_words_or_as_a_model() -> None:
    assert Greeting().config.text == "hello"
    assert Greeting(text="hi").config.text == "hi"
    assert Greeting(GreetingConfig(text="hi")).config == GreetingConfig(text="hi")


@pytest.mark.parametrize("settings", [{"txet": "hi"}, {"text": 5}])
def test_settings_that_do_not_fit_are_refused(settings: Any) -> None:
    with pytest.raises(ValidationError):
        Greeting(**settings)


def test_settings_do_not_change() -> None:
    config: Any = Greeting().config
    with pytest.raises(ValidationError):
        config.text = "bye"


async def test_a_hook_sees_the_settings(connection: Any) -> None:
    assert (await hooks_of(Greeting(text="hi")).connect(connection)).text == "hi"


def test_a_plugin_without_settings_takes_none() -> None:
    class Simple(Plugin): ...

    assert Simple().config == PluginConfig()
    with pytest.raises(ValidationError):
        Simple(text="hi")


ModelT = TypeVar("ModelT", bound=GreetingConfig)


class Between(Plugin[ModelT], Generic[ModelT]): ...


class LoudConfig(GreetingConfig):
    volume: int = 11


class Loud(Between[LoudConfig]): ...


class Heir(Greeting): ...


def test_the_model_is_inherited_and_handed_through_generic_classes() -> None:
    assert Heir().config.text == "hello"
    assert Loud().config.volume == 11


def test_the_name_is_made_from_the_class_or_given() -> None:
    class RcptToInHostList(Plugin): ...

    class Named(Plugin):
        name = "another"

    assert [RcptToInHostList.name, Named.name, Heir.name] == ["rcpt_to_in_host_list", "another", "heir"]


def test_attaching_gives_name_server_and_log_and_lets_it_register() -> None:
    class Registering(Plugin):
        def register(self) -> None:
            self.seen = (self.name, self.server, self.log)

    subject = Subject()
    server: Any = object()
    plugin = Registering()
    plugin.attach("by_another_name", server, subject.log)
    assert plugin.seen == ("by_another_name", server, subject.log)


async def test_a_hook_sees_the_settings_of_the_last_reload(connection: Any) -> None:
    greeting = Greeting(text="hi")
    hooks = hooks_of(greeting)
    greeting.reload(GreetingConfig(text="good evening"))
    assert (await hooks.connect(connection)).text == "good evening"


def test_two_objects_of_a_class_do_not_share_what_they_register() -> None:
    one: Plugin = Plugin()
    two: Plugin = Plugin()
    one.register_hook("rcpt", lambda: None)
    assert len(one.registrations) == 1
    assert two.registrations == []


def test_haraka_s_names_log_at_the_ten_levels() -> None:
    subject = Subject()
    plugin: Plugin = Plugin()
    server: Any = None
    plugin.attach("plugin", server, subject.log.bind(plugin="plugin"))
    for level in Level:
        getattr(plugin, f"log{level.name.lower()}")("it happened", number=int(level))
    assert [(record.level, record.event, record.fields) for record in subject.records] == [
        (level, "it happened", {"plugin": "plugin", "number": int(level)}) for level in Level
    ]
    assert len(Level) == 10
