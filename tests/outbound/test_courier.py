"""Carrying a message over the hosts of its route."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from harakapy import Settings
from harakapy.mail import Content
from harakapy.outbound.attempt import Answer, Phase
from harakapy.outbound.courier import Courier, Ending
from harakapy.outbound.failure import Action
from harakapy.outbound.hop import NextHop, Target, TlsLevel
from harakapy.outbound.hosts import DeadHosts
from harakapy.outbound.pool import Pool
from harakapy.outbound.route import Route
from harakapy.smtp import DeliverBy, MailParameters
from tests.outbound.hosts import MESSAGE, PLAIN, Host, envelope, facilities, playing

HOP: dict[str, Any] = {"tls": TlsLevel.NONE, "helo": "me.example.com"}
TAKES = """
C: MAIL FROM:<me@example.com>*
S: 250 ok
C: RCPT TO:*
S: 250 ok
C: DATA
S: 354 go on
CONTENT
S: 250 taken
"""


@asynccontextmanager
async def courier(dead_hosts: DeadHosts | None = None, **outbound: Any) -> AsyncIterator[Courier]:
    async with facilities() as shared, trio.open_nursery() as nursery:
        pool = Pool(shared)
        nursery.start_soon(pool.run)
        settings = Settings.default(outbound=outbound).outbound
        yield Courier(settings, pool, DeadHosts() if dead_hosts is None else dead_hosts, lambda: 1000.0)
        nursery.cancel_scope.cancel()


def to(*hosts: Host | Target) -> Route:
    return Route(tuple(each if isinstance(each, Target) else each.target(**HOP) for each in hosts))


@pytest.fixture
def closed() -> Iterator[Target]:
    """Where nobody listens."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        yield Target(NextHop(host="closed.example", port=port, **HOP), "closed.example", "127.0.0.1")


def actions(endings: list[Ending]) -> list[Action]:
    return [ending.judgement.action for ending in endings]


async def test_the_next_host_is_tried_when_one_cannot_be_reached(closed: Target) -> None:
    dead_hosts = DeadHosts()
    async with playing(PLAIN + TAKES) as host, courier(dead_hosts) as carrying:
        (ending,) = await carrying.carry(envelope(), Content.from_bytes(MESSAGE), to(closed, host))
        assert ending.is_delivered
        assert ending.target == host.target(**HOP)
    assert dead_hosts.is_dead(closed, 1000.0)


async def test_only_who_was_put_off_is_offered_to_the_next_host() -> None:
    first = """
    C: MAIL FROM:<me@example.com>
    S: 250 ok
    C: RCPT TO:<a@example.org>
    S: 250 ok
    C: RCPT TO:<b@example.org>
    S: 451 4.3.0 not here, not now
    C: RCPT TO:<c@example.org>
    S: 550 5.1.1 nobody
    C: DATA
    S: 354 go on
    CONTENT
    S: 250 taken
    """
    second = TAKES.replace("RCPT TO:*", "RCPT TO:<b@example.org>")
    async with playing(PLAIN + first) as one, playing(PLAIN + second) as two, courier() as carrying:
        people = envelope("a@example.org", "b@example.org", "c@example.org")
        endings = await carrying.carry(people, Content.from_bytes(MESSAGE), to(one, two))
    assert actions(endings) == [Action.DELIVERED, Action.DELIVERED, Action.FAIL]
    assert [ending.target and ending.target.port for ending in endings] == [one.port, two.port, None]


async def test_a_route_that_leads_nowhere_has_one_answer_for_all() -> None:
    failure = Answer(Phase.LOOKUP, text="no such domain")
    async with courier() as carrying:
        people = envelope("a@example.org", "b@example.org")
        endings = await carrying.carry(people, Content.from_bytes(MESSAGE), Route(failure=failure))
    assert [ending.answer for ending in endings] == [failure, failure]


async def test_recipients_go_in_as_many_messages_as_the_limit_makes_of_them() -> None:
    each = [TAKES.replace("RCPT TO:*", f"RCPT TO:<{name}@example.org>") for name in "abc"]
    async with playing(PLAIN + "".join(each)) as host, courier(max_recipients=1) as carrying:
        people = envelope("a@example.org", "b@example.org", "c@example.org")
        endings = await carrying.carry(people, Content.from_bytes(MESSAGE), to(host))
        assert host.connections == 1
    assert actions(endings) == [Action.DELIVERED] * 3


class Failing(Content):
    """Content that can be read so many times."""

    __slots__ = ()
    reads_left = 1000

    def _raise_at_the_end(self) -> None:
        type(self).reads_left -= 1
        if self.reads_left < 0:
            raise OSError("bad sector")

    def blocks(self, block_size: int = 65536) -> Iterator[bytes]:
        self._raise_at_the_end()
        return super().blocks(block_size)

    def to_bytes(self) -> bytes:
        self._raise_at_the_end()
        return super().to_bytes()


async def test_who_has_the_message_has_it_also_if_it_cannot_be_read_for_the_others() -> None:
    people = envelope("a@example.org", "b@example.org")
    content = Failing.from_bytes(MESSAGE)
    Failing.reads_left = 1000
    async with playing(PLAIN + TAKES + TAKES) as host, courier(max_recipients=1) as carrying:
        await carrying.carry(people, content, to(host))
    Failing.reads_left = (1000 - Failing.reads_left) // 2  # what one of them takes
    async with playing(PLAIN + TAKES) as host, courier(max_recipients=1) as carrying:
        endings = await carrying.carry(people, content, to(host))
    assert actions(endings) == [Action.DELIVERED, Action.DEFER]
    assert str(endings[1].judgement.diagnostic.status) == "4.3.0"


async def test_content_that_cannot_be_read_at_all_is_told_to_the_caller() -> None:
    Failing.reads_left = 0
    async with playing(PLAIN) as host, courier() as carrying:
        with pytest.raises(OSError, match="bad sector"):
            await carrying.carry(envelope(), Failing.from_bytes(MESSAGE), to(host))


@pytest.mark.parametrize(
    ("mode", "until", "said"), [("R", 1060.0, "60;R"), ("R", 1000.2, "1;R"), ("N", 960.0, "-40;N")]
)
async def test_the_time_that_is_left_goes_with_the_message(mode: Any, until: float, said: str) -> None:
    greeting = PLAIN.replace("S: 250 mx.example.org", "S: 250-mx.example.org\nS: 250 DELIVERBY")
    async with playing(greeting + TAKES.replace(">*", f"> BY={said}*", 1)) as host, courier() as carrying:
        timed = envelope(params=MailParameters(by=DeliverBy(120, mode)))
        (ending,) = await carrying.carry(timed, Content.from_bytes(MESSAGE), to(host), deliver_by=until)
        assert ending.is_delivered, ending.answer
