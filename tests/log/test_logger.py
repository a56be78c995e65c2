"""Calls of the logger: levels, context, exceptions, and what must never raise."""

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from harakapy.log import (
    SILENT,
    Level,
    Logger,
    Output,
    Sink,
    StreamTarget,
    TextRenderer,
    make_logger,
    open_logger,
    silent_logger,
)


@pytest.fixture
def stream() -> io.BytesIO:
    return io.BytesIO()


@pytest.fixture
def log(stream: io.BytesIO) -> Logger:
    return open_logger(Level.DATA, timestamps=False, target=StreamTarget(stream))


@pytest.fixture
def written(stream: io.BytesIO) -> Callable[[], list[str]]:
    return lambda: stream.getvalue().decode().splitlines()


Written = Callable[[], list[str]]


@pytest.mark.parametrize("limit", [SILENT, *Level])
def test_only_what_is_serious_enough_is_written(log: Logger, written: Written, limit: int) -> None:
    log.output.level = limit
    for level in Level:
        getattr(log, level.name.lower())("event", n=int(level))
        log.log(level, "event", n=int(level))
        assert log.is_enabled(level) == (level <= limit)
    expected = [f"{level.name:<5} [-] event n={int(level)}" for level in Level if level <= limit]
    assert written() == [line for line in expected for _ in range(2)]


def test_bound_fields_come_first_and_are_kept_apart(log: Logger, written: Written) -> None:
    connection = log.bind(uuid="4F1B", ip="192.0.2.1")
    transaction = connection.bind(uuid="4F1B.1")
    transaction.info("queued", size=3)
    connection.info("closed", ip="changed")
    transaction.unbind("ip").info("other")
    transaction.new(plugin="relay").info("new")
    log.info("start")
    assert written() == [
        "INFO  [4F1B.1] queued ip=192.0.2.1 size=3",
        "INFO  [4F1B] closed ip=changed",
        "INFO  [4F1B.1] other",
        "INFO  [-] new plugin=relay",
        "INFO  [-] start",
    ]


def test_bound_loggers_follow_a_change_of_the_output(log: Logger, written: Written) -> None:
    bound = log.bind(plugin="tls")
    log.output.level = Level.WARN
    bound.info("quiet")
    log.output.level = Level.INFO
    bound.info("loud")
    assert written() == ["INFO  [-] loud plugin=tls"]


def test_two_loggers_do_not_disturb_each_other(log: Logger, written: Written) -> None:
    other_stream = io.BytesIO()
    other = open_logger(Level.ERROR, format_name="json", timestamps=False, target=StreamTarget(other_stream))
    log.info("one")
    other.info("nothing")
    other.error("two")
    assert written() == ["INFO  [-] one"]
    assert other_stream.getvalue() == b'{"level":"error","event":"two"}\n'


def test_fields_may_have_any_name(log: Logger, written: Written) -> None:
    names: dict[str, Any] = {"self": 1, "event": 2, "level": 3, "fields": 4}
    log.info("e", **names)
    log.log(Level.INFO, "e", **names)
    assert written() == ["INFO  [-] e self=1 event=2 level=3 fields=4"] * 2


@pytest.mark.parametrize("event", [b"octets", ValueError("octets"), 17, None])
def test_event_that_is_no_text_is_shown_all_the_same(log: Logger, written: Written, event: Any) -> None:
    log.info(event)
    assert len(written()) == 1


def test_uuid_of_any_type_is_shown(log: Logger, written: Written) -> None:
    log.bind(uuid=UUID(int=0)).info("e")
    assert written() == ["INFO  [00000000-0000-0000-0000-000000000000] e"]


def test_exception_given_or_being_handled_is_shown(log: Logger, written: Written) -> None:
    error = KeyError("given")
    log.crit("plugin failed", exc_info=error)
    log.crit("plugin failed", exc_info=(KeyError, error, None))
    try:
        raise KeyError("given")
    except KeyError:
        log.crit("plugin failed", exc_info=True)
    text = "\n".join(written())
    assert text.count("CRIT  [-] plugin failed\n") == 3
    assert text.count("    | KeyError: 'given'") == 3
    assert text.count("    | Traceback (most recent call last):") == 1


@pytest.mark.parametrize("nothing", [None, False, True, (None, None, None)])
def test_no_exception_shows_no_traceback(log: Logger, written: Written, nothing: object) -> None:
    log.crit("plugin failed", exc_info=nothing)
    assert written() == ["CRIT  [-] plugin failed"]


def test_log_file_is_opened_and_closed(tmp_path: Path) -> None:
    log = open_logger(format_name="logfmt", timestamps=False, file=tmp_path / "mail.log")
    log.info("start")
    log.output.sink.close()
    assert (tmp_path / "mail.log").read_bytes() == b"level=info event=start\n"


def test_without_a_file_the_log_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    open_logger(timestamps=False).info("start")
    assert capfd.readouterr() == ("", "INFO  [-] start\n")


def test_silent_logger_writes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    silent_logger().emerg("nobody hears this")
    assert capfd.readouterr() == ("", "")


def test_time_stands_in_utc_whatever_the_zone(monkeypatch: pytest.MonkeyPatch, stream: io.BytesIO) -> None:
    output = Output(Sink(StreamTarget(stream)), TextRenderer(), now=lambda: 0.25)
    with monkeypatch.context() as zone:
        zone.setenv("TZ", "IST-5:30")
        time.tzset()
        make_logger(output).info("e")
    time.tzset()
    assert stream.getvalue() == b"1970-01-01T00:00:00.250Z INFO  [-] e\n"
