"""No stranger forges a line or a field, or reaches the terminal of whoever reads the log.

Each text that a stranger can choose (HELO, reverse DNS name, AUTH user, Message-ID, reply, subject) is logged
as a field, inside a list, as an object, as the event, the uuid, the name of a field and the message of an
exception, in each format. Then the log is read as its readers do.
"""

import io
import json
import re
from collections.abc import Callable
from functools import partial
from typing import Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harakapy.log import FORMATS, Level, Logger, StreamTarget, open_logger


class Write(Protocol):
    """Logs what a stranger said."""

    def __call__(self, log: Logger, said: str | bytes) -> None: ...


FORGED = {
    "text": "2026-11-22T10:00:00.123Z EMERG [-] forged",
    "logfmt": "time=2026-11-22T10:00:00.123Z level=emerg event=forged",
    "json": '{"time":"2026-11-22T10:00:00.123Z","level":"emerg","event":"forged"}',
}

LINE_ENDS = ("\r\n", "\n", "\r", "\x85", "\u2028", "\v", "\f")

STRANGERS: list[str | bytes] = [
    *(f"a{end}{line}{end}" for end in LINE_ENDS for line in FORGED.values()),
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b31m",
    "\x1b[2J\x1b[H",
    'quote" relaying=true x="',
    "quote\\",
    '\\" level=emerg',
    "a relaying=true",
    "%s%n%(level)s{0.__class__}",
    "x" * 10_240,
    "\x1b" * 10_240,
    "a\u202eb\u2066c",
    "a\ud800b\udcff",
    "a\x00b\x7f\x08",
    "=",
    "",
    b"a\r\n\x1b[31m\xff\x9b31m",
    b"\xff" * 10_240,
]

PLACES: dict[str, Write] = {
    "field": lambda log, said: log.info("helo", host=said),
    "list": lambda log, said: log.info("helo", hosts=[said, {"deep": said}]),
    "mapping": lambda log, said: log.info("helo", hosts={said: said}),
    "object": lambda log, said: log.info("helo", host=Exception(said)),
    "context": lambda log, said: log.bind(host=said).info("helo"),
    "uuid": lambda log, said: log.bind(uuid=said).info("helo"),
    "event": lambda log, said: log.info(said),
    "name": lambda log, said: log.info("helo", **{str(said): 1}),
    "exception": lambda log, said: log.info("helo", exc_info=ValueError(said)),
}

FIELD = re.compile(r'([A-Za-z0-9_.-]+)=("(?:[^"\\]|\\.)*"|[^ "]+)(?: |$)')


def logged(format_name: str, write: Callable[[Logger], None]) -> bytes:
    stream = io.BytesIO()
    write(open_logger(Level.INFO, format_name=format_name, target=StreamTarget(stream)))
    return stream.getvalue()


def read_logfmt(line: str) -> dict[str, str]:
    """The fields of a line; fails unless they fill it completely."""
    fields, at = {}, 0
    while at < len(line):
        match = FIELD.match(line, at)
        assert match, f"no field at {line[at : at + 40]!r}"
        name, value = match.groups()
        assert name not in fields
        fields[name] = json.loads(value) if value.startswith('"') else value
        at = match.end()
    return fields


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("format_name", FORMATS)
def test_whatever_a_stranger_says_stays_one_harmless_record(format_name: str, place: str) -> None:
    for said in STRANGERS:
        octets = logged(format_name, partial(PLACES[place], said=said))
        assert octets.endswith(b"\n")
        first, *more = octets.decode("utf-8").removesuffix("\n").split("\n")
        assert all(line.isprintable() for line in (first, *more)), said
        if format_name == "text" and place == "exception":
            assert all(line.startswith("    | ") for line in more)
        else:
            assert not more
        assert len(octets) < (100_000 if place == "exception" else 30_000)


@pytest.mark.parametrize("said", [said for said in STRANGERS if isinstance(said, str) and len(said) < 1024])
def test_fields_are_read_back_as_they_were_and_no_others(said: str) -> None:
    def helo(log: Logger) -> None:
        log.info("helo", host=said, size=1)

    fields = read_logfmt(logged("logfmt", helo).decode().removesuffix("\n"))
    assert fields.pop("time")
    assert fields == {"level": "info", "event": "helo", "host": said, "size": "1"}
    _time, level, uuid, event, rest = logged("text", helo).decode().removesuffix("\n").split(maxsplit=4)
    assert (level, uuid, event) == ("INFO", "[-]", "helo")
    assert read_logfmt(rest) == {"host": said, "size": "1"}
    record = json.loads(logged("json", helo))
    assert record.pop("time")
    escaped = said.encode("utf-8", "backslashreplace").decode()  # lone surrogates are not JSON
    assert record == {"level": "info", "event": "helo", "host": escaped, "size": 1}


@given(st.text(st.characters(exclude_categories=()), max_size=200))
def test_any_text_gives_one_line_that_is_read_back(said: str) -> None:
    def helo(log: Logger) -> None:
        log.bind(uuid=said).info(said, host=said)

    line = logged("logfmt", helo).decode()
    assert line.removesuffix("\n").isprintable()
    fields = read_logfmt(line.removesuffix("\n"))
    assert (fields["event"], fields["host"], fields.get("uuid", "")) == (said, said, said)
    text = logged("text", helo).decode()
    assert text.count("\n") == 1
    assert text.removesuffix("\n").isprintable()


@given(st.binary(max_size=200))
def test_any_octets_give_one_line_of_ascii(said: bytes) -> None:
    for format_name in FORMATS:
        line = logged(format_name, lambda log: log.info("helo", host=said))
        assert line.isascii()
        assert line.decode().removesuffix("\n").isprintable()
