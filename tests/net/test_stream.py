import select
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
import trustme
from hypothesis import given
from hypothesis import strategies as st

from harakapy.net import SocketAddress, SocketStream
from harakapy.net.stream import UNYIELDING_SEND_OCTETS

Pair = tuple[SocketStream, SocketStream]


def tcp_pair() -> Pair:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, address = server.accept()
    return SocketStream(accepted, SocketAddress.of(address)), SocketStream(client)


def unix_pair() -> Pair:
    left, right = socket.socketpair()
    return SocketStream(left), SocketStream(right)


async def clog(end: SocketStream) -> None:
    """Fill the buffers until ``end`` cannot send any more."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(end.send_all, bytes(1 << 24))
        await trio.testing.wait_all_tasks_blocked(0.02)
        nursery.cancel_scope.cancel()


def small(pair: Pair) -> Pair:
    """The same pair with small buffers, which the kernel then does not enlarge as they fill."""
    for end in pair:
        end.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        end.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return pair


async def clogged(pair: Pair) -> Pair:
    """The same pair, neither of which can send any more."""
    for end in small(pair):
        await clog(end)
    return pair


PAIRS = pytest.mark.parametrize("make_pair", [tcp_pair, unix_pair])


class PunctualStream(SocketStream):
    """SocketStream to the letter of trio's contract, in which every send is a checkpoint."""

    __slots__ = ()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        await super().send_all(data)
        await trio.lowlevel.cancel_shielded_checkpoint()


def punctual(pair: Pair) -> tuple[PunctualStream, PunctualStream]:
    ends = [PunctualStream(end.socket.dup()) for end in pair]
    for end in pair:
        end.close()
    return ends[0], ends[1]


@PAIRS
async def test_it_is_a_stream_as_trio_defines_it(make_pair: Callable[[], Pair]) -> None:
    async def make() -> tuple[PunctualStream, PunctualStream]:
        return punctual(make_pair())

    async def make_clogged() -> tuple[PunctualStream, PunctualStream]:
        return punctual(await clogged(make_pair()))

    await trio.testing.check_half_closeable_stream(make, make_clogged)


async def test_a_receive_is_a_checkpoint_even_when_data_waits() -> None:
    left, right = tcp_pair()
    async with left, right:
        await left.send_all(b"EHLO")
        with trio.testing.assert_checkpoints():
            assert await right.receive_some() == b"EHLO"
        await left.send_all(b"MAIL")
        with trio.move_on_after(0) as scope:
            await right.receive_some()
        assert scope.cancelled_caught
        assert await right.receive_some() == b"MAIL"  # nothing was lost


async def test_a_reply_that_fits_is_sent_without_a_checkpoint() -> None:
    left, right = tcp_pair()
    async with left, right:
        with trio.testing.assert_no_checkpoints():
            await left.send_all(b"250 OK\r\n")
        assert await right.receive_some() == b"250 OK\r\n"


async def test_a_large_send_is_a_checkpoint_even_when_it_fits() -> None:
    left, right = tcp_pair()
    async with left, right:
        with trio.testing.assert_checkpoints():
            await left.send_all(bytes(UNYIELDING_SEND_OCTETS + 1))


async def test_no_more_is_received_than_asked_for() -> None:
    left, right = tcp_pair()
    async with left, right:
        await left.send_all(b"abcdef")
        assert [await right.receive_some(size) for size in (1, 2, 100)] == [b"a", b"bc", b"def"]


@PAIRS
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_what_the_kernel_does_not_take_at_once_is_sent_in_the_end(
    make_pair: Callable[[], Pair], kind: Callable[[bytes], bytes]
) -> None:
    content = bytes(range(256)) * 40_000
    left, right = make_pair()
    received = bytearray()

    async def send() -> None:
        await left.send_all(kind(content))
        await left.send_eof()

    async with left, right, trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        while data := await right.receive_some():
            received += data
    assert received == content


@given(st.lists(st.binary(max_size=300), max_size=30), st.integers(1, 400))
def test_bytes_arrive_in_order_however_they_are_cut(pieces: list[bytes], size: int) -> None:
    async def transfer() -> bytes:
        left, right = unix_pair()
        received = bytearray()
        async with left, right:
            for piece in pieces:
                await left.send_all(piece)
            await left.send_eof()
            while data := await right.receive_some(size):
                assert len(data) <= size
                received += data
        return bytes(received)

    assert trio.run(transfer) == b"".join(pieces)


async def test_the_end_of_what_the_peer_sends_is_empty_and_the_other_direction_stays_open() -> None:
    left, right = tcp_pair()
    async with left, right:
        await left.send_eof()
        assert await right.receive_some() == b""
        await right.send_all(b"221 bye\r\n")
        assert await left.receive_some() == b"221 bye\r\n"


def reset(end: SocketStream) -> None:
    """Close so that the peer gets a reset."""
    end.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()


OPERATIONS: list[Callable[[SocketStream], Awaitable[object]]] = [
    lambda stream: stream.receive_some(),
    lambda stream: stream.send_all(b"x"),
    lambda stream: stream.send_eof(),
]


@pytest.mark.parametrize("operation", OPERATIONS, ids=["receive_some", "send_all", "send_eof"])
async def test_a_reset_breaks_the_stream_and_keeps_its_cause(
    operation: Callable[[SocketStream], Awaitable[object]],
) -> None:
    left, right = tcp_pair()
    async with left:
        reset(right)
        with pytest.raises(trio.BrokenResourceError) as caught:
            await operation(left)
        assert isinstance(caught.value.__cause__, OSError)


async def test_a_reset_while_sending_breaks_the_stream() -> None:
    left, right = await clogged(tcp_pair())

    async def send() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await left.send_all(b"x")

    async with left, trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        reset(right)


@pytest.mark.parametrize("operation", OPERATIONS, ids=["receive_some", "send_all", "send_eof"])
async def test_a_closed_stream_says_so(operation: Callable[[SocketStream], Awaitable[object]]) -> None:
    left, right = tcp_pair()
    async with right:
        left.close()
        with pytest.raises(trio.ClosedResourceError):
            await operation(left)


async def test_closing_wakes_the_tasks_that_receive_and_send() -> None:
    left, right = small(tcp_pair())
    await clog(left)
    ended: list[str] = []

    async def receive() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await left.receive_some()
        ended.append("receive")

    async def send() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await left.send_all(b"x")
        ended.append("send")

    async with right, trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        left.close()
    assert sorted(ended) == ["receive", "send"]


async def test_two_tasks_cannot_send_at_once() -> None:
    left, right = await clogged(tcp_pair())
    async with left, right, trio.open_nursery() as nursery:
        nursery.start_soon(left.send_all, b"first")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await left.send_all(b"second")
        with pytest.raises(trio.BusyResourceError):
            await left.send_eof()
        with pytest.raises(trio.BusyResourceError):
            await left.wait_send_all_might_not_block()
        assert not left.try_send(b"third")
        nursery.cancel_scope.cancel()


async def test_the_last_words_do_not_break_into_what_another_task_is_sending() -> None:
    left, right = small(unix_pair())
    async with left, right, trio.open_nursery() as nursery:
        nursery.start_soon(left.send_all, bytes(1 << 24))
        await trio.testing.wait_all_tasks_blocked(0.02)
        while right.socket in select.select([right.socket], [], [], 0)[0]:
            right.socket.recv(65536)
        assert left.socket in select.select([], [left.socket], [], 0)[1]  # there would be room for them
        assert not left.try_send(b"421 bye\r\n")
        nursery.cancel_scope.cancel()


async def test_the_last_words_are_sent_if_the_kernel_takes_them() -> None:
    left, right = tcp_pair()
    async with left, right:
        with trio.testing.assert_no_checkpoints():
            assert left.try_send(b"421 bye\r\n")
        left.close()
        assert await right.receive_some() == b"421 bye\r\n"
        assert await right.receive_some() == b""


async def test_the_last_words_to_one_who_does_not_read_or_is_gone_are_given_up() -> None:
    left, right = await clogged(tcp_pair())
    assert not left.try_send(b"421 bye\r\n")
    reset(right)
    assert not left.try_send(b"421 bye\r\n")
    left.close()
    assert not left.try_send(b"421 bye\r\n")


async def test_both_ends_know_their_addresses() -> None:
    left, right = tcp_pair()
    async with left, right:
        assert left.local == right.remote
        assert left.remote == right.local
        assert left.local.host == "127.0.0.1"


async def test_a_unix_socket_has_no_addresses() -> None:
    left, right = unix_pair()
    async with left, right:
        assert left.remote == left.local == SocketAddress("", 0)


async def test_the_address_of_one_who_is_gone_is_a_broken_stream() -> None:
    left, right = tcp_pair()
    async with right:
        reset(left)
        with pytest.raises(trio.BrokenResourceError):
            await right.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            _ = right.remote


async def test_tls_runs_over_it() -> None:
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("mail.example").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    left, right = tcp_pair()
    server = trio.SSLStream(left, server_context, server_side=True)
    client = trio.SSLStream(right, client_context, server_hostname="mail.example")
    content = bytes(range(256)) * 4000

    async def send() -> None:
        await client.send_all(content)
        await client.aclose()

    received = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        while data := await server.receive_some():
            received += data
        await server.aclose()
    assert received == content


async def test_it_carries_nothing_beside_its_slots() -> None:
    left, right = tcp_pair()
    async with left, right:
        assert not hasattr(left, "__dict__")
