"""Laws of content on the wire: stuffing, decoding and line rules, at any split."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from harakapy.smtp import DataDecoder, DotStuffer, LineRules

# What the end of data, stuffing and line rules are about, and little else.
contents = st.lists(st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"a", b"\0"]), max_size=25).map(
    b"".join
)
places = st.lists(st.integers(0, 60), max_size=10)


def cut(data: bytes, where: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in where), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def decode(blocks: list[bytes]) -> tuple[bytes, bool, bytes]:
    """Content, whether its end was found, and what stood behind the end."""
    decoder, content = DataDecoder(), b""
    for number, block in enumerate(blocks):
        decoded, position = decoder.receive(block, 0)
        content += decoded
        if decoder.finished:
            return content, True, block[position:] + b"".join(blocks[number + 1 :])
    return content, False, b""


def decode_by_line(data: bytes) -> tuple[bytes, bool, bytes]:
    """RFC 5321 4.5.2 read literally: line by line, a line being what CR LF ends."""
    content = b""
    while (end := data.find(b"\r\n")) >= 0:
        line, data = data[: end + 2], data[end + 2 :]
        if line == b".\r\n":
            return content, True, data
        content += line.removeprefix(b".")
    return content, False, data


@given(contents, places)
@example(b"\r\n.\r\r\n.\r\n", [1, 2, 3, 4, 5, 6, 7])
def test_decoding_is_what_the_rfc_says(data: bytes, where: list[int]) -> None:
    expected, has_end, rest = decode_by_line(data)
    content, finished, behind = decode(cut(data, where))
    assert finished is has_end
    if finished:
        assert (content, behind) == (expected, rest)
    else:  # of the open line everything is out but a dot, or a dot and CR
        open_line = rest.removeprefix(b".") if rest not in (b".", b".\r") else b""
        assert content == expected + open_line


@given(contents, places, places)
def test_what_was_stuffed_is_decoded_to_itself(data: bytes, sent: list[int], received: list[int]) -> None:
    stuffer = DotStuffer()
    wire = b"".join(map(stuffer.feed, cut(data, sent))) + stuffer.finish()
    completed = data if not data or data.endswith(b"\r\n") else data + b"\r\n"
    assert decode(cut(wire + b"NOOP\r\n", received)) == (completed, True, b"NOOP\r\n")


@given(contents, places)
def test_stuffing_does_not_depend_on_the_split(data: bytes, where: list[int]) -> None:
    whole, parts = DotStuffer(), DotStuffer()
    wire = whole.feed(data) + whole.finish()
    assert b"".join(map(parts.feed, cut(data, where))) + parts.finish() == wire
    assert b"\r\n.\r\n" not in (b"\r\n" + wire)[:-1]  # but at the end


@given(contents, places, st.integers(0, 4), st.booleans())
def test_line_rules_do_not_depend_on_the_split(
    data: bytes, where: list[int], limit: int, normalise: bool
) -> None:
    def check(blocks: list[bytes]) -> tuple[bytes, dict[str, object]]:
        rules = LineRules(max_line_octets=limit, normalise=normalise)
        kept = b"".join(map(rules.feed, blocks)) + rules.finish()
        names = ("has_bare_cr", "has_bare_lf", "has_nul", "has_long_line", "octets")
        return kept, {name: getattr(rules, name) for name in names}

    assert check(cut(data, where)) == check([data])


@given(contents, places)
def test_line_rules_see_every_bare_line_end_and_repair_it(data: bytes, where: list[int]) -> None:
    bare = data.replace(b"\r\n", b"")
    rules, repair = LineRules(), LineRules(normalise=True)
    assert b"".join(map(rules.feed, cut(data, where))) + rules.finish() == data
    assert (rules.has_bare_cr, rules.has_bare_lf, rules.has_nul) == (
        b"\r" in bare,
        b"\n" in bare,
        b"\0" in data,
    )
    repaired = b"".join(map(repair.feed, cut(data, where))) + repair.finish()
    assert (repair.has_bare_cr, repair.has_bare_lf) == (rules.has_bare_cr, rules.has_bare_lf)
    assert repaired.replace(b"\r\n", b"\n") == data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
