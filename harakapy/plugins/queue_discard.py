"""queue_discard: accept mail and throw it away."""

from __future__ import annotations

from pydantic import Field

from harakapy import OK, Connection, Plugin, PluginConfig, Verdict, hookimpl


class QueueDiscardConfig(PluginConfig):
    """The settings of `QueueDiscard`."""

    only_marked: bool = Field(
        False,
        description=(
            "Discard only mail that a plugin has marked by the note `discard` on the transaction or the "
            "connection, and leave the rest to the next queue plugin."
        ),
    )


class QueueDiscard(Plugin[QueueDiscardConfig]):
    """Accepts every message and keeps none of it: for measuring, and for mail that is meant to vanish.

    Hooks: ``queue`` and ``queue_outbound`` answer OK, so the client believes that its mail is safe. A
    warning in the log says so when the server starts.

    With ``only_marked`` it does so only for mail for which ``transaction.notes["discard"]`` or
    ``connection.notes["discard"]`` is true.

    Haraka's counterpart: queue/discard, which discards what has the note, and everything if the environment
    has ``YES_REALLY_DO_DISCARD``. Here to list the plugin is to say that.
    """

    def register(self) -> None:
        """Warn that mail will be lost."""
        self._warn()

    def reload(self, config: QueueDiscardConfig) -> None:
        """Use other settings for the messages to come."""
        self.config = config
        self._warn()

    def _warn(self) -> None:
        which = "mail that plugins mark" if self.config.only_marked else "all mail"
        self.log.warn(f"{which} will be accepted and thrown away")

    @hookimpl
    def hook_queue(self, connection: Connection) -> Verdict | None:
        """Take a message and drop it."""
        if self.config.only_marked and not _is_marked(connection):
            return None
        return OK

    @hookimpl
    def hook_queue_outbound(self, connection: Connection) -> Verdict | None:
        """Take a message that would go out, and drop it."""
        return self.hook_queue(connection)


def _is_marked(connection: Connection) -> bool:
    transaction = connection.transaction
    assert transaction is not None, "mail is queued within one"
    return bool(transaction.notes.get("discard") or connection.notes.get("discard"))
