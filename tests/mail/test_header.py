"""The header: bytes stay, text is safe, changes touch nothing else."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harakapy.mail.field import field_key
from harakapy.mail.header import Header, HeaderField

RAW = (
    b"Received: from a.example by b.example;\r\n\tSun, 22 Nov 2026 10:00:00 +0000\r\n"
    b"subject:  A folded\r\n   subject \r\n"
    b"From: =?utf-8?q?J=C3=B6rg?= <joerg@example.com>, b@example.com\r\n"
    b"Subject: second\r\n"
)

LINES = st.sampled_from(
    [
        b"Subject: one\r\n",
        b"SUBJECT: two\r\n folded\r\n",
        b"To: a@example.com\r\n",
        b"no colon\r\n",
        b"name with space: x\r\n",
        b"Old : style\r\n",
        b": no name\r\n",
        b"Latin: caf\xe9\r\n",
        b"Bare: \n\r\r\n",
        b"Nul: \x00\r\n",
        b"Empty:\r\n",
        b"__proto__: x\r\n",
    ]
)
FIELDS = st.lists(LINES).map(b"".join)
ANYTHING = st.one_of(FIELDS, st.binary(), st.lists(st.one_of(LINES, st.binary(max_size=8))).map(b"".join))
NAMES = st.sampled_from(["Subject", "to", "Old", "Bare", "X-None"])


def raws(header: Header) -> list[bytes]:
    return [field.raw for field in header]


@given(ANYTHING)
@example(b"")
@example(b" first line begins with space\r\nA: b\r\n")
@example(b"A: b\r\n ")
def test_a_header_that_was_only_read_gives_back_its_bytes(raw: bytes) -> None:
    header = Header(raw)
    for name in ("Subject", "to", "", ":", "Latin", "x y"):
        header.get(name)
        header.get_all(name)
        header.get_decoded(name)
        header.get_addresses(name)
        assert (name in header) is bool(header.get_all(name))
    assert 0 <= header.defects <= len(header)
    assert header.to_bytes() is raw
    assert b"".join(raws(header)) == raw
    assert not header.is_modified


@given(ANYTHING)
def test_values_never_have_control_characters_and_can_be_encoded(raw: bytes) -> None:
    header = Header(raw)
    for name in {field.name for field in header if field.name}:
        for value in (*header.get_all(name), header.get_decoded(name) or ""):
            assert not any(character in value for character in "\r\n\x00\x1b\x7f\x9b")
            value.encode()


def test_values_are_unfolded_and_found_without_regard_to_case() -> None:
    header = Header(RAW)
    assert header.get("SUBJECT") == "A folded   subject"
    assert header.get_all("Subject") == ("A folded   subject", "second")
    assert header.get("Received") == "from a.example by b.example;\tSun, 22 Nov 2026 10:00:00 +0000"
    assert header.get("Reply-To") is None
    assert header.get_decoded("Reply-To") is None
    assert "from" in header
    assert "To" not in header
    assert 7 not in header
    assert len(header) == 4
    assert repr(header) == "<Header of 4 fields>"


def test_encoded_words_are_decoded_on_request_only() -> None:
    header = Header(RAW)
    assert header.get("From") == "=?utf-8?q?J=C3=B6rg?= <joerg@example.com>, b@example.com"
    assert header.get_decoded("From") == "Jörg <joerg@example.com>, b@example.com"


def test_iteration_gives_fields_with_their_name_as_written() -> None:
    assert list(Header(RAW + b"no colon\r\n"))[1:] == [
        HeaderField("subject", b"subject:  A folded\r\n   subject \r\n"),
        HeaderField("From", b"From: =?utf-8?q?J=C3=B6rg?= <joerg@example.com>, b@example.com\r\n"),
        HeaderField("Subject", b"Subject: second\r\n"),
        HeaderField("", b"no colon\r\n"),
    ]


def test_text_outside_ascii_is_utf8_or_written_out() -> None:
    assert Header("Subject: größer\r\n".encode()).get("Subject") == "größer"
    assert Header("Subject: größer\r\n".encode("latin-1")).get("Subject") == r"gr\xf6\xdfer"


def test_a_malformed_line_has_no_name_to_be_found_by() -> None:
    header = Header(b"no colon\r\n: no name\r\n")
    assert header.get_all("") == header.get_all(":") == header.get_all("no colon") == ()
    assert header.remove("") == 0


def test_the_kelvin_sign_is_no_k() -> None:
    assert Header(b"Kind: x\r\n").get("\u212aind") is None


@pytest.mark.parametrize(
    ("raw", "defects"),
    [
        (RAW, 0),
        (b"", 0),
        (b"A: b\r\n no continuation is a defect\r\n", 0),
        (b" leading space\r\nA: b\r\n", 1),
        (b"no colon\r\nA: b\r\n", 1),
        (b"na me: x\r\nn\xe4me: x\r\n: x\r\n", 3),
        (b"Name : x\r\n", 1),
        (b"A: \x00\r\nB: \r c\r\nC: \n\r\nD: e\r\n", 3),
    ],
)
def test_malformed_fields_are_counted(raw: bytes, defects: int) -> None:
    assert Header(raw).defects == defects


def test_a_space_before_the_colon_does_not_hide_a_field() -> None:
    header = Header(b"From \t: evil@example.com\r\n")
    assert header.get("From") == "evil@example.com"
    assert header.get_addresses("from")[0].address is not None


@given(FIELDS)
def test_adding_touches_nothing_else(raw: bytes) -> None:
    header = Header(raw)
    header.add("X-New", "value")
    assert header.to_bytes() == raw + b"X-New: value\r\n"
    assert header.get("x-new") == "value"
    assert header.is_modified


@given(FIELDS)
def test_prepending_touches_nothing_else(raw: bytes) -> None:
    header = Header(raw)
    header.prepend("X-New", "value")
    assert header.to_bytes() == b"X-New: value\r\n" + raw
    assert header.get("x-new") == "value"
    assert header.is_modified


@given(FIELDS, NAMES)
def test_removing_touches_nothing_else(raw: bytes, name: str) -> None:
    header = Header(raw)
    before = raws(header)
    count = len(header.get_all(name))
    assert header.remove(name) == count
    assert raws(header) == [field for field in before if field_key(field) != name.lower().encode()]
    assert header.is_modified is (count > 0)
    assert name not in header
    assert header.to_bytes() == b"".join(raws(header))


@given(FIELDS, NAMES)
def test_replacing_touches_nothing_else(raw: bytes, name: str) -> None:
    header = Header(raw)
    before = raws(header)
    header.replace(name, "new")
    new = f"{name}: new\r\n".encode()
    key = name.lower().encode()
    first = next((at for at, field in enumerate(before) if field_key(field) == key), len(before))
    others = [field for field in before[first:] if field_key(field) != key]
    assert raws(header) == [*before[:first], new, *others]
    assert header.get_all(name) == ("new",)


def test_fields_follow_each_other_in_the_order_of_the_calls() -> None:
    header = Header(b"A: 1\r\n")
    header.prepend("B", "2")
    header.prepend("C", "3")
    header.add("D", "4")
    assert header.to_bytes() == b"C: 3\r\nB: 2\r\nA: 1\r\nD: 4\r\n"


def test_a_line_without_its_end_is_ended_before_another_field() -> None:
    header = Header(b"Subject: cut off")
    header.add("A", "b")
    assert header.to_bytes() == b"Subject: cut off\r\nA: b\r\n"


def test_a_first_line_that_begins_with_space_cannot_write_into_our_field() -> None:
    header = Header(b" by forged.example\r\nSubject: x\r\n")
    header.prepend("Received", "from a")
    assert header.get("Received") == "from a"
    assert header.to_bytes() == (
        b"Received: from a\r\nX-Malformed-Line:\r\n by forged.example\r\nSubject: x\r\n"
    )


@pytest.mark.parametrize("value", ["a\rb", "a\nb", "a\r\nBcc: x", "a\x00b", "a\x1b[31m", "a\x7f", "\udcff"])
def test_values_that_could_do_harm_are_refused(value: str) -> None:
    header = Header(RAW)
    for change in (header.add, header.prepend, header.replace):
        with pytest.raises(ValueError, match="cannot have the character"):
            change("Subject", value)
    assert header.to_bytes() is RAW
    assert not header.is_modified


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "ä", "x" * 77])
def test_names_that_are_none_are_refused(name: str) -> None:
    header = Header(RAW)
    for change in (header.add, header.prepend, header.replace):
        with pytest.raises(ValueError, match="not the name of a header field"):
            change(name, "value")
    assert header.to_bytes() is RAW


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b"A: b",
        b"A: b\r\n\r\n",
        b"A: b\r\nno colon\r\n",
        b" A: b\r\n",
        b"A: \n\r\n",
        b"A: \x00\r\n",
        b"\r\n",
    ],
)
def test_raw_fields_that_are_not_whole_are_refused(fields: bytes) -> None:
    header = Header(RAW)
    with pytest.raises(ValueError, match="not formatted header fields"):
        header.prepend_raw(fields)
    assert header.to_bytes() is RAW
