"""Content between commit and first attempt."""

from __future__ import annotations

from pathlib import Path

from harakapy.mail import Content
from harakapy.outbound.kept import KeptContents
from tests.queue.samples import SMALL, spooled


def content(octets: int) -> Content:
    return Content.from_bytes(b"x" * octets)


def octets_of(kept: Content | None) -> bytes:
    assert kept is not None
    return b"".join(kept.blocks())


def test_content_is_kept_for_as_many_attempts_as_are_made() -> None:
    kept = KeptContents()
    kept.keep("A", Content.from_bytes(SMALL), attempts=2)
    kept.attempted("A")
    assert octets_of(kept.get("A")) == SMALL
    kept.attempted("A")
    assert kept.get("A") is None
    kept.attempted("A")  # also of a message that was claimed later


def test_content_that_is_kept_already_is_kept_for_more_attempts() -> None:
    kept = KeptContents(budget_octets=100)
    kept.keep("A", content(60), attempts=1)
    kept.keep("A", content(60), attempts=1)
    kept.attempted("A")
    assert octets_of(kept.get("A")) == b"x" * 60
    kept.attempted("A")
    assert kept.get("A") is None
    kept.keep("B", content(50), attempts=1)
    kept.keep("C", content(50), attempts=1)
    assert kept.get("B") is not None, "what was kept twice took room once"


def test_content_that_is_forgotten_leaves_its_room() -> None:
    kept = KeptContents(budget_octets=100)
    kept.keep("A", content(60), attempts=2)
    kept.keep("B", content(40), attempts=1)
    kept.forget("A")
    kept.forget("A")
    kept.keep("C", content(60), attempts=1)
    assert kept.get("A") is None
    assert kept.get("B") is not None


def test_content_is_kept_as_it_was_whatever_its_owner_does_with_it() -> None:
    kept, own = KeptContents(), Content.from_bytes(SMALL)
    own.prepend(b"Received: once\r\n")
    kept.keep("A", own, attempts=1)
    own.header.add("X-Later", "yes")
    own.prepend(b"Received: twice\r\n")
    own.close()
    assert octets_of(kept.get("A")) == b"Received: once\r\n" + SMALL


def test_content_in_a_file_is_left_to_the_store(tmp_path: Path) -> None:
    kept = KeptContents()
    with spooled(SMALL, tmp_path) as own:
        kept.keep("A", own, attempts=1)
    assert kept.get("A") is None


def test_what_was_kept_longest_makes_room() -> None:
    kept = KeptContents(budget_octets=100)
    for name in "ABC":
        kept.keep(name, content(40), attempts=1)
    assert kept.get("A") is None
    assert octets_of(kept.get("B")) == octets_of(kept.get("C")) == b"x" * 40


def test_content_that_would_take_all_the_room_takes_none() -> None:
    kept = KeptContents(budget_octets=100)
    kept.keep("A", content(60), attempts=1)
    kept.keep("B", content(101), attempts=1)
    assert kept.get("B") is None
    assert kept.get("A") is not None


def test_room_comes_back_with_the_last_attempt() -> None:
    kept = KeptContents(budget_octets=100)
    kept.keep("A", content(60), attempts=1)
    kept.keep("B", content(40), attempts=1)
    kept.attempted("A")
    kept.keep("C", content(60), attempts=1)
    assert kept.get("B") is not None
    assert kept.get("C") is not None
