"""Content on the wire: the end of data, stuffed dots, chunks, line rules."""

from __future__ import annotations

import pytest

from harakapy.smtp.content import ChunkDecoder, DataDecoder, DotStuffer, LineRules


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


def test_a_block_without_dots_is_handed_out_uncopied() -> None:
    decoder = DataDecoder()
    decoder.receive(b"x")
    block = b"line\r\n" * 10 + b"line"
    decoded, position = decoder.receive(block)
    assert decoded is block
    assert position == len(block)


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


def test_without_a_limit_no_line_is_too_long() -> None:
    rules, kept = check([b"x" * 1_000_000] * 3)
    assert not rules.has_long_line
    assert len(kept) == 3_000_000


def test_one_octet_over_the_limit_is_too_long_when_the_line_ends() -> None:
    assert check([b"x" * 998 + b"\r\n"], max_line_octets=998)[0].has_long_line is False
    assert check([b"x" * 999 + b"\r\n"], max_line_octets=998)[0].has_long_line is True


def test_dots_that_begin_lines_are_stuffed_and_the_last_line_is_ended() -> None:
    stuffer = DotStuffer()
    assert stuffer.feed(b".a\r\n..\r\nb.c\r\n") == b"..a\r\n...\r\nb.c\r\n"
    assert stuffer.feed(b"") == b""
    assert stuffer.feed(b".") == b".."
    assert stuffer.finish() == b"\r\n.\r\n"
    assert DotStuffer().finish() == b".\r\n"


def test_a_block_without_dots_is_sent_uncopied() -> None:
    block = b"line\r\n" * 10
    assert DotStuffer().feed(block) is block
