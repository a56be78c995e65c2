"""Sessions that are kept for the next message."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from harakapy.outbound.attempt import HostFailed, Phase
from harakapy.outbound.hop import NextHop, Target
from harakapy.outbound.pool import FRESH_S, Pool
from tests.outbound.hosts import CHUNKS, GROUPS, MESSAGE, TERMS, carry, facilities, playing

SENT = "C: MAIL*\nC: RCPT*\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nCONTENT\nS: 250 taken\n"
QUIT = "C: QUIT\nS: 221 bye\n"


@asynccontextmanager
async def pooling(**limits: float) -> AsyncIterator[Pool]:
    """A running pool."""
    async with facilities() as shared, trio.open_nursery() as nursery:
        pool = Pool(shared, **limits)  # type: ignore[arg-type]  # what a test gives
        nursery.start_soon(pool.run)
        yield pool
        nursery.cancel_scope.cancel()


async def test_a_session_is_used_again() -> None:
    async with playing(GROUPS + SENT * 3 + QUIT) as host, pooling() as pool:
        for _ in range(3):
            assert (await carry(pool, host)).is_delivered
            assert (pool.idle_count, pool.open_count(host.target())) == (1, 1)
        assert host.connections == 1


async def test_two_at_a_time_have_two_sessions() -> None:
    async with playing(GROUPS + QUIT, GROUPS + QUIT) as host, pooling() as pool:
        one = await pool.acquire(host.target(), TERMS)
        other = await pool.acquire(host.target(), TERMS)
        assert one is not other
        assert (pool.idle_count, pool.open_count(host.target())) == (0, 2)
        pool.release(one)
        pool.release(other)
        assert await pool.acquire(host.target(), TERMS) is other
        pool.release(other)


async def test_other_terms_or_another_login_need_another_session() -> None:
    async with playing(GROUPS + QUIT, GROUPS.replace("me.ex", "you.ex") + QUIT) as host, pooling() as pool:
        one = await pool.acquire(host.target(), TERMS)
        pool.release(one)
        other = await pool.acquire(host.target(), replace(TERMS, helo="you.example.com"))
        assert other is not one
        pool.release(other)


async def test_an_idle_session_is_closed_in_time(autojump_clock: trio.testing.MockClock) -> None:
    autojump_clock.autojump_threshold = 0.05
    async with playing(GROUPS + SENT * 2 + QUIT) as host, pooling(idle_s=5) as pool:
        await carry(pool, host)
        await trio.sleep(4)
        await carry(pool, host)
        await trio.sleep(4)
        assert pool.idle_count == 1
        await trio.sleep(2)
        assert (pool.idle_count, pool.open_count(host.target())) == (0, 0)


async def test_a_session_is_closed_after_its_number_of_messages() -> None:
    async with (
        playing(GROUPS + SENT * 2 + QUIT, GROUPS + SENT + QUIT) as host,
        pooling(max_messages=2) as pool,
    ):
        for _ in range(3):
            assert (await carry(pool, host)).is_delivered
        assert host.connections == 2


async def test_a_session_is_closed_after_the_number_of_messages_that_the_host_allows() -> None:
    limited = GROUPS.replace("S: 250 PIPELINING", "S: 250-PIPELINING\nS: 250 LIMITS MAILMAX=1")
    async with playing(limited + SENT, limited + SENT) as host, pooling() as pool:
        for _ in range(2):
            assert (await carry(pool, host)).is_delivered
        assert pool.idle_count == 0


async def test_no_more_sessions_are_idle_than_may_be() -> None:
    async with playing(GROUPS + QUIT, GROUPS + QUIT) as host, pooling(max_idle=1) as pool:
        sessions = [await pool.acquire(host.target(), TERMS) for _ in range(2)]
        for session in sessions:
            pool.release(session)
        assert pool.idle_count == 1


@pytest.mark.parametrize("ended", ["CLOSE", "S: 421 idle\nCLOSE", "RESET"])
async def test_a_session_that_the_host_has_ended_is_not_used_again(ended: str) -> None:
    async with playing(GROUPS + SENT + ended, GROUPS + SENT + QUIT) as host, pooling() as pool:
        assert (await carry(pool, host)).is_delivered
        await trio.sleep(FRESH_S)
        assert (await carry(pool, host)).is_delivered
        assert host.connections == 2


@pytest.mark.parametrize("ended", ["CLOSE", "S: 421 enough\nCLOSE"])
async def test_a_kept_session_that_ends_at_mail_is_replaced_once(ended: str) -> None:
    async with playing(GROUPS + SENT + "C: MAIL*\n" + ended, GROUPS + SENT + QUIT) as host, pooling() as pool:
        assert (await carry(pool, host)).is_delivered
        assert (await carry(pool, host)).is_delivered


async def test_a_new_session_that_ends_at_mail_is_not_replaced() -> None:
    async with playing(GROUPS + "C: MAIL*\nCLOSE") as host, pooling() as pool:
        assert (await carry(pool, host)).phase is Phase.MAIL
        assert pool.open_count(host.target()) == 0


async def test_a_message_that_the_host_may_have_is_not_sent_again() -> None:
    size = len(MESSAGE)
    chunk = f"C: MAIL*\nC: RCPT*\nC: BDAT {size} LAST\nOCTETS {size}\n"
    replies = "S: 250 ok\n" * 3
    async with playing(CHUNKS + chunk + replies + chunk + "CLOSE") as host, pooling() as pool:
        assert (await carry(pool, host)).is_delivered
        answer = await carry(pool, host)
        assert (answer.phase, answer.reply) == (Phase.DOT, None)


async def test_a_host_that_cannot_be_reached_is_not_counted() -> None:
    async with pooling() as pool:
        target = Target(NextHop(host="127.0.0.1", port=1), "127.0.0.1", "127.0.0.1")
        with pytest.raises(HostFailed) as failed:
            await pool.acquire(target, TERMS)
        assert failed.value.answer.phase is Phase.CONNECT
        assert pool.open_count(target) == 0


async def test_a_pool_that_was_closed_keeps_nothing() -> None:
    async with playing(GROUPS + QUIT, GROUPS + QUIT) as host, pooling() as pool:
        used = await pool.acquire(host.target(), TERMS)
        pool.release(await pool.acquire(host.target(), TERMS))
        pool.close()
        assert pool.open_count(host.target()) == 1
        pool.release(used)
        assert pool.idle_count == 0
