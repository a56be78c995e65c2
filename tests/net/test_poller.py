"""One wait for many sockets: who is told, when, and what becomes of those who do not listen."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from harakapy.net import Poller, SocketStream

Ends = tuple[SocketStream, socket.socket]


@pytest.fixture
async def poller() -> AsyncIterator[Poller]:
    poller = Poller()
    async with poller.running():
        yield poller


def ends(poller: Poller) -> Ends:
    ours, theirs = socket.socketpair()
    return SocketStream(ours, poller=poller), theirs


async def test_a_stream_receives_what_comes_before_and_after_it_waits(poller: Poller) -> None:
    stream, theirs = ends(poller)
    theirs.send(b"one")
    assert await stream.receive_some() == b"one"
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            await trio.testing.wait_all_tasks_blocked()
            theirs.send(b"two")

        assert await stream.receive_some() == b"two"
    theirs.close()
    assert await stream.receive_some() == b""
    assert await stream.receive_some() == b""
    stream.close()


async def test_what_one_read_leaves_is_there_for_the_next(poller: Poller) -> None:
    stream, theirs = ends(poller)
    theirs.send(b"abcdef")
    theirs.close()
    assert [await stream.receive_some(2) for _ in range(4)] == [b"ab", b"cd", b"ef", b""]
    stream.close()


async def test_a_socket_that_nobody_reads_costs_nothing(poller: Poller) -> None:
    stream, theirs = ends(poller)
    theirs.send(b"x")
    assert await stream.receive_some() == b"x"
    theirs.send(b"y")  # nobody waits for it
    await trio.testing.wait_all_tasks_blocked(0.01)  # the poller is not told of it again and again
    assert await stream.receive_some() == b"y"
    theirs.close()
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert await stream.receive_some() == b""
    stream.close()


async def test_each_wait_is_a_checkpoint(poller: Poller) -> None:
    stream, theirs = ends(poller)
    theirs.send(b"x")
    with trio.testing.assert_checkpoints():
        await stream.receive_some()
    stream.close()
    theirs.close()


async def test_a_cancelled_wait_takes_nothing(poller: Poller) -> None:
    stream, theirs = ends(poller)
    with trio.move_on_after(0.01) as scope:
        await stream.receive_some()
    assert scope.cancelled_caught
    theirs.send(b"x")
    assert await stream.receive_some() == b"x"
    stream.close()
    theirs.close()


async def test_two_readers_at_a_time_are_a_mistake(poller: Poller) -> None:
    stream, theirs = ends(poller)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.receive_some)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await stream.receive_some()
        theirs.send(b"x")
    stream.close()
    theirs.close()


async def test_who_waits_when_the_stream_is_closed_is_told(poller: Poller) -> None:
    stream, theirs = ends(poller)

    async def receive() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        stream.close()
    theirs.close()


async def test_a_descriptor_that_is_used_again_is_another_stream(poller: Poller) -> None:
    first, theirs = ends(poller)
    theirs.send(b"x")
    await first.receive_some()
    number = first.socket.fileno()
    theirs.send(b"y")
    first.close()
    theirs.close()
    second, their_second = ends(poller)
    assert number in (second.socket.fileno(), their_second.fileno())
    their_second.send(b"z")
    assert await second.receive_some() == b"z"
    second.close()
    their_second.close()


async def test_what_is_shielded_from_a_cancellation_can_still_receive() -> None:
    poller = Poller()
    received = b""
    with trio.CancelScope() as scope:
        async with poller.running():
            stream, theirs = ends(poller)
            scope.cancel()
            with trio.CancelScope(shield=True):
                theirs.send(b"last words")
                received = await stream.receive_some()
    assert received == b"last words"
    assert poller.is_closed
    theirs.send(b"later")
    assert await stream.receive_some() == b"later"  # without the poller, which has ended
    stream.close()
    theirs.close()


async def test_many_at_once_are_all_told(poller: Poller) -> None:
    pairs = [ends(poller) for _ in range(200)]
    seen: list[bytes] = []

    async def receive(stream: SocketStream) -> None:
        seen.append(await stream.receive_some())

    async with trio.open_nursery() as nursery:
        for stream, _ in pairs:
            nursery.start_soon(receive, stream)
        await trio.testing.wait_all_tasks_blocked()
        for number, (_, theirs) in enumerate(pairs):
            theirs.send(str(number).encode())
    assert sorted(map(int, seen)) == list(range(200))
    for stream, theirs in pairs:
        stream.close()
        theirs.close()
