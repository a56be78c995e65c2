"""Taking messages of this machine's users: the server's end of their socket.

Anybody may be at the other end, so nothing that is sent is trusted but as mail: who sends it is the kernel's
word, Received is ours, and content is held to the terms of mail that comes by SMTP. There is nothing to be
asked, read or steered here. What a client may hold is bounded: connections, in all and of one user; the time
until its message is here; the line with the envelope; and the content, of which no more than
`smtp.spool_after` is kept in memory.

From the start of the commit to the answer nothing interrupts but the commit's own deadline: neither the
client's going away nor a stop of the server. So who has read the answer knows that the message is on disk.
"""

from __future__ import annotations

import pwd
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import trio
from trio_util import AsyncValue

from harakapy.config import Settings
from harakapy.log import Logger
from harakapy.mail import Content, Envelope
from harakapy.net import SocketStream
from harakapy.outbound import Outbound
from harakapy.outbound.enqueue import complete
from harakapy.process.control_wire import encode
from harakapy.process.intake_reader import IntakeReader, Received
from harakapy.process.intake_wire import IntakeProblem, IntakeRefused, IntakeTerms
from harakapy.process.peer import Peer
from harakapy.queue import StoreError, StoreFull
from harakapy.smtp import Address

__all__ = ["Intake", "new_id", "own_address"]

MAX_CLIENTS: Final = 100
"""At a time, in one process. Picked: each is here for milliseconds, and may hold half a megabyte."""

MAX_CLIENTS_OF_ONE_USER: Final = 50  # picked: others must get in, too

MESSAGE_TIMEOUT_S: Final = 60.0
"""From the greeting to the last octet. Picked: a program sends what it has on disk already."""

ANSWER_TIMEOUT_S: Final = 10.0  # for a line that the kernel holds for its reader anyway. Picked

LOGGED_RECIPIENTS: Final = 50  # as for mail that comes by SMTP


class Intake:
    """Takes messages from the clients of one socket, and puts them into the queue.

    ``settings`` gives those in force.
    """

    def __init__(self, outbound: Outbound, settings: Callable[[], Settings], log: Logger) -> None:
        self.open_connections = AsyncValue(0)
        self._outbound = outbound
        self._settings = settings
        self._log = log
        self._clients: Counter[int] = Counter()
        self._silent: set[trio.CancelScope] = set()

    async def handle(self, stream: SocketStream) -> None:
        """Serve one client, and close the connection."""
        self.open_connections.value += 1
        try:
            peer = Peer.of(stream)
            with self._counted(peer.uid):
                await self._answer(stream, peer)
        except (OSError, trio.BrokenResourceError) as error:  # the client has gone
            self._log.debug("the connection of a user broke", error=str(error))
        finally:
            self.open_connections.value -= 1
            stream.close()

    async def finish(self, deadline: float) -> None:
        """Part with those who have sent nothing yet; let the others end until ``deadline`` (trio time)."""
        for scope in self._silent:
            scope.cancel()
        with trio.move_on_at(deadline):
            await self.open_connections.wait_value(0)

    @contextmanager
    def _counted(self, uid: int) -> Iterator[None]:
        self._clients[uid] += 1
        try:
            yield
        finally:
            self._clients[uid] -= 1
            if not self._clients[uid]:  # or there would be an entry for each user that ever came
                del self._clients[uid]

    async def _answer(self, stream: SocketStream, peer: Peer) -> None:
        """Take one message, or say why not."""
        try:
            await self._take(stream, peer)
        except IntakeRefused as error:
            problem, text = error.problem, str(error)
        except (OSError, trio.BrokenResourceError):
            raise
        except Exception as error:  # noqa: BLE001  # a bug here must not end the server
            self._log.crit("the message of a user could not be taken", uid=peer.uid, exc_info=error)
            problem, text = IntakeProblem.INTERNAL, "the server could not take it; its log says why"
        else:
            return
        self._log.info(
            "message of a user refused", uid=peer.uid, pid=peer.pid, problem=problem.value, reason=text
        )
        await _send(stream, {"error": {"problem": problem.value, "text": text}})

    async def _take(self, stream: SocketStream, peer: Peer) -> None:
        self._admit(peer.uid)
        settings = self._settings()
        await _send(stream, IntakeTerms.of(settings).to_json())
        received = await self._receive(stream, settings)
        if received is not None:
            with received.content, trio.CancelScope(shield=True):
                message_id = await self._commit(received, peer, settings)
                await _send(stream, {"done": {"id": message_id}})

    def _admit(self, uid: int) -> None:
        is_full = self._clients.total() > MAX_CLIENTS
        if is_full or self._clients[uid] > MAX_CLIENTS_OF_ONE_USER:
            raise IntakeRefused(IntakeProblem.BUSY, "too many are sending already, try again later")

    async def _receive(self, stream: SocketStream, settings: Settings) -> Received | None:
        """What the client sends; None if it sends nothing, or not in time."""
        reader = IntakeReader(stream, settings)
        with trio.move_on_after(MESSAGE_TIMEOUT_S):
            with trio.CancelScope() as scope:
                self._silent.add(scope)
                try:
                    line = await reader.line()
                finally:
                    self._silent.discard(scope)
            if not scope.cancelled_caught and line is not None:
                return await reader.message(line)
        return None

    async def _commit(self, received: Received, peer: Peer, settings: Settings) -> str:
        """Put a message into the queue; its id. Raises IntakeRefused."""
        message_id = new_id()
        try:
            with trio.fail_after(settings.smtp.commit_timeout):
                own = await trio.to_thread.run_sync(own_address, peer.uid, settings.hostname)
                envelope = received.submission.envelope(own, is_7bit=received.is_7bit)
                now = datetime.now(UTC).astimezone()
                complete(received.content, message_id, settings.hostname, now, userid=peer.uid)
                await self._outbound.enqueue(message_id, envelope, received.content)
        except StoreError as error:
            self._log.error("the queue takes no mail", problem=str(error))
            is_full = isinstance(error, StoreFull)
            text = "has no room for mail" if is_full else "takes no mail now"
            raise IntakeRefused(IntakeProblem.STORE, f"the server's queue {text}") from error
        except (trio.TooSlowError, OSError) as error:
            self._log.error("the message of a user could not be stored", problem=repr(error))
            raise IntakeRefused(IntakeProblem.STORE, "the server could not store it in time") from error
        self._log_message(message_id, envelope, received.content, peer)
        return message_id

    def _log_message(self, message_id: str, envelope: Envelope, content: Content, peer: Peer) -> None:
        self._log.info(
            "message of a user",
            uuid=message_id,
            uid=peer.uid,
            sender=envelope.mail_from.path,
            recipients=len(envelope.rcpt_to),
            to=",".join([each.address.original for each in envelope.rcpt_to[:LOGGED_RECIPIENTS]]),
            octets=content.size,
        )


def new_id() -> str:
    """The id of a message of a user, which looks as those do that come by SMTP."""
    return f"{uuid4()}.1".upper()


def own_address(uid: int, hostname: str) -> Address:
    """The address of a user of this machine: by name, or by number for one without a name that can be one."""
    try:
        return Address(pwd.getpwuid(uid).pw_name, hostname)
    except (KeyError, ValueError):
        return Address(str(uid), hostname)


async def _send(stream: SocketStream, value: Mapping[str, Any]) -> None:
    """Send a line; a client that does not read it, has gone for us."""
    with trio.move_on_after(ANSWER_TIMEOUT_S):
        await stream.send_all(encode(value))
