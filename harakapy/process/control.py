"""What a running server answers to operators at its control socket: requests in, answers out.

Two things keep strangers out: the socket's mode, and the kernel's word on who is at the other end. The mode
alone would leave a moment between making the socket and protecting it; and what a directory lets through
depends on the system. What is asked is bounded, so is how long a client may take, and the work itself is
done by the store in threads: the mail does not wait for it.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from functools import partial
from typing import Any, Final

import trio

from harakapy.log import Logger
from harakapy.net import SocketStream
from harakapy.outbound.steering import Steering
from harakapy.outbound.steering_request import Operation, Problem, RequestRefused
from harakapy.outbound.steering_view import masked
from harakapy.process.control_wire import MAX_REQUEST, decode, encode
from harakapy.process.peer import Peer

__all__ = ["Control"]

MAX_CLIENTS: Final = 16  # at a time; picked: operators are few, and scripts can wait
REQUEST_TIMEOUT_S: Final = 30.0  # between two requests: they come from programs. Picked
SEND_TIMEOUT_S: Final = 60.0  # for one line of the answer: `| less` may keep its reader from reading. Picked

READ_OCTETS: Final = 65536

_CHANGES: Final = frozenset(
    each.value
    for each in Operation
    if each not in (Operation.LIST, Operation.SHOW, Operation.STATS, Operation.WAKE)
)


class _ClientGone(Exception):
    """The client has closed the connection, or does not read."""


class Control:
    """Answers the clients of one socket."""

    def __init__(self, steering: Steering, log: Logger) -> None:
        self._steering = steering
        self._log = log
        self._clients = 0

    async def handle(self, stream: SocketStream) -> None:
        """Serve one client, and close the connection."""
        self._clients += 1
        try:
            with suppress(_ClientGone):
                await self._converse(stream)
        except OSError as error:  # the peer was gone before the kernel was asked who it is
            self._log.debug("control connection broke", error=error)
        finally:
            self._clients -= 1
            stream.close()

    async def _converse(self, stream: SocketStream) -> None:
        peer = Peer.of(stream)
        if not self.is_allowed(peer.uid):
            self._log.warn("control connection refused", uid=peer.uid, pid=peer.pid)
            await _send(stream, _error(Problem.REFUSED, "only root and the server's own user may steer it"))
        elif self._clients > MAX_CLIENTS:
            await _send(stream, _error(Problem.BUSY, "too many are connected already, try again later"))
        else:
            lines = _Lines(stream)
            while (line := await lines.following()) is not None:
                await _send(stream, await self._answer(line, partial(_send, stream), peer))

    def is_allowed(self, uid: int) -> bool:
        """Whether this user may steer the server: whose it is, and root."""
        return uid in (0, os.geteuid())

    async def _answer(self, line: bytes, emit: partial[Any], peer: Peer) -> dict[str, Any]:
        """What is said at the end of one request."""
        try:
            raw = decode(line)
        except ValueError as error:
            return _error(Problem.MALFORMED, f"the request is no JSON: {error}")
        try:
            done = await self._steering.execute(raw, emit)
        except RequestRefused as error:
            self._remember(raw, peer, problem=error.problem.value)
            return _error(error.problem, str(error))
        except _ClientGone:
            self._remember(raw, peer, problem="the client went away")
            raise
        except Exception as error:  # noqa: BLE001  # a bug here must not end the server
            self._log.crit("a control request failed", uid=peer.uid, exc_info=error)
            return _error(Problem.INTERNAL, "the server could not do it; its log says why")
        self._remember(raw, peer, messages=done.get("messages"), recipients=done.get("recipients"))
        return {"done": done}

    def _remember(self, raw: object, peer: Peer, **outcome: object) -> None:
        """Log who has changed what in the queue."""
        if not isinstance(raw, dict) or str(raw.get("do")) not in _CHANGES or raw.get("dry_run"):
            return
        self._log.notice(
            "queue steered", operation=raw["do"], uid=peer.uid, pid=peer.pid, **outcome,
            selection=masked(_in_words(raw.get("select"))), to=masked(str(raw.get("to") or "")) or None,
        )  # fmt: skip


def _in_words(select: object) -> str:
    """What was selected, for the log."""
    if not isinstance(select, dict) or not select:
        return "all"
    return json.dumps(select, ensure_ascii=False)


def _error(problem: Problem, text: str) -> dict[str, Any]:
    return {"error": {"problem": problem.value, "text": text}}


async def _send(stream: SocketStream, value: dict[str, Any]) -> None:
    try:
        with trio.fail_after(SEND_TIMEOUT_S):
            await stream.send_all(encode(value))
    except (trio.BrokenResourceError, trio.TooSlowError) as error:
        raise _ClientGone from error


class _Lines:
    """The lines that a client sends."""

    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream
        self._buffer = b""

    async def following(self) -> bytes | None:
        """The next line; None at the end, or when none comes in time."""
        blocks, size = [self._buffer], len(self._buffer)
        with trio.move_on_after(REQUEST_TIMEOUT_S):
            while b"\n" not in blocks[-1]:
                if size > MAX_REQUEST:
                    text = f"a request has at most {MAX_REQUEST} octets"
                    await _send(self._stream, _error(Problem.MALFORMED, text))
                    return None
                block = await self._receive()
                if not block:
                    return None
                blocks.append(block)
                size += len(block)
            line, _, self._buffer = b"".join(blocks).partition(b"\n")
            return line
        return None

    async def _receive(self) -> bytes:
        try:
            return await self._stream.receive_some(READ_OCTETS)
        except trio.BrokenResourceError:
            return b""
