"""Our own load, where smtp-source has none: ``python -m tests.benchmarks.generator --help``.

Sessions are generators of Python that yield whenever they must wait for their socket; one loop over epoll
drives all. That takes a fraction of what any server takes for the same messages. What it prints is one line
of JSON: messages, seconds from the first connection to the last reply.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import ssl
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
Wait = Generator[int, None, None]
LINE = b"x" * 70 + b"\r\n"
RECEIVE_OCTETS = 65536
SEND_OCTETS = 262_144


class Refused(Exception):
    """The server has not taken a message, or has closed the connection."""


@dataclass(slots=True)
class Order:
    """What is to be sent, and how far it is; shared by all sessions.

    Messages go to the addresses of ``to`` in turn; with more than one recipient each, their numbers stand
    before the address. ``mark`` is called for the number of each message that was acknowledged.
    """

    port: int
    messages: int
    content: bytes
    is_kept: bool
    is_pipelined: bool
    tls: ssl.SSLContext | None
    to: tuple[str, ...] = ("recipient@example.com",)
    recipients: int = 1
    mark: Callable[[int], None] | None = None
    given: int = 0
    acknowledged: int = 0
    _envelopes: list[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self._envelopes = [self._make_envelope(address) for address in self.to]

    def _make_envelope(self, address: str) -> bytes:
        numbers = [""] if self.recipients == 1 else map(str, range(self.recipients))
        rcpt = "".join(f"RCPT TO:<{number}{address}>\r\n" for number in numbers)
        return f"MAIL FROM:<sender@example.com>\r\n{rcpt}DATA\r\n".encode()

    def envelope(self, number: int) -> bytes:
        """The commands before the content of this message."""
        return self._envelopes[number % len(self._envelopes)]

    def take(self) -> int | None:
        """The number of the next message; None if all are given out."""
        if self.given == self.messages:
            return None
        self.given += 1
        return self.given

    def acknowledge(self, number: int) -> None:
        """The server has taken the message."""
        self.acknowledged += 1
        if self.mark:
            self.mark(number)

    def message(self, number: int) -> bytes:
        """What goes after DATA, with the final dot. The header names the message."""
        return b"X-Benchmark: %d\r\n\r\n%b.\r\n" % (number, self.content)


def content_of(octets: int) -> bytes:
    """Whole lines of text without dots, of this length together or a little more."""
    return LINE * -(-octets // len(LINE))


class Replies:
    """Counts replies in what a server sends; knows the code of the last."""

    def __init__(self) -> None:
        self._rest = b""
        self.codes: list[int] = []

    def receive(self, data: bytes) -> None:
        """Take what came. A line with a space behind the code ends a reply (RFC 5321 4.2.1)."""
        *lines, self._rest = (self._rest + data).split(b"\r\n")
        self.codes += [int(line[:3]) for line in lines if line[3:4] != b"-"]


class Session:
    """One connection of a client."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self.sock = socket.socket()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.connect(("127.0.0.1", order.port))
        self.sock.setblocking(False)
        self._replies = Replies()

    def run(self) -> Wait:
        """Send messages until there are none left, or one if connections are not kept."""
        yield from self._expect(220)
        yield from self._say(b"EHLO client.example.org\r\n", 250)
        if self._order.tls:
            yield from self._start_tls(self._order.tls)
            yield from self._say(b"EHLO client.example.org\r\n", 250)
        yield from self._send()
        yield from self._say(b"QUIT\r\n", 221)

    def _send(self) -> Wait:
        order = self._order
        while (number := order.take()) is not None:
            yield from self._give_envelope(order.envelope(number))
            yield from self._say(order.message(number), 250)
            order.acknowledge(number)
            if not order.is_kept:
                return

    def _give_envelope(self, envelope: bytes) -> Wait:
        """In one group (RFC 2920 3.1) if that is asked for.

        The content before it could be in that group too, but few clients do so, and not every server takes
        that well.
        """
        if self._order.is_pipelined:
            yield from self._say(envelope, *[250] * (1 + self._order.recipients), 354)
            return
        for line in envelope.splitlines(keepends=True):
            yield from self._say(line, 354 if line == b"DATA\r\n" else 250)

    def _start_tls(self, context: ssl.SSLContext) -> Wait:
        yield from self._say(b"STARTTLS\r\n", 220)
        wrapped = context.wrap_socket(self.sock, do_handshake_on_connect=False)
        self.sock = wrapped
        while True:
            try:
                return wrapped.do_handshake()
            except ssl.SSLWantReadError:
                yield READ
            except ssl.SSLWantWriteError:
                yield WRITE

    def _say(self, data: bytes, *codes: int) -> Wait:
        yield from self._write(data)
        yield from self._expect(*codes)

    def _write(self, data: bytes) -> Wait:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.sock.send(rest[:SEND_OCTETS]) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                yield WRITE
            except ssl.SSLWantReadError:
                yield READ

    def _expect(self, *codes: int) -> Wait:
        replies = self._replies
        while len(replies.codes) < len(codes):
            try:
                data = self.sock.recv(RECEIVE_OCTETS)
            except (BlockingIOError, ssl.SSLWantReadError):
                yield READ
                continue
            if not data:
                raise Refused("connection closed by the server")
            replies.receive(data)
        got = replies.codes[: len(codes)]
        del replies.codes[: len(codes)]
        if tuple(got) != codes:
            raise Refused(f"expected {codes}, got {got}")


def send_all(order: Order, sessions: int) -> float:
    """Send everything over so many sessions at a time; gives the seconds. Raises Refused or OSError."""
    poll = select.epoll()
    running: dict[int, tuple[Wait, Session]] = {}
    began = time.perf_counter()

    def advance(
        descriptor: int, script: Wait, session: Session, register: Callable[[int, int], None]
    ) -> None:
        try:
            register(session.sock.fileno(), next(script))
        except StopIteration:
            running.pop(descriptor, None)
            session.sock.close()
            begin()

    def begin() -> None:
        if order.given < order.messages:
            session = Session(order)
            script = session.run()
            descriptor = session.sock.fileno()
            running[descriptor] = script, session
            advance(descriptor, script, session, poll.register)

    try:
        for _ in range(sessions):
            begin()
        while running:
            for descriptor, _ in poll.poll():
                if descriptor in running:
                    advance(descriptor, *running[descriptor], poll.modify)
        return time.perf_counter() - began
    finally:
        for _, session in running.values():
            session.sock.close()
        poll.close()


def main(arguments: list[str]) -> int:
    """Send as told; the exit status is 1 if the server refused something or went away."""
    told = _parser().parse_args(arguments)
    tls = None
    if told.starttls:
        tls = ssl.create_default_context()
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE  # the certificate is of today, and self-signed
    order = Order(
        port=told.port,
        messages=told.messages,
        content=content_of(told.size),
        is_kept=told.kept,
        is_pipelined=told.pipelined,
        tls=tls,
        to=tuple(told.to or ["recipient@example.com"]),
        recipients=told.recipients,
    )
    if told.acknowledged:
        log = told.acknowledged.open("a", buffering=1)
        order.mark = lambda number: print(number, file=log)
    try:
        seconds = send_all(order, told.sessions)
    except (Refused, OSError) as error:
        print(json.dumps({"messages": order.acknowledged, "error": str(error)}))  # noqa: T201
        return 1
    print(json.dumps({"messages": order.acknowledged, "seconds": seconds}))  # noqa: T201
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="generator", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--size", type=int, default=4096, help="octets of content")
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--recipients", type=int, default=1, help="of each message")
    parser.add_argument("--to", action="append", help="recipient@example.com unless told; repeated: in turn")
    parser.add_argument("--kept", action="store_true", help="keep connections for further messages")
    parser.add_argument("--pipelined", action="store_true")
    parser.add_argument("--starttls", action="store_true")
    parser.add_argument("--acknowledged", type=Path, help="append the numbers of messages taken to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
