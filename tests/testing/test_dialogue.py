"""Dialogues as text: what fails, how it is told, and what each form of line means."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from harakapy.testing import Client, Dialogue, DialogueFailed, play


@asynccontextmanager
async def server_that_says(*pieces: bytes, closes: bool = True) -> AsyncIterator[tuple[Client, list[bytes]]]:
    """A client whose server says these pieces, one for each segment it receives and the first at once."""
    ours, theirs = trio.testing.memory_stream_pair()
    heard: list[bytes] = []

    async def serve() -> None:
        for index, piece in enumerate(pieces):
            if index:
                heard.append(bytes(await theirs.receive_some(65536)))
            await theirs.send_all(piece)
        if closes:
            await theirs.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        yield Client(ours), heard
        nursery.cancel_scope.cancel()


async def failure(dialogue: str, *pieces: bytes, closes: bool = True) -> str:
    """The message of a dialogue that must fail."""
    async with server_that_says(*pieces, closes=closes) as (client, _):
        with pytest.raises(DialogueFailed) as caught:
            await play(dialogue, client, timeout_s=5)
    return str(caught.value)


async def test_a_dialogue_that_is_held_as_written_passes() -> None:
    dialogue = """
    # a comment
    S: 220 *ready

    C: HELO client.test
    S: 250-mx.test
    S: 250 *
    S: EOF
    """
    async with server_that_says(b"220 mx.test ready\r\n", b"250-mx.test\r\n250 HELP\r\n") as (client, heard):
        await play(dialogue, client)
    assert heard == [b"HELO client.test\r\n"]


async def test_a_wrong_line_fails_and_the_message_shows_the_dialogue_up_to_it() -> None:
    message = await failure(
        "S: 220 *\nC: HELO client.test\nS: 250 *\n", b"220 mx.test\r\n", b"550 5.7.1 no\r\n"
    )
    assert message == "S: 220 mx.test\nC: 'HELO client.test\\r\\n'\nS: 550 5.7.1 no\nexpected: 250 *"


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ("220 mx.test", b"220 mx.test ready\r\n"),  # a line is compared whole
        ("220 mx.test", b"x220 mx.test\r\n"),
        ("220 mx.tes.", b"220 mx.test\r\n"),  # only * is special
        ("EOF", b"220 mx.test\r\n"),
        ("220 *", b""),
        ("220 mx.test", b"220 mx.test\n"),  # a line feed alone ends no line
    ],
)
async def test_what_is_not_the_line_fails(expected: str, said: bytes) -> None:
    assert f"expected: {expected}" in await failure(f"S: {expected}\n", said)


async def test_silence_fails_after_the_timeout(autojump_clock: trio.abc.Clock) -> None:
    assert "S: (nothing within 5 s)" in await failure("S: 220 *\n", b"", closes=False)


async def test_lines_in_a_row_are_one_segment_and_raw_pieces_their_own() -> None:
    dialogue = "S: a\nC: one\nC: two\nS: b\nc: three\\x00\\r\\nS: no line of the server\\n\nS: c\n"
    async with server_that_says(b"a\r\n", b"b\r\n", b"c\r\n") as (client, heard):
        await play(dialogue, client)
    assert heard == [b"one\r\ntwo\r\n", b"three\x00\r\nS: no line of the server\n"]


def test_a_line_of_no_known_form_is_told_with_its_number() -> None:
    with pytest.raises(ValueError, match=r"line 3 begins with none of .*'HELO there'"):
        Dialogue.parse("S: 220 *\n\nHELO there\n")


def test_indented_text_is_the_same_dialogue() -> None:
    assert Dialogue.parse("    C: a\n    S: b\n") == Dialogue.parse("C: a\nS: b\n")
