"""Messages over a session: what is sent, and whose answer is whose."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harakapy.mail import Content
from harakapy.outbound.attempt import Answer, Phase
from harakapy.outbound.rendition import BLOCK_OCTETS, CHUNK_OCTETS
from harakapy.outbound.session import Session
from harakapy.outbound.transaction import GROUP
from harakapy.smtp import Body, MailParameters
from tests.outbound.hosts import (
    CHUNKS,
    GROUPS,
    MESSAGE,
    PLAIN,
    TERMS,
    deliver,
    envelope,
    facilities,
    playing,
    session,
)

ONE = "C: MAIL FROM:<me@example.com>\nC: RCPT TO:<you@example.org>\nC: DATA\n"
YES = "S: 250 ok\nS: 250 ok\nS: 354 go\n"
TAKEN = "CONTENT\nS: 250 2.0.0 taken\n"
SENT_IN_CHUNKS = f"C: MAIL*\nC: RCPT*\nC: BDAT {len(MESSAGE)} LAST\nOCTETS {len(MESSAGE)}\n"
TWO = ("one@example.org", "two@example.org")
TWO_IN_GROUP = """
    C: MAIL FROM:<me@example.com>
    C: RCPT TO:<one@example.org>
    C: RCPT TO:<two@example.org>
    C: DATA
"""


def codes(answers: tuple[Answer, ...]) -> list[tuple[Phase, int]]:
    """Phase and code of each answer; 0 where there was no reply."""
    return [(answer.phase, answer.reply.code if answer.reply else 0) for answer in answers]


async def test_chunks_for_nobody_are_followed_by_a_reset() -> None:
    script = (
        CHUNKS
        + SENT_IN_CHUNKS
        + "S: 250 ok\nS: 550 no\nS: 554 for nobody\nC: RSET\n"
        + SENT_IN_CHUNKS
        + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 250 ok\n"
    )
    async with session(script) as opened:
        assert codes(await deliver(opened)) == [(Phase.RCPT, 550)]
        assert codes(await deliver(opened)) == [(Phase.DOT, 250)]


async def test_a_message_goes_step_by_step_where_the_host_has_no_extensions() -> None:
    script = (
        PLAIN
        + """
        C: MAIL FROM:<me@example.com>
        S: 250 ok
        C: RCPT TO:<you@example.org>
        S: 250 ok
        C: DATA
        S: 354 go
        C: Subject: hello
        C:
        C: body
        C: .
        S: 250 2.0.0 taken
    """
    )
    async with session(script) as opened:
        (answer,) = await deliver(opened)
        assert answer.is_delivered
        assert str(answer.reply) == "250 2.0.0 taken"
        assert answer.host.startswith("mx.example.org[127.0.0.1]:")
        assert opened.is_usable
        assert opened.messages_sent == 1


async def test_with_pipelining_a_message_takes_two_writes() -> None:
    async with playing(GROUPS + (ONE + YES + TAKEN) * 3) as host, facilities() as shared:
        opened = await Session.open(host.target(), TERMS, shared)
        before = host.reads
        for _ in range(3):
            assert codes(await deliver(opened)) == [(Phase.DOT, 250)]
        assert host.reads - before == 6
        await opened.close()


async def test_with_chunking_a_small_message_takes_one_write() -> None:
    script = CHUNKS + (SENT_IN_CHUNKS + "S: 250 ok\nS: 250 ok\nS: 250 taken\n") * 3
    async with playing(script) as host, facilities() as shared:
        opened = await Session.open(host.target(), TERMS, shared)
        before = host.reads
        for _ in range(3):
            assert codes(await deliver(opened)) == [(Phase.DOT, 250)]
        assert host.reads - before == 3
        await opened.close()


@pytest.mark.parametrize("code", [450, 550])
async def test_a_refused_sender_is_the_answer_for_all(code: int) -> None:
    script = (
        GROUPS + TWO_IN_GROUP + f"S: {code} no\nS: 503 MAIL first\nS: 503 MAIL first\nS: 503 MAIL first\n"
    )
    async with session(script) as opened:
        assert codes(await deliver(opened, envelope(*TWO))) == [(Phase.MAIL, code)] * 2
        assert opened.is_usable


@pytest.mark.parametrize("code", [450, 452, 550, 552])
async def test_a_refused_recipient_leaves_the_others_alone(code: int) -> None:
    script = GROUPS + TWO_IN_GROUP + f"S: 250 ok\nS: {code} no\nS: 250 ok\nS: 354 go\n" + TAKEN
    async with session(script) as opened:
        assert codes(await deliver(opened, envelope(*TWO))) == [(Phase.RCPT, code), (Phase.DOT, 250)]


@pytest.mark.parametrize("code", [451, 554])
async def test_refused_data_is_the_answer_for_those_who_were_accepted(code: int) -> None:
    script = GROUPS + TWO_IN_GROUP + f"S: 250 ok\nS: 550 no\nS: 250 ok\nS: {code} no\n"
    async with session(script) as opened:
        assert codes(await deliver(opened, envelope(*TWO))) == [(Phase.RCPT, 550), (Phase.DATA, code)]
        assert opened.is_usable


@pytest.mark.parametrize("code", [451, 554])
async def test_refused_content_is_the_answer_for_those_who_were_accepted(code: int) -> None:
    script = GROUPS + ONE + YES + f"CONTENT\nS: {code} 5.7.1 spam\n"
    async with session(script) as opened:
        assert codes(await deliver(opened)) == [(Phase.DOT, code)]
        assert opened.is_usable


async def test_a_dot_alone_ends_what_a_354_without_recipients_began() -> None:
    script = (
        GROUPS + ONE + "S: 250 ok\nS: 550 no\nS: 354 go\nC: .\nS: 554 no recipients\n" + ONE + YES + TAKEN
    )
    async with session(script) as opened:
        assert codes(await deliver(opened)) == [(Phase.RCPT, 550)]
        assert codes(await deliver(opened)) == [(Phase.DOT, 250)]


async def test_a_transaction_left_open_is_reset_in_the_group_of_the_next() -> None:
    refused = "S: 250 ok\nS: 550 no\nS: 554 no recipients\n"
    script = GROUPS + ONE + refused + "C: RSET\n" + ONE + "S: 250 ok\n" + YES + TAKEN
    async with session(script) as opened:
        assert codes(await deliver(opened)) == [(Phase.RCPT, 550)]
        assert codes(await deliver(opened)) == [(Phase.DOT, 250)]


async def test_a_transaction_left_open_is_reset_step_by_step() -> None:
    refused = "C: MAIL*\nS: 250 ok\nC: RCPT*\nS: 550 no\n"
    script = PLAIN + refused + "C: RSET\nS: 250 ok\n" + refused
    async with session(script) as opened:
        assert codes(await deliver(opened)) == [(Phase.RCPT, 550)]
        assert codes(await deliver(opened)) == [(Phase.RCPT, 550)]


async def test_a_refused_rset_is_no_answer_about_the_message() -> None:
    refused = "S: 250 ok\nS: 550 no\nS: 554 no recipients\n"
    script = GROUPS + ONE + refused + "C: RSET\n" + ONE + "S: 550 never\n"
    async with session(script) as opened:
        await deliver(opened)
        (answer,) = await deliver(opened)
        assert answer.reply is None
        assert answer.status is not None
        assert answer.status.is_transient
        assert not opened.is_usable


async def test_recipients_go_in_groups() -> None:
    count = GROUP + 1
    names = [f"u{number}@example.org" for number in range(count)]
    first = "".join(f"C: RCPT TO:<{name}>\n" for name in names[:GROUP])
    script = (
        GROUPS
        + "C: MAIL*\n"
        + first
        + "S: 250 ok\n" * (GROUP + 1)
        + f"C: RCPT TO:<{names[-1]}>\nC: DATA\nS: 550 no\nS: 354 go\n"
        + TAKEN
    )
    async with session(script) as opened:
        answers = await deliver(opened, envelope(*names))
        assert codes(answers) == [(Phase.DOT, 250)] * GROUP + [(Phase.RCPT, 550)]


async def test_further_groups_are_not_sent_after_a_refused_sender() -> None:
    names = [f"u{number}@example.org" for number in range(GROUP + 1)]
    script = GROUPS + "C: MAIL*\n" + "C: RCPT*\n" * GROUP + "S: 550 no\n" + "S: 503 no\n" * GROUP
    async with session(script) as opened:
        assert codes(await deliver(opened, envelope(*names))) == [(Phase.MAIL, 550)] * (GROUP + 1)
        assert opened.is_usable


async def test_dots_at_the_beginning_of_lines_are_doubled() -> None:
    script = GROUPS + ONE + YES + "C: ..\nC: ..x\nC: .\nS: 250 taken\n"
    async with session(script) as opened:
        assert (await deliver(opened, content=b".\r\n.x\r\n"))[0].is_delivered


async def test_large_content_goes_block_by_block_behind_data() -> None:
    lines = b"x" * 98 + b"\r\n"
    content = lines * (2 * BLOCK_OCTETS // len(lines) + 7)
    script = GROUPS + ONE + YES + f"OCTETS {len(content)}\nC: .\nS: 250 taken\n"
    async with session(script) as opened:
        assert codes(await deliver(opened, content=content)) == [(Phase.DOT, 250)]


async def test_large_content_waits_for_the_recipients_and_goes_in_several_chunks() -> None:
    content = b"x" * (2 * CHUNK_OCTETS + 5)
    script = CHUNKS + "C: MAIL*\nC: RCPT*\nS: 250 ok\nS: 250 ok\n"
    for chunk in (f"{CHUNK_OCTETS}", f"{CHUNK_OCTETS}", "5 LAST"):
        script += f"C: BDAT {chunk}\nOCTETS {chunk.split()[0]}\nS: 250 ok\n"
    async with session(script) as opened:
        assert codes(await deliver(opened, content=content)) == [(Phase.DOT, 250)]
        assert opened.is_usable


async def test_large_content_is_not_sent_in_chunks_if_nobody_wants_it() -> None:
    content = b"x" * (2 * CHUNK_OCTETS)
    script = CHUNKS + "C: MAIL*\nC: RCPT*\nS: 250 ok\nS: 550 no\n"
    async with session(script) as opened:
        assert codes(await deliver(opened, content=content)) == [(Phase.RCPT, 550)]


async def test_a_refused_chunk_ends_the_message_and_not_the_session() -> None:
    content = b"x" * (3 * CHUNK_OCTETS + 5)
    chunk = f"C: BDAT {CHUNK_OCTETS}\nOCTETS {CHUNK_OCTETS}\n"
    script = CHUNKS + "C: MAIL*\nC: RCPT*\nS: 250 ok\nS: 250 ok\n"
    script += chunk + "S: 552 5.3.4 too large\n" + chunk + "S: 503 no\n"
    script += "C: RSET\n" + SENT_IN_CHUNKS + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 250 taken\n"
    async with session(script) as opened:
        assert codes(await deliver(opened, content=content)) == [(Phase.DOT, 552)]
        assert codes(await deliver(opened)) == [(Phase.DOT, 250)]


async def test_chunks_wait_for_each_other_without_pipelining() -> None:
    hello = CHUNKS.replace("S: 250 PIPELINING", "S: 250 HELP")
    content = b"x" * (CHUNK_OCTETS + 5)
    script = hello + "C: MAIL*\nS: 250 ok\nC: RCPT*\nS: 250 ok\n"
    script += (
        f"C: BDAT {CHUNK_OCTETS}\nOCTETS {CHUNK_OCTETS}\nS: 250 ok\nC: BDAT 5 LAST\nOCTETS 5\nS: 250 ok\n"
    )
    async with session(script) as opened:
        assert codes(await deliver(opened, content=content)) == [(Phase.DOT, 250)]


async def test_empty_content_is_a_message_too() -> None:
    script = CHUNKS + "C: MAIL*\nC: RCPT*\nC: BDAT 0 LAST\nS: 250 ok\nS: 250 ok\nS: 250 taken\n"
    async with session(script) as opened:
        assert codes(await deliver(opened, content=b"")) == [(Phase.DOT, 250)]


@pytest.mark.parametrize("size", [10, 3 * BLOCK_OCTETS])
async def test_bare_newlines_never_go_behind_data(size: int) -> None:
    smuggled = b"a\n.\r\nMAIL FROM:<evil@example.com>\r\nb\n.\nc\r.\r"
    content = b"x" * (size - 2) + b"\r\n" + smuggled
    lines = ["C: a", "C: ..", "C: MAIL FROM:<evil@example.com>", "C: b", "C: ..", "C: c", "C: .."]
    script = GROUPS + ONE + YES + f"OCTETS {size}\n" + "\n".join(lines) + "\nC: .\nS: 250 taken\n"
    async with session(script) as opened:
        assert codes(await deliver(opened, content=content)) == [(Phase.DOT, 250)]


async def test_binary_content_keeps_its_octets_in_chunks() -> None:
    content = b"Subject: x\r\n\r\n\0\n\r\n.\r\n"
    hello = CHUNKS.replace("S: 250-CHUNKING", "S: 250-CHUNKING\nS: 250-BINARYMIME")
    script = hello + f"C: MAIL FROM:<me@example.com> BODY=BINARYMIME\nC: RCPT*\nC: BDAT {len(content)} LAST\n"
    script += f"OCTETS {len(content)}\nS: 250 ok\nS: 250 ok\nS: 250 taken\n"
    async with session(script) as opened:
        to = envelope(params=MailParameters(body=Body.BINARYMIME))
        assert codes(await deliver(opened, to, content)) == [(Phase.DOT, 250)]


async def test_content_that_cannot_be_read_is_our_fault_and_ends_the_session() -> None:
    class Breaking(Content):
        reads = 0

        def blocks(self, block_size: int = BLOCK_OCTETS) -> Iterator[bytes]:
            self.reads += 1
            yield b"x" * BLOCK_OCTETS
            if self.reads > 1:  # the first time it was only looked at
                raise OSError(5, "disk on fire")

    async with session(GROUPS + ONE + YES + "SILENCE") as opened:
        with pytest.raises(OSError, match="disk on fire"):
            await opened.deliver(envelope(), Breaking(b"", None, 2 * BLOCK_OCTETS, 0))
        assert not opened.is_usable
