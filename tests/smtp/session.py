"""A driver of the protocol object that remembers everything, and a fixed policy of answers."""

from __future__ import annotations

from collections.abc import Callable

from harakapy.smtp import (
    NEED_DATA,
    Auth,
    AuthResponse,
    Bdat,
    ChunkEnd,
    ContentChunk,
    ContentEnd,
    Data,
    EndOfFile,
    Event,
    Quit,
    Rcpt,
    Refused,
    Reply,
    ServerLimits,
    ServerProtocol,
    StartTls,
    Unrecognized,
)

OFFERED = {"PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING", "BINARYMIME", "STARTTLS", "AUTH", "SIZE"}
OK = Reply(250, "ok", "2.0.0")
NO = Reply(550, "no", "5.1.1")
GO_ON = Reply(354, "go on")
ANSWERS = {
    Data: GO_ON,
    StartTls: Reply(220, "ready", "2.0.0"),
    Auth: Reply(334),
    AuthResponse: Reply(235, "welcome", "2.7.0"),
    Quit: Reply(221, "bye", "2.0.0"),
    Unrecognized: Reply(500, "what?", "5.5.1"),
}
NOT_ANSWERED = (ContentChunk, EndOfFile, Bdat)


def answer(event: Event) -> Reply:
    """Accept everything but recipients whose name begins with "no"."""
    if isinstance(event, Refused):
        return event.reply
    if isinstance(event, Rcpt) and event.recipient.user.startswith("no"):
        return NO
    return ANSWERS.get(type(event), OK)


class Session:
    """A driver of the protocol object that remembers everything."""

    def __init__(self, *, offered: set[str] = OFFERED, limits: ServerLimits | None = None) -> None:
        self.protocol = ServerProtocol(limits or ServerLimits(), offered)
        self.answer: Callable[[Event], Reply] = answer
        self.events: list[Event] = []
        self.messages: list[bytes] = []
        self._content = b""

    def greet(self) -> Session:
        self.protocol.send(Reply(220, "ready"))
        self.protocol.data_to_send()
        return self

    def hello(self) -> Session:
        assert self.greet().say(b"EHLO client.example\r\n") == "250"
        return self

    def transaction(self) -> Session:
        assert self.hello().say(b"MAIL FROM:<s@x.example>\r\nRCPT TO:<r@x.example>\r\n") == "250 250"
        self.events.clear()
        return self

    def say(self, data: bytes, step: int = 0) -> str:
        """Send ``data`` in blocks of ``step`` octets, or at once; returns the codes of all replies."""
        replies = b""
        for start in range(0, len(data), step or len(data)):
            self.protocol.receive_data(data[start : start + (step or len(data))])
            self.take_events()
            replies += self.protocol.data_to_send()
        lines = replies.decode().split("\r\n")[:-1]
        return " ".join(line[:3] for line in lines if line[3] == " ")

    def take_events(self) -> None:
        while (event := self.protocol.next_event()) is not NEED_DATA:
            self.events.append(event)
            if isinstance(event, ContentChunk):
                self._content += event.data
            if isinstance(event, ContentEnd) or event == ChunkEnd(is_last=True):
                self.messages.append(self._content)
                self._content = b""
            if not isinstance(event, NOT_ANSWERED):
                self.protocol.send(self.answer(event))
            if isinstance(event, EndOfFile):
                return

    @property
    def refused(self) -> list[Refused]:
        return [event for event in self.events if isinstance(event, Refused)]

    @property
    def kinds(self) -> list[type]:
        return [type(event) for event in self.events]


def commands(*texts: str) -> bytes:
    return b"".join(text.encode() + b"\r\n" for text in texts)


ENVELOPE = commands("MAIL FROM:<s@x.example>", "RCPT TO:<r@x.example>")
