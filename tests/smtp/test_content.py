"""Content on the wire: the end of data, stuffed dots, chunks, line rules."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harakapy.smtp.content import ChunkDecoder, DataDecoder, DotStuffer, LineRules

# What the end of data, stuffing and line rules are about, and little else.
TRICKY = st.lists(st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"a", b"\0"]), max_size=25).map(
    b"".join
)


def splits(data: bytes) -> list[list[bytes]]:
    """``data`` whole, byte by byte, and in two parts at each place."""
    ways = [[data], [data[i : i + 1] for i in range(len(data))]]
    return ways + [[data[:i], data[i:]] for i in range(1, len(data))]


def decode(blocks: list[bytes]) -> tuple[bytes, bool, bytes]:
    """Content, whether its end was found, and what stood behind the end."""
    decoder, content = DataDecoder(), b""
    for number, block in enumerate(blocks):
        decoded, position = decoder.receive(b"??" + block, 2)
        content += decoded
        if decoder.finished:
            return content, True, block[position - 2 :] + b"".join(blocks[number + 1 :])
        assert position == len(block) + 2
    return content, False, b""


def one_octet_at_a_time(data: bytes) -> tuple[bytes, bool, bytes]:
    """RFC 5321 4.5.2 read literally: line by line, a line being what CR LF ends."""
    content = b""
    while (end := data.find(b"\r\n")) >= 0:
        line, data = data[: end + 2], data[end + 2 :]
        if line == b".\r\n":
            return content, True, data
        content += line.removeprefix(b".")
    return content, False, data


@pytest.mark.parametrize(
    ("wire", "content", "rest"),
    [
        (b".\r\n", b"", b""),
        (b"\r\n.\r\n", b"\r\n", b""),
        (b"a\r\n.\r\n", b"a\r\n", b""),
        (b"a\r\n.\r\nQUIT\r\n", b"a\r\n", b"QUIT\r\n"),
        (b"a\r\n.\r\n.\r\n", b"a\r\n", b".\r\n"),
        (b"..\r\n...\r\n..x\r\n.\r\n", b".\r\n..\r\n.x\r\n", b""),
        (b".x\r\n.\r\n", b"x\r\n", b""),
        (b"a.b\r\n.c\r\n.\r\n", b"a.b\r\nc\r\n", b""),
        (b"..\r\n.\r\n", b".\r\n", b""),
        (b"\r\n..\r\n..\r\n.\r\n", b"\r\n.\r\n.\r\n", b""),
    ],
)
def test_only_a_dot_between_line_ends_ends_the_content(wire: bytes, content: bytes, rest: bytes) -> None:
    for blocks in splits(wire):
        assert decode(blocks) == (content, True, rest)


SMUGGLED = [  # and what is left of them in the content
    (b"\n.\n", b"\n.\n"),
    (b"\r\n.\n", b"\r\n\n"),
    (b"\n.\r\n", b"\n.\r\n"),
    (b"\r.\r", b"\r.\r"),
    (b"\r.\n", b"\r.\n"),
    (b"\n.\r", b"\n.\r"),
    (b"\r.\r\n", b"\r.\r\n"),
    (b"\r\n.\r", b"\r\n\r"),
    (b"\r\n.\r\r\n", b"\r\n\r\r\n"),
    (b"\n\r.\r\n", b"\n\r.\r\n"),
    (b"\r\n\x00.\r\n", b"\r\n\x00.\r\n"),
    (b"\r\n.\x00\r\n", b"\r\n\x00\r\n"),
    (b"\r\n\r.\r\n", b"\r\n\r.\r\n"),
    (b"\r\n.\n\r\n", b"\r\n\n\r\n"),
]


@pytest.mark.parametrize(("sequence", "kept"), SMUGGLED)
def test_what_looks_like_an_end_is_content_and_is_flagged(sequence: bytes, kept: bytes) -> None:
    wire = b"a" + sequence + b"MAIL FROM:<s@x>\r\n.\r\n"
    for blocks in splits(wire):
        content, finished, rest = decode(blocks)
        assert (content, finished, rest) == (b"a" + kept + b"MAIL FROM:<s@x>\r\n", True, b"")
        rules = LineRules()
        rules.feed(content)
        rules.finish()
        assert rules.has_bare_lf or rules.has_bare_cr or rules.has_nul


def test_an_extra_cr_before_the_end_is_flagged_and_the_end_is_the_end() -> None:
    for blocks in splits(b"a\r\r\n.\r\nNOOP\r\n"):
        content, finished, rest = decode(blocks)
        assert (content, finished, rest) == (b"a\r\r\n", True, b"NOOP\r\n")
        rules = LineRules()
        rules.feed(content)
        assert rules.has_bare_cr


@given(TRICKY, st.integers(1, 7))
@example(b"\r\n.\r\r\n.\r\n", 1)
def test_decoding_is_what_the_rfc_says(data: bytes, step: int) -> None:
    expected, expected_end, expected_rest = one_octet_at_a_time(data)
    content, finished, rest = decode([data[i : i + step] for i in range(0, len(data), step)])
    assert finished is expected_end
    if finished:
        assert (content, rest) == (expected, expected_rest)
    else:
        assert content.startswith(expected)  # of the open line all is out but a dot, or a dot and CR
        assert len(content) <= len(expected) + len(expected_rest)


def test_a_block_without_dots_is_handed_out_uncopied() -> None:
    decoder = DataDecoder()
    decoder.receive(b"x")
    block = b"line\r\n" * 10 + b"line"
    decoded, position = decoder.receive(block)
    assert decoded is block
    assert position == len(block)


@given(TRICKY, st.lists(st.integers(0, 30)), st.lists(st.integers(0, 60)))
def test_stuffing_and_decoding_give_back_the_content(data: bytes, cuts: list[int], recuts: list[int]) -> None:
    stuffer = DotStuffer()
    wire = b"".join(stuffer.feed(block) for block in _cut(data, cuts)) + stuffer.finish()
    whole = DotStuffer()
    assert whole.feed(data) + whole.finish() == wire
    completed = data if not data or data.endswith(b"\r\n") else data + b"\r\n"
    assert decode(_cut(wire + b"NOOP\r\n", recuts)) == (completed, True, b"NOOP\r\n")


def _cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@pytest.mark.parametrize("size", [0, 1, 5, 9])
def test_a_chunk_is_taken_by_its_number_of_octets(size: int) -> None:
    data = b".\r\n\n.\r\r\nNOOP"
    for blocks in splits(data):
        decoder, content, rest = ChunkDecoder(size), b"", b""
        for block in blocks:
            taken, position = decoder.receive(block)
            content += taken
            rest += block[position:]
        assert decoder.finished
        assert (content, rest) == (data[:size], data[size:])


def check(
    blocks: list[bytes], *, max_line_octets: int = 0, normalise: bool = False
) -> tuple[LineRules, bytes]:
    rules = LineRules(max_line_octets=max_line_octets, normalise=normalise)
    kept = b"".join(rules.feed(block) for block in blocks)
    return rules, kept + rules.finish()


@pytest.mark.parametrize(
    ("content", "flags"),
    [
        (b"", ""),
        (b"a\r\nb\r\n", ""),
        (b"\r\n\r\n", ""),
        (b"a\nb\r\n", "lf"),
        (b"\na\r\n", "lf"),
        (b"a\r\n\n", "lf"),
        (b"a\rb\r\n", "cr"),
        (b"a\r\r\n", "cr"),
        (b"a\r", "cr"),
        (b"\n\r", "lf cr"),
        (b"a\0b\r\n", "nul"),
        (b"\0\n\0\r", "lf cr nul"),
    ],
)
def test_line_rules_flag_what_is_against_the_rules_at_any_split(content: bytes, flags: str) -> None:
    for blocks in splits(content):
        rules, kept = check(blocks)
        found = {"lf": rules.has_bare_lf, "cr": rules.has_bare_cr, "nul": rules.has_nul}
        assert " ".join(name for name, is_there in found.items() if is_there) == flags
        assert kept == content
        assert rules.octets == len(content)


@pytest.mark.parametrize(
    ("content", "normalised"),
    [
        (b"a\nb\rc\r\nd", b"a\r\nb\r\nc\r\nd"),
        (b"\n\r\r\n\r", b"\r\n\r\n\r\n\r\n"),
        (b"a\r\r\n", b"a\r\n\r\n"),
        (b"clean\r\n", b"clean\r\n"),
    ],
)
def test_normalisation_makes_every_line_end_crlf_at_any_split(content: bytes, normalised: bytes) -> None:
    for blocks in splits(content):
        rules, kept = check(blocks, normalise=True)
        assert kept == normalised
        assert rules.octets == len(normalised)
        assert (rules.has_bare_cr or rules.has_bare_lf) is (content != normalised)


@given(TRICKY, st.integers(1, 7), st.integers(0, 4), st.booleans())
def test_line_rules_do_not_depend_on_the_split(data: bytes, step: int, limit: int, normalise: bool) -> None:
    whole, kept = check([data], max_line_octets=limit, normalise=normalise)
    parts, kept_in_parts = check(
        [data[i : i + step] for i in range(0, len(data), step)], max_line_octets=limit, normalise=normalise
    )
    assert kept == kept_in_parts
    for name in ("has_bare_cr", "has_bare_lf", "has_nul", "has_long_line", "octets"):
        assert getattr(whole, name) == getattr(parts, name), name


@pytest.mark.parametrize("before", [b"", b"ab\r\n", b"\r\n" * 3000])
@pytest.mark.parametrize("after", [b"", b"\r\nab\r\n", b"\r\n" * 3000])
def test_a_line_may_be_as_long_as_the_limit_and_no_longer(before: bytes, after: bytes) -> None:
    for length, is_long in ((997, False), (998, False), (1000, True), (100_000, True)):
        content = before + b"x" * length + after
        for step in (1000, 999, len(content)):
            rules, _ = check(
                [content[i : i + step] for i in range(0, len(content), step)], max_line_octets=998
            )
            assert rules.has_long_line is is_long, (length, step)


def test_one_octet_over_the_limit_is_too_long_when_the_line_ends() -> None:
    assert check([b"x" * 998 + b"\r\n"], max_line_octets=998)[0].has_long_line is False
    assert check([b"x" * 999 + b"\r\n"], max_line_octets=998)[0].has_long_line is True
