"""What the tests of hooks share: a subject that hooks are called about, and plugins made on the spot."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from harakapy.hooks import Chain, Hooks, PluginOptions, Registry, Verdict, hook_specs, hookimpl
from harakapy.hooks.fold import Fold
from harakapy.log import Level, LogRecord, make_logger, silent_logger


class Subject:
    """Stands for a connection: keeps what is logged about it, and who was called."""

    def __init__(self) -> None:
        self.records: list[LogRecord] = []
        self.called: list[str] = []
        self.transaction = SimpleNamespace(skipped_plugins=frozenset())
        output = silent_logger().output
        output.level = Level.DATA
        output.tap = self._keep
        self.log = make_logger(output)

    def _keep(self, record: LogRecord) -> bool:
        self.records.append(record)
        return True

    @property
    def faults(self) -> list[str]:
        """The errors of the plugin faults that were logged."""
        return [str(record.fields["error"]) for record in self.records if record.event == "plugin fault"]


def plugin(hook: str, /, **marks: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorator: a plugin that implements one hook with the function below."""

    def make(function: Callable[..., Any]) -> Any:
        marked = hookimpl(specname=f"hook_{hook}", **marks)(function)
        return type("OnTheSpot", (), {function.__name__: staticmethod(marked)})()

    return make


def answering(
    answer: Any = None, hook: str = "rcpt", *, name: str = "", is_async: bool = False, **marks: Any
) -> Any:
    """A plugin on a connection's hook that notes its name, and returns or raises ``answer``."""

    def say(connection: Any) -> Any:
        connection.called.append(name)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def say_async(connection: Any) -> Any:
        return say(connection)

    return plugin(hook, **marks)(say_async if is_async else say)


def arguments(hook: str) -> list[Any]:
    """Something for each argument of a hook behind the first."""
    return [None] * (len(hook_specs()[hook].arguments) - 1)


def registered(*plugins: Any, **options: Any) -> Registry:
    """A registry of plugins named a, b, c ... in this order, each with these options."""
    registry = Registry()
    for name, each in zip("abcdefghijklmnopqrstuvwxyz", plugins, strict=False):
        registry.add(name, each, PluginOptions(**options))
    return registry


def hooks_of(*plugins: Any, strict: bool = False, **options: Any) -> Hooks:
    """The hooks of plugins named a, b, c ... in this order."""
    return registered(*plugins, **options).freeze(strict=strict)


def chain_of(hooks: Hooks, name: str) -> Chain:
    """The chain of one hook."""
    return next(chain for chain in hooks.chains if chain.spec.name == name)


async def ask(hooks: Hooks, connection: Any, recipient: Any = None, params: Any = None) -> Verdict:
    """Call the hook that most tests are about."""
    return await hooks.rcpt(connection, recipient, params)


async def run(hooks: Hooks, name: str, *args: Any) -> Any:
    """Run a hook that the facade does not call yet."""
    fold = Fold(chain_of(hooks, "deny"))
    chain = chain_of(hooks, name)
    kind = {"AMEND": fold.amend, "OBSERVE": fold.observe}.get(chain.spec.kind.name, fold.decide)
    return await kind(chain, args)
