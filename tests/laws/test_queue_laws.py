"""Laws of the queue: a store on disk behaves like the one in memory, and rows give back what was put in."""

from __future__ import annotations

import queue
import shutil
import tempfile
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from harakapy.log import silent_logger
from harakapy.mail import Content, EnhancedStatus, Recipient
from harakapy.queue import (
    Deferred,
    Delivered,
    Delivery,
    DeliveryKey,
    Diagnostic,
    Failed,
    Lease,
    MemoryStore,
    Outcome,
    QueuedMessage,
    Selection,
    Settlement,
    SqliteStore,
    State,
    Store,
    StoreError,
    deliveries_to,
)
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
IDS = st.sampled_from(["A", "B", "C", "D", "a_%", "E*"])
KEYS = st.builds(DeliveryKey, IDS, st.integers(0, 3))
OWNERS = st.sampled_from(["one", "two"])
TIMES = st.integers(-5, 40).map(lambda seconds: NOW + seconds)
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
OUTCOMES: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(Delivered, KEYS, DIAGNOSTICS, st.none() | TIMES),
    st.builds(Failed, KEYS, DIAGNOSTICS, st.none() | TIMES),
    st.builds(Deferred, KEYS, DIAGNOSTICS, TIMES),
)
CONDITIONS: dict[str, st.SearchStrategy[Any]] = {
    "message_ids": st.frozensets(IDS, max_size=4),
    "mail_from": PATTERNS,
    "recipient": PATTERNS,
    "destination": PATTERNS,
    "states": st.frozensets(st.sampled_from(State)),
    "arrived_before": TIMES,
    "arrived_after": TIMES,
    "error": PATTERNS,
}
SELECTIONS = st.one_of(
    st.just(Selection()),
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
        self.directory = Path(tempfile.mkdtemp())
        self.model = MemoryStore()
        self.store = self.open()
        self.now = NOW

    def open(self) -> SqliteStore:
        return self.loop.run(lambda: SqliteStore.open(self.directory / "queue", log=silent_logger()))

    def teardown(self) -> None:
        self.loop.run(self.store.aclose)
        self.loop.close()
        shutil.rmtree(self.directory)

    def both(self, use: Callable[[Store], Awaitable[Any]]) -> Any:
        """Do it to both: the result, which is the same, or the exception as it would be raised."""
        expected, found = (
            self.loop.run(lambda: outcome(use, self.model)),
            self.loop.run(lambda: outcome(use, self.store)),
        )
        assert found == expected
        return found

    @rule(
        message_id=IDS,
        mail_from=st.sampled_from(["", "o@a.example", "Boss@B.example"]),
        recipients=st.lists(st.sampled_from(RECIPIENTS), min_size=1, max_size=4),
        due=TIMES,
        arrived=TIMES,
        priority=st.integers(-1, 1),
        owner=st.none() | OWNERS,
        size=st.sampled_from([0, 20, 140_000]),
        settles=st.none() | st.builds(Settlement, IDS, OWNERS, st.just((0,)), st.booleans()),
    )
    def commit(
        self,
        message_id: str,
        mail_from: str,
        recipients: list[Recipient],
        due: float,
        arrived: float,
        priority: int,
        owner: str | None,
        size: int,
        settles: Settlement | None,
    ) -> None:
        queued = QueuedMessage(
            id=message_id,
            mail_from=Address.parse(f"<{mail_from}>"),
            size=size,
            arrived=arrived,
            priority=priority,
        )
        lease = Lease(owner, self.now + 10) if owner else None
        deliveries = deliveries_to(message_id, recipients, due=due, local_domain="x", lease=lease)
        content = Content.from_bytes(message_id[:1].encode() * size)
        self.both(lambda store: store.commit(queued, deliveries, content, settles=settles))

    @rule(
        destination=st.sampled_from(DESTINATIONS),
        owner=OWNERS,
        lasts=st.integers(1, 20),
        limit=st.integers(1, 5),
    )
    def claim(self, destination: str, owner: str, lasts: int, limit: int) -> None:
        lease = Lease(owner, self.now + lasts)
        self.both(lambda store: store.claim(destination, lease=lease, now=self.now, limit=limit))

    @rule(owner=OWNERS, limit=st.integers(1, 3))
    def claim_reports(self, owner: str, limit: int) -> None:
        lease = Lease(owner, self.now + 10)
        self.both(lambda store: store.claim_reports(lease=lease, now=self.now, limit=limit))

    @rule(outcomes=st.lists(OUTCOMES, max_size=6), owner=OWNERS)
    def record(self, outcomes: list[Outcome], owner: str) -> None:
        self.both(lambda store: store.record(outcomes, owner=owner))

    @rule(
        settlement=st.builds(Settlement, IDS, OWNERS, st.lists(st.integers(0, 3)).map(tuple), st.booleans())
    )
    def settle(self, settlement: Settlement) -> None:
        self.both(lambda store: store.settle(settlement))

    @rule(keys=st.lists(KEYS, max_size=6), owner=OWNERS, until=TIMES)
    def renew(self, keys: list[DeliveryKey], owner: str, until: float) -> None:
        self.both(lambda store: store.renew(keys, Lease(owner, until)))

    @rule(keys=st.lists(KEYS, max_size=6), owner=OWNERS, due=TIMES)
    def unclaim(self, keys: list[DeliveryKey], owner: str, due: float) -> None:
        self.both(lambda store: store.unclaim(keys, owner=owner, due=due))

    @rule(owner=OWNERS)
    def release_leases(self, owner: str) -> None:
        self.both(lambda store: store.release_leases(owner))

    @rule(selection=SELECTIONS)
    def hold(self, selection: Selection) -> None:
        self.both(lambda store: store.hold(selection))

    @rule(selection=SELECTIONS)
    def release(self, selection: Selection) -> None:
        self.both(lambda store: store.release(selection))

    @rule(selection=SELECTIONS)
    def flush(self, selection: Selection) -> None:
        self.both(lambda store: store.flush(selection, now=self.now))

    @rule(selection=SELECTIONS, next_hop=st.sampled_from(["", "lmtp:c", "b.example"]))
    def reroute(self, selection: Selection, next_hop: str) -> None:
        self.both(lambda store: store.reroute(selection, next_hop))

    @rule(selection=SELECTIONS, diagnostic=DIAGNOSTICS)
    def bounce(self, selection: Selection, diagnostic: Diagnostic) -> None:
        self.both(lambda store: store.bounce(selection, diagnostic, now=self.now))

    @rule(selection=SELECTIONS)
    def remove(self, selection: Selection) -> None:
        self.both(lambda store: store.remove(selection))

    @rule(by_s=st.integers(-20, 20))
    def set_clock(self, by_s: int) -> None:
        self.both(lambda store: store.shift_times(float(by_s)))

    @rule(seconds=st.integers(1, 15))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def reopen(self) -> None:
        self.loop.run(self.store.aclose)
        self.store = self.open()
        for owner in ("one", "two"):
            self.loop.run(lambda each=owner: self.model.release_leases(each))  # type: ignore[misc]

    @rule(selection=SELECTIONS, limit=st.integers(1, 3), after=st.sampled_from(["", "a.example", "b"]))
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
        self.both(lambda store: store.stats())

    @invariant()
    def no_file_is_left(self) -> None:
        large = self.loop.run(lambda: in_pages(self.model, Selection(), 100))
        files = list((self.directory / "queue" / "content").iterdir())
        assert len(files) == sum(each.message.size > 131_072 for each in large)


async def outcome(use: Callable[[Store], Awaitable[Any]], store: Store) -> Any:
    try:
        return await use(store)
    except (ValueError, StoreError) as error:
        return type(error)


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
        is_delay_reported=st.booleans(),
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
