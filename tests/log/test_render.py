"""The three formats, byte for byte."""

import json
from collections.abc import Mapping

import pytest

from harakapy.log import FORMATS, JsonRenderer, Level, LogfmtRenderer, LogRecord, TextRenderer, renderer

AT = 1_795_341_600.1239  # 2026-11-22T10:00:00.123Z


def record(event: str = "message accepted", uuid: str = "4F1B.1", **fields: object) -> LogRecord:
    return LogRecord(Level.INFO, event, fields, AT, uuid)


def raised(message: str) -> Exception:
    try:
        raise RuntimeError(message)
    except RuntimeError as error:
        return error


def test_text_line() -> None:
    line = TextRenderer()(record(sender="a@b.example", size=4096, note="two words"))
    head = b"2026-11-22T10:00:00.123Z INFO  [4F1B.1] message accepted"
    assert line == head + b' sender=a@b.example size=4096 note="two words"\n'


def test_text_line_without_time_and_uuid() -> None:
    assert TextRenderer(timestamps=False)(record(uuid="")) == b"INFO  [-] message accepted\n"


@pytest.mark.parametrize("level", Level)
def test_text_line_begins_with_the_level(level: Level) -> None:
    line = TextRenderer(timestamps=False)(LogRecord(level, "e", {}, AT, "")).decode()
    assert line == f"{level.name:<5} [-] e\n"


def test_logfmt_line() -> None:
    line = LogfmtRenderer()(record(sender="a@b.example", size=4096, ok=True))
    expected = (
        b"time=2026-11-22T10:00:00.123Z level=info uuid=4F1B.1"
        b' event="message accepted" sender=a@b.example size=4096 ok=true\n'
    )
    assert line == expected


def test_logfmt_line_without_time_and_uuid() -> None:
    assert LogfmtRenderer(timestamps=False)(record("start", uuid="")) == b"level=info event=start\n"


def test_json_line() -> None:
    line = JsonRenderer()(record(sender="é@b.example", size=4096, ok=True, none=None, delay=0.25))
    expected = (
        rb'{"time":"2026-11-22T10:00:00.123Z","level":"info","uuid":"4F1B.1","event":"message accepted",'
        rb'"sender":"\u00e9@b.example","size":4096,"ok":true,"none":null,"delay":0.25}' + b"\n"
    )
    assert line == expected


def test_json_line_without_time_and_uuid() -> None:
    assert JsonRenderer(timestamps=False)(record(uuid="")) == b'{"level":"info","event":"message accepted"}\n'


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (["a", 1, None], ["a", 1, None]),
        ({"a": {"b": 2}}, {"a": {"b": 2}}),
        ({"a": [[1]]}, {"a": ["<list>"]}),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (2**53 + 1, str(2**53 + 1)),
        (-3, -3),
        (b"\xff", r"\xff"),
        ("\udcff", r"\udcff"),
        (Level.WARN, "WARN"),
        (list(range(60)), [*range(50), "...[60 items]"]),
    ],
)
def test_json_value_is_read_back_as(value: object, read: object) -> None:
    assert json.loads(JsonRenderer()(record(value=value)))["value"] == read


def test_long_mapping_in_json_says_how_long_it_was() -> None:
    read = json.loads(JsonRenderer()(record(value={str(n): n for n in range(60)})))["value"]
    assert len(read) == 51
    assert read["..."] == "[60 items]"


@pytest.mark.parametrize("name", ["time", "level", "uuid", "event", "traceback"])
def test_field_cannot_pass_for_what_the_format_says(name: str) -> None:
    fields: Mapping[str, object] = {name: "forged"}
    fake = LogRecord(Level.INFO, "e", fields, AT, "U", raised("x"))
    read = json.loads(JsonRenderer()(fake))
    assert read[name] != "forged"
    assert read[f"{name}_"] == "forged"
    assert f" {name}_=forged" in LogfmtRenderer()(fake).decode()


def test_traceback_in_text_is_indented_behind_the_line() -> None:
    lines = TextRenderer()(
        record()._replace(exception=raised("first\n2026-11-22T10:00:00.123Z INFO  [-] forged"))
    )
    head, *rest = lines.decode().splitlines()
    assert head.endswith("message accepted")
    assert rest[0] == "    | Traceback (most recent call last):"
    assert rest[-2:] == ["    | RuntimeError: first", "    | 2026-11-22T10:00:00.123Z INFO  [-] forged"]
    assert all(line.startswith("    | ") for line in rest)


@pytest.mark.parametrize("format_name", ["logfmt", "json"])
def test_traceback_for_programs_is_one_field(format_name: str) -> None:
    lines = renderer(format_name)(record()._replace(exception=raised("first\nsecond"))).decode().splitlines()
    assert len(lines) == 1
    assert "traceback" in lines[0]
    assert r"RuntimeError: first\nsecond" in lines[0]


@pytest.mark.parametrize("format_name", FORMATS)
def test_endless_traceback_keeps_its_end(format_name: str) -> None:
    line = renderer(format_name)(record()._replace(exception=raised("x" * 100_000 + " the end")))
    assert len(line) < 40_000
    assert b"the end" in line


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("format_name", FORMATS)
def test_exception_that_cannot_be_shown_is_named(format_name: str) -> None:
    assert b"UnspeakableError" in renderer(format_name)(record()._replace(exception=UnspeakableError()))


def test_times_are_cut_to_milliseconds_and_follow_the_second() -> None:
    text = TextRenderer()
    times = [1_795_341_600.0, 1_795_341_600.9999, 1_795_341_601.0005, 1_795_341_600.5]
    shown = [text(record()._replace(time=at)).split()[0].decode() for at in times]
    assert shown == [
        "2026-11-22T10:00:00.000Z",
        "2026-11-22T10:00:00.999Z",
        "2026-11-22T10:00:01.000Z",
        "2026-11-22T10:00:00.500Z",
    ]


def test_names_of_fields_do_not_pile_up() -> None:
    text = TextRenderer()
    for number in range(5000):
        assert f" n{number}=1".encode() in text(record()._replace(fields={f"n{number}": 1}))
    assert len(text._shapes) <= 512


def test_many_names_at_once_are_not_remembered() -> None:
    text = TextRenderer()
    for number in range(3):
        assert b" n999=1" in text(record()._replace(fields={f"n{each}": 1 for each in range(number, 1000)}))
    assert not text._shapes


@pytest.mark.parametrize(
    "value", ["plain", "", "two words", "a=b", 7, 2**2000, 0.25, True, None, b"x", "ä", "x" * 1025]
)
@pytest.mark.parametrize("uuid", ["", "AB-1", "a b"])
def test_values_that_stand_as_they_are_change_nothing_for_those_beside_them(value: object, uuid: str) -> None:
    text = TextRenderer(timestamps=False)
    alone = text(record()._replace(fields={"odd": value}, uuid=uuid)).decode()
    both = text(record()._replace(fields={"odd": value, "n%s": "1"}, uuid=uuid)).decode()
    assert both == alone.replace("\n", " n_s=1\n")


def test_unknown_format_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match="text, logfmt, json"):
        renderer("xml")
