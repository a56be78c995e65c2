"""Hosts that break off, fall silent or talk nonsense: what each recipient is told; nothing is raised."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from harakapy.mail import Content
from harakapy.outbound.attempt import Answer, HostFailed, Phase
from harakapy.outbound.rendition import BLOCK_OCTETS
from harakapy.outbound.session import Session
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

ENVELOPE = "C: MAIL*\nC: RCPT*\nC: DATA\n"
ENDLESS = f"SEND {'250-' + 'x' * 5000!r}"
MANY_LINES = f"SEND {'250-x' + chr(13) + chr(10)!r}\n" * 200
BREAKS = ["CLOSE", "RESET", "S: nonsense", "S: 250-a\nS: 550 b", "S: 999 what", ENDLESS, MANY_LINES]
STEPS = [
    ("", Phase.MAIL),
    ("S: 250 ok\n", Phase.RCPT),
    ("S: 250 ok\nS: 250 ok\n", Phase.DATA),
    ("S: 250 ok\nS: 250 ok\nS: 354 go\n", Phase.DOT),
    ("S: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\n", Phase.DOT),
]

EARLIER = {phase.value for phase in (Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.CONTENT)}


@pytest.fixture
def patient_clock(autojump_clock: trio.testing.MockClock) -> trio.testing.MockClock:
    """A virtual clock that gives octets on real sockets the time to arrive."""
    autojump_clock.autojump_threshold = 0.05
    return autojump_clock


def octets(breaking: str) -> str:
    """SEND takes bytes; the scripts above are written as text."""
    return "\n".join(
        f"SEND b{line[5:]}" if line.startswith("SEND ") else line for line in breaking.splitlines()
    )


async def failing(script: str) -> HostFailed:
    """How a session with this host fails to open."""
    async with playing(script) as host, facilities() as shared:
        with pytest.raises(HostFailed) as failed:
            await Session.open(host.target(), TERMS, shared)
    return failed.value


@pytest.mark.parametrize("breaking", BREAKS)
@pytest.mark.parametrize(
    ("before", "phase"),
    [("", Phase.GREETING), ("S: 220 hi\nC: EHLO*\n", Phase.HELLO)],
)
async def test_a_host_that_breaks_off_before_the_first_message_has_failed(
    before: str, phase: Phase, breaking: str
) -> None:
    answer = (await failing(before + octets(breaking))).answer
    assert answer.phase is phase
    assert answer.reply is None
    assert answer.status is not None
    assert answer.status.is_transient


@pytest.mark.parametrize("breaking", BREAKS)
@pytest.mark.parametrize(("before", "phase"), STEPS)
async def test_a_host_that_breaks_off_in_a_message_gives_no_reply(
    before: str, phase: Phase, breaking: str
) -> None:
    async with session(GROUPS + ENVELOPE + before + octets(breaking)) as opened:
        (answer,) = await deliver(opened)
        assert answer.reply is None
        # What a reset overtakes is never read.
        assert answer.phase is phase or (breaking == "RESET" and answer.phase.value in EARLIER)
        assert answer.status is not None
        assert answer.status.is_transient
        assert not opened.is_usable


@pytest.mark.parametrize("before", ["", "S: 250 ok\n", "S: 250 ok\nS: 250 ok\n"])
async def test_what_is_lost_behind_the_last_chunk_is_lost_behind_the_dot(before: str) -> None:
    size = len(MESSAGE)
    script = f"C: MAIL*\nC: RCPT*\nC: BDAT {size} LAST\nOCTETS {size}\n"
    async with session(CHUNKS + script + before + "CLOSE") as opened:
        (answer,) = await deliver(opened)
        assert (answer.phase, answer.reply) == (Phase.DOT, None)


async def test_recipients_that_have_an_answer_keep_it_when_the_session_breaks() -> None:
    script = GROUPS + "C: MAIL*\nC: RCPT*\nC: RCPT*\nC: DATA\nS: 250 ok\nS: 550 no\nS: 250 ok\nCLOSE"
    async with session(script) as opened:
        refused, lost = await deliver(opened, envelope("one@example.org", "two@example.org"))
        assert refused.reply is not None
        assert refused.reply.code == 550
        assert lost.reply is None


@pytest.mark.parametrize(
    ("before", "phase"),
    [
        ("", Phase.MAIL),
        ("S: 250 ok\n", Phase.RCPT),
        ("S: 250 ok\nS: 250 ok\n", Phase.DATA),
        ("S: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\n", Phase.DOT),
    ],
)
async def test_421_is_the_answer_wherever_it_comes(before: str, phase: Phase) -> None:
    async with session(GROUPS + ENVELOPE + before + "S: 421 4.3.2 going down\nCLOSE") as opened:
        (answer,) = await deliver(opened)
        assert answer.reply is not None
        assert (answer.phase, answer.reply.code) == (phase, 421)
        assert not opened.is_usable


@pytest.mark.parametrize("code", [421, 450, 554])
async def test_a_greeting_that_is_a_refusal_is_the_answer(code: int) -> None:
    answer = (await failing(f"S: {code} go away\n")).answer
    assert answer.reply is not None
    assert (answer.phase, answer.reply.code) == (Phase.GREETING, code)


async def test_helo_follows_a_refused_ehlo() -> None:
    script = "S: 220 hi\nC: EHLO me.example.com\nS: 502 what\nC: HELO me.example.com\nS: 250 hi\n"
    async with session(script + "C: MAIL FROM:<me@example.com>\nS: 550 no\n") as opened:
        assert not opened.capabilities.pipelining
        (answer,) = await deliver(opened)
        assert answer.phase is Phase.MAIL


@pytest.mark.parametrize("replies", ["S: 450 later\n", "S: 502 what\nC: HELO*\nS: 550 no\n"])
async def test_a_refused_hello_is_the_answer(replies: str) -> None:
    answer = (await failing("S: 220 hi\nC: EHLO*\n" + replies)).answer
    assert answer.reply is not None
    assert answer.phase is Phase.HELLO


async def test_an_early_refusal_of_large_content_is_read_although_the_host_has_closed() -> None:
    content = b"x" * (40 * BLOCK_OCTETS)
    script = GROUPS + ENVELOPE + "S: 250 ok\nS: 250 ok\nS: 354 go\nOCTETS 1000\nS: 552 too large\nCLOSE"
    async with session(script) as opened:
        (answer,) = await deliver(opened, content=content)
        # The host's reset may overtake its words; then they are lost.
        assert answer.reply is None or answer.reply.code == 552
        assert answer.phase is (Phase.DOT if answer.reply else Phase.CONTENT)
        assert not opened.is_usable


SILENT = [
    (PLAIN + "C: MAIL*\nSILENCE", Phase.MAIL, TERMS.timeouts.command_s),
    (PLAIN + "C: MAIL*\nS: 250 ok\nC: RCPT*\nSILENCE", Phase.RCPT, TERMS.timeouts.command_s),
    (PLAIN + "C: MAIL*\nS: 250 ok\nC: RCPT*\nS: 250 ok\nC: DATA\nSILENCE", Phase.DATA, TERMS.timeouts.data_s),
    (GROUPS + ENVELOPE + "S: 250 ok\nS: 250 ok\nS: 354 go\nSILENCE", Phase.DOT, TERMS.timeouts.dot_s),
]


@pytest.mark.parametrize(("script", "phase", "timeout_s"), SILENT)
async def test_silence_ends_the_session_after_the_time_of_its_phase(
    script: str, phase: Phase, timeout_s: float, patient_clock: trio.testing.MockClock
) -> None:
    async with session(script) as opened:
        began = trio.current_time()
        (answer,) = await deliver(opened)
        assert trio.current_time() - began == pytest.approx(timeout_s)
        assert (answer.phase, answer.reply) == (phase, None)
        assert f"{timeout_s:g} s" in answer.text
        assert not opened.is_usable


@pytest.mark.parametrize(
    ("script", "phase", "timeout_s"),
    [
        ("SILENCE", Phase.GREETING, TERMS.timeouts.greeting_s),
        ("S: 220 hi\nC: EHLO*\nSILENCE", Phase.HELLO, TERMS.timeouts.command_s),
    ],
)
async def test_silence_before_the_first_message_fails_after_the_time_of_its_phase(
    script: str, phase: Phase, timeout_s: float, patient_clock: trio.testing.MockClock
) -> None:
    began = trio.current_time()
    answer = (await failing(script)).answer
    assert trio.current_time() - began == pytest.approx(timeout_s)
    assert (answer.phase, answer.reply) == (phase, None)


async def test_a_host_that_does_not_read_content_is_waited_for_until_the_time_of_a_block(
    patient_clock: trio.testing.MockClock,
) -> None:
    async def stall(listener: trio.SocketListener) -> None:
        async with await listener.accept() as stream:
            for replies in (
                b"220 hi\r\n",
                b"250-hi\r\n250 PIPELINING\r\n",
                b"250 ok\r\n250 ok\r\n354 go\r\n",
            ):
                await stream.send_all(replies)
                await stream.receive_some()
            await trio.sleep_forever()

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with playing() as host, facilities() as shared, listener, trio.open_nursery() as nursery:
        nursery.start_soon(stall, listener)
        host.port = listener.socket.getsockname()[1]
        opened = await Session.open(host.target(), TERMS, shared)
        (answer,) = await opened.deliver(envelope(), Content.from_bytes(b"x" * (200 * BLOCK_OCTETS)))
        assert (answer.phase, answer.reply) == (Phase.CONTENT, None)
        opened.abort()
        nursery.cancel_scope.cancel()


async def test_a_session_cancelled_in_a_message_is_not_used_again() -> None:
    async with session(GROUPS + "C: MAIL*\nSILENCE") as opened:
        with trio.move_on_after(0.05):
            await deliver(opened)
        assert not opened.is_usable


async def test_a_host_that_does_not_answer_quit_is_left_soon(patient_clock: trio.testing.MockClock) -> None:
    async with playing(PLAIN + "C: QUIT\nSILENCE") as host, facilities() as shared:
        opened = await Session.open(host.target(), TERMS, shared)
        began = trio.current_time()
        await opened.close()
        await opened.close()
        assert trio.current_time() - began == pytest.approx(TERMS.timeouts.quit_s)


def test_an_answer_without_a_reply_is_no_delivery() -> None:
    assert not Answer(Phase.DOT).is_delivered
