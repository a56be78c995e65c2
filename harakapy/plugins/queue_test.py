"""queue_test: put every message in a folder, to look at."""

from __future__ import annotations

import errno
from contextlib import suppress
from pathlib import Path

import trio
from pydantic import Field

from harakapy import DENYSOFT, OK, Connection, Content, Plugin, PluginConfig, Verdict, hookimpl

NO_ROOM = DENYSOFT("4.3.1 Insufficient system storage, try again later", code=452)
NOT_STORED = DENYSOFT("4.3.0 The message could not be stored, try again later", code=451)


class QueueTestConfig(PluginConfig):
    """The settings of `QueueTest`."""

    path: Path = Field(
        Path("test"), description="The folder, relative to `state_dir`. It is made when it is needed."
    )
    outbound: bool = Field(
        False, description="Also take mail of relaying clients, so that none of it leaves this machine."
    )


class QueueTest(Plugin[QueueTestConfig]):
    """Writes each message to one file, ``UUID.eml``, for developers and their tests.

    Hooks: ``queue``, and with ``outbound`` also ``queue_outbound``. OK when the file is there under its name,
    which it gets when it is complete; ``452 4.3.1`` if the disk is full, ``451 4.3.0`` for any other error.
    UUID is that of the transaction, which is in the reply to the client and in the log as well.

    The message is as received, with its trace fields. The files are not synced, and so may not survive a
    crash of the machine: this is no place for real mail.

    Haraka's counterpart: queue/test, which writes to the system's folder for temporary files.
    """

    @hookimpl
    async def hook_queue(self, connection: Connection) -> Verdict:
        """Write the message."""
        transaction = connection.transaction
        assert transaction is not None, "mail is queued within one"
        path = self.server.settings.state_dir / self.config.path.expanduser() / f"{transaction.uuid}.eml"
        try:
            await trio.to_thread.run_sync(_write, path, transaction.content)
        except OSError as error:
            connection.log.error("message not stored", plugin=self.name, error=str(error))
            return NO_ROOM if error.errno in (errno.ENOSPC, errno.EDQUOT) else NOT_STORED
        return OK

    @hookimpl
    async def hook_queue_outbound(self, connection: Connection) -> Verdict | None:
        """Write a message that would go out, if so set."""
        return await self.hook_queue(connection) if self.config.outbound else None


def _write(path: Path, content: Content) -> None:
    """Write a file that is complete when it has its name. Raises OSError and leaves nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    try:
        with unfinished.open("wb") as file:
            file.writelines(content.blocks())
        unfinished.rename(path)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()
        raise
