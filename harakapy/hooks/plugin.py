"""The base class of plugins: settings, log, server, results, and hooks registered by hand.

A plugin need not derive from it: any module or object with ``@hookimpl`` functions will do. It is for
plugins with settings of their own::

    class GreetingConfig(PluginConfig):
        text: str = "hello"

    class Greeting(Plugin[GreetingConfig]):
        @hookimpl
        def hook_connect(self, connection):
            return OK(self.config.text)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, get_args, get_origin

from msgspec import Struct
from pydantic import BaseModel, ConfigDict
from typing_extensions import TypeVar

from harakapy.hooks.results import PluginResults
from harakapy.hooks.spec import PREFIX
from harakapy.hooks.subject import Subject

if TYPE_CHECKING:
    from harakapy.log import Logger
    from harakapy.process.server import Server


class PluginConfig(BaseModel):
    """The settings of a plugin: derive a model from it. Unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


ConfigT = TypeVar("ConfigT", bound=BaseModel, default=PluginConfig)


class Registration(Struct, frozen=True):
    """A hook registered by hand in `Plugin.register`."""

    hook: str
    function: Callable[..., Any]
    tryfirst: bool
    trylast: bool
    timeout_s: float | None


class Plugin(Generic[ConfigT]):
    """A plugin with settings. ``Plugin[Model]`` declares the model that ``config`` is an instance of.

    Made with its settings, as a model or as keywords, so a test can write ``Greeting(text="hi")``; the
    server makes it from the plugin's table in the configuration. ``name``, ``server`` and ``log`` are there
    from `register` on.
    """

    Config: ClassVar[type[BaseModel]] = PluginConfig
    name: str = ""
    server: Server
    log: Logger

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        for parent in getattr(cls, "__orig_bases__", ()):
            if isinstance(origin := get_origin(parent), type) and issubclass(origin, Plugin):
                model = get_args(parent)[0]
                if isinstance(model, type):
                    cls.Config = model
        if "name" not in vars(cls):
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def __init__(self, config: ConfigT | None = None, /, **settings: Any) -> None:
        """Raises pydantic.ValidationError if the settings do not fit the model."""
        self.config: ConfigT = config if config is not None else self.Config(**settings)  # type: ignore[assignment]  # Config is ConfigT's class
        self.registrations: list[Registration] = []

    def attach(self, name: str, server: Server, log: Logger) -> None:
        """Give the plugin its place in a server, and let it register. Called once, by the server."""
        self.name, self.server, self.log = name, server, log
        self.register()

    def register(self) -> None:
        """Called once, when the plugin has its settings and its server: read files, register hooks."""

    def reload(self, config: ConfigT) -> None:
        """Called when the settings of a running server have changed: take these from now on.

        What a plugin makes of its settings in `register` it makes anew here.
        """
        self.config = config

    def register_hook(
        self,
        hook: str,
        function: Callable[..., Any],
        *,
        tryfirst: bool = False,
        trylast: bool = False,
        timeout_s: float | None = None,
    ) -> None:
        """Have a function called on a hook (``"rcpt"`` or ``"hook_rcpt"``); as often as you like.

        Functions registered so come before the plugin's marked ones. The function takes the hook's
        arguments by name, as a marked one does.
        """
        name = hook if hook.startswith(PREFIX) else PREFIX + hook
        self.registrations.append(Registration(name, function, tryfirst, trylast, timeout_s))

    def results(self, subject: Subject) -> PluginResults:
        """This plugin's findings on a connection or a transaction."""
        return PluginResults(subject.results, self.name)

    # Haraka's names for the ten levels.

    def logdata(self, event: str, **fields: Any) -> None:
        """Log content of messages, level 9."""
        self.log.data(event, **fields)

    def logprotocol(self, event: str, **fields: Any) -> None:
        """Log a line of a dialogue, level 8."""
        self.log.protocol(event, **fields)

    def logdebug(self, event: str, **fields: Any) -> None:
        """Log for the author of the plugin, level 7."""
        self.log.debug(event, **fields)

    def loginfo(self, event: str, **fields: Any) -> None:
        """Log what happened, level 6."""
        self.log.info(event, **fields)

    def lognotice(self, event: str, **fields: Any) -> None:
        """Log what the operator may want to know, level 5."""
        self.log.notice(event, **fields)

    def logwarn(self, event: str, **fields: Any) -> None:
        """Log what may become an error, level 4."""
        self.log.warn(event, **fields)

    def logerror(self, event: str, **fields: Any) -> None:
        """Log an error, level 3."""
        self.log.error(event, **fields)

    def logcrit(self, event: str, **fields: Any) -> None:
        """Log a part that does not work, level 2."""
        self.log.crit(event, **fields)

    def logalert(self, event: str, **fields: Any) -> None:
        """Log what someone must mend at once, level 1."""
        self.log.alert(event, **fields)

    def logemerg(self, event: str, **fields: Any) -> None:
        """Log that the server cannot work, level 0."""
        self.log.emerg(event, **fields)
