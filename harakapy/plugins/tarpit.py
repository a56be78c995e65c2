"""tarpit: let clients wait for their replies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, get_args

import trio
from pydantic import Field

from harakapy import ConfigError, Connection, Duration, Plugin, PluginConfig, Problem, hookimpl

LONGEST_S: Final = 100.0
"""No reply is held longer. Clients wait two minutes for the reply to DATA (RFC 5321 4.5.3.2.4), and longer
for all others."""

SHARE: Final = 0.9  # of the hook timeout: what remains is ample for a busy loop to wake up in

HookName = Literal[
    "connect",
    "helo",
    "ehlo",
    "mail",
    "rcpt",
    "data",
    "data_post",
    "unrecognized_command",
    "vrfy",
    "noop",
    "rset",
    "quit",
]


class TarpitConfig(PluginConfig):
    """The settings of `Tarpit`."""

    delay: Duration = Field(
        0.0,
        description=(
            "How long each reply is held, for every client; 0 for none but those whose notes say so. At most "
            "100 seconds and nine tenths of the plugin's `hook_timeout`."
        ),
        examples=["2s"],
    )
    hooks: tuple[HookName, ...] = Field(
        get_args(HookName),
        description="The hooks whose replies are held. More of them take effect when the server starts anew.",
        examples=[["helo", "ehlo", "rcpt"]],
    )


class Tarpit(Plugin[TarpitConfig]):
    """Holds replies back: for every client by ``delay``, or for one by what its notes say.

    ``connection.notes["tarpit"]`` or ``transaction.notes["tarpit"]``, a number of seconds that another
    plugin has written, replaces ``delay`` for this client or transaction. Of the two the larger counts, and
    one that is too long is cut.

    Hooks: those in ``hooks``, around all other plugins, so a note that is written on a hook holds the reply
    of that same hook. The verdict stays what it was. The reply behind the content is held on ``data_post``,
    before the message is stored, and never once it is.

    Each reply in a pipelined group is held, one after the other. A client that is held takes up one of its
    connections, see ``smtp.max_connections_per_address``; nobody else waits for it.

    Haraka's counterpart: tarpit. There only notes count, ``rcpt_ok`` and ``queue`` are held as well, and a
    reply is not held if a plugin before it in the list had answered.
    """

    def register(self) -> None:
        """Put itself around the hooks. Raises ConfigError if the delay is too long."""
        settings = self.server.settings
        timeout_s = settings.plugin_table(self.name).hook_timeout
        if timeout_s is None:
            timeout_s = settings.smtp.hook_timeout
        self._limit_s = min(LONGEST_S, SHARE * timeout_s) if timeout_s else LONGEST_S
        self.reload(self.config)
        for hook in self.config.hooks:
            self.register_hook(hook, self._holding(hook), tryfirst=True)

    def reload(self, config: TarpitConfig) -> None:
        """Use another delay from now on. Raises ConfigError if it is too long, and changes nothing."""
        if config.delay > self._limit_s:
            key, given = f"plugin.{self.name}.delay", f"{config.delay:g}"
            message = f"must be at most {self._limit_s:g} seconds, for so long can a reply be held"
            raise ConfigError([Problem(self.server.settings.file, key, message, given)])
        self.config = config

    def _holding(self, hook: HookName) -> Callable[..., Awaitable[Any]]:
        """An implementation for a hook."""

        @hookimpl(around=True)
        async def hold(connection: Connection, *, proceed: Callable[[], Awaitable[Any]]) -> Any:
            outcome = await proceed()
            delay_s = self._delay_s(connection)
            if delay_s > 0 and hook in self.config.hooks:
                connection.log.debug("reply held", plugin=self.name, hook=hook, delay_s=delay_s)
                await trio.sleep(delay_s)
            return outcome

        return hold

    def _delay_s(self, connection: Connection) -> float:
        """How long to hold a reply to this client."""
        notes = [connection.notes.get("tarpit")]
        if connection.transaction is not None:
            notes.append(connection.transaction.notes.get("tarpit"))
        noted = [note for note in notes if isinstance(note, int | float) and note >= 0]
        return min(self._limit_s, max(noted) if noted else self.config.delay)
