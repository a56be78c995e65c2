"""The own generator."""

from __future__ import annotations

import socket
import threading

import pytest

from tests.benchmarks.generator import Order, Refused, Replies, content_of, send_all
from tests.benchmarks.recording_sink import RecordingSink


def _order(port: int, *, is_kept: bool = True, is_pipelined: bool = False, recipients: int = 1) -> Order:
    to = ("a@example.com", "b@example.com")
    return Order(port, 25, content_of(100), is_kept, is_pipelined, None, to, recipients)


@pytest.mark.parametrize("split", [1, 2, 7, 1000])
def test_replies_are_counted_whatever_their_split(split: int) -> None:
    data = b"250-one\r\n250-two\r\n250 three\r\n354 go\r\n451 4.3.0 no\r\n"
    replies = Replies()
    for at in range(0, len(data), split):
        replies.receive(data[at : at + split])
    assert replies.codes == [250, 354, 451]


def test_content_is_of_whole_lines_without_dots() -> None:
    content = content_of(4096)
    assert 4096 <= len(content) < 4200
    assert content.endswith(b"\r\n")
    assert b"." not in content


@pytest.mark.parametrize("recipients", [1, 3])
@pytest.mark.parametrize(("is_kept", "is_pipelined"), [(True, False), (False, False), (True, True)])
def test_every_message_arrives_once_and_is_marked(is_kept: bool, is_pipelined: bool, recipients: int) -> None:
    marked: list[int] = []
    with RecordingSink(0) as sink:
        order = _order(
            sink.server_address[1], is_kept=is_kept, is_pipelined=is_pipelined, recipients=recipients
        )
        order.mark = marked.append
        assert send_all(order, sessions=4) > 0
    assert sink.arrived == dict.fromkeys(range(1, 26), 1)
    assert sorted(marked) == list(range(1, 26))


def test_messages_go_to_the_addresses_in_turn() -> None:
    order = _order(25)
    envelopes = [order.envelope(number) for number in range(4)]
    assert envelopes[0] == envelopes[2] != envelopes[1] == envelopes[3]


def test_a_refusal_ends_the_load() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_refuse, args=(listener,))
        thread.start()
        with pytest.raises(Refused, match="554"):
            send_all(_order(listener.getsockname()[1]), sessions=1)
        thread.join()


def _refuse(listener: socket.socket) -> None:
    client, _ = listener.accept()
    with client:
        client.sendall(b"554 5.7.1 not you\r\n")
        client.recv(100)
