"""LMTP: an answer for each recipient behind the content."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from harakapy.outbound.attempt import HostFailed, Phase
from harakapy.outbound.hop import NextHop, Protocol, Target
from harakapy.outbound.session import Session
from tests.outbound.hosts import MESSAGE, TERMS, deliver, envelope, facilities, playing, session

THREE = ("a@example.org", "b@example.org", "c@example.org")
HELLO = "S: 220 hi\nC: LHLO me.example.com\nS: 250-hi\n"
GROUPS = HELLO + "S: 250 PIPELINING\nC: MAIL*\nC: RCPT*\nC: RCPT*\nC: RCPT*\nC: DATA\n"


async def test_each_accepted_recipient_has_an_answer_of_its_own() -> None:
    script = (
        GROUPS + "S: 250 ok\nS: 250 ok\nS: 550 no\nS: 250 ok\nS: 354 go\nCONTENT\nS: 250 in\nS: 452 full\n"
    )
    async with session(script, protocol=Protocol.LMTP) as opened:
        answers = await deliver(opened, envelope(*THREE))
        assert [(one.phase, one.reply.code if one.reply else 0) for one in answers] == [
            (Phase.DOT, 250),
            (Phase.RCPT, 550),
            (Phase.DOT, 452),
        ]
        assert opened.is_usable


async def test_chunks_have_an_answer_for_each_recipient_too() -> None:
    size = len(MESSAGE)
    script = HELLO + "S: 250-CHUNKING\nS: 250 PIPELINING\nC: MAIL*\nC: RCPT*\nC: RCPT*\nC: RCPT*\n"
    script += f"C: BDAT {size} LAST\nOCTETS {size}\n"
    script += "S: 250 ok\nS: 250 ok\nS: 550 no\nS: 250 ok\nS: 250 in\nS: 452 full\n"
    async with session(script, protocol=Protocol.LMTP) as opened:
        answers = await deliver(opened, envelope(*THREE))
        assert [one.reply.code if one.reply else 0 for one in answers] == [250, 550, 452]


async def test_an_answer_that_came_before_the_session_broke_counts() -> None:
    script = GROUPS + "S: 250 ok\n" * 4 + "S: 354 go\nCONTENT\nS: 250 in\nCLOSE"
    async with session(script, protocol=Protocol.LMTP) as opened:
        first, *lost = await deliver(opened, envelope(*THREE))
        assert first.is_delivered
        assert [(one.phase, one.reply) for one in lost] == [(Phase.DOT, None)] * 2


async def test_a_354_though_nobody_was_accepted_ends_the_session() -> None:
    # A dot would have no answer, RFC 2033 4.2; so nobody could tell what the next reply is for.
    script = GROUPS + "S: 250 ok\n" + "S: 550 no\n" * 3 + "S: 354 go\nSILENCE"
    async with session(script, protocol=Protocol.LMTP) as opened:
        answers = await deliver(opened, envelope(*THREE))
        assert [one.reply.code if one.reply else 0 for one in answers] == [550] * 3
        assert not opened.is_usable


async def test_a_refused_lhlo_is_not_followed_by_helo() -> None:
    script = "S: 220 hi\nC: LHLO*\nS: 500 what\nC: QUIT\nS: 221 bye\n"
    async with playing(script) as host, facilities() as shared:
        with pytest.raises(HostFailed) as failed:
            await Session.open(host.target(Protocol.LMTP), TERMS, shared)
    assert failed.value.answer.phase is Phase.HELLO


async def test_lmtp_goes_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "lmtp"
    with trio.socket.socket(trio.socket.AF_UNIX) as listener:
        await listener.bind(str(path))
        listener.listen()

        async def answer() -> None:
            connected, _ = await listener.accept()
            stream = trio.SocketStream(connected)
            for reply in (
                b"220 hi\r\n",
                b"250 hi\r\n",
                b"250 ok\r\n",
                b"250 ok\r\n",
                b"354 go\r\n",
                b"250 in\r\n",
            ):
                await stream.send_all(reply)
                await stream.receive_some()
            await stream.aclose()

        target = Target(NextHop(path=str(path), protocol=Protocol.LMTP), "", "")
        async with facilities() as shared, trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            terms = replace(TERMS, bind=("127.0.0.1",))
            opened = await Session.open(target, terms, shared)
            (only,) = await deliver(opened)
            assert only.is_delivered
            assert only.host == str(path)
            await opened.close()
