"""A client's side of a session for tests: what it was told, and what it then writes."""

from __future__ import annotations

from harakapy.smtp import (
    NEED_DATA,
    Address,
    ClientProtocol,
    Closed,
    Data,
    Dialect,
    Ehlo,
    Lhlo,
    Mail,
    Rcpt,
    Replied,
    State,
)

SENDER = Address("s", "x.example")
MAIL = Mail(SENDER)


def rcpt(name: str = "r") -> Rcpt:
    return Rcpt(Address(name, "x.example"))


class ClientSession:
    """A protocol object, and how octets come to it: ``step`` at a time, or at once."""

    def __init__(self, *, dialect: Dialect = Dialect.SMTP, step: int = 0) -> None:
        self.protocol = ClientProtocol(dialect)
        self.dialect = dialect
        self.step = step

    def hear(self, *lines: str) -> list[Replied | Closed]:
        """Receive lines from the server; gives the events they make."""
        return self.receive("".join(f"{line}\r\n" for line in lines).encode())

    def receive(self, data: bytes) -> list[Replied | Closed]:
        step = self.step or len(data)
        events: list[Replied | Closed] = []
        for start in range(0, len(data), step):
            self.protocol.receive_data(data[start : start + step])
            events += self.take()
            if events and isinstance(events[-1], Closed):
                break
        return events

    def hang_up(self) -> list[Replied | Closed]:
        """The server closes its side."""
        self.protocol.receive_data(b"")
        return self.take()

    def take(self) -> list[Replied | Closed]:
        events: list[Replied | Closed] = []
        while (event := self.protocol.next_event()) is not NEED_DATA:
            events.append(event)
            if isinstance(event, Closed):
                break
        return events

    def is_in(self, state: State) -> bool:
        return self.protocol.state is state

    def say(self) -> bytes:
        return self.protocol.data_to_send()

    def hello(self, *capabilities: str) -> ClientSession:
        """Be greeted, and told what is offered."""
        self.hear("220 ready")
        self.protocol.send(Ehlo("client") if self.dialect is Dialect.SMTP else Lhlo("client"))
        lines = ("mx.example", *capabilities)
        self.hear(*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}")
        self.say()
        return self

    def group(self, *names: str) -> ClientSession:
        """Send a whole transaction up to DATA in one group."""
        self.protocol.send(MAIL)
        for name in names or ("r",):
            self.protocol.send(rcpt(name))
        self.protocol.send(Data())
        return self

    def in_content(self, *names: str) -> ClientSession:
        """Come to where the content may be sent, every recipient accepted."""
        self.group(*names).say()
        self.hear("250 ok", *("250 ok" for _ in names or ("r",)), "354 go on")
        return self


def codes(events: list[Replied | Closed]) -> list[int | None]:
    """The codes of the replies, None where the session closed."""
    return [event.reply.code if isinstance(event, Replied) else None for event in events]


def commands(events: list[Replied | Closed]) -> list[type]:
    """What the replies answer."""
    return [type(event.command) if isinstance(event, Replied) else Closed for event in events]
