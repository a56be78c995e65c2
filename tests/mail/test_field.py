"""Writing one header field: folded, encoded, and read back as the same text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harakapy.mail.field import HeaderField, check_formatted, format_field

WORDS = st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), max_size=100)
LONG_WORDS = st.builds(
    lambda word, times: word * times, st.sampled_from(["x", "ab", "ö", "€", "𝄞"]), st.integers(0, 1200)
)
VALUES = (
    st.lists(st.one_of(WORDS, LONG_WORDS), max_size=8).map(" ".join).filter(lambda text: "=?" not in text)
)


def read(raw: bytes) -> HeaderField:
    return HeaderField.from_raw(raw)


def lines_of(raw: bytes) -> list[bytes]:
    assert raw.endswith(b"\r\n")
    return raw[:-2].split(b"\r\n")


@given(VALUES, st.booleans())
def test_what_was_written_is_read_back(value: str, utf8: bool) -> None:
    raw = format_field("Subject", value, utf8=utf8)
    assert read(raw).decoded == value.strip(" \t")
    assert utf8 or raw.isascii()


@given(VALUES, st.booleans())
def test_no_line_is_too_long_and_none_is_blank(value: str, utf8: bool) -> None:
    raw = format_field("Subject", value, utf8=utf8)
    check_formatted(raw)
    first, *others = lines_of(raw)
    assert first.startswith(b"Subject:")
    for line in (first, *others):
        assert len(line) <= 998
        assert len(line) <= 78 or b" " not in line.removeprefix(b"Subject:").strip()
    for line in others:
        assert line[:1] in (b" ", b"\t")
        assert line.strip()


@given(VALUES)
def test_lines_with_encoded_words_have_at_most_76_octets(value: str) -> None:
    raw = format_field("Subject", value + " ö")
    assert all(len(line) <= 76 for line in lines_of(raw) if b"=?" in line)


def test_short_values_stay_on_one_line() -> None:
    assert format_field("Subject", " hello world\t") == b"Subject: hello world\r\n"
    assert format_field("Subject", "x" * 69) == b"Subject: " + b"x" * 69 + b"\r\n"


def test_an_empty_value_makes_a_field_without_trailing_space() -> None:
    assert format_field("X-Empty", " ") == b"X-Empty:\r\n"


def test_lines_are_folded_where_white_space_is() -> None:
    assert format_field("To", ", ".join(["someone@example.com"] * 5)) == (
        b"To: someone@example.com, someone@example.com, someone@example.com,\r\n"
        b" someone@example.com, someone@example.com\r\n"
    )


def test_words_outside_ascii_are_encoded_and_the_others_are_not() -> None:
    assert format_field("Subject", "Grüße aus Köln") == (
        b"Subject: =?utf-8?b?R3LDvMOfZQ==?= aus =?utf-8?b?S8O2bG4=?=\r\n"
    )


def test_words_outside_ascii_stay_when_the_message_is_utf8() -> None:
    assert format_field("Subject", "Grüße", utf8=True) == "Subject: Grüße\r\n".encode()


def test_encoded_words_that_are_given_are_not_encoded_again() -> None:
    assert format_field("Subject", "[SPAM] =?utf-8?q?K=C3=B6ln?=") == (
        b"Subject: [SPAM] =?utf-8?q?K=C3=B6ln?=\r\n"
    )


def test_a_malformed_line_is_all_value() -> None:
    field = read(b"no colon \x1b\r\n")
    assert field.name == ""
    assert field.text == r"no colon \x1b"


def test_a_value_keeps_what_looks_like_an_escape() -> None:
    assert read(format_field("X", r"a\r\nb")).text == r"a\r\nb"
