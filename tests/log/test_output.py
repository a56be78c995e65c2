"""The tap (the log hook) in front of the renderer and the sink."""

import io
import threading
from collections.abc import Mapping

import pytest

from harakapy.log import Level, LogRecord, Output, Sink, StreamTarget, TextRenderer, make_logger, open_logger


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = 1_795_341_600.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stream() -> io.BytesIO:
    return io.BytesIO()


@pytest.fixture
def output(stream: io.BytesIO, clock: Clock) -> Output:
    return Output(Sink(StreamTarget(stream)), TextRenderer(timestamps=False), now=clock)


def test_tap_sees_the_record_as_it_was_given(output: Output, clock: Clock) -> None:
    seen: list[LogRecord] = []
    output.tap = lambda record: seen.append(record) or False  # type: ignore[func-returns-value]
    error = ValueError("x")
    make_logger(output, plugin="tls").bind(uuid="U.1").warn("bad host", host=b"\x1b", exc_info=error)
    assert seen == [
        LogRecord(Level.WARN, "bad host", {"plugin": "tls", "host": b"\x1b"}, clock.time, "U.1", error)
    ]


def test_tap_may_keep_a_record_from_being_written(output: Output, stream: io.BytesIO) -> None:
    output.tap = lambda record: record.event == "secret"
    log = make_logger(output)
    log.info("secret")
    log.info("public")
    assert stream.getvalue() == b"INFO  [-] public\n"


def test_tap_sees_nothing_below_the_level(output: Output) -> None:
    seen: list[str] = []
    output.tap = lambda record: bool(seen.append(record.event))  # type: ignore[func-returns-value]
    make_logger(output).debug("quiet")
    assert seen == []


def test_tap_that_logs_does_not_see_its_own_records(output: Output, stream: io.BytesIO) -> None:
    log = make_logger(output)

    def tap(record: LogRecord) -> bool:
        log.info(f"seen {record.event}")
        return False

    output.tap = tap
    log.info("one")
    log.info("two")
    assert stream.getvalue().decode().split("INFO  [-] ") == [
        "",
        "seen one\n",
        "one\n",
        "seen two\n",
        "two\n",
    ]


def test_tap_sees_what_another_thread_logs_meanwhile(output: Output) -> None:
    log, seen = make_logger(output), []

    def tap(record: LogRecord) -> bool:
        seen.append(record.event)
        if record.event == "outer":
            thread = threading.Thread(target=log.info, args=("inner",))
            thread.start()
            thread.join()
        return False

    output.tap = tap
    log.info("outer")
    assert seen == ["outer", "inner"]


def test_tap_that_fails_costs_no_record_and_is_reported_once_a_minute(
    output: Output, stream: io.BytesIO, clock: Clock
) -> None:
    def tap(record: LogRecord) -> bool:
        raise RuntimeError("broken plugin")

    output.tap = tap
    log = make_logger(output)
    for number in range(3):
        log.info("event", number=number)
    clock.time += 61
    log.info("event", number=3)
    text = stream.getvalue().decode()
    assert [line for line in text.splitlines() if line.startswith("INFO")] == [
        f"INFO  [-] event number={number}" for number in range(4)
    ]
    assert text.count("ERROR [-] log tap failed") == 2
    assert text.count("    | RuntimeError: broken plugin") == 2


def test_mapping_that_fails_while_it_is_rendered_costs_its_fields_only(
    output: Output, stream: io.BytesIO
) -> None:
    class Broken(Mapping[str, object]):
        def __getitem__(self, name: str) -> object:
            raise RuntimeError

        def __iter__(self):  # type: ignore[no-untyped-def]
            raise RuntimeError

        def __len__(self) -> int:
            return 1

    output.write(LogRecord(Level.INFO, "event", Broken(), 0.0, "U"))
    assert stream.getvalue() == b"INFO  [U] event unrenderable=RuntimeError\n"


def test_lost_lines_are_told_in_the_format_of_the_log(output: Output, stream: io.BytesIO) -> None:
    log = make_logger(output)
    with output.sink.batching(lambda: None):
        for _ in range(70_000):
            log.info("event")
    whole = stream.getvalue().count(b"INFO  [-] event\n")
    last = stream.getvalue().splitlines()[-1].decode()
    assert whole < 70_000
    assert last == (
        f'ERROR [-] log lines lost lines={70_000 - whole} reason="the reader of the log is too slow"'
    )


def test_each_line_names_the_worker_that_wrote_it() -> None:
    stream = io.BytesIO()
    log = open_logger(timestamps=False, target=StreamTarget(stream))
    log.output.worker = "in2"
    log.bind(plugin="a").info("hello", size=1)
    assert stream.getvalue() == b"INFO  [-] hello worker=in2 plugin=a size=1\n"
