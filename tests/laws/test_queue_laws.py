"""Laws of the queue: a store on disk behaves like the one in memory, and rows give back what was put in."""

from __future__ import annotations

import queue
import shutil
import tempfile
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from harakapy.log import silent_logger
from harakapy.mail import Content, EnhancedStatus, Recipient
from harakapy.queue import (
    ClockSet,
    Deferred,
    Delivered,
    Delivery,
    DeliveryKey,
    Diagnostic,
    Failed,
    Lease,
    Outcome,
    QueuedMessage,
    Selection,
    Settlement,
    SqliteStore,
    State,
    Store,
    StoreError,
    Told,
    deliveries_to,
)
from harakapy.queue.memory_store import MemoryStore
from harakapy.queue.sqlite_rows import delivery_row, message_row, read_delivery, read_message
from harakapy.smtp.address import NULL_PATH, Address
from harakapy.smtp.parameters import (
    Body,
    DeliverBy,
    MailParameters,
    Notify,
    OriginalRecipient,
    RcptParameters,
    Ret,
)

T = TypeVar("T")

NOW = 1_800_000_000.0
IDS = st.sampled_from(["A", "B", "C", "D", "a_%", "E*", "F", "G", "H"])
PICKS = st.lists(st.integers(0, 20), max_size=8)
TOLD = st.sampled_from(Told)
OWNERS = st.sampled_from(["one", "two"])
TIMES = st.integers(-20, 10).map(lambda seconds: NOW + seconds)
DESTINATIONS = ["a.example", "b.example", "lmtp:c"]
RECIPIENTS = [
    Recipient(Address.parse(f"{name}@{domain}"))
    for name in ("x", "y_")
    for domain in ("a.example", "B.example")
]
PATTERNS = st.sampled_from(["*", "", "a*", "*.EXAMPLE", "x@a.example", "*_*", "%", "*o*", "lmtp:c"])
DIAGNOSTICS = st.sampled_from(
    [
        Diagnostic("250 ok", EnhancedStatus(2, 0, 0), "mx.example", is_reply=True),
        Diagnostic("no route", EnhancedStatus(4, 4, 4)),
        Diagnostic("a_b*"),
    ]
)
End = Callable[[DeliveryKey], Outcome]
ENDS: st.SearchStrategy[list[End]] = st.lists(
    st.one_of(
        st.builds(
            lambda *rest: lambda key: Delivered(key, *rest),
            DIAGNOSTICS,
            st.none() | TIMES,
            st.sampled_from(["", "lmtp:c"]),
        ),
        st.builds(lambda *rest: lambda key: Failed(key, *rest), DIAGNOSTICS, st.none() | TIMES),
        st.builds(lambda *rest: lambda key: Deferred(key, *rest), DIAGNOSTICS, TIMES),
    ),
    min_size=9,
    max_size=9,
)
LIMITS = st.integers(1, 9)


@dataclass(frozen=True)
class Order:
    """A message to commit."""

    message: QueuedMessage
    recipients: list[Recipient]
    due: float
    owner: str | None
    settles: Settlement | None


ORDERS = st.builds(
    Order,
    message=st.builds(
        QueuedMessage,
        id=IDS,
        mail_from=st.sampled_from([NULL_PATH, Address.parse("o@a.example"), Address.parse("Boss@B.example")]),
        size=st.sampled_from([0, 20, 140_000]),
        arrived=TIMES,
        priority=st.integers(-1, 1),
    ),
    recipients=st.lists(st.sampled_from(RECIPIENTS), min_size=1, max_size=4),
    due=TIMES,
    owner=st.none() | OWNERS,
    settles=st.none() | st.none() | st.builds(Settlement, IDS, OWNERS, st.just((0,)), TOLD),
)
CONDITIONS: dict[str, st.SearchStrategy[Any]] = {
    "message_ids": st.frozensets(IDS, max_size=4),
    "mail_from": PATTERNS,
    "recipient": PATTERNS,
    "domain": PATTERNS,
    "destination": PATTERNS,
    "states": st.frozensets(st.sampled_from(State)),
    "arrived_before": TIMES,
    "arrived_after": TIMES,
    "error": PATTERNS,
}
SELECTIONS = st.one_of(
    *(st.builds(Selection, **{name: values}) for name, values in CONDITIONS.items()),
    st.fixed_dictionaries({}, optional=CONDITIONS).map(lambda each: Selection(**each)),
)


class Loop:
    """A trio loop in a thread of its own, for code that is not async."""

    def __init__(self) -> None:
        tokens: queue.SimpleQueue[trio.lowlevel.TrioToken] = queue.SimpleQueue()

        async def main() -> None:
            self._stop = trio.Event()
            tokens.put(trio.lowlevel.current_trio_token())
            await self._stop.wait()

        self._thread = threading.Thread(target=trio.run, args=(main,))
        self._thread.start()
        self._token = tokens.get()

    def run(self, function: Callable[[], Awaitable[T]]) -> T:
        async def call() -> T:
            return await function()

        return trio.from_thread.run(call, trio_token=self._token)

    def close(self) -> None:
        trio.from_thread.run_sync(self._stop.set, trio_token=self._token)
        self._thread.join()


class StoresAgree(RuleBasedStateMachine):
    """Whatever is done to both stores, they answer the same."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = Loop()
        memory = Path("/dev/shm")  # what a disk takes to sync is nothing to these laws, and much of the time
        self.directory = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
        self.model = MemoryStore()
        self.store = self.open()
        self.now = NOW

    def open(self) -> SqliteStore:
        return self.loop.run(lambda: SqliteStore.open(self.directory / "queue", log=silent_logger()))

    def teardown(self) -> None:
        self.loop.run(self.store.aclose)
        self.loop.close()
        shutil.rmtree(self.directory)

    def picked(self, picks: list[int]) -> tuple[list[DeliveryKey], str]:
        """Keys of deliveries that are there, perhaps of some that are not, and who holds the first lease."""
        requests = self.loop.run(lambda: in_pages(self.model, Selection(), 100))
        there = [delivery for request in requests for delivery in request.deliveries]
        found = [there[pick] for pick in picks if pick < len(there)]
        gone = [DeliveryKey("gone", pick) for pick in picks if pick >= len(there)]
        holders = [each.lease.owner for each in found if each.lease]
        return [each.key for each in found] + gone[:2], holders[0] if holders else "one"

    def both(self, use: Callable[..., Awaitable[Any]], *values: Any) -> Any:
        """Do it to both, with some values: the result, which is the same, or the type of what is raised."""
        expected = self.loop.run(lambda: outcome(use, self.model, *values))
        found = self.loop.run(lambda: outcome(use, self.store, *values))
        assert found == expected
        return found

    @initialize(orders=st.lists(ORDERS, min_size=5, max_size=5))
    def fill(self, orders: list[Order]) -> None:
        self.commit(orders)

    @rule(orders=st.lists(ORDERS, min_size=1, max_size=3))
    def commit(self, orders: list[Order]) -> None:
        for order in orders:
            queued = order.message
            lease = Lease(order.owner, self.now + 10) if order.owner else None
            deliveries = deliveries_to(
                queued.id, order.recipients, due=order.due, local_domain="x", lease=lease
            )
            content = Content.from_bytes(queued.id[:1].encode() * queued.size)
            self.both(commit, queued, deliveries, content, order.settles)

    @rule(destination=st.sampled_from(DESTINATIONS), owner=OWNERS, lasts=st.integers(1, 20), limit=LIMITS)
    def claim(self, destination: str, owner: str, lasts: int, limit: int) -> None:
        lease = Lease(owner, self.now + lasts)
        self.both(lambda store: store.claim(destination, lease=lease, now=self.now, limit=limit))

    @rule(destination=st.sampled_from(DESTINATIONS), owner=OWNERS, limit=LIMITS, ends=ENDS)
    def work(self, destination: str, owner: str, limit: int, ends: list[End]) -> None:
        lease = Lease(owner, self.now + 10)
        requests = self.both(lambda store: store.claim(destination, lease=lease, now=self.now, limit=limit))
        keys = [delivery.key for request in requests for delivery in request.deliveries]
        outcomes = [end(key) for key, end in zip(keys, ends, strict=False)]
        self.both(lambda store: store.record(outcomes, owner=owner))

    @rule(owner=OWNERS, limit=st.integers(1, 3), told=TOLD)
    def report(self, owner: str, limit: int, told: Told) -> None:
        lease = Lease(owner, self.now + 10)
        for request in self.both(lambda store: store.claim_reports(lease=lease, now=self.now, limit=limit)):
            concluded = tuple(delivery.number for delivery in request.deliveries)
            settlement = Settlement(request.message.id, owner, concluded, told)
            self.both(lambda store, each: store.settle(each), settlement)

    @rule(owner=OWNERS, limit=st.integers(1, 3))
    def claim_reports(self, owner: str, limit: int) -> None:
        lease = Lease(owner, self.now + 10)
        self.both(lambda store: store.claim_reports(lease=lease, now=self.now, limit=limit))

    @rule(picks=PICKS, ends=ENDS, owner=st.none() | OWNERS)
    def record(self, picks: list[int], ends: list[End], owner: str | None) -> None:
        keys, holder = self.picked(picks)
        recorded = [end(key) for key, end in zip(keys, ends, strict=False)]
        self.both(lambda store: store.record(recorded, owner=owner or holder))

    @rule(owner=OWNERS, told=TOLD, numbers=st.none() | st.lists(st.integers(0, 3)))
    def settle(self, owner: str, told: Told, numbers: list[int] | None) -> None:
        """Settle all that can be, or some numbers of the first message, claimed or not."""
        final = Selection(states=frozenset({State.DELIVERED, State.FAILED}))
        for request in self.loop.run(lambda: in_pages(self.model, final, 100)):
            mine = [each.number for each in request.deliveries if each.lease and each.lease.owner == owner]
            concluded = tuple(mine if numbers is None else numbers)
            settlement = Settlement(request.message.id, owner, concluded, told)
            self.both(lambda store, each: store.settle(each), settlement)
            if numbers is not None:
                break

    @rule(
        picks=PICKS, owner=st.none() | OWNERS, at=TIMES, what=st.sampled_from(["renew", "unclaim", "release"])
    )
    def change_leases(self, picks: list[int], owner: str | None, at: float, what: str) -> None:
        keys, holder = self.picked(picks)
        uses: dict[str, Callable[[Store], Awaitable[object]]] = {
            "renew": lambda store: store.renew(keys, Lease(owner or holder, at)),
            "unclaim": lambda store: store.unclaim(keys, owner=owner or holder, due=at),
            "release": lambda store: store.release_leases(owner or holder),
        }
        self.both(uses[what])

    @rule(
        selection=SELECTIONS,
        next_hop=st.sampled_from(["", "lmtp:c", "b.example"]),
        diagnostic=DIAGNOSTICS,
        what=st.sampled_from(["hold", "release", "flush", "reroute", "bounce", "remove"]),
    )
    def steer(self, selection: Selection, next_hop: str, diagnostic: Diagnostic, what: str) -> None:
        uses: dict[str, Callable[[Store], Awaitable[object]]] = {
            "hold": lambda store: store.hold(selection),
            "release": lambda store: store.release(selection),
            "flush": lambda store: store.flush(selection, now=self.now),
            "reroute": lambda store: store.reroute(selection, next_hop),
            "bounce": lambda store: store.bounce(selection, diagnostic, now=self.now),
            "remove": lambda store: store.remove(selection),
        }
        self.both(uses[what])

    @rule(by_s=st.integers(-300, 300))
    def set_clock(self, by_s: int) -> None:
        self.both(lambda store: store.shift_times(ClockSet(float(by_s), self.now)))

    @rule(seconds=st.integers(1, 15))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def reopen(self) -> None:
        self.loop.run(self.store.aclose)
        self.store = self.open()
        for owner in ("one", "two"):
            self.loop.run(lambda each=owner: self.model.release_leases(each))  # type: ignore[misc]

    @rule(
        selection=SELECTIONS | st.just(Selection()),
        limit=st.integers(1, 3),
        after=st.sampled_from(["", "a.example", "b"]),
    )
    def look(self, selection: Selection, limit: int, after: str) -> None:
        self.both(lambda store: store.count(selection))
        self.both(lambda store: store.due_destinations(self.now, limit=limit, after=after))
        self.both(lambda store: in_pages(store, selection, limit))

    @rule(message_id=IDS)
    def read(self, message_id: str) -> None:
        async def content(store: Store) -> bytes:
            with await store.open_content(message_id) as content:
                return b"".join(content.blocks())

        self.both(content)

    @invariant()
    def both_have_the_same(self) -> None:
        self.both(lambda store: in_pages(store, Selection(), 2))
        self.both(lambda store: store.next_due())
        self.both(lambda store: store.next_due(after=self.now))
        self.both(lambda store: store.stats())

    @invariant()
    def no_file_is_left(self) -> None:
        large = self.loop.run(lambda: in_pages(self.model, Selection(), 100))
        files = list((self.directory / "queue" / "content").iterdir())
        assert len(files) == sum(each.message.size > 131_072 for each in large)


async def outcome(use: Callable[..., Awaitable[Any]], store: Store, *values: Any) -> Any:
    try:
        return await use(store, *values)
    except (ValueError, StoreError) as error:
        return type(error)


async def commit(
    store: Store,
    message: QueuedMessage,
    deliveries: tuple[Delivery, ...],
    content: Content,
    settles: Settlement | None,
) -> None:
    await store.commit(message, deliveries, content, settles=settles)


async def in_pages(store: Store, selection: Selection, limit: int) -> list[Any]:
    found: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await store.select(selection, limit=limit, after=cursor)
        found += page.requests
        cursor = page.cursor
    return found


TestStoresAgree = StoresAgree.TestCase
TestStoresAgree.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)


def address(user: str, host: str) -> Address | None:
    try:
        return Address(user, host)
    except ValueError:
        return None


WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
ADDRESSES = st.builds(
    address,
    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=20) | WORDS,
    st.sampled_from(
        ["example.com", "[192.0.2.1]", "[IPv6:2001:db8::1]", "bücher.example", "xn--bcher-kva.example"]
    ),
).filter(bool)
MAIL_PARAMETERS = st.builds(
    MailParameters,
    size=st.none() | st.integers(0, 10**12),
    body=st.none() | st.sampled_from(Body),
    smtputf8=st.booleans(),
    ret=st.none() | st.sampled_from(Ret),
    envid=st.none() | WORDS,
    auth=st.none() | st.just(NULL_PATH) | ADDRESSES,
    requiretls=st.booleans(),
    by=st.none() | st.builds(DeliverBy, st.integers(1, 999_999_999), st.sampled_from("NR"), st.booleans()),
    mt_priority=st.none() | st.integers(-9, 9),
    hold_until=st.none() | st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    extra=st.just(()) | st.just((("X-OWN", "value"), ("X-FLAG", None))),
)
RCPT_PARAMETERS = st.builds(
    RcptParameters,
    notify=st.none()
    | st.just(frozenset({Notify.NEVER}))
    | st.just(frozenset({Notify.SUCCESS, Notify.DELAY})),
    orcpt=st.none() | st.builds(OriginalRecipient, st.just("rfc822"), WORDS),
)
NOTES = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    ),
    max_size=3,
)
FLOATS = st.floats(0, 4e9)


@given(
    st.builds(
        QueuedMessage,
        id=st.text(min_size=1, max_size=40),
        mail_from=st.just(NULL_PATH) | ADDRESSES,
        size=st.integers(0, 1 << 40),
        arrived=FLOATS,
        params=MAIL_PARAMETERS,
        priority=st.integers(-9, 9),
        deliver_by=st.none() | FLOATS,
        hold_until=st.none() | FLOATS,
        notes=NOTES,
        told=TOLD,
    )
)
def test_a_message_comes_back_from_its_row(message: QueuedMessage) -> None:
    found = read_message(message_row(message))
    assert found == message
    assert found.mail_from.original == message.mail_from.original


@given(
    st.builds(
        Delivery,
        message_id=st.just("M"),
        number=st.integers(0, (1 << 20) - 1),
        recipient=st.builds(Recipient, ADDRESSES, RCPT_PARAMETERS),
        domain=WORDS,
        due=FLOATS,
        next_hop=st.text(),
        state=st.sampled_from(State),
        attempts=st.integers(0, 10**6),
        last_attempt=st.none() | FLOATS,
        diagnostic=st.none()
        | st.builds(
            Diagnostic,
            st.text(),
            st.none() | st.builds(EnhancedStatus, st.just(4), st.integers(0, 999), st.integers(0, 999)),
            st.text(),
            st.booleans(),
        ),
        lease=st.none() | st.builds(Lease, st.text(), FLOATS),
    ),
    st.integers(1, 1 << 40),
)
def test_a_delivery_comes_back_from_its_row(delivery: Delivery, seq: int) -> None:
    found = read_delivery("M", seq << 20 | delivery.number, delivery_row(delivery, 0))
    assert found == delivery
    assert found.recipient.address.original == delivery.recipient.address.original
