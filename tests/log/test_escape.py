"""How single values read in a line."""

import json
from enum import Enum, IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harakapy.log.escape import VALUE_LIMIT, bare_or_quoted, event_text, field_name, field_text, plain_text

anything = st.text(st.characters(exclude_categories=()))


class Colour(Enum):
    RED = "#f00"


class Count(IntEnum):
    TWO = 2


class Mode(StrEnum):
    REJECT = "reject"


class Named:
    def __str__(self) -> str:
        return "user@example.com"


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("cannot say")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("mail.example.com", "mail.example.com"),
        ("user+tag@[IPv6:::1]", "user+tag@[IPv6:::1]"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "hi"', r'"say \"hi\""'),
        ("back\\slash", r'"back\\slash"'),
        ("%s %d {}", '"%s %d {}"'),
        ("用户@例子", '"用户@例子"'),
        ("a\r\nb", r'"a\r\nb"'),
        ("\x1b[31m", r'"\u001b[31m"'),
        ("\x9b31m", r'"\u009b31m"'),
        ("a\u202eb", r'"a\u202eb"'),
        ("a\u2028b", r'"a\u2028b"'),
        ("\x7f", r'"\u007f"'),
        ("\udcff", r'"\udcff"'),
        (b"mail.example.com", "mail.example.com"),
        (b"\xff\xfe", r'"\\xff\\xfe"'),
        (b"\x1b[31m", r'"\\x1b[31m"'),
        (bytearray(b"a\x00"), r'"a\\x00"'),
        (memoryview(b"a b"), '"a b"'),
        (0, "0"),
        (-17, "-17"),
        (True, "true"),
        (False, "false"),
        (None, "null"),
        (0.5, "0.5"),
        (2.0, "2"),
        (0.1 + 0.2, "0.3"),
        (1e300, "1e+300"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (Colour.RED, "RED"),
        (Count.TWO, "TWO"),
        (Mode.REJECT, "reject"),
        (Named(), "user@example.com"),
        (Broken(), '"<unprintable Broken>"'),
        ([], '""'),
        (["a", 1, None], "a,1,null"),
        ((b"\xff",), r'"\\xff"'),
        ({"a": 1, "b": [2, 3]}, "a:1,b:2,3"),
        (MappingProxyType({"a\n": Broken()}), r'"a\n:<unprintable Broken>"'),
    ],
)
def test_value_reads_as(value: object, shown: str) -> None:
    assert field_text(value) == shown


def test_long_text_is_cut_and_says_how_long_it_was() -> None:
    assert plain_text("x" * 10_000) == "x" * VALUE_LIMIT + "...[10000 characters]"
    assert plain_text(b"x" * 10_000) == "x" * VALUE_LIMIT + "...[10000 octets]"
    assert len(field_text("\x00" * 10_000_000)) < 10 * VALUE_LIMIT


def test_text_at_the_limit_is_whole() -> None:
    assert field_text("x" * VALUE_LIMIT) == "x" * VALUE_LIMIT


def test_integer_of_any_size_is_shown_quickly() -> None:
    assert field_text(10**100) == "1" + "0" * 100
    assert field_text(1 << 10_000_000).startswith("0x1000")
    assert len(field_text(1 << 10_000_000)) == VALUE_LIMIT


def test_long_list_shows_its_beginning_and_its_length() -> None:
    shown = plain_text(list(range(1000)))
    assert shown.startswith("0,1,2,")
    assert shown.endswith(",49,...[1000 items]")


def test_list_that_contains_itself_is_harmless() -> None:
    knot: list[Any] = []
    knot.extend([knot] * 1000)
    assert "<list>" in plain_text(knot)


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        ("message accepted", "message accepted"),
        ("Zustellung läuft", "Zustellung läuft"),
        ("", '""'),
        ("accepted relaying=true", '"accepted relaying=true"'),
        ('an "odd" one', r'"an \"odd\" one"'),
        ("two\nlines", r'"two\nlines"'),
    ],
)
def test_event_is_bare_unless_it_could_pass_for_a_field(event: str, shown: str) -> None:
    assert event_text(event) == shown


@pytest.mark.parametrize(
    ("name", "safe"),
    [("size", "size"), ("x.y-z", "x.y-z"), ("a b=c", "a_b_c"), ("a\n\x1b", "a__"), ("", "_"), ("é", "_")],
)
def test_name_of_a_field_keeps_to_letters_digits_and_marks(name: str, safe: str) -> None:
    assert field_name(name) == safe


@given(anything)
def test_text_is_always_printable_and_can_be_read_back(text: str) -> None:
    shown = bare_or_quoted(text)
    assert shown.isprintable()
    assert (json.loads(shown) if shown.startswith('"') else shown) == text


@given(st.binary())
def test_octets_are_always_printable_ascii_and_can_be_read_back(octets: bytes) -> None:
    text = plain_text(octets)
    assert text.isascii()
    assert text.isprintable()
    assert text.encode().decode("unicode_escape").encode("latin-1") == octets
